from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.config import DetectorConfig
from rtvp.models.build import extended
from rtvp.models.detector import RTVPDetector
from rtvp.models.postprocess import postprocess, rescored
from rtvp.models.presence import PresenceHead, presence_statistics
from rtvp.types import Letterbox, Predictions


def draw(seed: int, cells: int = 12, prompts: int = 3) -> torch.Tensor:
    return torch.randn(2, cells, prompts, generator=torch.Generator().manual_seed(seed)) * 3 - 4


def test_statistics_have_parity_with_numpy() -> None:
    logits = draw(0).numpy()
    expected = np.stack([logits.max(1), logits.mean(1), logits.std(1)], axis=-1)
    np.testing.assert_allclose(presence_statistics(torch.from_numpy(logits)), expected, rtol=1e-5)


def test_unfitted_presence_is_the_best_score() -> None:
    logits = draw(1)
    torch.testing.assert_close(PresenceHead()(logits), logits.amax(dim=1))
    np.testing.assert_allclose(rescored(logits.numpy(), PresenceHead()(logits).numpy()), logits)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(-10, 10))
def test_the_best_cell_has_the_presence_and_the_rest_keeps_its_distance(seed: int, presence: float) -> None:
    logits = draw(seed).numpy()
    found = rescored(logits, np.full((2, 3), presence, np.float32))
    np.testing.assert_allclose(found.max(axis=1), np.full((2, 3), presence), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.diff(found, axis=1), np.diff(logits, axis=1), atol=1e-4)


def test_scores_of_detections_are_of_presence() -> None:
    """Two images with the same boxes and logits; the second does not show what was asked for."""
    predictions = Predictions(
        np.array([[[0, 0, 10, 10], [50, 50, 60, 60]]] * 2, np.float32),
        np.array([[[2], [1]]] * 2, np.float32),
        presence_logits=np.array([[3], [-3]], np.float32),
    )
    shown, absent = postprocess(predictions, [Letterbox(100, 100, 1.0)] * 2, 0.0)
    np.testing.assert_allclose(shown.scores, torch.tensor([3.0, 2.0]).sigmoid(), rtol=1e-6)
    np.testing.assert_allclose(absent.scores, torch.tensor([-3.0, -4.0]).sigmoid(), rtol=1e-6)


def test_presence_is_added_without_a_change(
    small_detector: Callable[..., RTVPDetector], small_config: Callable[..., DetectorConfig]
) -> None:
    plain, config = small_detector().eval(), small_config()
    wider = extended(plain, config.model_copy(update={"presence": True})).eval()
    images, text = torch.rand(1, 3, 64, 96) * 255, torch.eye(8)[:3]
    with torch.no_grad():
        before, after = plain(images, text), wider(images, text)
    assert before.presence_logits is None
    torch.testing.assert_close(after.logits, before.logits)
    torch.testing.assert_close(after.presence_logits, before.logits.amax(dim=1))
