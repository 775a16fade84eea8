"""Labelled images, set by set: what is trained on and what is measured on."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rtvp.errors import RtvpError
from rtvp.mmio.built import Built, read_build
from rtvp.mmio.coco_file import read_coco_file
from rtvp.mmio.schema import ImageRecord, Item
from rtvp.mmio.sources import load_source, source_table
from rtvp.mmio.splits import Side, bundle


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Images of one product or place, labelled by the same people.

    Attributes:
        name: of the set.
        scene: what the images show, such as "printed circuit boards".
        super_category: of the scene; empty where unknown.
        images: an image without annotations is known to be good.
        vocabulary: names that its labels annotate, whether or not an image shows them. Nothing is known of
            other names.
    """

    name: str
    scene: str
    super_category: str
    images: tuple[ImageRecord, ...]
    vocabulary: frozenset[str]


@dataclass(frozen=True, slots=True)
class SplitSets:
    """A split of the benchmark.

    Attributes:
        name: of the split.
        train: its training side. Vocabularies hold seen names only.
        test: its test side. Vocabularies hold all names.
        seen: names that may be trained on.
        unseen: names that must not reach training, not even as texts.
        digest: of the images, their labels and sides.
        max_cosine: promised by "zero-shot/meaning": see `rtvp.mmio.splits.Split`.
    """

    name: str
    train: tuple[LabelledSet, ...]
    test: tuple[LabelledSet, ...]
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    digest: str
    max_cosine: float | None = None


def read_split_sets(build: Path, root: Path, split: str) -> SplitSets:
    """One split of a finished build of the benchmark.

    Args:
        build: folder that `rtvp mmio build` wrote.
        root: folder of all sets, for the images.
        split: "closed", "zero-shot/category", "zero-shot/meaning" or "zero-shot/scene".

    Raises:
        RtvpError: no finished build, no such split in it, or the folder of a set is missing.
    """
    built = read_build(build)
    if split not in built.splits:
        raise RtvpError(f"{build}: expected a split out of {', '.join(built.splits)}, got {split!r}")
    chosen = built.splits[split]
    bundle_of = {
        item.key: name for name, members in bundle(built.items, built.near_pairs).items() for item in members
    }
    sides: dict[Side, list[Item]] = {"train": [], "test": []}
    for item in built.items:
        if side := chosen.sides.get(item.key):
            sides[side].append(replace(item, group=bundle_of[item.key]))
    names: dict[str, set[str]] = defaultdict(set)
    for item in built.items:
        names[item.source].update(annotation.name for annotation in item.annotations)
    return SplitSets(
        split,
        _sets(sides["train"], built, root, {name: own - set(chosen.unseen) for name, own in names.items()}),
        _sets(sides["test"], built, root, names),
        chosen.seen,
        chosen.unseen,
        digest_of(sides["train"] + sides["test"], (split, *chosen.unseen)),
        chosen.max_cosine,
    )


def read_sources(root: Path, names: Sequence[str], *, masks: bool = False) -> tuple[LabelledSet, ...]:
    """Sources of the table of `rtvp.mmio`, as they are converted, without cleaning.

    Raises:
        RtvpError: an unknown source, or one without its images.
    """
    sets = []
    for name in names:
        images = load_source(root, name, masks=masks).images
        source = source_table()[name]
        if not images:
            raise RtvpError(f"source {name}: expected labelled images in {root / source.folder}, got none")
        vocabulary = frozenset(source.categories)
        sets.append(LabelledSet(name, source.scene, source.super_category, images, vocabulary))
    return tuple(sets)


def read_coco_set(path: Path, images: Path) -> LabelledSet:
    """Any COCO file of boxes as one set, named after the file; its vocabulary is all of its categories.

    Images with crowds are left out: a crowd is no single object to learn, and hides what else is there.

    Args:
        path: the COCO file.
        images: folder that its file names are relative to.

    Raises:
        RtvpError: not a COCO file, or an image that is not there.
    """
    coco = read_coco_file(path)
    records = []
    for item in coco.items:
        if item.file_name in coco.crowded:
            continue
        file = images / item.file_name
        if not file.is_file():
            raise RtvpError(f"{path}: expected its image {item.file_name} in {images}, found no such file")
        records.append(ImageRecord(file, item.width, item.height, item.annotations, item.group))
    return LabelledSet(path.stem, path.stem, "", tuple(records), frozenset(coco.categories))


def digest_of(items: Iterable[Item], more: Iterable[str] = ()) -> str:
    """SHA-256 over the content, labels and order of images; ``more`` goes in as well."""
    digest = hashlib.sha256("\0".join(more).encode())
    for item in items:
        labels = ";".join(f"{a.name}@{a.box_xyxy}" for a in item.annotations)
        digest.update(f"{item.key}\0{item.sha256}\0{item.group}\0{labels}\n".encode())
    return digest.hexdigest()


def _sets(
    items: Sequence[Item], built: Built, root: Path, vocabulary: dict[str, set[str]]
) -> tuple[LabelledSet, ...]:
    table = source_table()
    by_source: dict[str, list[ImageRecord]] = defaultdict(list)
    for item in items:
        folder = root / table[item.source].folder
        record = ImageRecord(folder / item.file_name, item.width, item.height, item.annotations, item.group)
        by_source[item.source].append(record)
    for source in by_source:
        folder = root / table[source].folder
        if not folder.is_dir():
            raise RtvpError(f"expected the images of {source} in {folder}, which is no folder: check --data")
    return tuple(
        LabelledSet(
            source,
            built.scene_of[source],
            built.super_category_of[source],
            tuple(images),
            frozenset(vocabulary[source]),
        )
        for source, images in sorted(by_source.items())
    )
