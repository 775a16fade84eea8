from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtvp.mmio.converters.box_list import convert_box_list

Write = Callable[..., Path]


def record(name: str, box: Any, category: Any = "三丝") -> dict[str, Any]:
    return {"name": name, "defect_name": category, "bbox": box}


def test_a_json_list_with_its_good_images(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    for name in ("defect_Images/a.jpg", "defect_Images/b.jpg", "defect_Images/c.jpg", "normal_Images/d.jpg"):
        write_image(name)
    records = [
        record("a.jpg", [10, 5.5, 30, 25]),
        record("b.jpg", [1, 2, 9, 9], "结头"),
        record("a.jpg", [0, 0, 5, 5]),
    ]
    write_text("Annotations/anno_train.json", json.dumps(records, ensure_ascii=False))
    options = {"table": "**/anno_train.json", "good_folders": ["normal_Images"]}
    conversion = convert_box_list(tmp_path, **options, names={"三丝": "three yarns", "结头": "knot"})
    read = {image.path.name: [(a.name, a.box_xyxy) for a in image.annotations] for image in conversion.images}
    assert read == {
        "a.jpg": [("three yarns", (10, 5.5, 30, 25)), ("three yarns", (0, 0, 5, 5))],
        "b.jpg": [("knot", (1, 2, 9, 9))],
        "d.jpg": [],
    }
    assert conversion.problems == {"image that no label names": 1}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("file,kind,x,y,w,h\r\na.jpg,dent,10,5,20,10\r\n", {"box": ["x", "y", "w", "h"]}),
        ('file,kind,box\na.jpg,dent,"[10, 5, 20, 10]"\n', {"box": "box"}),
        ("file,kind,box\na.jpg,dent,10 5 20 10\n", {"box": "box"}),
    ],
)
def test_csv_tables(
    tmp_path: Path, write_image: Write, write_text: Write, text: str, options: dict[str, Any]
) -> None:
    write_image("images/a.jpg")
    write_text("boxes.csv", text)
    conversion = convert_box_list(
        tmp_path, table="boxes.csv", image="file", category="kind", box_form="xywh", **options
    )
    assert [a.box_xyxy for a in conversion.images[0].annotations] == [(10, 5, 30, 15)]
    assert conversion.problems == {}


def test_faulty_records_are_reported(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    for name in "abc":
        write_image(f"{name}.jpg")
    records = [
        record("a.jpg", [1, 2, 9, 9]),
        record("b.jpg", [1, 2, float("nan"), 9]),
        record("b.jpg", [1, 2, 9, 9]),
        record("c.jpg", [1, 2, 9]),
        record("../../etc/passwd", [1, 2, 9, 9]),
        record("nosuch.jpg", [1, 2, 9, 9]),
        record("a.jpg", [1, 2, 30, 30], category=None),
    ]
    items = [json.dumps(item) for item in records] + ["17"]
    write_text("a.json", "[\n" + ",\n".join(items) + "\n]")
    conversion = convert_box_list(tmp_path, table="*.json")
    assert conversion.images == ()
    assert [line.split(" ")[0] for line in sorted(conversion.broken)] == [
        "a.json:3:",
        "a.json:5:",
        "a.json:6:",
        "a.json:8:",
        "a.json:9:",
    ]
    assert conversion.problems == {
        "image skipped: malformed box": 3,
        "label names a missing image": 1,
        "label names a path outside the folder": 1,
        "malformed box": 3,
        "malformed item of a label file ignored": 1,
    }


@pytest.mark.parametrize("text", ['[{"name": "a.jpg",\n', '{"name": "a.jpg"}', "[" * 100_000])
def test_cut_files_are_reported(tmp_path: Path, write_image: Write, write_text: Write, text: str) -> None:
    write_image("a.jpg")
    write_text("a.json", text)
    conversion = convert_box_list(tmp_path, table="a.json")
    assert conversion.images == ()
    assert conversion.problems["label file does not parse"] == 1
    assert conversion.broken[0].startswith("a.json:")
