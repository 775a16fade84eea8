"""COCO average precision through faster-coco-eval, which agrees with pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

BoxXyxy = tuple[float, float, float, float]
Truth = tuple[str, BoxXyxy]  # name, box in px
Prediction = tuple[str, float, BoxXyxy]  # name, score, box in px


def average_precision(
    truth: Sequence[Sequence[Truth]], predictions: Sequence[Sequence[Prediction]], names: Sequence[str]
) -> dict[str, float]:
    """AP (IoU 0.50:0.95), AP50 and AP75 over a set of images; names without a box in ``truth`` do not count.

    Args:
        truth: per image, the labelled boxes.
        predictions: per image, the detections.
        names: the categories.

    Returns:
        ``AP``, ``AP50``, ``AP75`` in [0, 1]; NaN where the truth holds no box at all.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    if not any(truth):
        return {"AP": float("nan"), "AP50": float("nan"), "AP75": float("nan")}
    # Ids start at 1: an annotation with id 0 would count as unmatched.
    category = {name: index for index, name in enumerate(names, start=1)}
    annotations = [
        {"image_id": image, "category_id": category[name], "iscrowd": 0, **_coco_box(box)}
        for image, boxes in enumerate(truth, start=1)
        for name, box in boxes
    ]
    results = [
        {"image_id": image, "category_id": category[name], "score": score, **_coco_box(box)}
        for image, found in enumerate(predictions, start=1)
        for name, score, box in found
    ]
    if not results:
        return {"AP": 0.0, "AP50": 0.0, "AP75": 0.0}
    dataset = {
        "images": [{"id": image, "width": 1, "height": 1} for image in range(1, len(truth) + 1)],
        "annotations": [{"id": i, **a} for i, a in enumerate(annotations, start=1)],
        "categories": [{"id": index, "name": name} for name, index in category.items()],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # the library reports its progress on stdout
        ground_truth = COCO(dataset)
        evaluation = COCOeval_faster(ground_truth, ground_truth.loadRes(results), iouType="bbox")
        evaluation.run()
    statistics = evaluation.stats_as_dict
    return {key: max(0.0, float(statistics[f"AP_{suffix}"])) for key, suffix in _STATISTICS.items()}


_STATISTICS = {"AP": "all", "AP50": "50", "AP75": "75"}


def _coco_box(box: BoxXyxy) -> dict[str, object]:
    x1, y1, x2, y2 = box
    return {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
