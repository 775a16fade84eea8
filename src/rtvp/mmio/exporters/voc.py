"""Pascal VOC: one xml file per image in Annotations, the image of the same name in JPEGImages."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from rtvp.errors import RtvpError
from rtvp.mmio.coco_file import CocoFile
from rtvp.mmio.exporters.layout import copy_files, image_names, label_names, new_folder, write_text
from rtvp.mmio.schema import Item

# What XML 1.0 cannot hold, not even escaped, or changes on reading.
_NOT_IN_XML = re.compile("[\x00-\x1f\ufffe\uffff]")


def export_voc(coco: CocoFile, out: Path, images: Path | None = None, *, copy_images: bool = False) -> None:
    """Write Annotations/*.xml and the list ImageSets/Main/all.txt; a good image has an xml without objects.

    Corners are pixel edges, with up to 2 decimals and without the shift by 1 of the original set. Where
    images are not copied, lay or link their folder at ``out``/JPEGImages.

    Args:
        coco: the labelled images.
        out: a new or empty folder.
        images: folder of the images.
        copy_images: copy them to ``out``/JPEGImages.

    Raises:
        RtvpError: ``out`` holds files, two images would share an xml, a name has characters that XML cannot
            hold, or an image to copy is missing.
    """
    new_folder(out)
    names = image_names(coco)
    labels = label_names(names, ".xml")
    for text in (*map(str, names), *coco.categories):
        if _NOT_IN_XML.search(text):
            raise RtvpError(f"expected names that XML can hold, got {text!r}: rename it")
    if copy_images:
        copy_files(coco, images, [out / "JPEGImages" / name for name in names])
    for item, name, label in zip(coco.items, names, labels, strict=True):
        write_text(out / "Annotations" / label, _document(item, name))
    listed = "".join(f"{label.with_suffix('')}\n" for label in labels)
    write_text(out / "ImageSets" / "Main" / "all.txt", listed)


def _document(item: Item, name: PurePosixPath) -> str:
    root = Element("annotation")
    _add(root, folder=str(PurePosixPath("JPEGImages") / name.parent), filename=name.name)
    _add(SubElement(root, "size"), width=item.width, height=item.height, depth=3)
    _add(root, segmented=0)
    for annotation in item.annotations:
        entry = SubElement(root, "object")
        _add(entry, name=annotation.name, pose="Unspecified", truncated=0, difficult=0)
        corners = zip(("xmin", "ymin", "xmax", "ymax"), annotation.box_xyxy, strict=True)
        _add(SubElement(entry, "bndbox"), **{side: f"{round(edge, 2):.10g}" for side, edge in corners})
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _add(parent: Element, **texts: object) -> None:
    for tag, text in texts.items():
        SubElement(parent, tag).text = str(text)
