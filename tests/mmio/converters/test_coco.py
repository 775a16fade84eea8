from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rtvp.mmio.converters.coco import convert_coco
from rtvp.mmio.rle import decode_counts, encode_mask, parse_counts
from rtvp.mmio.schema import Annotation

Write = Callable[..., Path]

SQUARES = [[10, 5, 20, 5, 20, 15, 10, 15], [40, 30, 60, 30, 60, 45, 40, 45]]


def image(image_id: int | str, file_name: str, **more: Any) -> dict[str, Any]:
    return {"id": image_id, "file_name": file_name, "width": 100, "height": 50, **more}


def defect(image_id: int | str, category_id: int | str = 1, **more: Any) -> dict[str, Any]:
    return {"id": 0, "image_id": image_id, "category_id": category_id, "bbox": [10, 5, 20, 10], **more}


def coco(images: list[Any], annotations: list[Any], *categories: tuple[int | str, str]) -> str:
    listed = [{"id": key, "name": name} for key, name in categories or [(1, "dent")]]
    return json.dumps({"annotations": annotations, "images": images, "categories": listed}, indent=0)


def test_ids_from_zero_with_gaps_or_as_texts_and_good_images(
    tmp_path: Path, write_image: Write, write_text: Write
) -> None:
    for name in "abc":
        write_image(f"{name}.jpg")
    annotations = [defect(0, 0), defect(0, 17, bbox=[0, 0, 100, 50]), defect("x", 0, area=-3.5)]
    images = [image(0, "a.jpg"), image("x", "b.jpg"), image(9, "c.jpg")]
    write_text("a.json", coco(images, annotations, (0, "Scratch"), (17, "hole")))
    conversion = convert_coco(tmp_path, names={"Scratch": "scratch"})
    assert [item.path.name for item in conversion.images] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [item.annotations for item in conversion.images] == [
        (Annotation("scratch", (10, 5, 30, 15)), Annotation("hole", (0, 0, 100, 50))),
        (Annotation("scratch", (10, 5, 30, 15)),),
        (),
    ]
    assert (conversion.problems, conversion.broken) == ({}, ())


def mask_of(*boxes: tuple[int, int, int, int]) -> Any:
    mask = np.zeros((50, 100), np.uint8)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] = 1
    return mask


def plain_counts(mask: Any) -> list[int]:
    return [int(count) for count in parse_counts(encode_mask(mask), (100, 50))]


@pytest.mark.parametrize(
    "segmentation",
    [
        SQUARES,
        {"size": [50, 100], "counts": plain_counts(mask_of((10, 5, 20, 15), (40, 30, 60, 45)))},
        {"size": [50, 100], "counts": encode_mask(mask_of((10, 5, 20, 15), (40, 30, 60, 45)))},
    ],
)
@pytest.mark.parametrize("box", [None, [], [10, 5, 0, 0], [10, 5, -4, 3]])
def test_the_segmentation_stands_in_for_a_box_without_area(
    tmp_path: Path, write_image: Write, write_text: Write, segmentation: Any, box: Any
) -> None:
    write_image("a.jpg")
    item = defect(1, segmentation=segmentation, bbox=box)
    write_text("a.json", coco([image(1, "a.jpg")], [item]))
    for masks in (False, True):
        (annotation,) = convert_coco(tmp_path, masks=masks).images[0].annotations
        assert annotation.box_xyxy == (10, 5, 60, 45)
        assert (annotation.mask is None) is (not masks)
    counts = parse_counts(annotation.mask, (100, 50))
    assert np.array_equal(decode_counts(counts, (100, 50)), mask_of((10, 5, 20, 15), (40, 30, 60, 45)))


def test_the_box_counts_where_it_has_an_area(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    write_image("a.jpg")
    write_text("a.json", coco([image(1, "a.jpg")], [defect(1, segmentation=SQUARES)]))
    (annotation,) = convert_coco(tmp_path, masks=True).images[0].annotations
    assert annotation.box_xyxy == (10, 5, 30, 15)
    assert annotation.mask is not None


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        [[]],
        [[1, 2, 3]],
        {"size": [50, 100], "counts": [5000]},
        {"counts": [5000]},
        7,
        [[1, float("inf")]],
    ],
)
def test_an_image_with_a_defect_that_lies_nowhere_is_left_out(
    tmp_path: Path, write_image: Write, write_text: Write, segmentation: Any
) -> None:
    write_image("a.jpg")
    write_text("a.json", coco([image(1, "a.jpg")], [defect(1, bbox=None, segmentation=segmentation)]))
    conversion = convert_coco(tmp_path)
    assert conversion.images == ()
    assert conversion.problems["image skipped: box without coordinates"] == 1
    assert conversion.broken[-1].startswith("a.json:3: expected 4 numbers in bbox")


def test_crowds_are_an_option(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    write_image("a.jpg")
    write_image("b.jpg")
    crowd = {"iscrowd": 1, "bbox": [0, 0, 90, 40]}
    annotations = [defect(1), defect(1, **crowd), defect(2, **crowd)]
    write_text("a.json", coco([image(1, "a.jpg"), image(2, "b.jpg")], annotations))
    conversion = convert_coco(tmp_path)
    assert [(item.path.name, len(item.annotations)) for item in conversion.images] == [("a.jpg", 1)]
    assert conversion.problems == {"crowd box dropped": 2, "image skipped: only crowd boxes": 1}
    assert [len(item.annotations) for item in convert_coco(tmp_path, crowds=True).images] == [2, 1]


def test_every_label_file_has_one_folder_of_images(
    tmp_path: Path, write_image: Write, write_text: Write
) -> None:
    # An image that is missing in train must not be taken from val, where its name means another picture.
    for name in ("data/train/1.jpg", "data/train/2.jpg", "data/val/1.jpg", "data/val/3.jpg"):
        write_image(name)
    train = [image(1, "1.jpg"), image(2, "2.jpg"), image(3, "3.jpg")]
    write_text("data/train/train.json", coco(train, [defect(index) for index in (1, 2, 3)]))
    write_text("data/val/val.json", coco([image(7, "1.jpg")], [defect(7, bbox=[1, 2, 30, 40])]))
    conversion = convert_coco(tmp_path)
    read = {item.path.relative_to(tmp_path).as_posix(): item.annotations for item in conversion.images}
    first = Annotation("dent", (10, 5, 30, 15))
    assert read == {
        "data/train/1.jpg": (first,),
        "data/train/2.jpg": (first,),
        "data/val/1.jpg": (Annotation("dent", (1, 2, 31, 42)),),
    }
    assert conversion.problems == {"label names a missing image": 1, "image without label file": 1}


@pytest.mark.parametrize(
    ("label", "entry", "options"),
    [
        ("annotations/instances_train2017.json", "1.jpg", {}),
        ("annotations/instances_train2017.json", "train2017/1.jpg", {}),
        ("annotations/instances_train2017.json", "../train2017/1.jpg", {}),
        ("annotations/instances_train2017.json", "train2017\\1.jpg", {}),
        ("all.json", "1.jpg", {"images": "train2017"}),
        ("train2017/deep/_annotations.coco.json", "../1.jpg", {}),
    ],
)
def test_where_images_are_found(
    tmp_path: Path, write_image: Write, write_text: Write, label: str, entry: str, options: dict[str, str]
) -> None:
    meant = write_image("train2017/1.jpg")
    write_image("other2017/1.jpg")
    write_text(label, coco([image(1, entry)], [defect(1)]))
    conversion = convert_coco(tmp_path, annotations=label, **options)
    assert [item.path for item in conversion.images] == [meant]
    assert conversion.problems == {"image without label file": 1}


def test_only_the_files_that_are_asked_for_are_read(
    tmp_path: Path, write_image: Write, write_text: Write
) -> None:
    write_image("a.jpg")
    write_text("damage.json", coco([image(1, "a.jpg")], [defect(1)]))
    write_text("parts.json", coco([image(1, "a.jpg")], [defect(1, 2)], (2, "door")))
    write_text("package.json", '{"name": "something else"}')
    (record,) = convert_coco(tmp_path, annotations=["damage.json"]).images
    assert [item.name for item in record.annotations] == ["dent"]
    everything = convert_coco(tmp_path)
    assert everything.problems == {"json file is not COCO": 1, "second label of an image ignored": 1}
    assert convert_coco(tmp_path, annotations="*.jsn").problems == {
        "image without label file": 1,
        "no annotation file found": 1,
    }


def test_faulty_items_are_reported_with_their_line(
    tmp_path: Path, write_image: Write, write_text: Write
) -> None:
    for name in "abcdefgh":
        write_image(f"{name}.jpg")
    images = [
        image(1, "a.jpg"),
        image(2, "b.jpg", width=10**9, height=10**9),
        image(3, "../../etc/passwd"),
        image(1, "c.jpg"),
        image(5, "d.jpg"),
        image(6, "e.jpg"),
        {"id": 7},
        "nonsense",
        image(8, "f.jpg", width=50),
    ]
    annotations = [
        defect(1, segmentation={"size": [50, 100], "counts": "zzz"}),
        defect(5, bbox=[10, 5, float("nan"), 10]),
        defect(6, 99),
        defect(77),
        {"image_id": 1, "bbox": [1, 2, 3, 4]},
        defect(8),
        defect(8, [1]),  # type: ignore[arg-type]
    ]
    lines = [json.dumps(item) for item in annotations]
    text = '{"annotations": [\n' + ",\n".join(lines) + '\n],\n"images": [\n'
    text += (
        ",\n".join(json.dumps(item) for item in images) + '\n],\n"categories": [{"id": 1, "name": "dent"}]}'
    )
    write_text("a.json", text)
    conversion = convert_coco(tmp_path, masks=True)
    assert [item.path.name for item in conversion.images] == ["a.jpg", "f.jpg"]
    assert [line.split(" ")[0] for line in sorted(conversion.broken)] == [
        "a.json:12:",  # absurd size
        "a.json:13:",  # leaves the folder
        "a.json:14:",  # id again
        "a.json:17:",  # no file_name
        "a.json:18:",  # no object
        "a.json:2:",  # run lengths
        "a.json:3:",  # NaN
        "a.json:4:",  # no such category
        "a.json:5:",  # no such image
        "a.json:6:",  # no category
        "a.json:8:",  # id that is no id
    ]
    assert conversion.problems == {
        "box of an unknown image": 1,
        "declared size is not that of the image": 1,
        "image skipped: absurd declared size": 1,
        "image skipped: malformed box": 1,
        "image skipped: undefined class id": 1,
        "image without label file": 3,
        "label names a path outside the folder": 1,
        "malformed box": 1,
        "malformed item of a label file ignored": 5,
        "malformed segmentation": 1,
    }


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (coco([image(1, "a.jpg")], [defect(1)])[:-60], "a.json:"),
        ("", "a.json:1:"),
        ("[1, 2]", "a.json:1:"),
        ('{"images": [\n' + "[" * 100_000, "a.json:2:"),
        ('{"images": [],\r\n"annotations": [\r\n{"id": 1,\r\n}]}', "a.json:4:"),
        ('{"images": [],\r"annotations": [\r{"id": 1,\r}]}', "a.json:4:"),
    ],
)
def test_files_that_do_not_parse_give_nothing(
    tmp_path: Path, write_image: Write, text: str, place: str
) -> None:
    write_image("a.jpg")
    (tmp_path / "a.json").write_bytes(text.encode())
    conversion = convert_coco(tmp_path)
    assert conversion.images == ()
    assert conversion.problems == {"image without label file": 1, "label file does not parse": 1}
    (line,) = conversion.broken
    assert line.startswith(place) and "expected json" in line


def test_a_file_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes('{"images": [],\n"annotations": "é"}'.encode("latin-1"))
    assert convert_coco(tmp_path).broken == ("a.json:2: expected UTF-8 text, got the byte 0xe9",)


@given(st.lists(st.tuples(*[st.floats(-20, 120)] * 4), max_size=8))
@settings(max_examples=30, deadline=None)
def test_boxes_come_back_as_they_were_written(boxes: list[tuple[float, float, float, float]]) -> None:
    whole = {(min(a, c), min(b, d), max(a, c) + 2, max(b, d) + 2) for a, b, c, d in boxes}
    inside = [box for box in sorted(whole) if min(box) >= 0 and box[2] <= 200 and box[3] <= 200]
    annotations = [defect(0, bbox=[x1, y1, x2 - x1, y2 - y1]) for x1, y1, x2, y2 in inside]
    with tempfile.TemporaryDirectory() as folder:
        Image.new("1", (200, 200)).save(Path(folder, "a.png"))
        Path(folder, "a.json").write_text(coco([image(0, "a.png", width=200, height=200)], annotations))
        conversion = convert_coco(Path(folder))
    read = [item.box_xyxy for item in conversion.images[0].annotations]
    assert len(read) == len(inside)
    for got, expected in zip(read, inside, strict=True):
        assert got == pytest.approx(expected, abs=1e-9)
    assert conversion.problems == {}
