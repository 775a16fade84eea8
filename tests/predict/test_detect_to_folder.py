"""A run over many images: what it writes, and that it writes nothing where it should not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtvp.data.images import find_images, read_image
from rtvp.errors import RtvpError
from rtvp.predict import CocoFile, Detector, detect_to_folder, read_coco_file
from rtvp.types import Prompt

PROMPTS = (Prompt("red", ("crimson",)), Prompt("green"))


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_files_and_summary(colour_detector: Detector, folder: Path, tmp_path: Path) -> None:
    out, seen = tmp_path / "out", []
    images = find_images([folder])
    summary = detect_to_folder(
        colour_detector,
        images,
        PROMPTS,
        out,
        explain=True,
        batch=2,
        on_image=lambda r: seen.append(r.image_path),
    )
    assert tree(out) == {
        "detections.json",
        *(
            "a/one.png",
            "a/one_explain.png",
            "b/one.png",
            "b/one_explain.png",
            "b/two.jpg",
            "b/two_explain.png",
        ),
    }
    assert seen == images
    assert (summary.not_ok, summary.ok, summary.broken) == (2, 1, 1)
    assert summary.found == {"red": 2}
    assert summary.images_per_second > 0
    content = json.loads((out / "detections.json").read_text())
    assert (content["format"], content["version"], content["model"]) == ("rtvp-detections", 1, "colours")
    assert (content["threshold"], content["input_size"]) == (0.5, 256)
    assert content["prompts"] == [{"name": "red", "texts": ["crimson"]}, {"name": "green", "texts": []}]
    assert [entry["verdict"] for entry in content["images"]] == ["NOT OK", "OK", "NOT OK"]
    assert [entry["image"] for entry in content["images"]] == [
        p.as_posix() for p in images if p.stem != "broken"
    ]
    for entry in content["images"]:
        assert read_image(out / entry["picture"]).shape == (256, 1024, 3)
        assert read_image(out / entry["explanation"]).shape == (256, 1024, 3)
    (problem,) = content["problems"]
    assert problem["image"].endswith("a/broken.png")
    assert "cannot read image" in problem["error"]


def test_nothing_is_written_when_an_argument_is_wrong(
    colour_detector: Detector, folder: Path, tmp_path: Path
) -> None:
    out, images = tmp_path / "out", find_images([folder])
    for wrong in ({"threshold": 2.0}, {"batch": 0}):
        with pytest.raises(RtvpError):
            detect_to_folder(colour_detector, images, PROMPTS, out, **wrong)
    with pytest.raises(RtvpError):
        detect_to_folder(colour_detector, images, [], out)
    assert not out.exists()


def test_images_are_never_overwritten(colour_detector: Detector, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    with pytest.raises(RtvpError, match=r"would overwrite the image .*\.png"):
        detect_to_folder(colour_detector, find_images([folder]), PROMPTS, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_an_interrupted_run_leaves_no_partial_file(
    colour_detector: Detector, folder: Path, tmp_path: Path
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    coco = CocoFile.model_validate(
        {"images": [{"id": 1, "file_name": "a/one.png"}], "categories": [{"id": 1, "name": "red"}]}
    )
    with pytest.raises(KeyboardInterrupt):
        detect_to_folder(
            colour_detector,
            [folder / "a/one.png"],
            coco.prompts(),
            tmp_path / "out",
            coco=coco,
            on_image=interrupt,
        )
    assert tree(tmp_path / "out") == {"one.png"}


# ---- COCO


@pytest.fixture
def coco_path(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "instances.json"
    content = {
        "info": {},
        "images": [
            {"id": 30, "file_name": "b/one.png", "width": 1, "height": 1},
            {"id": 7, "file_name": "a/broken.png"},
            {"id": 11, "file_name": "a/one.png"},
        ],
        "categories": [
            {"id": 90, "name": "red_mark"},
            {"id": 4, "name": "green"},
            {"id": 5, "name": "red mark"},
        ],
        "annotations": [{"any": "thing"}],
    }
    path.write_text(json.dumps(content))
    return path


def test_coco_results(colour_detector: Detector, folder: Path, coco_path: Path, tmp_path: Path) -> None:
    coco = read_coco_file(coco_path)
    assert [prompt.name for prompt in coco.prompts()] == ["red mark", "green"]
    images = [folder / image.file_name for image in coco.images]
    summary = detect_to_folder(colour_detector, images, coco.prompts(), tmp_path / "out", coco=coco)
    assert (summary.ok, summary.not_ok, summary.broken) == (1, 1, 1)
    predictions = json.loads((tmp_path / "out" / "predictions.json").read_text())
    # Two categories of one name are both meant. Dark cells score sigmoid(-8) = 0.0003, under the floor.
    assert predictions == [
        {"image_id": 11, "category_id": category, "bbox": [128, 64, 64, 64], "score": pytest.approx(0.999643)}
        for category in (90, 5)
    ]
    shown = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [len(entry["detections"]) for entry in shown["images"]] == [0, 1]


def test_coco_results_with_masks_are_read_by_the_library(
    colour_detector: Detector, folder: Path, coco_path: Path, tmp_path: Path
) -> None:
    library = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    coco, out = read_coco_file(coco_path), tmp_path / "out"
    images = [folder / image.file_name for image in coco.images]
    detect_to_folder(colour_detector, images, coco.prompts(), out, coco=coco, masks=True)
    shown = json.loads((out / "detections.json").read_text())
    assert shown["masks"] == "surroundings"
    ((detection,),) = (entry["detections"] for entry in shown["images"] if entry["detections"])
    content = json.loads(coco_path.read_text())
    for image in content["images"]:
        image |= {"width": 1024, "height": 256}
    coco_path.write_text(json.dumps(content | {"annotations": []}))
    read = library.COCO(str(coco_path)).loadRes(str(out / "predictions.json"))
    entries = read.loadAnns(read.getAnnIds())
    assert len(entries) == 2
    for entry in entries:
        assert entry["segmentation"] == detection["segmentation"]
        mask = read.annToMask(entry)
        assert mask.shape == (256, 1024)
        assert 0 < mask.sum() == mask[64:128, 128:192].sum()


def test_coco_results_go_below_the_threshold_up_to_300(colour_detector: Detector, tmp_path: Path) -> None:
    Image.fromarray(np.full((640, 640, 3), 100, dtype=np.uint8)).save(tmp_path / "grey.png")  # scores 0.15
    coco = CocoFile.model_validate(
        {
            "images": [{"id": 1, "file_name": "grey.png"}],
            "categories": [{"id": i, "name": f"name {i}"} for i in range(1, 11)],
        }
    )
    summary = detect_to_folder(
        colour_detector, [tmp_path / "grey.png"], coco.prompts(), tmp_path / "out", coco=coco
    )
    assert summary.ok == 1
    predictions = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(predictions) == 300
    for prediction in predictions:
        x, y, width, height = prediction["bbox"]
        assert (width, height) == (80, 80)
        assert x + width <= 640
        assert y + height <= 640


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is not a JSON file"),
        ("[1, 2", "is not a JSON file"),
        ("[" * 100_000, "is not a JSON file"),
        ("[]", "expected|valid"),
        ("{}", "images: Field required"),
        ('{"images": [], "categories": []}', "images: "),
        (
            '{"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": " "}]}',
            r"categories\.0\.name",
        ),
        (
            '{"images": [{"id": "1", "file_name": "a"}], "categories": [{"id": 1, "name": "a"}]}',
            r"images\.0\.id",
        ),
        ('{"images": [{"id": 1}], "categories": [{"id": 1, "name": "a"}]}', r"images\.0\.file_name"),
        (
            '{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], '
            '"categories": [{"id": 1, "name": "a"}]}',
            "images: expected each id once, got 1 2 times",
        ),
    ],
)
def test_wrong_coco_files(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(content)
    with pytest.raises(RtvpError, match=expected) as caught:
        read_coco_file(path)
    assert "wrong.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_coco_file(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="no such file"):
        read_coco_file(tmp_path / "gone.json")
    with pytest.raises(RtvpError, match="it is a folder"):
        read_coco_file(tmp_path)


def test_damaged_coco_files_are_read_or_refused(coco_path: Path) -> None:
    whole, rng = coco_path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        content = bytearray(whole[: rng.integers(0, len(whole) + 1)] if rng.random() < 0.5 else whole)
        for position in rng.integers(0, max(len(content), 1), rng.integers(0, 6)):
            content[position : position + 1] = rng.bytes(1)
        coco_path.write_bytes(content)
        try:
            assert read_coco_file(coco_path).prompts()
        except RtvpError as error:
            assert "\n" not in str(error)
