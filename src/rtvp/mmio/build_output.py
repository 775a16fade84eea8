"""The folder of a build: its files, and the manifest that proves them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rtvp.errors import RtvpError
from rtvp.files import replacing, sha256_of
from rtvp.mmio.build_cache import CACHE_FOLDER, SOURCES_FOLDER
from rtvp.mmio.build_config import BuildConfig
from rtvp.mmio.coco_file import write_coco_file
from rtvp.mmio.schema import Item
from rtvp.mmio.split_file import write_split
from rtvp.mmio.splits import Side, Split

ANNOTATIONS_FOLDER = "annotations"
SPLITS_FOLDER = "splits"
ALL_FILE = f"{ANNOTATIONS_FOLDER}/all.json"
MANIFEST_FILE = "manifest.json"
REPORT_FILE = "report.json"
STATISTICS_FILE = "stats.json"
REVIEW_FILE = "review.yaml"

_SIDES: tuple[Side, ...] = ("train", "test")


def open_output(out: Path, folders: Mapping[str, Path]) -> None:
    """Make sure that a build may write to ``out``, and take back the manifest of an earlier one.

    Args:
        out: the folder.
        folders: set -> its folder.

    Raises:
        RtvpError: ``out`` holds something else, or lies in the folder of a set.
    """
    if out.exists() and not out.is_dir():
        raise RtvpError(f"expected a folder for the build, got the file {out}")
    if out.is_dir() and any(out.iterdir()) and not (out / CACHE_FOLDER).is_dir():
        raise RtvpError(f"expected a new folder or that of an earlier build, but {out} holds other files")
    for name, folder in folders.items():
        if out.resolve().is_relative_to(folder.resolve()):
            raise RtvpError(f"expected a folder outside of the sets, but {out} lies in that of {name}")
    (out / CACHE_FOLDER).mkdir(parents=True, exist_ok=True)
    # From here on it would not be true.
    (out / MANIFEST_FILE).unlink(missing_ok=True)


def split_files(split: Split) -> dict[Side, str]:
    """The label files of a split, below the folder of the build."""
    name = split.name.replace("/", "_").replace("-", "_")
    return {side: f"{ANNOTATIONS_FOLDER}/{name}_{side}.json" for side in _SIDES}


def write_labels(
    out: Path, items: Sequence[Item], splits: Sequence[Split], super_category_of: Mapping[str, str]
) -> list[str]:
    """Write the benchmark and every split of it, with the same categories in each file.

    Args:
        out: folder of the build.
        items: images of the benchmark.
        splits: of them.
        super_category_of: set -> super-category.

    Returns:
        The files, below ``out``.
    """
    above = _super_categories(items, super_category_of)
    categories = sorted(above)

    def write(name: str, described: str, chosen: Iterable[Item]) -> None:
        write_coco_file(
            out / name,
            chosen,
            categories,
            supercategories=above,
            info={"description": described},
            prefix_source=True,
        )

    write(ALL_FILE, "MMIO: all images", items)
    written = [ALL_FILE]
    for split in splits:
        for side, name in split_files(split).items():
            chosen = [item for item in items if split.sides.get(item.key) == side]
            write(name, f"MMIO: {split.name}, {side}", chosen)
            written.append(name)
        manifest = f"{SPLITS_FOLDER}/{split.name.replace('/', '_').replace('-', '_')}.json"
        write_split(out / manifest, split, items)
        written.append(manifest)
    return written


def _super_categories(items: Iterable[Item], super_category_of: Mapping[str, str]) -> dict[str, str]:
    """The super-category of each category: the one with most of its boxes."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        for annotation in item.annotations:
            counts[annotation.name][super_category_of[item.source]] += 1
    return {name: min(count, key=lambda above: (-count[above], above)) for name, count in counts.items()}


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def remove_leftovers(out: Path, written: Iterable[str]) -> None:
    """Delete what an earlier or a killed build left in the folders of the build."""
    current = {out / name for name in written}
    for folder in (SOURCES_FOLDER, ANNOTATIONS_FOLDER, SPLITS_FOLDER):
        for path in (out / folder).glob("*.json*"):
            if path not in current:
                path.unlink()
    for path in (*out.glob("*.part"), *(out / CACHE_FOLDER).rglob("*.part")):
        path.unlink()


def write_manifest(
    out: Path, written: Iterable[str], config: BuildConfig, items: Iterable[Item], splits: Sequence[Split]
) -> str:
    """Write the digest of every file, and the content and the sides of every image.

    Returns:
        The digest of all digests.
    """
    files = {name: sha256_of(out / name) for name in sorted(written)}
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    head = {
        "digest": digest,
        "digest_of": "the SHA-256 of the JSON of `files`, keys sorted, with ', ' and ': ' between entries",
        "config": config.model_dump(mode="json"),
        "files": files,
    }
    with (
        replacing(out / MANIFEST_FILE) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.write(json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}") + ',\n "images": [')
        for number, item in enumerate(sorted(items, key=lambda item: item.key)):
            sides = {split.name: split.sides[item.key] for split in splits if item.key in split.sides}
            row = {"source": item.source, "file_name": item.file_name, "sha256": item.sha256, "splits": sides}
            file.write(("," if number else "") + "\n  " + json.dumps(row, ensure_ascii=False))
        file.write("\n ]\n}\n")
    return digest
