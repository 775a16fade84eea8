from __future__ import annotations

import math
import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rtvp.errors import RtvpError
from rtvp.mmio.collector import Collector
from rtvp.mmio.schema import Annotation, clip_box, shorter_side

sides = st.integers(1, 4000)
coordinates = st.floats(-1e4, 1e4)


@settings(max_examples=50, deadline=None)
@given(st.tuples(coordinates, coordinates, coordinates, coordinates), sides, sides)
def test_clipped_boxes_lie_inside_and_clipping_twice_changes_nothing(
    box: tuple[float, float, float, float], width: int, height: int
) -> None:
    x1, y1, x2, y2 = clip_box(box, width, height)
    assert 0 <= x1 <= width and 0 <= x2 <= width and 0 <= y1 <= height and 0 <= y2 <= height
    assert clip_box((x1, y1, x2, y2), width, height) == (x1, y1, x2, y2)
    if 0 <= box[0] <= box[2] <= width and 0 <= box[1] <= box[3] <= height:
        assert (x1, y1, x2, y2) == box
    assert shorter_side((x1, y1, x2, y2)) <= max(shorter_side(box), 0)


@pytest.mark.parametrize(
    ("box", "kept", "problems"),
    [
        ((10, 10, 20, 20), (10, 10, 20, 20), {}),
        ((-5, 10, 120, 60), (0, 10, 100, 50), {"box clipped to the image": 1}),
        ((-0.3, 0, 20, 20), (0, 0, 20, 20), {}),
        ((0, 0, 100, 50), (0, 0, 100, 50), {}),
        ((10, 10, 10.9, 20), None, {"degenerate box dropped": 1}),
        ((20, 20, 10, 10), None, {"degenerate box dropped": 1}),
        ((200, 10, 220, 20), None, {"box clipped to the image": 1, "degenerate box dropped": 1}),
        ((math.nan, 10, 20, 20), None, {"degenerate box dropped": 1}),
        ((math.inf, 10, -math.inf, 20), None, {"box clipped to the image": 1, "degenerate box dropped": 1}),
    ],
)
def test_boxes_are_clipped_and_thin_ones_dropped(
    tmp_path: Path,
    box: tuple[float, float, float, float],
    kept: tuple[float, float, float, float] | None,
    problems: dict[str, int],
) -> None:
    collector = Collector(tmp_path, None, "stem")
    collector.add(
        tmp_path / "a.png", (100, 50), [Annotation("dent", (40, 20, 60, 40)), Annotation("dent", box)]
    )
    conversion = collector.conversion()
    boxes = [item.box_xyxy for item in conversion.images[0].annotations]
    assert boxes == [(40, 20, 60, 40), *([kept] if kept else [])]
    assert conversion.problems == problems


def test_an_image_whose_boxes_are_all_unusable_does_not_become_a_good_one(tmp_path: Path) -> None:
    collector = Collector(tmp_path, None, "stem")
    collector.add(tmp_path / "a.png", (100, 50), [Annotation("dent", (5, 5, 5, 5))])
    collector.add(tmp_path / "b.png", (100, 50), [])
    conversion = collector.conversion()
    assert [image.path.name for image in conversion.images] == ["b.png"]
    assert conversion.problems["image skipped: none of its boxes is usable"] == 1


def test_names_are_mapped_dropped_or_kept_and_duplicates_removed(tmp_path: Path) -> None:
    collector = Collector(tmp_path, {"Scratches": "scratch", "Good Weld": None}, "stem")
    box = (1.0, 2.0, 30.0, 40.0)
    raw = [Annotation("Scratches", box, "a mask"), Annotation("scratch", box), Annotation("Dent", box)]
    collector.add(tmp_path / "a.png", (100, 50), raw)
    collector.add(tmp_path / "b.png", (100, 50), [Annotation("Good Weld", box)])
    first, second = collector.conversion().images
    assert first.annotations == (Annotation("scratch", box, "a mask"), Annotation("Dent", box))
    assert second.annotations == ()
    assert collector.conversion().problems == {"duplicate box dropped": 1}


@pytest.mark.parametrize(("orientation", "expected"), [(1, (30, 20)), (3, (30, 20)), (6, (20, 30))])
def test_image_sizes_are_those_of_the_image_as_shown(
    tmp_path: Path, orientation: int, expected: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert Collector(tmp_path, None, "stem").image_size(tmp_path / "a.jpg") == expected


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds one pixel's worth of data."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "got other content"),
        (b"not a picture" * 50, "got other content"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "got other content"),
        (png_header(60_000, 60_000), "at most 89478485 pixels, its header declares more"),
        (png_header(10_000, 10_000), "at most 89478485 pixels, its header declares more"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_images_that_do_not_open_are_reported(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    collector = Collector(tmp_path, None, "stem")
    assert collector.image_size(tmp_path / "a.png") is None
    conversion = collector.conversion()
    assert conversion.problems == {"image does not open": 1}
    (line,) = conversion.broken
    assert line.startswith("a.png: expected") and line.endswith(reason)
    assert str(tmp_path) not in line


@pytest.mark.parametrize(
    "entry", ["../secret.jpg", "/etc/passwd", "a/../../b.jpg", "C:\\data\\a.jpg", "..\\a.jpg", "a\0.jpg"]
)
def test_entries_that_leave_the_root_are_refused(tmp_path: Path, entry: str) -> None:
    root = tmp_path / "set"
    root.mkdir()
    collector = Collector(root, None, "stem")
    assert collector.locate(root, entry, root / "labels" / "a.txt", 7) is None
    conversion = collector.conversion()
    assert conversion.problems == {"label names a path outside the folder": 1}
    assert conversion.broken == (f"labels/a.txt:7: expected a file inside the set's folder, got {entry!r}",)


def test_entries_inside_the_root_and_links_out_of_it(tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "labels").mkdir(parents=True)
    (tmp_path / "outside.jpg").write_bytes(b"")
    (root / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    collector = Collector(root, None, "stem")
    located = collector.locate(root / "labels", "../images/a.jpg", root / "a.txt", 1)
    assert located is not None and located.resolve() == root.resolve() / "images" / "a.jpg"
    assert collector.files({".jpg"}) == []


def test_names_that_no_text_file_could_hold(tmp_path: Path) -> None:
    box = (1.0, 2.0, 30.0, 40.0)
    collector = Collector(tmp_path, None, "stem")
    fine = tmp_path / "裂纹\u3000\xa0.png"
    for name in (b"a\nb.png", b"c\xff.png", os.fsencode(fine.name)):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"")  # noqa: PTH118
    assert collector.files({".png"}) == [fine]
    assert collector.files(None) == [fine]
    raw = [Annotation("half \ud800", box), Annotation("red\x1b[31m", box), Annotation("Käfer\u3000裂纹", box)]
    collector.add(fine, (100, 50), raw)
    conversion = collector.conversion()
    names = [item.name for item in conversion.images[0].annotations]
    assert names == ["half \\ud800", "red\\x1b[31m", "Käfer\u3000裂纹"]
    assert conversion.problems == {
        "category name with characters that are no text": 2,
        "file left out: its name is no text": 2,
    }
    assert [line.split(": ")[0] for line in conversion.broken] == [r"a\nb.png", r"c\udcff.png"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="nowhere"):
        Collector(tmp_path / "nowhere", None, "stem")


def test_folders_that_are_links_out_of_the_root_are_not_entered(tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "inside").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.jpg").write_bytes(b"")
    (root / "inside" / "b.jpg").write_bytes(b"")
    (root / "linked").symlink_to(tmp_path / "outside")
    collector = Collector(root, None, "stem")
    assert collector.files({".jpg"}, ["*/*.jpg", "../outside/*.jpg"]) == [root / "inside" / "b.jpg"]
    with pytest.raises(RtvpError, match="relative one"):
        collector.files({".jpg"}, "/etc/*")


@pytest.mark.parametrize(
    ("data", "encoding", "expected"),
    [
        (b"\xef\xbb\xbfa\r\nb\rc\n", "utf-8-sig", "a\nb\nc\n"),
        ("瑕疵".encode("gbk"), "gbk", "瑕疵"),
        (b"a\nb\nc\xff\nd", "utf-8-sig", "label.txt:3: expected UTF-8 text, got the byte 0xff"),
        ("ab".encode("utf-16"), "utf-8-sig", "label.txt:1: expected UTF-8 text, got the byte 0xff"),
    ],
)
def test_texts_have_one_kind_of_line_end_or_are_reported(
    tmp_path: Path, data: bytes, encoding: str, expected: str
) -> None:
    (tmp_path / "label.txt").write_bytes(data)
    collector = Collector(tmp_path, None, "stem")
    text = collector.read_text(tmp_path / "label.txt", encoding)
    broken = collector.conversion().broken
    assert (text, *broken) == ((expected,) if not broken else (None, expected))


@pytest.mark.parametrize(
    ("declared", "accepted", "problems"),
    [
        ((100, 50), True, {}),
        (("100", "50"), True, {}),
        ((None, None), True, {}),
        ((0, 50), True, {}),
        ((50, 100), True, {"declared size is not that of the image": 1}),
        ((10**9, 10**9), False, {"image skipped: absurd declared size": 1}),
        ((1e308, 1e308), False, {"image skipped: absurd declared size": 1}),
        ((10**400, 5), False, {"image skipped: absurd declared size": 1}),
        ((-100, 50), False, {"image skipped: absurd declared size": 1}),
        ((math.nan, 50), False, {"image skipped: absurd declared size": 1}),
        (("wide", [3]), False, {"image skipped: absurd declared size": 1}),
    ],
)
def test_declared_sizes(
    tmp_path: Path, declared: tuple[object, object], accepted: bool, problems: dict[str, int]
) -> None:
    collector = Collector(tmp_path, None, "stem")
    assert collector.accepts_declared_size(tmp_path / "a.json", 3, declared, (100, 50)) is accepted
    conversion = collector.conversion()
    assert conversion.problems == problems
    assert len(conversion.broken) == (not accepted)
    assert all(line.startswith("a.json:3: expected") and len(line) < 160 for line in conversion.broken)


def test_the_list_of_broken_places_is_bounded_and_the_counts_are_not(tmp_path: Path) -> None:
    collector = Collector(tmp_path, None, "stem")
    for line in range(1, 301):
        collector.report_broken("bad line", tmp_path / "a" / "b.txt", line, "expected more")
    conversion = collector.conversion()
    assert conversion.problems == {"bad line": 300}
    assert len(conversion.broken) == 100
    assert conversion.broken[0] == "a/b.txt:1: expected more"
