from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from generated_items import coco_files
from hypothesis import given, settings
from PIL import Image

from rtvp.errors import RtvpError
from rtvp.files import sha256_of
from rtvp.mmio.check import check
from rtvp.mmio.coco_file import CocoFile, write_coco_file
from rtvp.mmio.findings import KINDS, Report

WriteImage = Callable[..., Path]
WriteText = Callable[[str, str], Path]


def image(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number}.png", "width": 100, "height": 50} | fields


def annotation(number: int = 1, **fields: Any) -> dict[str, Any]:
    entry = {"id": number, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400}
    return entry | {"iscrowd": 0} | fields


def document(**lists: Any) -> str:
    content = {
        "images": [image()],
        "annotations": [annotation()],
        "categories": [{"id": 1, "name": "dent"}],
    }
    return json.dumps(content | lists, indent=1)


def met(report: Report) -> dict[str, int]:
    """What was found, without the note that there are no images to look at."""
    return {kind: count for kind, count in report.counts.items() if kind != "images not checked"}


TWO_CLASSES = [{"id": 1, "name": "dent"}, {"id": 2, "name": "hole"}]


@pytest.mark.parametrize(
    ("kind", "lists"),
    [
        ("malformed entry", {"images": [image(), image(2, width=0)]}),
        ("malformed entry", {"images": [image(), image(2, width=10**9)]}),
        ("malformed entry", {"images": [image(), image(2, file_name="../2.png")]}),
        ("malformed entry", {"images": [image(), "2.png"]}),
        ("malformed entry", {"annotations": [annotation(), annotation(2, bbox=[1, 2, 3])]}),
        ("malformed entry", {"annotations": [annotation(), annotation(2, category_id="1")]}),
        ("id given twice", {"images": [image(), image(file_name="2.png")]}),
        ("id given twice", {"annotations": [annotation(), annotation(bbox=[1, 1, 9, 9])]}),
        ("id given twice", {"categories": [TWO_CLASSES[0], {"id": 1, "name": "hole"}]}),
        ("annotation id 0", {"annotations": [annotation(0)]}),
        ("ids from 0", {"images": [image(), image(0)]}),
        (
            "ids from 0",
            {"categories": [{"id": 0, "name": "dent"}], "annotations": [annotation(category_id=0)]},
        ),
        ("unknown image", {"annotations": [annotation(), annotation(2, image_id=7)]}),
        ("unknown class", {"annotations": [annotation(), annotation(2, category_id=7, bbox=[1, 1, 9, 9])]}),
        ("number is not finite", {"annotations": [annotation(), annotation(2, bbox=[1, math.nan, 9, 9])]}),
        ("number is not finite", {"annotations": [annotation(), annotation(2, bbox=[1, 1, math.inf, 9])]}),
        ("box without area", {"annotations": [annotation(), annotation(2, bbox=[1, 1, -9, 9])]}),
        ("box without area", {"annotations": [annotation(), annotation(2, bbox=[1, 1, 9, 0])]}),
        ("thin box", {"annotations": [annotation(), annotation(2, bbox=[1, 1, 0.98, 9])]}),
        ("box out of the image", {"annotations": [annotation(bbox=[90, 10, 10.6, 10])]}),
        ("box out of the image", {"annotations": [annotation(bbox=[10, -0.6, 10, 10])]}),
        ("duplicate box", {"annotations": [annotation(), annotation(2, bbox=[10.001, 10, 20, 20])]}),
        (
            "box of two classes",
            {"annotations": [annotation(), annotation(2, category_id=2)], "categories": TWO_CLASSES},
        ),
        ("class without boxes", {"categories": TWO_CLASSES}),
        ("image listed twice", {"images": [image(), image(2, file_name="1.png")]}),
        ("two images of one content", {"images": [image(sha256="ab"), image(2, sha256="ab")]}),
        ("wrong area", {"annotations": [annotation(area=-400)]}),
    ],
)
def test_every_fault_is_found_alone(write_text: WriteText, kind: str, lists: dict[str, Any]) -> None:
    path = write_text("coco.json", document(**lists))
    report = check([path], few_boxes=1)
    assert met(report) == {kind: 1}
    finding = next(finding for finding in report.findings if finding.kind == kind)
    assert finding.severity == KINDS[kind]
    assert finding.where.startswith(str(path)) and finding.detail
    assert (report.errors, report.warnings) == ((1, 1) if finding.severity == "error" else (0, 2))


def test_faults_are_named_by_their_line(write_text: WriteText) -> None:
    text = document(annotations=[annotation(), annotation(2, bbox=[1, 2, 3])])
    (finding, _) = check([write_text("coco.json", text)], few_boxes=1).findings
    line = text[: text.index('"id": 2')].count("\n")  # the brace before it
    assert finding.where.endswith(f"coco.json:{line}: annotations[1]")
    assert finding.detail == "bbox: List should have at least 4 items after validation, not 3, got [1, 2, 3]"


def test_a_side_of_one_pixel_may_be_rounded(write_text: WriteText) -> None:
    path = write_text("coco.json", document(annotations=[annotation(bbox=[1, 1, 0.99, 9])]))
    assert met(check([path], few_boxes=1)) == {}


def test_boxes_may_touch_the_edges_and_lie_in_two_images(write_text: WriteText) -> None:
    boxes = [annotation(1, bbox=[0, 0, 100.4, 50]), annotation(2, image_id=2, bbox=[0, 0, 100.4, 50])]
    path = write_text("coco.json", document(images=[image(), image(2)], annotations=boxes))
    assert met(check([path], few_boxes=2)) == {}
    assert met(check([path], few_boxes=3)) == {"class with few boxes": 1}


def test_fields_that_evaluations_need(write_text: WriteText) -> None:
    bare = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20]}
    report = check([write_text("coco.json", document(annotations=[bare]))], few_boxes=1)
    assert met(report) == {"field missing": 1}
    assert "id, area, iscrowd" in report.findings[0].detail


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ('{"images": [],\n "annotations": [', "2: expected a whole JSON object"),
        ("{}", "expected the lists categories, images, annotations"),
        ("", "1: expected a whole JSON object"),
    ],
)
def test_files_that_do_not_parse_are_findings(write_text: WriteText, text: str, detail: str) -> None:
    good = write_text("good.json", document())
    report = check([write_text("bad.json", text), good], few_boxes=1)
    assert met(report) == {"file does not parse": 1}
    assert detail in report.findings[0].detail
    assert [file.images for file in report.files] == [0, 1]


def test_what_stands_before_a_fault_is_checked_too(write_text: WriteText) -> None:
    report = check([write_text("bad.json", document(annotations=[annotation(0)])[:-30])], few_boxes=1)
    assert {"file does not parse", "annotation id 0"} <= set(report.counts)


def test_missing_files_are_findings_but_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    assert met(check([tmp_path / "none.json"])) == {"file does not parse": 1}
    with pytest.raises(RtvpError, match="expected the folder of the images"):
        check([], tmp_path / "none")


def test_images_on_disk(tmp_path: Path, write_image: WriteImage, write_text: WriteText) -> None:
    names = ("good.png", "cut.png", "cut.jpg", "text.png", "small.png", "changed.png", "turned.jpg")
    for name in names:
        write_image(f"set/{name}")
    for name in ("cut.png", "cut.jpg"):
        cut = tmp_path / "set" / name
        cut.write_bytes(cut.read_bytes()[:-40])
    (tmp_path / "set/text.png").write_text("no image")
    write_image("set/small.png", size=(50, 100))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: shown 50 x 100
    Image.new("RGB", (100, 50), "red").save(tmp_path / "set/turned.jpg", exif=exif)
    write_image("secret.png", pixels=[[1, 2], [3, 4]])
    (tmp_path / "set/link.png").symlink_to(tmp_path / "secret.png")
    hashes = {"good.png": sha256_of(tmp_path / "set/good.png"), "changed.png": "ab"}
    images = [
        image(number, file_name=name, sha256=hashes.get(name, ""))
        for number, name in enumerate((*names, "none.png", "link.png"), start=1)
    ]
    path = write_text("coco.json", document(images=images))
    report = check([path], tmp_path / "set", few_boxes=1, jobs=2)
    found = sorted((finding.kind, finding.where.rpartition(": ")[2]) for finding in report.findings)
    assert found == [
        ("changed image", "changed.png"),
        ("missing image", "link.png"),
        ("missing image", "none.png"),
        ("two images of one content", "changed.png"),  # as good.png
        ("unreadable image", "cut.jpg"),
        ("unreadable image", "cut.png"),
        ("unreadable image", "text.png"),
        ("wrong size", "small.png"),
        ("wrong size", "turned.jpg"),
    ]
    assert report == check([path], tmp_path / "set", few_boxes=1)
    assert report.files[0].images_opened == 9


@pytest.mark.parametrize("folder", ["", "images/"])
def test_images_beside_the_file_are_found(
    write_image: WriteImage, write_text: WriteText, folder: str
) -> None:
    write_image(f"{folder}1.png", size=(10, 10))
    report = check([write_text("coco.json", document())], few_boxes=1)
    assert report.counts == {"wrong size": 1}


def test_images_of_all_sets_are_found_below_their_sources(
    tmp_path: Path, write_image: WriteImage, write_text: WriteText
) -> None:
    write_image("root/tiles/1.png")
    path = write_text("coco.json", document(images=[image(source="tiles")]))
    assert check([path], tmp_path / "root", few_boxes=1).counts == {}


@pytest.mark.parametrize(
    ("first", "second", "leaks"),
    [
        ({"sha256": "ab"}, {"sha256": "ab", "file_name": "x.png"}, True),
        ({"sha256": "ab"}, {"sha256": "cd"}, False),  # one name, but not one image
        ({}, {"sha256": "cd"}, True),
        ({}, {}, True),
        ({}, {"file_name": "x.png"}, False),
        ({"source": "tiles"}, {"source": "wood"}, False),
    ],
)
def test_images_of_two_files(
    write_text: WriteText, first: dict[str, str], second: dict[str, str], leaks: bool
) -> None:
    train = write_text("train.json", document(images=[image(**first)]))
    test = write_text("test.json", document(images=[image(**second)]))
    report = check([train, test], few_boxes=1)
    assert met(report) == ({"image in two files": 1} if leaks else {})
    if leaks:
        assert str(test) in report.findings[0].where and str(train) in report.findings[0].detail


def test_copies_under_another_name_are_found_on_disk(
    tmp_path: Path, write_image: WriteImage, write_text: WriteText
) -> None:
    for name in ("1.png", "2.png"):
        write_image(name)
    train = write_text("train.json", document())
    test = write_text("test.json", document(images=[image(1, file_name="2.png")]))
    assert check([train, test], few_boxes=1).counts == {"image in two files": 1}


def test_reports_for_people_and_machines(write_text: WriteText) -> None:
    boxes = [annotation(number, bbox=[99, 10, 20, number]) for number in range(1, 8)]
    path = write_text("coco.json", document(annotations=boxes))
    report = check([path], limit=4)
    assert report.to_text(examples=2).splitlines() == [
        f"{path}: 1 images (0 looked for), 7 boxes, 1 classes",
        "error: box out of the image (7)",
        *(
            f"  {path}:{line}: 1.png: [99.0, 10.0, 20.0, {number}.0] reaches 19.0 px out of 100 x 50"
            for number, line in ((1, 11), (2, 24))
        ),
        "  and 5 more",
        "warning: class with few boxes (1)",
        f"  {path}: 'dent' has 7, fewer than 10",
        "warning: images not checked (1)",
        f"  {path}: expected them beside the file, found none: give their folder",
        "7 errors, 2 warnings",
    ]
    machine = json.loads(report.to_json())
    assert (machine["errors"], machine["warnings"]) == (7, 2)
    assert machine["counts"]["box out of the image"] == 7
    assert [finding["severity"] for finding in machine["findings"]] == ["error"] * 4 + ["warning"] * 2
    assert machine["files"][0] == {
        "path": str(path),
        "images": 1,
        "boxes": 7,
        "categories": 1,
        "images_opened": 0,
    }


@given(coco=coco_files(sources=("tiles", "wood")))
@settings(max_examples=20, deadline=None)
def test_what_the_builder_writes_has_no_errors(coco: CocoFile) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "coco.json")
        write_coco_file(path, coco.items, coco.categories, prefix_source=True)
        report = check([path])
        kinds = {finding.kind for finding in report.findings if finding.severity == "error"}
        assert report.errors == 0, kinds
        half = len(coco.items) // 2
        sides = [Path(folder, "train.json"), Path(folder, "test.json")]
        for side, items in zip(sides, (coco.items[:half], coco.items[half:]), strict=True):
            write_coco_file(side, items, coco.categories, prefix_source=True)
        assert check(sides).errors == 0
        assert check([*sides, path]).counts.get("image in two files", 0) == len(coco.items)
