from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rtvp.errors import RtvpError
from rtvp.evaluate.coco_labels import read_labels, with_results

IMAGE = {"id": 7, "file_name": "a/1.png", "width": 40, "height": 30}
LABEL = {"id": 1, "image_id": 7, "category_id": 2, "bbox": [1, 2, 10, 5]}
CATEGORIES = [{"id": 2, "name": "oil_stain"}, {"id": 5, "name": "dent"}]


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "labels.json"
    content = {"images": [IMAGE], "annotations": [LABEL], "categories": CATEGORIES}
    path.write_text(json.dumps(content | changes, indent=0))
    return path


def test_a_coco_file(tmp_path: Path) -> None:
    crowd = {**LABEL, "category_id": 5, "iscrowd": 1}
    good = {**IMAGE, "id": 3, "file_name": "b.png"}
    labels = read_labels(
        write(tmp_path, images=[IMAGE, good], annotations=[{**LABEL, "area": 20}, LABEL, crowd])
    )
    assert labels.names == ("dent", "oil stain")
    assert labels.frequencies == {}
    first, second = labels.outcomes  # by the ids
    assert first.is_good and first.image == "b.png"
    assert (second.image, second.width, second.height) == ("a/1.png", 40, 30)
    assert second.truth == (("oil stain", (1, 2, 11, 7)),) * 2
    assert second.areas == (20, 50)
    assert second.crowds == (("dent", (1, 2, 11, 7)),)
    assert second.annotated == first.annotated == {"dent", "oil stain"}
    assert labels.index_of == {3: 0, 7: 1}


def test_an_lvis_file(tmp_path: Path) -> None:
    third = {"id": 9, "name": "flip-flop_(sandal)"}
    categories = [{**c, "frequency": f} for c, f in zip([*CATEGORIES, third], "rcf", strict=True)]
    url = {"file_name": "", "coco_url": "http://images.cocodataset.org/val2017/0007.jpg"}
    image = {**IMAGE, **url, "neg_category_ids": [9], "not_exhaustive_category_ids": [2]}
    (tmp_path / "val2017").mkdir()
    (tmp_path / "val2017/0007.jpg").touch()
    labels = read_labels(write(tmp_path, images=[image], categories=categories), tmp_path, lvis=True)
    (outcome,) = labels.outcomes
    assert outcome.image == str(tmp_path / "val2017/0007.jpg")
    assert outcome.annotated == {"oil stain", "flip-flop (sandal)"}
    assert outcome.not_exhaustive == {"oil stain"}
    assert labels.frequencies == {"oil stain": "r", "dent": "c", "flip-flop (sandal)": "f"}
    # The folder may also be that of the pictures themselves.
    (inside,) = read_labels(tmp_path / "labels.json", tmp_path / "val2017", lvis=True).outcomes
    assert inside.image == outcome.image


def test_results_are_put_to_their_images(tmp_path: Path) -> None:
    good = {**IMAGE, "id": 3, "file_name": "b.png"}
    labels = read_labels(write(tmp_path, images=[IMAGE, good]))
    found = {"image_id": 7, "category_id": 5, "bbox": [0, 0, 4, 2], "score": 0.5}
    results = tmp_path / "results.json"
    results.write_text(json.dumps([found, {**found, "score": 1}]))
    first, second = with_results(labels, results)
    assert first.predictions == ()
    assert second.predictions == (("dent", 0.5, (0, 0, 4, 2)), ("dent", 1.0, (0, 0, 4, 2)))


@pytest.mark.parametrize(
    ("changes", "lvis", "message"),
    [
        ({"images": [{**IMAGE, "width": 0}]}, False, r"labels.json:\d+: images\[0\]: width: .*got 0"),
        ({"images": [{**IMAGE, "file_name": "../a"}]}, False, r"images\[0\].*below the folder"),
        ({"images": [IMAGE, IMAGE]}, False, r"images\[1\]: expected each id once, got 7 again"),
        ({"annotations": [{**LABEL, "image_id": 8}]}, False, r"labels.json:\d+: .*an image of the file"),
        ({"annotations": [{**LABEL, "category_id": 8}]}, False, r"the id of a category, got 8"),
        ({"annotations": [{**LABEL, "bbox": [1, 2, 3]}]}, False, r"annotations\[0\]: bbox"),
        ({}, True, r"neg_category_ids|frequency"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(
    tmp_path: Path, changes: dict[str, Any], lvis: bool, message: str
) -> None:
    with pytest.raises(RtvpError, match=message) as caught:
        read_labels(write(tmp_path, **changes), lvis=lvis)
    assert "\n" not in str(caught.value)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match=r"expected its image a/1.png in .*no such file"):
        read_labels(write(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[{"image_id": 8, "category_id": 2, "bbox": [0, 0, 1, 1], "score": 1}]',
            "results.json:1: .*image_id 8",
        ),
        ('[\n{"image_id": 7, "category_id": 2, "bbox": [0, 0, 1, 1]}]', "results.json:2: score"),
        ('{"image_id": 7}', "results.json:1: expected a whole JSON list"),
        ("[", "results.json:1: expected a whole JSON list"),
    ],
)
def test_what_is_wrong_with_results_is_said_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    labels = read_labels(write(tmp_path))
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(RtvpError, match=message):
        with_results(labels, tmp_path / "results.json")
