"""Finds what would break training or falsify an evaluation later, in COCO files of any origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rtvp.errors import RtvpError
from rtvp.mmio.check_images import check_duplicates, check_images, find_images_folder
from rtvp.mmio.check_labels import check_labels
from rtvp.mmio.findings import CheckedFile, Findings, Report

__all__ = ["Report", "check"]


def check(
    paths: Sequence[Path],
    images: Path | None = None,
    *,
    few_boxes: int = 10,
    limit: int = 100,
    jobs: int = 1,
) -> Report:
    """Check COCO files, their images, and, where several are given, that no image is in two of them.

    Args:
        paths: the files; several are taken for the sides of a split.
        images: folder that their file names start from, of the set or of all sets. None: the folder of each
            file, or ``images`` in it; where none of its images is there, they are not checked.
        few_boxes: classes with fewer boxes than this are noted.
        limit: findings of a kind that are kept; the others are only counted.
        jobs: images that are decoded at once.

    Raises:
        RtvpError: ``images`` is no folder. Files that cannot be read are findings.
    """
    if images is not None and not images.is_dir():
        raise RtvpError(f"expected the folder of the images at {images}, found none: check the path")
    findings = Findings(limit)
    files = [check_labels(path, findings, few_boxes) for path in paths]
    hashes: list[Mapping[int, str]] = []
    checked = []
    for file in files:
        folder = images or find_images_folder(file)
        if folder is not None:
            hashes.append(check_images(file, folder, findings, jobs))
        else:
            hashes.append({})
            if file.images:
                detail = "expected them beside the file, found none: give their folder"
                findings.add("images not checked", str(file.path), detail)
        opened = len(file.images) if folder is not None else 0
        counts = (len(file.images), file.boxes, len(file.categories))
        checked.append(CheckedFile(str(file.path), *counts, opened))
    check_duplicates(files, hashes, findings)
    return findings.report(tuple(checked))
