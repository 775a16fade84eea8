"""Which images show the same thing. What shares a group must stay on one side of a split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

GroupRule = Literal[
    "stem",
    "folder",
    "folder_stem",
    "roboflow",
    "video",
    "mvtec_number",
    "pcb_pair",
    "board",
    "exposure_series",
]

# Exposures of one magnetic tile have rising capture numbers; measured gaps are under 360 inside a series.
_SERIES_GAP = 400

_CLASS_NUMBER = re.compile(r"([A-Za-z]+(?:_[A-Za-z]+)*)_(\d+)$")
_MIRRORING = re.compile(r"^(?:(?:[hv]?flipped|mirrored)_)+")
_ROBOFLOW_SUFFIX = re.compile(r"(?:\.rf\.[0-9a-f]+|_[0-9a-f]{32})$")
_VIDEO_FRAME = re.compile(r"(?:_\d+_mp4-\d+|(_vid)\d+)(?:_jpe?g|_png)*$")


def split_class_number(stem: str) -> tuple[str, str] | None:
    """Class and number at the end of a file name, without the augmentations named in front of them.

    ``rotated_30_thread_side_13`` and ``hflipped_thread_side_13`` both give ``("thread_side", "13")``; None
    where a name does not end in a class and a number.
    """
    match = _CLASS_NUMBER.search(stem)
    return (_MIRRORING.sub("", match[1]), match[2]) if match else None


def group_of(path: Path, rule: GroupRule) -> str:
    """The group of one image by its path.

    Rules:
        stem: the file name without its extension.
        folder: the folder that holds the image (one physical part per folder).
        folder_stem: folder and file name (names count from 0 in every folder).
        roboflow: the name before the export's own suffix, ``.rf.<hash>`` or ``_<hash>``.
        video: as roboflow, and without the number of the frame.
        mvtec_number: class and number at the end, whatever augmentation stands in front of them.
        pcb_pair: the name without ``_test`` or ``_temp`` (a board and its template).
        board: what stands before the first ``_`` (one bare circuit board, photographed with many defects).
        exposure_series: needs the other images: see :func:`assign_groups`; the stem here.
    """
    stem = path.stem
    if rule == "folder":
        return path.parent.name
    if rule == "folder_stem":
        return f"{path.parent.name}/{stem}"
    if rule == "roboflow":
        return _ROBOFLOW_SUFFIX.sub("", stem)
    if rule == "video":
        return _VIDEO_FRAME.sub(r"\1", _ROBOFLOW_SUFFIX.sub("", stem))
    if rule == "mvtec_number":
        return "_".join(split_class_number(stem) or (stem,))
    if rule == "board":
        return stem.partition("_")[0]
    if rule == "pcb_pair":
        return stem.removesuffix("_test").removesuffix("_temp")
    return stem


def assign_groups(paths: Sequence[Path], rule: GroupRule) -> dict[Path, str]:
    """The group of every path.

    ``exposure_series`` chains images whose numbers at the end of the name (``exp3_num_54291``) are at most
    400 apart: exposures of one part are taken one after the other, and are filed by defect.
    """
    if rule != "exposure_series":
        return {path: group_of(path, rule) for path in paths}
    groups: dict[Path, str] = {}
    numbered = sorted((int(parts[1]), path) for path in paths if (parts := split_class_number(path.stem)))
    start, last = -1, -_SERIES_GAP - 1
    for number, path in numbered:
        if number - last > _SERIES_GAP:
            start = number
        groups[path] = f"series_{start}"
        last = number
    return {path: groups.get(path, path.stem) for path in paths}
