"""COCO and LVIS figures against pycocotools and faster-coco-eval, over files."""

from __future__ import annotations

import contextlib
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_documents import coco_document, lvis_document, write

from rtvp.evaluate import LVIS_LIMITS, Evaluation, evaluate
from rtvp.evaluate.coco_labels import read_labels, with_results

KEYS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
Document = tuple[dict[str, Any], list[dict[str, Any]]]


def ours(folder: Path, document: Document, lvis: bool = False) -> Evaluation:
    labels_file, results_file = write(folder, *document)
    labels = read_labels(labels_file, lvis=lvis)
    outcomes = with_results(labels, results_file)
    return evaluate(outcomes, frequencies=labels.frequencies, **({"limits": LVIS_LIMITS} if lvis else {}))


def reference(document: Document, use_categories: bool = True) -> dict[str, float]:
    coco = pytest.importorskip("pycocotools.coco", reason="the reference is not installed")
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = document[0]
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(document[1]), "bbox")
        evaluation.params.useCats = int(use_categories)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(KEYS, evaluation.stats.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_all_twelve_figures_equal_pycocotools(tmp_path: Path, seed: int) -> None:
    document = coco_document(seed)
    expected = reference(document)
    assert 0.02 < expected["AP"] < 0.98, "the case is not trivial"
    figures = ours(tmp_path, document).figures
    assert {key: figures[key] for key in KEYS} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_class_agnostic_figure_is_that_of_pycocotools_without_categories(
    tmp_path: Path, seed: int
) -> None:
    document = coco_document(seed)
    for place, result in enumerate(document[1]):  # equal scores stand in another order there
        result["score"] += place * 1e-6
    expected = reference(document, use_categories=False)
    figures = ours(tmp_path, document).figures
    assert figures["AP_agnostic"] == pytest.approx(expected["AP"], abs=1e-6)
    assert figures["AP50_agnostic"] == pytest.approx(expected["AP50"], abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_lvis_figures_equal_the_reference(tmp_path: Path, seed: int) -> None:
    library = pytest.importorskip("faster_coco_eval", reason="the reference is not installed")
    document = lvis_document(seed)
    evaluation = ours(tmp_path, document, lvis=True)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = library.COCO(document[0])
        reference = library.COCOeval_faster(truth, truth.loadRes(document[1]), "bbox", lvis_style=True)
        reference.params.maxDets = [300]
        reference.run()
    expected = reference.stats_as_dict
    pairs = {"AP": "AP_all", "AP50": "AP_50", "AP75": "AP_75", "APs": "AP_small", "APm": "AP_medium"}
    pairs |= {"APl": "AP_large", "APr": "APr", "APc": "APc", "APf": "APf"}
    assert {key: evaluation.figures[key] for key in pairs} == pytest.approx(
        {key: expected[theirs] for key, theirs in pairs.items()}, abs=1e-6
    )
    # The rules of LVIS are what makes the difference: as a plain COCO file it gives another figure.
    document[0]["images"] = [{**image, "file_name": "x"} for image in document[0]["images"]]
    assert abs(ours(tmp_path, document).figures["AP"] - evaluation.figures["AP"]) > 1e-4


def test_lvis_counts_the_best_300_detections_of_an_image(tmp_path: Path) -> None:
    """A box that is found by the 301st detection, of another name than the first 300, is not found."""
    image = {"id": 1, "width": 64, "height": 64, "file_name": "a.png", "neg_category_ids": [2]}
    truth = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81}
    categories = [{"id": i, "name": f"n{i}", "frequency": "f"} for i in (1, 2)]
    for first, expected in ((299, 1.0), (300, 0.0)):
        wrong = {"image_id": 1, "category_id": 2, "bbox": [30, 30, 9, 9], "score": 0.9}
        right = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.1}
        document = {"images": [image], "annotations": [truth], "categories": categories}
        figures = ours(tmp_path, (document, [wrong] * first + [right]), lvis=True).figures
        assert figures["AP"] == expected


def test_perfect_results_reach_one_and_none_reach_zero(tmp_path: Path) -> None:
    document, _ = coco_document(3)
    for annotation in document["annotations"]:
        annotation["iscrowd"] = 0
    perfect = [
        {key: annotation[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.5}
        for annotation in document["annotations"]
    ]
    figures = ours(tmp_path, (document, perfect)).figures
    assert [figures[key] for key in ("AP", "AP75", "APs", "AR100", "ARl")] == pytest.approx([1.0] * 5)
    figures = ours(tmp_path, (document, [])).figures
    assert [figures[key] for key in ("AP", "AR100", "AP50_agnostic")] == [0.0] * 3


def test_without_labels_there_are_no_figures(tmp_path: Path) -> None:
    document, results = coco_document(0)
    document["annotations"] = []
    evaluation = ours(tmp_path, (document, results))
    assert all(math.isnan(evaluation.figures[key]) for key in KEYS)
    assert evaluation.good == evaluation.images
    assert evaluation.figures["false_alarm_rate"] == 0  # no threshold is worth showing anything
    assert np.isnan(evaluation.operating_point.recall) or evaluation.operating_point.recall == 0
