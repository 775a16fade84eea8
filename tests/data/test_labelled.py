from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtvp.data.labelled import read_coco_set, read_sources, read_split_sets
from rtvp.errors import RtvpError
from rtvp.mmio.build import build
from rtvp.mmio.build_config import BuildConfig


def write_picture(path: Path, seed: int) -> None:
    """A layout of its own: near-duplicates would go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((96, 64)).save(path, quality=95)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two known sets in YOLO's layout, of one and of two classes; one picture of the first is good."""
    root = tmp_path_factory.mktemp("data")
    workpieces = root / "workpiece-crack" / "datasets" / "WorkpieceCrack2"
    fabric = root / "fabric-hole"
    for number in range(9):
        write_picture(workpieces / "train" / "images" / f"p{number}.jpg", number)
        label = "0 0.5 0.5 0.25 0.25\n" if number else ""
        (workpieces / "train" / "images" / f"p{number}.txt").write_text(label)
        write_picture(fabric / "data" / "train" / "images" / f"c{number}.jpg", 100 + number)
        (fabric / "data" / "train" / "labels").mkdir(exist_ok=True)
        label = f"{1 + number % 2} 0.5 0.5 0.25 0.25\n"
        (fabric / "data" / "train" / "labels" / f"c{number}.txt").write_text(label)
    (workpieces / "data.yaml").write_text("names: [crack]\n")
    (fabric / "config").mkdir()
    (fabric / "config" / "data.yaml").write_text("names: [cut, hole]\n")
    return root


@pytest.fixture(scope="module")
def built(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("benchmark")
    build(data, out, BuildConfig())
    return out


@pytest.mark.parametrize("name", ["closed", "zero-shot/category", "zero-shot/scene"])
def test_the_sides_of_a_split(data: Path, built: Path, name: str) -> None:
    split = read_split_sets(built, data, name)
    train = {record.path for own in split.train for record in own.images}
    test = {record.path for own in split.test for record in own.images}
    assert train and test and not train & test
    assert all(path.is_file() for path in train | test)
    assert not set(split.seen) & set(split.unseen)
    groups = [{record.group for own in side for record in own.images} for side in (split.train, split.test)]
    assert not groups[0] & groups[1]


def test_unseen_names_are_in_no_training_vocabulary(data: Path, built: Path) -> None:
    split = read_split_sets(built, data, "zero-shot/category")
    assert split.unseen
    for own in split.train:
        shown = {annotation.name for record in own.images for annotation in record.annotations}
        assert shown <= own.vocabulary <= set(split.seen)
    vocabulary = {own.name: own.vocabulary for own in split.test}
    assert set(split.unseen) <= frozenset().union(*vocabulary.values())


def test_scenes_and_super_categories(data: Path, built: Path) -> None:
    split = read_split_sets(built, data, "closed")
    scene_of = {own.name: (own.scene, own.super_category) for own in split.train}
    assert scene_of["fabric-hole"] == ("woven fabric", "textiles")
    assert scene_of["workpiece-crack"] == ("machined workpieces", "metallurgy")


def test_the_digest_follows_labels_and_split(data: Path, built: Path) -> None:
    closed, again = (read_split_sets(built, data, "closed") for _ in range(2))
    assert closed.digest == again.digest
    assert closed.digest != read_split_sets(built, data, "zero-shot/scene").digest


def test_what_is_missing_is_named(data: Path, built: Path, tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match=r"expected a split out of .*, got 'open'"):
        read_split_sets(built, data, "open")
    with pytest.raises(RtvpError, match="expected a finished build"):
        read_split_sets(tmp_path, data, "closed")
    with pytest.raises(RtvpError, match=r"expected the images of .* which is no folder: check --data"):
        read_split_sets(built, tmp_path, "closed")


def test_sources_know_names_that_no_image_shows(data: Path) -> None:
    (own,) = read_sources(data, ["fabric-hole"])
    assert own.vocabulary == {"cut", "hole"} and own.scene == "woven fabric"
    assert len(own.images) == 9


def test_any_coco_file(data: Path, tmp_path: Path) -> None:
    images = data / "workpiece-crack" / "datasets" / "WorkpieceCrack2" / "train" / "images"
    content = {
        "images": [
            {"id": 1, "file_name": "p0.jpg", "width": 96, "height": 64},
            {"id": 2, "file_name": "p1.jpg", "width": 96, "height": 64},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 2, "bbox": [8, 4, 20, 10], "iscrowd": 0},
            {"id": 2, "image_id": 2, "category_id": 2, "bbox": [0, 0, 90, 60], "iscrowd": 1},
        ],
        "categories": [{"id": 1, "name": "dent"}, {"id": 2, "name": "chip"}],
    }
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    own = read_coco_set(path, images)
    assert own.name == own.scene == "mine" and own.vocabulary == {"dent", "chip"}
    (record,) = own.images  # without the one with a crowd
    assert record.path == images / "p0.jpg" and record.annotations[0].box_xyxy == (8, 4, 28, 14)
    with pytest.raises(RtvpError, match=r"mine.json: expected its image p0.jpg in .*found no such file"):
        read_coco_set(path, tmp_path)
