"""YOLO txt: data.yaml, and beside the folder ``images`` a folder ``labels`` of the same shape."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import yaml

from rtvp.mmio.coco_file import CocoFile
from rtvp.mmio.exporters.layout import copy_files, image_names, label_names, new_folder, write_text
from rtvp.mmio.schema import Item


def export_yolo(coco: CocoFile, out: Path, images: Path | None = None, *, copy_images: bool = False) -> None:
    """Write data.yaml and one label file an image; an empty one for a good image.

    A line is the class id and the box's centre and size as shares of the image. Where images are not copied,
    lay or link their folder at ``out``/images.

    Args:
        coco: the labelled images.
        out: a new or empty folder.
        images: folder of the images.
        copy_images: copy them to ``out``/images.

    Raises:
        RtvpError: ``out`` holds files, two images would share a label file, or an image to copy is missing.
    """
    new_folder(out)
    pictures = [PurePosixPath("images") / name for name in image_names(coco)]
    labels = label_names([_in_labels_folder(picture) for picture in pictures], ".txt")
    if copy_images:
        copy_files(coco, images, [out / picture for picture in pictures])
    ids = {name: number for number, name in enumerate(coco.categories)}
    for item, label in zip(coco.items, labels, strict=True):
        write_text(out / label, _lines(item, ids))
    # Without `path` the folders are looked for beside the file; trainers insist on both keys.
    content = {"train": "images", "val": "images", "nc": len(ids), "names": dict(enumerate(coco.categories))}
    write_text(out / "data.yaml", yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def _in_labels_folder(picture: PurePosixPath) -> PurePosixPath:
    """``picture`` with its last folder called images replaced by labels, as trainers look labels up."""
    parts = list(picture.parts)
    last = max(index for index, part in enumerate(parts[:-1]) if part == "images")
    parts[last] = "labels"
    return PurePosixPath(*parts)


def _lines(item: Item, ids: dict[str, int]) -> str:
    lines = []
    for annotation in item.annotations:
        x1, y1, x2, y2 = annotation.box_xyxy
        shares = (
            (x1 + x2) / 2 / item.width,
            (y1 + y2) / 2 / item.height,
            (x2 - x1) / item.width,
            (y2 - y1) / item.height,
        )
        lines.append(f"{ids[annotation.name]} " + " ".join(f"{share:.8f}" for share in shares) + "\n")
    return "".join(lines)
