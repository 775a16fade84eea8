from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from defusedxml.ElementTree import parse
from generated_items import coco_files
from hypothesis import given, settings
from PIL import Image

from rtvp.errors import RtvpError
from rtvp.mmio.coco_file import CocoFile, read_coco_file
from rtvp.mmio.converters.coco import convert_coco
from rtvp.mmio.converters.voc import convert_voc
from rtvp.mmio.converters.yolo import convert_yolo
from rtvp.mmio.exporters import EXPORTERS
from rtvp.mmio.schema import Annotation, Conversion, Item

WriteImage = Callable[..., Path]

DENT = Annotation("dent, deep", (10, 5, 40.25, 25))
ITEM = Item("tiles", "a b/x,1.png", 100, 50, "", "tiles/g", (DENT,))
GOOD = Item("tiles", "good.png", 100, 50, "", "tiles/g2", ())
COCO = CocoFile((ITEM, GOOD), ("hole", "dent, deep"))


def draw_images(coco: CocoFile, folder: Path, *, by_key: bool = False) -> None:
    for item in coco.items:
        path = folder / (item.key if by_key else item.file_name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("1", (item.width, item.height)).save(path)


def assert_same(conversion: Conversion, coco: CocoFile, pictures: Path) -> None:
    """The same images by name and size, with the same names and boxes to 0.01 px, and no problem met."""
    assert conversion.problems == {}
    read = {record.path.relative_to(pictures).as_posix(): record for record in conversion.images}
    assert set(read) == {item.file_name for item in coco.items}
    for item in coco.items:
        record = read[item.file_name]
        assert (record.width, record.height) == (item.width, item.height)
        assert [found.name for found in record.annotations] == [known.name for known in item.annotations]
        for found, known in zip(record.annotations, item.annotations, strict=True):
            assert found.box_xyxy == pytest.approx(known.box_xyxy, abs=0.01)


@pytest.mark.parametrize(
    ("layout", "convert", "pictures"),
    [
        ("coco", convert_coco, "images"),
        ("voc", convert_voc, "JPEGImages"),
        ("yolo", convert_yolo, "images"),
    ],
)
@given(coco=coco_files())
@settings(max_examples=20, deadline=None)
def test_what_is_exported_is_converted_back(
    layout: str, convert: Callable[[Path], Conversion], pictures: str, coco: CocoFile
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        draw_images(coco, Path(folder, "in"))
        out = Path(folder, "out")
        EXPORTERS[layout](coco, out, Path(folder, "in"), copy_images=True)
        assert_same(convert(out), coco, out / pictures)


@given(coco=coco_files(sources=("tiles", "wood")))
@settings(max_examples=20, deadline=None)
def test_coco_is_read_back_as_it_was(coco: CocoFile) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        EXPORTERS["coco"](coco, out, None)
        assert read_coco_file(out / "annotations.json") == coco
        several = len({item.source for item in coco.items}) > 1
        written = json.loads((out / "annotations.json").read_text())["images"]
        assert [image["file_name"] for image in written] == [
            item.key if several else item.file_name for item in coco.items
        ]


@given(coco=coco_files())
@settings(max_examples=20, deadline=None)
def test_label_studio_tasks_hold_the_boxes_in_per_cent(coco: CocoFile) -> None:
    with tempfile.TemporaryDirectory() as folder:
        EXPORTERS["labelstudio"](coco, Path(folder, "out"), None)
        tasks = json.loads(Path(folder, "out", "tasks.json").read_text())
        interface = parse(Path(folder, "out", "labels.xml")).getroot()
    assert [label.get("value") for label in interface.iter("Label")] == list(coco.categories)
    assert len(tasks) == len(coco.items)
    for item, task in zip(coco.items, tasks, strict=True):
        assert parse_qs(urlsplit(task["data"]["image"]).query)["d"] == [item.file_name]
        (prediction,) = task["predictions"]
        assert len({region["id"] for region in prediction["result"]}) == len(item.annotations)
        for region, known in zip(prediction["result"], item.annotations, strict=True):
            assert region["value"]["rectanglelabels"] == [known.name]
            assert pixels(region) == pytest.approx(known.box_xyxy, abs=1e-6)


def pixels(region: dict[str, Any]) -> tuple[float, ...]:
    width, height = region["original_width"] / 100, region["original_height"] / 100
    value = region["value"]
    x, y = value["x"] * width, value["y"] * height
    return (x, y, x + value["width"] * width, y + value["height"] * height)


def test_the_yolo_files(tmp_path: Path) -> None:
    EXPORTERS["yolo"](COCO, tmp_path / "out", None)
    assert yaml.safe_load((tmp_path / "out/data.yaml").read_text()) == {
        "train": "images",
        "val": "images",
        "nc": 2,
        "names": {0: "hole", 1: "dent, deep"},
    }
    label = tmp_path / "out/labels/a b/x,1.txt"
    assert label.read_text() == "1 0.25125000 0.30000000 0.30250000 0.40000000\n"
    assert (tmp_path / "out/labels/good.txt").read_text() == ""


def test_yolo_labels_lie_where_trainers_look(tmp_path: Path) -> None:
    item = Item("tiles", "train/images/a.png", 10, 10, "", "tiles/a", ())
    EXPORTERS["yolo"](CocoFile((item,), ("hole",)), tmp_path / "out", None)
    assert (tmp_path / "out/images/train/labels/a.txt").is_file()


def test_the_voc_files(tmp_path: Path) -> None:
    EXPORTERS["voc"](COCO, tmp_path / "out", None)
    assert (tmp_path / "out/ImageSets/Main/all.txt").read_text() == "a b/x,1\ngood\n"
    root = parse(tmp_path / "out/Annotations/a b/x,1.xml").getroot()
    tags = ("folder", "filename", "size/width", "size/height", "object/name", "object/bndbox/xmax")
    assert [root.findtext(tag) for tag in tags] == [
        "JPEGImages/a b",
        "x,1.png",
        "100",
        "50",
        "dent, deep",
        "40.25",
    ]
    assert parse(tmp_path / "out/Annotations/good.xml").getroot().find("object") is None


@pytest.mark.parametrize("layout", EXPORTERS)
@pytest.mark.parametrize("by_key", [False, True])
def test_images_are_copied_when_asked_for(tmp_path: Path, layout: str, by_key: bool) -> None:
    draw_images(COCO, tmp_path / "in", by_key=by_key)
    EXPORTERS[layout](COCO, tmp_path / "out", tmp_path / "in", copy_images=True)
    copies = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    assert copies == {path.name: path.read_bytes() for path in (tmp_path / "in").rglob("*.png")}
    EXPORTERS[layout](COCO, tmp_path / "out2", tmp_path / "in")
    assert not list((tmp_path / "out2").rglob("*.png"))


@pytest.mark.parametrize("layout", EXPORTERS)
def test_two_exports_are_equal_to_the_byte(tmp_path: Path, layout: str) -> None:
    written = []
    for name in ("first", "second"):
        EXPORTERS[layout](COCO, tmp_path / name, None)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        written.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert written[0] == written[1] and written[0]


@pytest.mark.parametrize("layout", EXPORTERS)
def test_sources_keep_apart_what_bears_one_name(tmp_path: Path, layout: str) -> None:
    other = Item("wood", ITEM.file_name, 100, 50, "", "wood/g", ())
    coco = CocoFile((ITEM, other), COCO.categories)
    draw_images(coco, tmp_path / "in", by_key=True)
    EXPORTERS[layout](coco, tmp_path / "out", tmp_path / "in", copy_images=True)
    copies = sorted(path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.rglob("out/**/*.png"))
    assert [copy.partition("/")[2] for copy in copies] == [ITEM.key, other.key]


@pytest.mark.parametrize("layout", EXPORTERS)
@pytest.mark.parametrize(
    ("name", "message"),
    [("../x.png", "below the folder"), ("good.png", "tell them apart"), ("a\udcff.png", "UTF-8")],
)
def test_nothing_is_written_of_what_cannot_be_exported(
    tmp_path: Path, layout: str, name: str, message: str
) -> None:
    bad = Item("tiles", name, 10, 10, "", "tiles/x", ())
    with pytest.raises(RtvpError, match=message):
        EXPORTERS[layout](CocoFile((GOOD, bad), ()), tmp_path / "out", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layout", ["yolo", "voc"])
def test_images_that_differ_in_their_suffix_only_are_refused(tmp_path: Path, layout: str) -> None:
    twin = Item("tiles", "good.jpg", 10, 10, "", "tiles/x", ())
    with pytest.raises(RtvpError, match=r"good\.png and .*good\.jpg: rename one"):
        EXPORTERS[layout](CocoFile((GOOD, twin), ()), tmp_path / "out", None)
    assert list(tmp_path.iterdir()) == []


def test_names_that_xml_cannot_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match=r"XML can hold, got 'a\\x01'"):
        EXPORTERS["voc"](CocoFile((GOOD,), ("a\x01",)), tmp_path / "out", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layout", EXPORTERS)
def test_faulty_folders_are_named(tmp_path: Path, layout: str, write_text: Callable[..., Path]) -> None:
    export = EXPORTERS[layout]
    with pytest.raises(RtvpError, match="folder of the images to copy them from, got none"):
        export(COCO, tmp_path / "out", None, copy_images=True)
    with pytest.raises(RtvpError, match=r"expected the image a b/x,1\.png below"):
        export(COCO, tmp_path / "out", tmp_path, copy_images=True)
    assert list(tmp_path.iterdir()) == []
    write_text("full/a.txt", "old")
    with pytest.raises(RtvpError, match="new or empty folder"):
        export(COCO, tmp_path / "full", None)
    with pytest.raises(RtvpError, match="cannot write to"):
        export(COCO, tmp_path / "full" / "a.txt", None)


def test_links_that_leave_the_folder_of_images_are_not_followed(
    tmp_path: Path, write_image: WriteImage
) -> None:
    write_image("secret.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(RtvpError, match=r"expected the image good\.png"):
        EXPORTERS["coco"](CocoFile((GOOD,), ()), tmp_path / "out", tmp_path / "in", copy_images=True)
