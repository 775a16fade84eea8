"""Files: whole or not there, and no two under one name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rtvp.data.images import read_image
from rtvp.errors import RtvpError
from rtvp.predict.outputs import (
    check_folder,
    explain_name,
    json_list,
    picture_names,
    replacing,
    write_json,
    write_picture,
)

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_replacing_shows_the_file_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_replacing_keeps_the_old_file_when_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("ha")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RtvpError, match=r"cannot write .*out\.json"):
        write_json(tmp_path / "file" / "out.json", [])
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(RtvpError, match=r"cannot write .*folder\.json"):
        write_json(tmp_path / "folder.json", [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.json"]


@pytest.mark.parametrize("entries", [[], [{"a": 1}], [1, "zwei ü", None, [3.5]]])
def test_json_list(tmp_path: Path, entries: list[object]) -> None:
    with json_list(tmp_path / "list.json") as append:
        for entry in entries:
            append(entry)
    assert json.loads((tmp_path / "list.json").read_text()) == entries


def test_pictures(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", PICTURE)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PICTURE)
    flat = np.full((32, 32, 3), (250, 20, 10), dtype=np.uint8)
    write_picture(tmp_path / "ä.JPG", flat)
    assert np.abs(read_image(tmp_path / "ä.JPG").astype(int) - flat).max() <= 4
    with pytest.raises(RtvpError, match=r"ends in \.png or \.jpg"):
        write_picture(tmp_path / "a.tif", PICTURE)
    with pytest.raises(RtvpError, match="at most 65500 px a side"):
        write_picture(tmp_path / "b.jpg", np.zeros((1, 70_000, 3), dtype=np.uint8))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (["x/a.png"], ["a.png"]),
        (["x/a.png", "x/b.jpeg"], ["a.png", "b.jpg"]),
        (["x/1/a.png", "x/2/a.png"], ["1/a.png", "2/a.png"]),
        (["x/a.png", "x/deep/er/a.png"], ["a.png", "deep/er/a.png"]),
        (["x/../x/a.png", "y/a.tif"], ["x/a.png", "y/a.png"]),
        (["x/a.gif", "x/a.jpg", "x/A.png"], ["a.png", "a_2.jpg", "A_3.png"]),
        (["x/a.png", "x/a_explain.png"], ["a.png", "a_explain_2.png"]),
        (["x/a.b.png", "x/a.c.png"], ["a.b.png", "a.c.png"]),
        (["x/a.tif", "x/a.bmp", "x/a_2.bmp"], ["a.png", "a_2.png", "a_2_2.png"]),
        ([], []),
    ],
)
def test_picture_names(images: list[str], names: list[str]) -> None:
    assert picture_names([Path(image) for image in images]) == [Path(name) for name in names]


def test_names_never_meet_and_never_leave_the_folder() -> None:
    rng = np.random.default_rng(0)
    parts, endings = ("a", "A", "a_2", "a_explain", "..", "b"), (".png", ".jpg", ".tif", "")
    images = list({
        Path(*rng.choice(parts, rng.integers(0, 3)), rng.choice(parts[:4]) + rng.choice(endings))
        for _ in range(200)
    })  # fmt: skip
    names = picture_names(images)
    written = [name.as_posix().casefold() for picture in names for name in (picture, explain_name(picture))]
    assert len(set(written)) == len(written)
    assert not any(name.is_absolute() or ".." in name.parts for name in names)


def test_explain_name() -> None:
    assert explain_name(Path("deep/a.b.jpg")) == Path("deep/a.b_explain.png")


def test_check_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_folder(tmp_path)
    check_folder(tmp_path / "not" / "yet")
    for wrong in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RtvpError, match="is not a folder"):
            check_folder(wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
