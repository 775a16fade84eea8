"""Prompt encoder and mask decoder against the reference implementation, and the reading of official files."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rtvp.errors import RtvpError
from rtvp.models.segment_anything import BoxSegmenter, load_mobile_sam_decoder

State = dict[str, Tensor]


@pytest.fixture
def reference_package(monkeypatch: pytest.MonkeyPatch) -> str:
    """The reference's modules under a package of our own: its own one needs torchvision."""
    package = importlib.util.find_spec("mobile_sam")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the reference implementation is not installed: pip install mobilesam-mirror")
    stand_in = ModuleType("reference_sam")
    stand_in.__path__ = [str(Path(package.submodule_search_locations[0]) / "modeling")]
    monkeypatch.setitem(sys.modules, "reference_sam", stand_in)
    for name in ("common", "prompt_encoder", "mask_decoder", "transformer"):
        monkeypatch.delitem(sys.modules, f"reference_sam.{name}", raising=False)
    return "reference_sam"


def make_reference(package: str, side: int) -> nn.Module:
    """Mobile-SAM's second half for an embedded picture of ``side`` x ``side`` cells, with random weights."""
    prompt_encoder, mask_decoder, transformer = (
        importlib.import_module(f"{package}.{name}")
        for name in ("prompt_encoder", "mask_decoder", "transformer")
    )
    torch.manual_seed(0)
    reference = nn.Module()
    reference.prompt_encoder = prompt_encoder.PromptEncoder(256, (side, side), (16 * side, 16 * side), 16)
    reference.mask_decoder = mask_decoder.MaskDecoder(
        transformer_dim=256, transformer=transformer.TwoWayTransformer(2, 256, 8, 2048)
    )
    with torch.no_grad():  # biases and norms away from their neutral values
        for parameter in reference.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return reference.eval()


def official_file(reference: nn.Module, path: Path) -> Path:
    """A file in the layout of mobile_sam.pt."""
    torch.save({**reference.state_dict(), "image_encoder.patch_embed.weight": torch.zeros(1)}, path)
    return path


def loaded(reference: nn.Module, tmp_path: Path) -> BoxSegmenter:
    segmenter = BoxSegmenter()
    load_mobile_sam_decoder(segmenter, official_file(reference, tmp_path / "mobile_sam.pt"))
    return segmenter.eval()


def reference_masks(reference: Any, picture: Tensor, positions: Tensor, **prompts: Any) -> Any:
    sparse, dense = reference.prompt_encoder(
        points=prompts.get("points"), boxes=prompts.get("boxes"), masks=prompts.get("masks")
    )
    dense = dense[:, :, : picture.shape[2], : picture.shape[3]]
    return reference.mask_decoder.predict_masks(picture, positions, sparse, dense)


BOXES = torch.tensor([[3.0, 5.5, 90.0, 60.0], [20.0, 30.0, 21.0, 31.0], [0.0, 0.0, 128.0, 128.0]])
POINTS = torch.tensor([[[40.0, 33.0], [8.0, 9.0]], [[20.5, 30.5], [0.0, 0.0]], [[127.0, 1.0], [64.0, 64.0]]])
LABELS = torch.tensor([[1, 0], [1, -1], [-1, 1]])


@pytest.mark.parametrize("side", [8, 64])
@pytest.mark.parametrize("with_points", [False, True])
def test_equals_the_reference(reference_package: str, tmp_path: Path, side: int, with_points: bool) -> None:
    reference = make_reference(reference_package, side)
    segmenter = loaded(reference, tmp_path)
    picture = torch.randn(1, 256, side, side)
    boxes, points = BOXES * side / 8, POINTS * side / 8
    given = points if with_points else None
    with torch.inference_mode():
        masks = segmenter(picture, boxes, given)
        expected, _ = reference_masks(
            reference,
            picture,
            reference.prompt_encoder.get_dense_pe(),
            boxes=boxes,
            points=(points, torch.ones(3, 2)) if with_points else None,
        )
    assert masks.shape == (3, 4 * side, 4 * side)
    torch.testing.assert_close(masks, expected[:, 0], rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_all_masks_qualities_and_kinds_of_prompts_equal_the_reference(
    reference_package: str, tmp_path: Path
) -> None:
    reference = make_reference(reference_package, 8)
    segmenter = loaded(reference, tmp_path)
    picture, earlier = torch.randn(1, 256, 8, 8), torch.randn(3, 1, 32, 32)
    encoder = segmenter.prompt_encoder
    with torch.inference_mode():
        positions = encoder.positions((8, 8))
        torch.testing.assert_close(positions, reference.prompt_encoder.get_dense_pe())
        embedded = encoder((8, 8), points=POINTS, labels=LABELS, masks=earlier)
        for ours, theirs in zip(
            embedded, reference.prompt_encoder((POINTS, LABELS), None, earlier), strict=True
        ):
            torch.testing.assert_close(ours, theirs)
        masks, quality = segmenter.mask_decoder(picture, positions, *embedded)
        expected = reference_masks(reference, picture, positions, points=(POINTS, LABELS), masks=earlier)
    torch.testing.assert_close(masks, expected[0], rtol=1e-4, atol=1e-4 * float(expected[0].abs().max()))
    torch.testing.assert_close(quality, expected[1], rtol=1e-4, atol=1e-4)


def test_a_picture_that_is_not_square_lies_at_the_top_left_of_one(
    reference_package: str, tmp_path: Path
) -> None:
    reference = make_reference(reference_package, 8)
    segmenter = loaded(reference, tmp_path)
    picture = torch.randn(1, 256, 5, 8)
    with torch.inference_mode():
        masks = segmenter(picture, BOXES)
        positions = reference.prompt_encoder.get_dense_pe()[:, :, :5]
        expected, _ = reference_masks(reference, picture, positions, boxes=BOXES)
    assert masks.shape == (3, 20, 32)
    torch.testing.assert_close(masks, expected[:, 0], rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_no_boxes_no_masks() -> None:
    with torch.inference_mode():
        assert BoxSegmenter()(torch.zeros(1, 256, 4, 4), torch.zeros(0, 4)).shape == (0, 16, 16)


def test_every_answer_is_that_of_its_own_box() -> None:
    torch.manual_seed(0)
    segmenter, picture = BoxSegmenter().eval(), torch.randn(1, 256, 8, 8)
    with torch.inference_mode():
        together = segmenter(picture, BOXES)
        alone = torch.cat([segmenter(picture, box[None]) for box in BOXES])
    assert not torch.allclose(together[0], together[1])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


# ---- files


def without_one(state: State) -> None:
    del state["mask_decoder.iou_token.weight"]


def with_another_shape(state: State) -> None:
    state["prompt_encoder.no_mask_embed.weight"] = torch.zeros(1, 128)


def with_a_stranger(state: State) -> None:
    state["mask_decoder.hq_token.weight"] = torch.zeros(1)


def without_these_parts(state: State) -> None:
    for name in [name for name in state if not name.startswith("image_encoder.")]:
        del state[name]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_one, r"mask_decoder\.iou_token\.weight is missing"),
        (with_another_shape, r"no_mask_embed\.weight has shape \(1, 128\), expected \(1, 256\)"),
        (with_a_stranger, r"hq_token\.weight is unknown"),
        (without_these_parts, r"expected Mobile-SAM's mobile_sam\.pt .* found none"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(
    tmp_path: Path, spoil: Callable[[State], None], message: str
) -> None:
    state = {**BoxSegmenter().state_dict(), "image_encoder.neck.0.weight": torch.zeros(1)}
    spoil(state)
    path = tmp_path / "mobile_sam.pt"
    torch.save(state, path)
    segmenter = BoxSegmenter()
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    with pytest.raises(RtvpError, match=message) as caught:
        load_mobile_sam_decoder(segmenter, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in segmenter.state_dict().items())
