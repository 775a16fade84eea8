"""COCO: annotations.json, with file names below the folder ``images``."""

from __future__ import annotations

from pathlib import Path

from rtvp.mmio.coco_file import CocoFile, write_coco_file
from rtvp.mmio.exporters.layout import copy_files, image_names, new_folder


def export_coco(coco: CocoFile, out: Path, images: Path | None = None, *, copy_images: bool = False) -> None:
    """Write annotations.json; the names of files of several sources start with their source.

    Args:
        coco: the labelled images.
        out: a new or empty folder.
        images: folder of the images.
        copy_images: copy them to ``out``/images.

    Raises:
        RtvpError: ``out`` holds files, two images have one name, or an image to copy is missing.
    """
    new_folder(out)
    names = image_names(coco)
    if copy_images:
        copy_files(coco, images, [out / "images" / name for name in names])
    write_coco_file(
        out / "annotations.json",
        coco.items,
        coco.categories,
        supercategories=coco.supercategories,
        prefix_source=len({item.source for item in coco.items}) > 1,
    )
