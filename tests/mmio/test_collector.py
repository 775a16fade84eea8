from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rtvp.errors import RtvpError
from rtvp.mmio.collector import Collector
from rtvp.mmio.schema import Annotation, clip_box, shorter_side

sides = st.integers(1, 4000)
coordinates = st.floats(-1e4, 1e4)


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
    ],
)
def test_boxes_are_clipped_and_thin_ones_dropped(
    tmp_path: Path,
    box: tuple[float, float, float, float],
    kept: tuple[float, float, float, float] | None,
    problems: dict[str, int],
) -> None:
    collector = Collector(tmp_path, None, "stem")
    collector.add(tmp_path / "a.png", (100, 50), [("dent", (40, 20, 60, 40)), ("dent", box)])
    conversion = collector.conversion()
    boxes = [item.box_xyxy for item in conversion.images[0].annotations]
    assert boxes == [(40, 20, 60, 40), *([kept] if kept else [])]
    assert conversion.problems == problems


def test_an_image_whose_boxes_are_all_unusable_does_not_become_a_good_one(tmp_path: Path) -> None:
    collector = Collector(tmp_path, None, "stem")
    collector.add(tmp_path / "a.png", (100, 50), [("dent", (5, 5, 5, 5))])
    collector.add(tmp_path / "b.png", (100, 50), [])
    conversion = collector.conversion()
    assert [image.path.name for image in conversion.images] == ["b.png"]
    assert conversion.problems["image skipped: none of its boxes is usable"] == 1


def test_names_are_mapped_dropped_or_kept_and_duplicates_removed(tmp_path: Path) -> None:
    collector = Collector(tmp_path, {"Scratches": "scratch", "Good Weld": None}, "stem")
    box = (1.0, 2.0, 30.0, 40.0)
    collector.add(tmp_path / "a.png", (100, 50), [("Scratches", box), ("scratch", box), ("Dent", box)])
    collector.add(tmp_path / "b.png", (100, 50), [("Good Weld", box)])
    first, second = collector.conversion().images
    assert first.annotations == (Annotation("scratch", box), Annotation("Dent", box))
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


def test_images_that_do_not_open_are_counted(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.png").write_bytes(b"not a picture" * 50)
    collector = Collector(tmp_path, None, "stem")
    assert [collector.image_size(path) for path in collector.files({".jpg", ".png"})] == [None, None]
    assert collector.conversion().problems == {"image does not open": 2}


@pytest.mark.parametrize(
    "entry", ["../secret.jpg", "/etc/passwd", "a/../../b.jpg", "C:\\data\\a.jpg", "..\\a.jpg", "a\0.jpg"]
)
def test_entries_that_leave_the_root_are_refused(tmp_path: Path, entry: str) -> None:
    root = tmp_path / "set"
    root.mkdir()
    collector = Collector(root, None, "stem")
    assert collector.locate(root, entry) is None
    assert collector.conversion().problems == {"label names a path outside the folder": 1}


def test_entries_inside_the_root_and_links_out_of_it(tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "labels").mkdir(parents=True)
    (tmp_path / "outside.jpg").write_bytes(b"")
    (root / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    collector = Collector(root, None, "stem")
    located = collector.locate(root / "labels", "../images/a.jpg")
    assert located is not None and located.resolve() == root.resolve() / "images" / "a.jpg"
    assert collector.files({".jpg"}) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="nowhere"):
        Collector(tmp_path / "nowhere", None, "stem")
