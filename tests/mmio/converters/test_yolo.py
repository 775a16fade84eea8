from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rtvp.errors import RtvpError
from rtvp.mmio.converters.yolo import convert_yolo
from rtvp.mmio.rle import decode_counts, parse_counts
from rtvp.mmio.schema import Annotation

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("line", "box"),
    [
        ("0 0.5 0.5 0.2 0.4", (40, 15, 60, 35)),
        ("0 0.1 0.2 0.3 0.2 0.3 0.6", (10, 10, 30, 30)),  # triangle
        ("0 0.2 0.1 0.4 0.3 0.3 0.5 0.1 0.2", (10, 5, 40, 25)),  # four corners of a turned box
        ("0.0\t0.5 0.5 1 1", (0, 0, 100, 50)),
        ("0 0.95 0.5 0.2 0.4", (85, 15, 100, 35)),  # reaches over the right edge
    ],
)
def test_every_kind_of_line(
    tmp_path: Path, write_image: Write, write_text: Write, line: str, box: tuple[float, ...]
) -> None:
    write_image("a.png")
    write_text("a.txt", line + "\n\n")
    (annotation,) = convert_yolo(tmp_path, classes=["dent"]).images[0].annotations
    assert annotation.name == "dent"
    assert annotation.box_xyxy == pytest.approx(box)


def test_roboflow_layout_with_mixed_lines_and_names_of_the_yaml(
    tmp_path: Path, write_image: Write, write_text: Write
) -> None:
    first = write_image("train/images/a_jpg.rf.0a1b.jpg")
    second = write_image("valid/images/b_jpg.rf.2c3d.jpg", size=(10, 10))
    write_text("train/labels/a_jpg.rf.0a1b.txt", "1 0.5 0.5 0.2 0.4\n0 0.1 0.2 0.3 0.2 0.3 0.6\n")
    write_text("valid/labels/b_jpg.rf.2c3d.txt", "")
    write_text("data.yaml", "train: /home/somebody/elsewhere\nnc: 2\nnames: [Hole, Knot]\n")
    conversion = convert_yolo(tmp_path, names={"Hole": "hole"}, group_rule="roboflow")
    assert [item.path for item in conversion.images] == [first, second]
    assert [item.name for item in conversion.images[0].annotations] == ["Knot", "hole"]
    assert [item.group for item in conversion.images] == ["a_jpg", "b_jpg"]
    assert conversion.images[1].annotations == ()
    assert conversion.problems == {}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("deep/er/any.yml", "names: {0: dent, 4: hole}"),
        ("data.yaml", "names:\n  0: dent\n  4: hole\n"),
        ("classes.txt", "dent\na\nb\nc\nhole\n"),
    ],
)
def test_where_names_are_found(
    tmp_path: Path, write_image: Write, write_text: Write, file: str, text: str
) -> None:
    write_image("a.png")
    write_text("a.txt", "4 0.5 0.5 0.2 0.4")
    write_text(file, text)
    assert convert_yolo(tmp_path).images[0].annotations[0].name == "hole"


def test_images_and_labels_folders_may_hold_splits(
    tmp_path: Path, write_image: Write, write_text: Write
) -> None:
    write_image("images/Dataset/images/train/0001.JPEG")
    write_text("images/Dataset/labels/train/0001.txt", "0 0.5 0.5 0.2 0.4")
    conversion = convert_yolo(tmp_path / "images", classes=["dent"])
    assert len(conversion.images) == 1
    assert conversion.problems == {}


def test_faulty_labels_are_counted_and_skipped(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    labels = {
        "a": "0 0.5 0.5 0.2 0.4\n2 0.5 0.5 0.2 0.4",  # undefined id
        "b": "0 0.5 0.5 0.2",
        "c": "0 0.5 0.5 nan 0.4",
        "d": "0.5 0.5 0.5 0.2 0.4",
        "e": "dent 0.5 0.5 0.2 0.4",
        "f": "0 0.5 0.5 0 0",
    }
    for name, text in labels.items():
        write_image(f"images/{name}.png")
        write_text(f"labels/{name}.txt", text)
    write_image("images/unlabelled.png")
    write_text("labels/orphan.txt", "0 0.5 0.5 0.2 0.4")
    write_text("README.txt", "This set was exported by somebody.")
    conversion = convert_yolo(tmp_path, classes=["dent", "hole"])
    assert conversion.images == ()
    assert conversion.problems == {
        "degenerate box dropped": 1,
        "image skipped: malformed label line": 4,
        "image skipped: none of its boxes is usable": 1,
        "image skipped: undefined class id": 1,
        "image without label file": 1,
        "label names a missing image": 1,
    }


def test_ids_may_start_elsewhere(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    for index in range(3):
        write_image(f"{index}.png")
        write_text(f"{index}.txt", f"{index} 0.5 0.5 0.2 0.4")
    conversion = convert_yolo(tmp_path, classes=["cut", "hole"], first_id=1)
    assert [image.annotations[0].name for image in conversion.images] == ["cut", "hole"]
    assert conversion.problems == {"image skipped: undefined class id": 1}


def test_a_dropped_class_leaves_a_good_image(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    write_image("a.png")
    write_text("a.txt", "0 0.5 0.5 0.2 0.4\n1 0.5 0.5 0.2 0.4")
    both = convert_yolo(tmp_path, classes=["Good Weld", "Defect"], names={"Good Weld": None})
    assert both.images[0].annotations == (Annotation("Defect", (40, 15, 60, 35)),)
    write_text("a.txt", "0 0.5 0.5 0.2 0.4")
    good = convert_yolo(tmp_path, classes=["Good Weld", "Defect"], names={"Good Weld": None})
    assert good.images[0].annotations == ()


def test_missing_names_are_an_error_that_says_what_to_do(tmp_path: Path, write_image: Write) -> None:
    write_image("a.png")
    with pytest.raises(RtvpError, match=r"classes\.txt.*option `classes`"):
        convert_yolo(tmp_path)


@given(st.integers(20, 3000), st.integers(20, 3000), st.data())
@settings(max_examples=30, deadline=None)
def test_whole_pixel_boxes_survive_the_rounding_of_the_format(
    width: int, height: int, data: st.DataObject
) -> None:
    x1, y1 = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    x2, y2 = data.draw(st.integers(x1 + 2, width)), data.draw(st.integers(y1 + 2, height))
    shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    with tempfile.TemporaryDirectory() as folder:
        Image.new("1", (width, height)).save(Path(folder, "a.png"))
        Path(folder, "a.txt").write_text("0 " + " ".join(f"{value:.6f}" for value in shares))
        conversion = convert_yolo(Path(folder), classes=["dent"])
    (annotation,) = conversion.images[0].annotations
    assert annotation.box_xyxy == pytest.approx((x1, y1, x2, y2), abs=0.01)
    assert conversion.problems == {}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"0 0.5 0.5 0.2 0.4\r\n0 0.5 nan 0.2 0.4\r\n", "a.txt:2"),
        (b"0 0.5 0.5 0.2 0.4\r0 0.5 inf 0.2 0.4\r", "a.txt:2"),
        (b"\n\n0 0.5 0.5 0.2\n", "a.txt:3"),
        (b"0 0.5 0.5 0.2 0.4\n5 0.5 0.5 0.2 0.4\n", "a.txt:2"),
        (b"1e400 0.5 0.5 0.2 0.4\n", "a.txt:1"),
        (b"0 0.5 0.5 0.2 0.4\n\xff\xfe", "a.txt:2"),
    ],
)
def test_malformed_lines_are_reported(tmp_path: Path, write_image: Write, content: bytes, place: str) -> None:
    write_image("a.png")
    (tmp_path / "a.txt").write_bytes(content)
    conversion = convert_yolo(tmp_path, classes=["dent", "hole"])
    assert conversion.images == ()
    (line,) = conversion.broken
    assert line.startswith(f"{place}: expected")


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_every_kind_of_line_end(tmp_path: Path, write_image: Write, end: str) -> None:
    write_image("a.png")
    lines = ["0 0.5 0.5 0.2 0.4", "1 0.1 0.2 0.3 0.2 0.3 0.6", ""]
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + end.join(lines).encode())
    (record,) = convert_yolo(tmp_path, classes=["dent", "hole"]).images
    assert [item.name for item in record.annotations] == ["dent", "hole"]


def test_huge_numbers_are_clipped(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    write_image("a.png")
    write_text("a.txt", "0 0.5 0.5 1e308 1e308\n0 1e308 0.5 1e308 0.5\n")
    conversion = convert_yolo(tmp_path, classes=["dent"])
    assert [item.box_xyxy for item in conversion.images[0].annotations] == [(0, 0, 100, 50)]
    assert conversion.problems["degenerate box dropped"] == 1


def test_polygons_are_kept_as_masks_and_turned_boxes_are_not(
    tmp_path: Path, write_image: Write, write_text: Write
) -> None:
    write_image("a.png")
    corners = "0 0.2 0.1 0.4 0.3 0.3 0.5 0.1 0.2"
    write_text("a.txt", f"0 0.1 0.2 0.3 0.2 0.3 0.6 0.1 0.6 0.1 0.4\n{corners}\n0 0.5 0.5 0.2 0.4\n")
    (record,) = convert_yolo(tmp_path, classes=["dent"], masks=True).images
    polygon, turned, box = record.annotations
    assert turned.mask is None and box.mask is None
    mask = decode_counts(parse_counts(polygon.mask, (100, 50)), (100, 50))
    assert mask.sum() == 400 and mask[10:30, 10:30].all()


def test_a_yaml_file_cannot_unfold_into_a_bomb(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    write_image("a.png")
    write_text("a.txt", "0 0.5 0.5 0.2 0.4")
    levels = [f"l{index}: &l{index} [{', '.join([f'*l{index - 1}'] * 9)}]" for index in range(1, 12)]
    write_text("data.yaml", "l0: &l0 [x]\n" + "\n".join(levels) + "\nnames: [*l11]\n")
    write_text("broken.yaml", "nc: 1\nnames: [dent\n")
    with pytest.raises(RtvpError, match=r"classes\.txt"):
        convert_yolo(tmp_path)
    write_text("classes.txt", "dent\n")
    conversion = convert_yolo(tmp_path)
    assert conversion.images[0].annotations[0].name == "dent"
    assert conversion.problems == {"yaml file does not parse": 1}
    assert conversion.broken[0].startswith("broken.yaml:3: expected yaml")


def test_names_may_have_texts_of_digits_as_ids(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    write_image("a.png")
    write_text("a.txt", "1 0.5 0.5 0.2 0.4")
    write_text("data.yaml", "nc: 5\nnames: {'0': dent, '1': 12}\n")
    assert convert_yolo(tmp_path).images[0].annotations[0].name == "12"
