"""One function per label layout that is written: a :class:`~rtvp.mmio.coco_file.CocoFile` in, a folder out.

A new layout is one new file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable

from rtvp.mmio.exporters.coco import export_coco
from rtvp.mmio.exporters.labelstudio import export_labelstudio
from rtvp.mmio.exporters.voc import export_voc
from rtvp.mmio.exporters.yolo import export_yolo

Exporter = Callable[..., None]  # (coco, out, images, *, copy_images, and options of its own)

EXPORTERS: dict[str, Exporter] = {
    "coco": export_coco,
    "labelstudio": export_labelstudio,
    "voc": export_voc,
    "yolo": export_yolo,
}
