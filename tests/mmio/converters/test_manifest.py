from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rtvp.mmio.converters.manifest import convert_manifest
from rtvp.mmio.rle import decode_counts, parse_counts

Write = Callable[..., Path]
GREEN, RED = "#23A436", "#d01010"


def segmented(image: str, mask: str, **more: Any) -> dict[str, Any]:
    colours = {
        "0": {"class-name": "BACKGROUND", "hex-color": "#ffffff"},
        "1": {"class-name": "cracked", "hex-color": GREEN},
        "2": {"class-name": "burnt", "hex-color": RED},
    }
    metadata = {"internal-color-map": colours, "type": "groundtruth/semantic-segmentation"}
    return {"source-ref": image, "mask-ref": mask, "mask-ref-metadata": metadata, **more}


def classified(image: str, name: str) -> dict[str, Any]:
    metadata = {"class-name": name, "type": "groundtruth/image-classification"}
    return {"source-ref": image, "label": int(name != "normal"), "label-metadata": metadata}


def boxed(image: str, *boxes: dict[str, Any]) -> dict[str, Any]:
    metadata = {"class-map": {"0": "dent"}, "type": "groundtruth/object-detection"}
    return {"source-ref": image, "boxes": {"annotations": boxes}, "boxes-metadata": metadata}


def lines(*records: dict[str, Any]) -> str:
    return "\n".join(json.dumps(record) for record in records) + "\n"


def save_palette_mask(path: Path) -> None:
    """As the labelling tool writes it: several entries of one colour that differ in opacity."""
    path.parent.mkdir(parents=True, exist_ok=True)
    index = np.zeros((50, 100), np.uint8)
    index[5:25, 10:30] = 1
    index[4, 10:30] = 2  # half transparent edge
    index[30:40, 50:70] = 3
    index[45, 90:95] = 3  # a speck
    image = Image.fromarray(index, mode="P")
    image.putpalette([0, 0, 0, 0x23, 0xA4, 0x36, 0x24, 0xA3, 0x36, 0xD0, 0x10, 0x10])
    image.save(path, transparency=bytes([0, 255, 120, 255]))


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/a.jpg", "masks/a.png"),
        ("s3://bucket/job/images/a.jpg", "s3://bucket/output/masks/a.png"),
    ],
)
def test_masks_by_the_colours_of_the_manifest(
    tmp_path: Path, write_image: Write, write_text: Write, image: str, mask: str
) -> None:
    path = write_image("set/images/a.jpg")
    save_palette_mask(tmp_path / "set/masks/a.png")
    write_text("set/manifests/out.manifest", lines(segmented(image, mask)))
    conversion = convert_manifest(tmp_path, names={"cracked": "crack"}, masks=True)
    (record,) = conversion.images
    assert record.path == path
    assert [(item.name, item.box_xyxy) for item in record.annotations] == [
        ("crack", (10, 4, 30, 25)),
        ("burnt", (50, 30, 70, 40)),
    ]
    assert conversion.problems == {"mask component under 9 pixels dropped": 1}
    counts = parse_counts(record.annotations[1].mask, (100, 50))
    assert decode_counts(counts, (100, 50)).sum() == 200
    exact = convert_manifest(tmp_path, tolerance=0).images[0].annotations
    assert exact[0].box_xyxy == (10, 5, 30, 25)


def test_boxes_and_good_images(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    for name in "abcdef":
        write_image(f"{name}.jpg")
    write_image("empty.png", np.zeros((50, 100)))
    box = {"class_id": 0, "left": 10, "top": 5, "width": 20, "height": 10}
    records = [
        boxed("a.jpg", box),
        boxed("b.jpg"),
        classified("c.jpg", "normal"),
        classified("d.jpg", "anomaly"),
        segmented("e.jpg", "empty.png"),
        {"source-ref": "f.jpg"},
    ]
    write_text("all.manifest", lines(*records))
    conversion = convert_manifest(tmp_path)
    read = {image.path.stem: [item.box_xyxy for item in image.annotations] for image in conversion.images}
    assert read == {"a": [(10, 5, 30, 15)], "b": [], "c": [], "e": []}
    assert conversion.problems == {"image skipped: no mask and no box, but not said to be good": 2}
    several = convert_manifest(tmp_path, good_classes=["normal", "anomaly"])
    assert len(several.images) == 5


def test_faulty_lines_and_masks_are_reported(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    for name in "abcde":
        write_image(f"{name}.jpg")
    write_image("mask.png", np.zeros((50, 100)))
    whole = (tmp_path / "mask.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    bad_box = {"class_id": 0, "left": 10, "top": float("nan"), "width": 20, "height": 10}
    bad_colour = segmented("e.jpg", "mask.png")
    bad_colour["mask-ref-metadata"]["internal-color-map"]["1"]["hex-color"] = "green"
    records = [
        boxed("a.jpg", bad_box),
        boxed("a.jpg", {"class_id": 4, "left": 1, "top": 1, "width": 9, "height": 9}),
        segmented("b.jpg", "nosuch.png"),
        segmented("c.jpg", "cut.png"),
        segmented("../../etc/passwd", "mask.png"),
        bad_colour,
        {"no-source": 1},
        classified("nosuch.jpg", "normal"),
        classified("d.jpg", "normal"),
    ]
    write_text("all.manifest", lines(*records) + '{"source-ref": "e.jp\n[1]\n' + "[" * 50_000 + "\n\n")
    conversion = convert_manifest(tmp_path)
    assert [image.path.name for image in conversion.images] == ["d.jpg"]
    assert sorted(line.split(" ")[0] for line in conversion.broken) == [
        "all.manifest:10:",
        "all.manifest:11:",
        "all.manifest:12:",
        "all.manifest:1:",
        "all.manifest:2:",
        "all.manifest:5:",
        "all.manifest:6:",
        "all.manifest:7:",
        "cut.png:",
    ]
    assert conversion.problems == {
        "image that no label names": 3,
        "image without mask": 1,
        "label line does not parse": 7,
        "label names a missing image": 2,
        "label names a path outside the folder": 1,
        "mask does not open": 1,
    }


def test_without_a_manifest(tmp_path: Path, write_image: Write) -> None:
    write_image("a.jpg")
    assert convert_manifest(tmp_path).problems == {
        "image that no label names": 1,
        "no annotation file found": 1,
    }
