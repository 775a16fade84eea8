"""A small step, and a batch to train it on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from small_step import make_batch, make_small_step, make_text
from torch import Tensor

from rtvp.train.step import RTVPStep
from rtvp.types import Batch


@pytest.fixture
def make_step() -> Callable[..., RTVPStep]:
    """Builds a step."""
    return make_small_step


@pytest.fixture
def text() -> Tensor:
    """Embeddings of the five names."""
    return make_text()


@pytest.fixture
def batch() -> Batch:
    """Two pictures."""
    return make_batch()
