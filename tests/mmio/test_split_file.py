from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_data import item, item_sets

from rtvp.errors import RtvpError
from rtvp.mmio.schema import Item
from rtvp.mmio.split_file import read_split, split_digest, split_manifest, write_split
from rtvp.mmio.splits import Split, closed_split

ITEMS = [item("a/1.png", "hole"), item("a/2.png"), item("b/ü 3.png", "pin hole", group="g")]
SPLIT = Split(
    "zero-shot/scene",
    {"a/1.png": "train", "b/ü 3.png": "test"},
    {"a/2.png": "why"},
    ("hole",),
    ("pin hole",),
    ("B",),
    0.6,
)


def test_a_manifest_says_of_each_image_what_it_is_and_where_it_went() -> None:
    manifest = split_manifest(SPLIT, ITEMS)
    assert manifest["counts"] == {"train": 1, "test": 1, "left out": 1}
    assert manifest["images"][1:] == [
        {"source": "a", "file_name": "2.png", "sha256": ITEMS[1].sha256, "group": "a/2.png",
         "split": "left out", "reason": "why"},
        {"source": "b", "file_name": "ü 3.png", "sha256": ITEMS[2].sha256, "group": "b/g", "split": "test"},
    ]  # fmt: skip
    assert manifest["digest"] == split_digest(SPLIT, reversed(ITEMS))


def test_a_written_split_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "split.json"
    write_split(path, SPLIT, ITEMS)
    assert read_split(path) == SPLIT
    assert json.loads(path.read_text(encoding="utf-8")) == split_manifest(SPLIT, ITEMS)
    assert [p.name for p in path.parent.iterdir()] == ["split.json"]
    assert sum('"file_name"' in line for line in path.read_text(encoding="utf-8").splitlines()) == 3


@given(item_sets(max_size=20), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, items: list[Item], seed: int) -> None:
    path = tmp_path_factory.mktemp("split") / "split.json"
    split = closed_split(items, seed=seed)
    write_split(path, split, items)
    first = path.read_bytes()
    write_split(path, split, items[::-1])
    assert read_split(path) == split and path.read_bytes() == first


def test_the_digest_changes_with_content_side_and_category() -> None:
    digests = {
        split_digest(SPLIT, ITEMS),
        split_digest(SPLIT, [replace(ITEMS[0], sha256="0"), *ITEMS[1:]]),
        split_digest(replace(SPLIT, sides={**SPLIT.sides, "a/1.png": "test"}), ITEMS),
        split_digest(replace(SPLIT, unseen=()), ITEMS),
        split_digest(replace(SPLIT, left_out={"a/2.png": "else"}), ITEMS),
    }
    assert len(digests) == 5


def test_images_that_were_not_split_are_refused() -> None:
    with pytest.raises(RtvpError, match=r"but c/1 is on one list only"):
        split_digest(SPLIT, [*ITEMS, item("c/1")])
    with pytest.raises(RtvpError, match=r"but a/1.png is on one list only"):
        split_digest(SPLIT, ITEMS[1:])


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"test"', '"train"', "changed by hand"),
        ('"why"', '"because"', "changed by hand"),
        ('"test"', '"validation"', "images.2.split"),
        ('"seen"', '"sean"', "sean"),
        ('"images": [', '"images": [,', "split.json:9: "),
    ],
)
def test_a_file_that_is_not_as_it_was_written(tmp_path: Path, old: str, new: str, what: str) -> None:
    path = tmp_path / "split.json"
    write_split(path, SPLIT, ITEMS)
    text = path.read_text(encoding="utf-8")
    at = text.rindex(old)
    path.write_text(text[:at] + new + text[at + len(old) :], encoding="utf-8")
    with pytest.raises(RtvpError) as caught:
        read_split(path)
    assert what in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000, b"[]", b""])
def test_files_that_are_no_split(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "split.json").write_bytes(content)
    with pytest.raises(RtvpError, match=r"split\.json"):
        read_split(tmp_path / "split.json")
    with pytest.raises(RtvpError, match="cannot read the split"):
        read_split(tmp_path / "none.json")
