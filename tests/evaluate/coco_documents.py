"""Random COCO and LVIS documents, and results for them, with everything that makes matching hard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

CATEGORIES = 6
IMAGES = 14


def coco_document(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Crowds, objects smaller than their boxes, equal scores, more than 100 detections, empty images."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(1000)[:IMAGES].tolist()
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in ids:
        for _ in range(int(rng.integers(0, 7))):
            box, category = _box(rng), int(rng.integers(1, CATEGORIES))  # the last is never labelled
            crowd = bool(rng.random() < 0.15)
            area = box[2] * box[3] * (1.0 if rng.random() < 0.5 else float(rng.uniform(0.2, 1)))
            annotations.append(
                {"image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": int(crowd)}
            )
            for _ in range(int(rng.integers(0, 4))):
                found = category if rng.random() < 0.8 else int(rng.integers(1, CATEGORIES + 1))
                results.append(_result(rng, image, found, _jitter(rng, box)))
        false_alarms = 130 if rng.random() < 0.1 else int(rng.integers(0, 6))
        results += [
            _result(rng, image, int(rng.integers(1, CATEGORIES + 1)), _box(rng)) for _ in range(false_alarms)
        ]
    rng.shuffle(results)  # type: ignore[arg-type]
    document = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 640, "height": 480} for i in ids],
        "annotations": [{"id": n, **a} for n, a in enumerate(annotations, start=1)],
        "categories": [{"id": c, "name": f"name_{c}"} for c in range(1, CATEGORIES + 1)],
    }
    return document, results


def lvis_document(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same without crowds; each image says which names are not there, and which are partly labelled."""
    document, results = coco_document(seed)
    rng = np.random.default_rng(seed + 1000)
    for annotation in document["annotations"]:
        del annotation["iscrowd"]
    for category in document["categories"]:
        category["frequency"] = "rcf"[category["id"] % 3]
    for image in document["images"]:
        shown = {a["category_id"] for a in document["annotations"] if a["image_id"] == image["id"]}
        others = sorted(set(range(1, CATEGORIES + 1)) - shown)
        image["neg_category_ids"] = [c for c in others if rng.random() < 0.5]
        image["not_exhaustive_category_ids"] = [c for c in sorted(shown) if rng.random() < 0.4]
        image["coco_url"] = f"http://images.cocodataset.org/val2017/{image.pop('file_name')}"
    return document, results


def write(folder: Path, document: object, results: object) -> tuple[Path, Path]:
    labels, found = folder / "labels.json", folder / "results.json"
    labels.write_text(json.dumps(document))
    found.write_text(json.dumps(results))
    return labels, found


def _box(rng: np.random.Generator) -> list[float]:
    side = np.exp(rng.uniform(np.log(6), np.log(220), 2))
    corner = rng.uniform(0, 1, 2) * (np.array([640, 480]) - side)
    return [round(float(v), 1) for v in (*corner, *side)]


def _jitter(rng: np.random.Generator, box: list[float]) -> list[float]:
    share = float(rng.choice([0.01, 0.05, 0.15]))
    x, y, w, h = np.array(box) + rng.normal(0, share, 4) * np.array([box[2], box[3]] * 2)
    return [float(x), float(y), max(1.0, float(w)), max(1.0, float(h))]


def _result(rng: np.random.Generator, image: int, category: int, box: list[float]) -> dict[str, Any]:
    # One decimal: many are equal.
    score = round(float(rng.random()), 1)
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}
