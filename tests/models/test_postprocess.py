from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.losses import boxes as torch_boxes
from rtvp.models.postprocess import pairwise_iou, postprocess, suppress, vote
from rtvp.types import Detections, Letterbox, Predictions

SQUARE = Letterbox(width=100, height=100, scale=1.0)


def make_output(boxes: object, scores: object) -> Predictions:
    """[B, A, 4] boxes and [B, A, K] scores as a network would give them."""
    return Predictions(np.array(boxes, np.float32), torch.tensor(np.array(scores)).float().logit().numpy())


def detect(boxes: list[list[float]], scores: list[list[float]], **options: float) -> Detections:
    """One image, 100 px a side, not scaled."""
    output = make_output([boxes], [scores])
    return postprocess(output, [SQUARE], **{"score_threshold": 0.1, **options})[0]  # type: ignore[arg-type]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), first=st.integers(0, 20), second=st.integers(0, 20))
def test_overlaps_have_parity_with_those_of_training(seed: int, first: int, second: int) -> None:
    random = np.random.default_rng(seed)
    corners = random.random((first + second, 2), np.float32) * 50
    boxes = np.hstack([corners, corners + random.random((first + second, 2), np.float32) * 30])
    expected = torch_boxes.pairwise_iou(*torch.from_numpy(boxes).split([first, second]))
    np.testing.assert_allclose(pairwise_iou(boxes[:first], boxes[first:]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [1, 7, 1500])
def test_scores_are_those_of_the_best_cells(count: int) -> None:
    """Boxes that touch nobody: what is left are the best, of more cells than are looked at."""
    logits = np.random.default_rng(count).standard_normal((1, count, 1)).astype(np.float32) * 8
    boxes = np.arange(count, dtype=np.float32)[None, :, None] + np.array([0, 0, 0.5, 0.5], np.float32)
    (found,) = postprocess(Predictions(boxes, logits), [Letterbox(2000, 2000, 1.0)], 0.0)
    best = torch.from_numpy(logits).flatten().sort(descending=True)
    np.testing.assert_allclose(found.scores, best.values.sigmoid()[: min(count, 300)], rtol=1e-5)
    np.testing.assert_array_equal(found.boxes_xyxy[:, 0], best.indices[: min(count, 300)])


def naive_iou(first: list[float], second: list[float]) -> float:
    width = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / (sum(areas) - width * height)


boxes_of_a_prompt = st.tuples(
    st.integers(0, 12), st.integers(0, 12), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2)
)


@settings(deadline=None)
@given(st.lists(boxes_of_a_prompt, max_size=25), st.sampled_from([0.11, 0.37, 0.61, 0.97]))
def test_suppression_has_parity_with_loops(drawn: list[tuple[int, ...]], threshold: float) -> None:
    boxes = [[float(x), float(y), float(x + w), float(y + h)] for x, y, w, h, _ in drawn]
    labels = [label for *_, label in drawn]
    kept: list[int] = []
    for i in range(len(boxes)):
        if all(labels[i] != labels[j] or naive_iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    result = suppress(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), threshold)
    assert result.tolist() == kept


def test_a_suppressed_box_suppresses_nothing() -> None:
    """A row of boxes, each overlapping the next: the middle one goes, the last stays."""
    boxes = np.array([[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]], np.float32)
    assert suppress(boxes, np.zeros(3, np.int64), 0.4).tolist() == [0, 2]


def test_overlapping_boxes_of_different_prompts_both_stay() -> None:
    found = detect([[10, 10, 50, 50], [11, 10, 50, 50]], [[0.9, 0.0], [0.0, 0.8]])
    assert found.labels.tolist() == [0, 1]
    np.testing.assert_allclose(found.scores, [0.9, 0.8], rtol=1e-6)
    assert found.boxes_xyxy.tolist() == [[10, 10, 50, 50], [11, 10, 50, 50]]
    assert found.labels.dtype == np.int64
    assert found.boxes_xyxy.dtype == found.scores.dtype == np.float32


def test_best_first_at_most_so_many_and_only_above_the_threshold() -> None:
    boxes = [[10.0 * i, 0, 10 * i + 8, 8] for i in range(6)]
    scores = [[0.3], [0.9], [0.05], [0.7], [0.2], [0.8]]
    np.testing.assert_allclose(detect(boxes, scores).scores, [0.9, 0.8, 0.7, 0.3, 0.2], rtol=1e-6)
    best = detect(boxes, scores, max_detections=2)
    assert best.boxes_xyxy[:, 0].tolist() == [10, 50]
    assert len(detect(boxes, scores, score_threshold=0.75).scores) == 2


@pytest.mark.parametrize("scale", [0.5, 2.0, 0.3])
def test_boxes_return_to_the_original_and_stay_inside(scale: float) -> None:
    letterbox = Letterbox(width=200, height=60, scale=scale)
    original = np.array([[[10, 10, 50, 40], [-5, -5, 300, 100], [150, 5, 260, 30]]])
    output = make_output(original * scale, [[[0.9], [0.8], [0.7]]])
    found = postprocess(output, [letterbox], 0.1)[0]
    expected = [[10, 10, 50, 40], [0, 0, 200, 60], [150, 5, 200, 30]]
    np.testing.assert_allclose(found.boxes_xyxy, expected, rtol=1e-5)


def test_neighbours_of_the_same_prompt_vote_by_their_scores() -> None:
    boxes = [[0, 0, 40, 40], [4, 0, 44, 40], [0, 0, 60, 60], [60, 60, 90, 90], [4, 0, 44, 40]]
    scores = [[0.6, 0.0], [0.2, 0.0], [0.1, 0.0], [0.5, 0.0], [0.0, 0.9]]
    found = detect(boxes, scores, score_threshold=0.3)
    # 0.6 and 0.2 overlap by 0.82; the third overlaps by 0.44 only; the last is of another prompt.
    assert found.labels.tolist() == [1, 0, 0]
    expected = [[4, 0, 44, 40], [1, 0, 41, 40], [60, 60, 90, 90]]
    np.testing.assert_allclose(found.boxes_xyxy, expected, rtol=1e-5)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 40))
def test_votes_have_parity_with_loops(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    corner = random.random((count, 2), np.float32) * 8
    boxes = np.hstack([corner, corner + 10 + random.random((count, 2), np.float32) * 4])
    scores = np.sort(random.random(count, np.float32))[::-1] + np.float32(0.01)
    labels = random.integers(0, 2, count)
    kept = suppress(boxes, labels, 0.5)
    expected = []
    for i in kept.tolist():
        voters = [
            j
            for j in range(count)
            if labels[i] == labels[j] and naive_iou(boxes[i].tolist(), boxes[j].tolist()) > 0.6
        ]
        total = sum(float(scores[j]) for j in voters)
        expected.append(sum(boxes[j] * (float(scores[j]) / total) for j in voters))
    np.testing.assert_allclose(vote(boxes, scores, labels, kept), np.stack(expected), rtol=1e-5)


@pytest.mark.parametrize("threshold", [0.02, 0.2, 0.55])
def test_the_threshold_decides_which_boxes_are_shown_not_where_they_lie(threshold: float) -> None:
    boxes = [[0, 0, 40, 40], [4, 0, 44, 40], [0, 3, 40, 43]]
    found = detect(boxes, [[0.6], [0.3], [0.1]], score_threshold=threshold)
    np.testing.assert_allclose(found.boxes_xyxy[0], [1.2, 0.3, 41.2, 40.3], rtol=1e-5)


def test_boxes_in_the_padding_are_dropped() -> None:
    letterbox = Letterbox(width=100, height=50, scale=1.0)
    boxes = [[[10, 60, 30, 80], [10, 50, 30, 80], [100, 0, 120, 20], [10, 45, 30, 80]]]
    found = postprocess(make_output(boxes, np.full((1, 4, 1), 0.9)), [letterbox], 0.1)[0]
    assert found.boxes_xyxy.tolist() == [[10, 45, 30, 50]]


def test_nothing_found() -> None:
    no_cells = make_output(np.zeros((1, 0, 4)), np.zeros((1, 0, 2)))
    no_prompts = make_output(np.zeros((1, 2, 4)), np.zeros((1, 2, 0)))
    for found in (
        detect([[0, 0, 9, 9]], [[0.05, 0.02]]),
        *postprocess(no_cells, [SQUARE], 0.1),
        *postprocess(no_prompts, [SQUARE], 0.1),
    ):
        assert found.boxes_xyxy.shape == (0, 4)
        assert found.scores.shape == found.labels.shape == (0,)
        assert found.labels.dtype == np.int64


def test_each_image_has_its_own_letterbox_and_detections() -> None:
    boxes = [[[0, 0, 10, 10]], [[0, 0, 20, 20]], [[0, 0, 30, 30]]]
    scores = [[[0.9]], [[0.01]], [[0.8]]]
    letterboxes = [Letterbox(100, 100, 1.0), Letterbox(100, 100, 1.0), Letterbox(100, 100, 0.5)]
    found = postprocess(make_output(boxes, scores), letterboxes, 0.1)
    assert [f.boxes_xyxy.tolist() for f in found] == [[[0, 0, 10, 10]], [], [[0, 0, 60, 60]]]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), cells=st.integers(1, 300), prompts=st.integers(1, 9))
def test_promises_over_random_outputs(seed: int, cells: int, prompts: int) -> None:
    random = np.random.default_rng(seed)
    corner = random.random((1, cells, 2), np.float32) * 140 - 20
    boxes = np.concatenate([corner, corner + random.random((1, cells, 2), np.float32) * 60], axis=-1)
    # Scores of exactly 0 and 1 among them, and logits that no exponential bears.
    logits = random.standard_normal((1, cells, prompts), np.float32) * random.choice([30, 3000])
    output = Predictions(boxes, logits.astype(np.float32))
    found = postprocess(output, [Letterbox(90, 70, 1.1)], 0.001, max_detections=50)[0]
    assert len(found.scores) <= 50
    assert (found.scores > 0.001).all()
    assert (np.diff(found.scores) <= 0).all()
    assert np.isfinite(found.boxes_xyxy).all() and np.isfinite(found.scores).all()
    assert (found.boxes_xyxy[:, 2:] > found.boxes_xyxy[:, :2]).all()
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy <= [90, 70, 90, 70]).all()
    assert ((found.labels >= 0) & (found.labels < prompts)).all()
