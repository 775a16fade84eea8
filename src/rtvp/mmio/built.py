"""A finished build, read back from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rtvp.errors import RtvpError
from rtvp.mmio.build_output import ANNOTATIONS_FOLDER, MANIFEST_FILE, REPORT_FILE, SPLITS_FOLDER
from rtvp.mmio.coco_file import read_coco_file
from rtvp.mmio.schema import Item
from rtvp.mmio.sources import source_table
from rtvp.mmio.split_file import read_split
from rtvp.mmio.splits import Split


@dataclass(frozen=True, slots=True)
class Built:
    """A benchmark.

    Attributes:
        items: its images.
        splits: by name.
        near_pairs: keys of images of it that nearly show the same.
        scene_of: source -> scene.
        super_category_of: source -> super-category.
    """

    items: tuple[Item, ...]
    splits: Mapping[str, Split]
    near_pairs: tuple[tuple[str, str], ...]
    scene_of: Mapping[str, str]
    super_category_of: Mapping[str, str]


def read_build(folder: Path) -> Built:
    """Read what `rtvp.mmio.build.build` left in ``folder``.

    Raises:
        RtvpError: there is no finished build, or a file of it is damaged.
    """
    if not (folder / MANIFEST_FILE).is_file():
        raise RtvpError(
            f"expected a finished build in {folder}, found no {MANIFEST_FILE}: make one with rtvp mmio build"
        )
    items = read_coco_file(folder / ANNOTATIONS_FOLDER / "all.json").items
    splits = [read_split(path) for path in sorted((folder / SPLITS_FOLDER).glob("*.json"))]
    kept = {item.key for item in items}
    known = source_table()
    sources = sorted({item.source for item in items})
    return Built(
        items,
        {split.name: split for split in splits},
        tuple(pair for pair in _near_pairs(folder / REPORT_FILE) if kept.issuperset(pair)),
        {name: known[name].scene for name in sources},
        {name: known[name].super_category for name in sources},
    )


def _near_pairs(path: Path) -> list[tuple[str, str]]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return [(near["one"], near["other"]) for near in report["near_duplicates"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RtvpError(f"{path}: expected the report of a build ({error}): build again") from error
