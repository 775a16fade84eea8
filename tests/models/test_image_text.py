from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rtvp.errors import RtvpError
from rtvp.models.image_text import ClipImageText

TEXTS = ["scratch", "oil stain", "missing hole"]
SIDE = 32  # of the tiny CLIP's pictures


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_same_scores_as_transformers(tiny_clip: Path) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    crops = [picture(SIDE, SIDE, seed) for seed in range(3)]
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    pixels = torch.from_numpy(np.stack([(c / 255 - mean) / std for c in crops])).permute(0, 3, 1, 2).float()
    tokens = CLIPTokenizer.from_pretrained(tiny_clip)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        output = CLIPModel.from_pretrained(tiny_clip).eval()(pixel_values=pixels, **tokens)
    expected = output.logits_per_image.softmax(dim=1).numpy()
    scores = ClipImageText(str(tiny_clip))(crops, TEXTS)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 700), (900, 40)])
def test_pictures_of_any_size_are_scored(tiny_clip: Path, height: int, width: int) -> None:
    scores = ClipImageText(str(tiny_clip))([picture(height, width)], TEXTS)
    assert scores.shape == (1, 3)
    assert np.isfinite(scores).all()


def test_only_the_middle_square_counts(tiny_clip: Path) -> None:
    middle = picture(SIDE, SIDE)
    wide = np.concatenate([picture(SIDE, 20, 1), middle, picture(SIDE, 20, 2)], axis=1)
    scorer = ClipImageText(str(tiny_clip))
    np.testing.assert_allclose(scorer([wide], TEXTS), scorer([middle], TEXTS), atol=1e-6)


def test_larger_pictures_are_scaled(tiny_clip: Path) -> None:
    large = np.asarray(Image.fromarray(picture(SIDE, SIDE)).resize((256, 256), Image.Resampling.NEAREST))
    scorer = ClipImageText(str(tiny_clip))
    np.testing.assert_allclose(scorer([large], TEXTS), scorer([picture(SIDE, SIDE)], TEXTS), atol=0.05)


def test_nothing_to_score(tiny_clip: Path) -> None:
    assert ClipImageText(str(tiny_clip))([], TEXTS).shape == (0, 3)


def test_a_text_half_alone_is_not_enough(tiny_clip: Path, tmp_path: Path) -> None:
    from transformers import CLIPTextModelWithProjection

    for path in tiny_clip.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    CLIPTextModelWithProjection.from_pretrained(tiny_clip).save_pretrained(tmp_path)
    with pytest.raises(RtvpError, match=r"clip:.*(lack|cannot load)") as caught:
        ClipImageText(str(tmp_path))([picture(8, 8)], TEXTS)
    assert "\n" not in str(caught.value)
