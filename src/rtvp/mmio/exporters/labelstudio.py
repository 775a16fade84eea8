"""Label Studio: tasks with their boxes as predictions, to be corrected by people."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from rtvp.files import replacing
from rtvp.mmio.coco_file import CocoFile
from rtvp.mmio.exporters.layout import copy_files, image_names, new_folder, write_text
from rtvp.mmio.schema import Item

LOCAL_FILES = "/data/local-files/?d="  # where Label Studio serves the files of the machine it runs on


def export_labelstudio(
    coco: CocoFile,
    out: Path,
    images: Path | None = None,
    *,
    copy_images: bool = False,
    url_prefix: str = LOCAL_FILES,
) -> None:
    """Write tasks.json to import, and labels.xml, the labelling interface of the project to import it into.

    Args:
        coco: the labelled images.
        out: a new or empty folder.
        images: folder of the images.
        copy_images: copy them to ``out``/images.
        url_prefix: what stands before the escaped path of an image. The default needs Label Studio to be
            started with its local files' document root at the folder of the images.

    Raises:
        RtvpError: ``out`` holds files, two images have one name, or an image to copy is missing.
    """
    new_folder(out)
    names = image_names(coco)
    if copy_images:
        copy_files(coco, images, [out / "images" / name for name in names])
    with (
        replacing(out / "tasks.json") as temporary,
        temporary.open("w", encoding="ascii", newline="\n") as file,
    ):
        before = "[\n"
        for item, name in zip(coco.items, names, strict=True):
            file.write(before + json.dumps(_task(item, name, url_prefix)))
            before = ",\n"
        file.write("\n]\n" if coco.items else "[]\n")
    write_text(out / "labels.xml", _interface(coco.categories))


def _task(item: Item, name: PurePosixPath, url_prefix: str) -> dict[str, Any]:
    boxes = [_region(index, item) for index in range(len(item.annotations))]
    return {
        "data": {"image": url_prefix + quote(str(name)), "key": item.key},
        "predictions": [{"model_version": "labels", "result": boxes}],
    }


def _region(index: int, item: Item) -> dict[str, Any]:
    """A box, left, top, width and height in per cent of the image."""
    annotation = item.annotations[index]
    x1, y1, x2, y2 = annotation.box_xyxy
    return {
        "id": f"box{index + 1}",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": item.width,
        "original_height": item.height,
        "image_rotation": 0,
        "value": {
            "x": 100 * x1 / item.width,
            "y": 100 * y1 / item.height,
            "width": 100 * (x2 - x1) / item.width,
            "height": 100 * (y2 - y1) / item.height,
            "rotation": 0,
            "rectanglelabels": [annotation.name],
        },
    }


def _interface(categories: tuple[str, ...]) -> str:
    view = Element("View")
    SubElement(view, "Image", name="image", value="$image")
    labels = SubElement(view, "RectangleLabels", name="label", toName="image")
    for category in categories:
        SubElement(labels, "Label", value=category)
    indent(view)
    return tostring(view, encoding="unicode") + "\n"
