"""Average precision against pycocotools, the reference implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from box_lists import average_precision

from rtvp.evaluate.outcome import BoxXyxy, Prediction, Truth

NAMES = ("crack", "scratch", "stain", "never labelled", "never found")
KEYS = ("AP", "AP50", "AP75")


def random_box(rng: np.random.Generator) -> BoxXyxy:
    x, y = rng.uniform(0, 400, 2)
    w, h = np.exp(rng.uniform(np.log(6), np.log(220), 2))
    return (float(x), float(y), float(x + w), float(y + h))


def jittered(rng: np.random.Generator, box: BoxXyxy, share: float) -> BoxXyxy:
    side = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    x1, y1, x2, y2 = (np.array(box) + rng.normal(0, share, 4) * side).tolist()
    return (min(x1, x2 - 1), min(y1, y2 - 1), x2, y2)


def random_case(seed: int) -> tuple[list[list[Truth]], list[list[Prediction]]]:
    """Hits of all qualities, misses, false alarms, images without labels, images without detections."""
    rng = np.random.default_rng(seed)
    truth: list[list[Truth]] = []
    found: list[list[Prediction]] = []
    for _ in range(12):
        labelled = [n for n in NAMES if n != "never labelled"]
        boxes: list[Truth] = [
            (str(rng.choice(labelled)), random_box(rng)) for _ in range(int(rng.integers(0, 6)))
        ]
        hits: list[Prediction] = [
            (name, float(rng.random()), jittered(rng, box, float(rng.choice([0.01, 0.05, 0.15]))))
            for name, box in boxes
            if name != "never found" and rng.random() < 0.8
        ]
        seen = [n for n in NAMES if n != "never found"]
        false: list[Prediction] = [
            (str(rng.choice(seen)), float(rng.random()), random_box(rng))
            for _ in range(int(rng.integers(0, 5)))
        ]
        truth.append(boxes)
        found.append([] if rng.random() < 0.2 else hits + false)
    return truth, found


def reference(truth: list[list[Truth]], found: list[list[Prediction]]) -> dict[str, float]:
    coco = pytest.importorskip("pycocotools.coco", reason="the reference is not installed")
    from pycocotools.cocoeval import COCOeval

    def entry(image: int, name: str, box: BoxXyxy) -> dict[str, object]:
        x1, y1, x2, y2 = box
        size = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
        return {"image_id": image + 1, "category_id": NAMES.index(name) + 1, **size}

    labels = [entry(i, *label) for i, labels in enumerate(truth) for label in labels]
    dataset = coco.COCO()
    dataset.dataset = {
        "images": [{"id": i + 1} for i in range(len(truth))],
        "annotations": [{"id": i + 1, **label} for i, label in enumerate(labels)],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(NAMES)],
    }
    dataset.createIndex()
    results = [
        {"score": score, **entry(i, name, box)} for i, each in enumerate(found) for name, score, box in each
    ]
    evaluation = COCOeval(dataset, dataset.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return dict(zip(KEYS, evaluation.stats[:3], strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_reference(seed: int) -> None:
    truth, found = random_case(seed)
    expected = reference(truth, found)
    assert 0.02 < expected["AP"] < 0.98, "the case is not trivial"
    figures = average_precision(truth, found, NAMES)
    assert figures == pytest.approx(expected, abs=1e-6)


def test_perfect_detections_reach_one() -> None:
    truth, _ = random_case(0)
    perfect: list[list[Prediction]] = [[(name, 0.9, box) for name, box in boxes] for boxes in truth]
    assert average_precision(truth, perfect, NAMES) == pytest.approx(dict.fromkeys(KEYS, 1.0))


def test_the_right_place_under_the_wrong_name_is_worth_nothing() -> None:
    box = (10.0, 10.0, 50.0, 40.0)
    figures = average_precision([[("crack", box)]], [[("stain", 0.9, box)]], NAMES)
    assert figures == dict.fromkeys(KEYS, 0.0)


def test_iou_levels_are_told_apart() -> None:
    """A box of IoU 0.6 counts at 0.50 and 0.55 and 0.60 only."""
    figures = average_precision([[("crack", (0, 0, 100, 100))]], [[("crack", 0.5, (0, 0, 100, 60.5))]], NAMES)
    assert figures == pytest.approx({"AP": 0.3, "AP50": 1.0, "AP75": 0.0})


def test_nothing_found_is_zero_and_nothing_to_find_is_undefined() -> None:
    box = (1.0, 1.0, 9.0, 9.0)
    assert average_precision([[("crack", box)], []], [[], []], NAMES) == dict.fromkeys(KEYS, 0.0)
    for found in ([[], []], [[("crack", 0.5, box)], []]):
        assert all(math.isnan(value) for value in average_precision([[], []], found, NAMES).values())
    assert all(math.isnan(value) for value in average_precision([], [], NAMES).values())


def test_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    average_precision(*random_case(1), NAMES)
    assert capfd.readouterr() == ("", "")
