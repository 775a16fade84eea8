"""From the folders of public sets to a benchmark that is cleaned, matched, split, measured and proven."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rtvp.errors import RtvpError
from rtvp.mmio.build_cache import (
    CHUNK,
    SOURCES_FOLDER,
    SetRecord,
    convert_set,
    fingerprint_chunk,
    forget_others,
    read_fingerprints,
)
from rtvp.mmio.build_config import BuildConfig
from rtvp.mmio.build_output import (
    REPORT_FILE,
    REVIEW_FILE,
    STATISTICS_FILE,
    open_output,
    remove_leftovers,
    write_labels,
    write_manifest,
    write_text,
)
from rtvp.mmio.build_report import BuildReport, json_lines, set_rows, split_row
from rtvp.mmio.categories import Embedder, ImageTextScorer, Matching, RawName, match, write_review
from rtvp.mmio.cleaning import Cleaned, clean
from rtvp.mmio.coco_file import read_coco_file
from rtvp.mmio.crops import crop_defects
from rtvp.mmio.fingerprint import Fingerprint
from rtvp.mmio.leaks import find_leaks
from rtvp.mmio.review import Review, read_review
from rtvp.mmio.schema import Annotation, Item
from rtvp.mmio.sources import Source, find_sources, source_table
from rtvp.mmio.split_file import split_digest
from rtvp.mmio.splits import CLOSED, Split, closed_split
from rtvp.mmio.statistics import statistics
from rtvp.mmio.taxonomy import taxonomy
from rtvp.mmio.workers import Progress, Workers
from rtvp.mmio.zero_shot import CATEGORY, MEANING, SCENE, category_split, meaning_split, scene_split


@dataclass(frozen=True, slots=True)
class Build:
    """A finished build.

    Attributes:
        digest: SHA-256 that stands for every byte of the output; it is in the manifest, too.
        report: what was done and why.
    """

    digest: str
    report: BuildReport


def build(
    root: Path,
    out: Path,
    config: BuildConfig,
    *,
    jobs: int = 1,
    embed: Embedder | None = None,
    image_text: ImageTextScorer | None = None,
    review: Path | None = None,
    progress: Progress | None = None,
) -> Build:
    """Build the benchmark.

    It leaves in ``out``: ``sources/SET.json``, each set as it was converted; ``annotations/all.json`` and two
    files for each split; ``splits/*.json``; ``stats.json``; ``review.yaml``, what is left to decide on names;
    ``report.json``, what was done and why; and, at last, ``manifest.json`` with the digests of all of them.
    The same input, code and models give the same bytes, whatever ``jobs``. Killed, it goes on from there.

    Args:
        root: folder of all sets.
        out: a new folder, or that of an earlier build, which is brought up to date.
        config: of the build.
        jobs: processes that read images and labels.
        embed: the text model; without it, names are matched by their words, and there is no split by meaning.
        image_text: an image-text model for names that neither words nor texts decide.
        review: what people decided on names.
        progress: is told of every step.

    Raises:
        RtvpError: a set of ``config`` is not there, or none at all, ``out`` is something else than a build,
            or a file cannot be read or written.
    """
    if jobs < 1:
        raise RtvpError(f"expected 1 job or more, got {jobs}")
    tell = progress or _say_nothing
    decided = read_review(review, taxonomy().categories) if review else None
    sources = _choose_sources(root, config.sources)
    folders = {name: root / source.folder for name, source in sources.items()}
    open_output(out, folders)

    with Workers(jobs, tell) as workers:
        records, items = _convert(workers, root, out, sources, config.keep_masks)
        looks, chunks = _fingerprint(workers, out, folders, items)
    tell("clean", 0, 1)
    cleaned = clean(items, looks, config.cleaning)
    del looks  # the largest part of the memory
    tell("match", 0, 1)
    matching = _match(cleaned, sources, folders, config, embed, image_text, decided)
    kept, doubled = _rename(cleaned.items, matching)
    tell("split", 0, 1)
    scene_of = {name: source.scene for name, source in sources.items()}
    splits, not_made = _split(kept, config, embed, scene_of, cleaned.near_pairs)
    leaks = [find_leaks(split, kept, cleaned.near_pairs, embed, scene_of=scene_of) for split in splits]
    report = BuildReport(
        config,
        set_rows(records, sources, items, cleaned, kept),
        {name: s.published_images for name, s in source_table().items() if name not in sources},
        cleaned,
        matching,
        tuple(split_row(one, split_digest(one, kept), its) for one, its in zip(splits, leaks, strict=True)),
        not_made,
        (*cleaned.notes, *doubled),
    )
    tell("write", 0, 1)
    digest = _write(out, sources, kept, splits, report)
    forget_others(out, list(sources), chunks)
    tell("write", 1, 1)
    return Build(digest, report)


def _say_nothing(step: str, done: int, total: int) -> None:
    pass


def _choose_sources(root: Path, wanted: Sequence[str] | None) -> dict[str, Source]:
    """The sets to build from: those that are wanted, or all that can be read. Sorted by name."""
    table = source_table()
    found = {entry.name: entry for entry in find_sources(root)}
    for name in wanted or ():
        if name not in table:
            raise RtvpError(f"sources: expected names out of {', '.join(table)}, got {name!r}")
        if not found[name].readable:
            raise RtvpError(
                f"source {name}: it cannot be read below {root}: {'; '.join(found[name].missing)}"
            )
    names = [name for name, entry in found.items() if (name in wanted if wanted else entry.readable)]
    if not names:
        raise RtvpError(
            f"expected the folder of at least one known set in {root}, found none: "
            "rtvp mmio sources tells what is looked for"
        )
    return {name: table[name] for name in sorted(names)}


def _convert(
    workers: Workers, root: Path, out: Path, sources: Mapping[str, Source], masks: bool
) -> tuple[list[SetRecord], list[Item]]:
    """The records of all sets, and their images as they can be read from the files they were written to."""
    records = workers.run("convert", convert_set, [(root, out, name, masks) for name in sources])
    items = [item for name in sources for item in read_coco_file(out / SOURCES_FOLDER / f"{name}.json").items]
    return records, items


def _fingerprint(
    workers: Workers, out: Path, folders: Mapping[str, Path], items: Sequence[Item]
) -> tuple[dict[str, Fingerprint], list[str]]:
    """What every image looks like, by key; and the files of the cache that say so."""
    calls = []
    keys: list[str] = []
    for source, folder in folders.items():
        own = [item for item in items if item.source == source]
        for start in range(0, len(own), CHUNK):
            chunk = own[start : start + CHUNK]
            keys += [item.key for item in chunk]
            calls.append((out, folder, [(item.file_name, item.sha256) for item in chunk]))
    chunks = workers.run("fingerprint", fingerprint_chunk, calls)
    looks = (
        look
        for name, (_, _, images) in zip(chunks, calls, strict=True)
        for look in read_fingerprints(out, name, images)
    )
    return dict(zip(keys, looks, strict=True)), chunks


def _match(
    cleaned: Cleaned,
    sources: Mapping[str, Source],
    folders: Mapping[str, Path],
    config: BuildConfig,
    embed: Embedder | None,
    image_text: ImageTextScorer | None,
    review: Review | None,
) -> Matching:
    pairs = {(item.source, annotation.name) for item in cleaned.items for annotation in item.annotations}
    return match(
        [RawName(set_, name, sources[set_].scene, sources[set_].super_category) for set_, name in pairs],
        taxonomy(),
        embed,
        image_text=image_text,
        crops=crop_defects(cleaned.items, folders) if image_text else None,
        review=review,
        threshold=config.matching.threshold,
    )


def _rename(items: Sequence[Item], matching: Matching) -> tuple[list[Item], list[str]]:
    """The images with categories for classes, and a note on boxes that two classes of one category shared."""
    renamed = []
    doubled: Counter[str] = Counter()
    for item in items:
        annotations: dict[tuple[str, object], Annotation] = {}
        for annotation in item.annotations:
            name = matching.category_of[item.source, annotation.name]
            annotations.setdefault((name, annotation.box_xyxy), replace(annotation, name=name))
        doubled[item.source] += len(item.annotations) - len(annotations)
        renamed.append(replace(item, annotations=tuple(annotations.values())))
    notes = [
        f"{source}: {count} box(es) had two classes of one category, and count once"
        for source, count in sorted(doubled.items())
        if count
    ]
    return renamed, notes


def _split(
    items: Sequence[Item],
    config: BuildConfig,
    embed: Embedder | None,
    scene_of: Mapping[str, str],
    near_pairs: Sequence[tuple[str, str]],
) -> tuple[list[Split], dict[str, str]]:
    """The splits that these images allow, and why there are no others."""
    shares = config.splits
    common: dict[str, Any] = {"seed": config.seed, "near_pairs": near_pairs}
    of_categories = {"unseen_share": shares.unseen_categories, **common}
    makers: dict[str, Callable[[], Split]] = {
        CLOSED: partial(closed_split, items, test_share=shares.closed_test_share, **common),
        CATEGORY: partial(category_split, items, **of_categories),
        SCENE: partial(scene_split, items, scene_of, unseen_share=shares.unseen_scenes, **common),
    }
    not_made = {}
    if embed is None:
        not_made[MEANING] = "it needs a text model"
    else:
        makers[MEANING] = partial(meaning_split, items, embed, max_cosine=shares.max_cosine, **of_categories)
    splits = []
    for name, make in makers.items():
        made = _attempt(make)
        if isinstance(made, Split):
            splits.append(made)
        else:
            not_made[name] = made
    return splits, not_made


def _attempt(make: Callable[[], Split]) -> Split | str:
    """A split, or why it cannot be made: a small build may have too few categories or scenes."""
    try:
        return make()
    except RtvpError as error:
        return str(error)


def _write(
    out: Path,
    sources: Mapping[str, Source],
    items: Sequence[Item],
    splits: Sequence[Split],
    report: BuildReport,
) -> str:
    """Write all that is not there yet, and then the manifest; returns its digest."""
    scene_of = {name: source.scene for name, source in sources.items()}
    super_of = {name: source.super_category for name, source in sources.items()}
    written = write_labels(out, items, splits, super_of)
    write_review(out / REVIEW_FILE, report.matching)
    stats = statistics(items, scene_of, super_of, taxonomy(), splits)
    write_text(out / STATISTICS_FILE, json.dumps(stats, indent=1, ensure_ascii=False) + "\n")
    write_text(out / REPORT_FILE, json_lines(report.to_json()))
    written += [REVIEW_FILE, STATISTICS_FILE, REPORT_FILE]
    written += [f"{SOURCES_FOLDER}/{name}.json" for name in sources]
    remove_leftovers(out, written)
    return write_manifest(out, written, report.config, items, splits)
