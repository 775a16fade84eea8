"""What is kept of a look is what the network computed, and looking leaves no trace in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from figure_sets import SIZE, small_rtvp
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.data.images import letterbox
from rtvp.errors import RtvpError
from rtvp.models.detector import RTVPDetector
from rtvp.models.text_encoder import embed_prompts
from rtvp.models.torch_network import to_tensor
from rtvp.predict import Detector
from rtvp.reproduce.look import coverage, look, rtvp_network, uncertainty
from rtvp.types import Prompt

PROMPTS = [Prompt("scratch"), Prompt("dent")]
corner = st.floats(0, 60, width=32)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return small_rtvp()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)


def parts_of(detector: Detector) -> tuple[RTVPDetector, torch.Tensor]:
    text = embed_prompts(PROMPTS, detector.text_encoder)
    return rtvp_network(detector), torch.from_numpy(text)


@settings(max_examples=25, deadline=None)
@given(corner, corner, corner, corner)
def test_coverage_adds_up_to_the_area_of_the_box(x1: float, y1: float, width: float, height: float) -> None:
    share = coverage(torch.tensor([[x1, y1, x1 + width, y1 + height]]), 8, 16, 16)
    assert share.shape == (1, 16, 16)
    assert float(share.max()) <= 1
    assert float(share.sum()) * 64 == pytest.approx(width * height, abs=0.05)


def test_features_scores_and_attention_are_those_of_the_network(
    detector: Detector, image: np.ndarray
) -> None:
    network, text = parts_of(detector)
    seen = look(detector, image, PROMPTS)
    with torch.inference_mode():
        features = network.encode(to_tensor(letterbox(image, SIZE)[0][None]))
        prompt = network.refiner(network.adapt(features))
        fused = network.neck([f + p for f, p in zip(features, prompt.prompts, strict=True)], text)
    for kept, level in zip(seen.features, fused, strict=True):
        torch.testing.assert_close(kept, level[0])
    for kept, level in zip(seen.scores, prompt.scores, strict=True):
        torch.testing.assert_close(kept, level[0, 0])
    alone, placement = uncertainty(detector, image)
    assert placement == seen.letterbox
    for kept, level in zip(seen.scores, alone, strict=True):
        torch.testing.assert_close(kept, level)
    assert [level.shape for level in seen.attention] == [(8, 12), (4, 6), (2, 3)]
    assert all(0 < float(level.min()) <= float(level.max()) < 1 for level in seen.attention)


def test_attention_depends_on_the_text_and_the_score_does_not(detector: Detector, image: np.ndarray) -> None:
    first, second = look(detector, image, PROMPTS), look(detector, image, [Prompt("hole")])
    assert all(not torch.equal(a, b) for a, b in zip(first.attention, second.attention, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first.scores, second.scores, strict=True))


def test_given_boxes_stand_for_the_refined_prompt(detector: Detector, image: np.ndarray) -> None:
    network, text = parts_of(detector)
    with torch.inference_mode():
        features = network.encode(to_tensor(letterbox(image, SIZE)[0][None]))
        activated = [s(c)[0] for s, c in zip(network.refiner.scorers, network.adapt(features), strict=True)]
        nowhere = network.neck(list(features), text)
        everywhere = network.neck([f + a for f, a in zip(features, activated, strict=True)], text)
    whole = np.array([[0, 0, 96, 96]], dtype=np.float32)
    for boxes, expected in ((np.zeros((0, 4), dtype=np.float32), nowhere), (whole, everywhere)):
        seen = look(detector, image, PROMPTS, boxes)
        for kept, level in zip(seen.features, expected, strict=True):
            torch.testing.assert_close(kept, level[0])
    some = look(detector, image, PROMPTS, np.array([[8, 8, 30, 30]], dtype=np.float32))
    assert not torch.allclose(some.features[0], nowhere[0][0])


def test_boxes_are_given_in_pixels_of_the_original(detector: Detector, image: np.ndarray) -> None:
    large = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)  # the letterbox halves it: the same input
    box = np.array([[10, 10, 40, 40]], dtype=np.float32)
    small_look, large_look = look(detector, image, PROMPTS, box), look(detector, large, PROMPTS, 2 * box)
    for a, b in zip(small_look.features, large_look.features, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(
        2 * small_look.detections.boxes_xyxy, large_look.detections.boxes_xyxy, atol=1e-2, rtol=1e-3
    )


def test_looking_leaves_no_hook_behind(detector: Detector, image: np.ndarray) -> None:
    before = detector.detect(image, PROMPTS)
    look(detector, image, PROMPTS, np.array([[0, 0, 96, 64]], dtype=np.float32))
    hooks = [m for m in rtvp_network(detector).modules() if m._forward_hooks or m._forward_pre_hooks]
    assert hooks == []
    np.testing.assert_array_equal(before.scores, detector.detect(image, PROMPTS).scores)


def test_parts_that_are_off_have_no_maps(image: np.ndarray) -> None:
    bare = small_rtvp(visual_prompt={"enabled": False}, interaction={"enabled": False})
    seen = look(bare, image, PROMPTS)
    assert (seen.scores, seen.attention, len(seen.features)) == ((), (), 3)
    with pytest.raises(RtvpError, match="no visual prompt that boxes could stand for"):
        look(bare, image, PROMPTS, np.zeros((0, 4), dtype=np.float32))
    with pytest.raises(RtvpError, match="no visual prompt to take a region from"):
        uncertainty(bare, image)


def test_only_rtvp_detectors_are_looked_into(colour_detector: Detector, image: np.ndarray) -> None:
    with pytest.raises(RtvpError, match="colours: expected an RTVP detector, got a ColourNetwork"):
        look(colour_detector, image, PROMPTS)
