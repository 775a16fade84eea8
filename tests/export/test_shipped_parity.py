"""The shipped model on real images, by every runtime."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import rtvp
from rtvp.data.labelled import read_sources
from rtvp.export.verify import Comparison, compare_images
from rtvp.measure import RtvpNamed
from rtvp.types import Prompt

SETS = ("cookie", "deeppcb", "wood-surface")
IMAGES = 4  # of each set


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_real_images_give_the_same_boxes(runtime: str) -> None:
    root = os.environ.get("RTVP_DATA")
    if not root:
        pytest.skip("RTVP_DATA is not set: no real images to compare on")
    checkpoint, exported = rtvp.load(), rtvp.load(runtime=runtime)
    comparison = Comparison()
    for own in read_sources(Path(root), SETS):
        paths = [record.path for record in own.images[:: len(own.images) // IMAGES]]
        prompts = [Prompt(name) for name in sorted(own.vocabulary)]
        both = [RtvpNamed(d.network, d.text_encoder, d.size) for d in (checkpoint, exported)]
        compare_images(comparison, both[0], both[1], paths, prompts, checkpoint.threshold)
    assert comparison.images >= IMAGES * len(SETS)
    assert len(comparison.pairs) > 20 * IMAGES
    assert comparison.problem("float32") is None
