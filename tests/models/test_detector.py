from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rtvp.models.detector import RTVPDetector
from rtvp.models.visual_prompt.refiner import VisualPromptRefiner
from rtvp.types import DetectorOutput

Make = Callable[..., RTVPDetector]

PARTS = ("adaptation", "visual_prompt", "interaction")
ABLATIONS = [dict(zip(PARTS, switches, strict=True)) for switches in product([True, False], repeat=3)]


def switched(ablation: dict[str, bool]) -> dict[str, dict[str, object]]:
    changes: dict[str, dict[str, object]] = {part: {"enabled": on} for part, on in ablation.items()}
    changes["interaction"]["heads"] = 2
    return changes


def make_images(batch: int = 2, height: int = 64, width: int = 64) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1)) * 255


def make_text(count: int = 3) -> Tensor:
    return F.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(2)), dim=-1)


def tensors(output: DetectorOutput) -> list[Tensor]:
    return [output.boxes_xyxy, output.logits, *output.prompt_scores, *output.prompt_masks, *output.prompts]


@pytest.mark.parametrize("ablation", ABLATIONS, ids=str)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96)])
def test_shapes_of_every_ablation(
    small_detector: Make, ablation: dict[str, bool], height: int, width: int
) -> None:
    detector = small_detector(**switched(ablation)).eval()
    with torch.no_grad():
        output = detector(make_images(2, height, width), make_text(5))
        again = detector(make_images(2, height, width), make_text(5))
    sizes = [(height // s, width // s) for s in (8, 16, 32)]
    cells = sum(rows * columns for rows, columns in sizes)
    assert output.boxes_xyxy.shape == (2, cells, 4)
    assert output.logits.shape == (2, cells, 5)
    assert output.distance_logits.shape == (2, cells, 4, 8)
    assert [p.shape for p in output.prompts] == [(2, 16, *size) for size in sizes]
    maps = [(2, 1, *size) for size in sizes] if ablation["visual_prompt"] else []
    assert [s.shape for s in output.prompt_scores] == [m.shape for m in output.prompt_masks] == maps
    assert all(t.isfinite().all() for t in tensors(output))
    assert all(torch.equal(a, b) for a, b in zip(tensors(output), tensors(again), strict=True))
    assert output.boxes_xyxy.dtype == output.logits.dtype == output.distance_logits.dtype == torch.float32


@pytest.mark.parametrize("ablation", ABLATIONS, ids=str)
def test_boxes_and_logits_teach_every_weight_that_is_not_frozen(
    small_detector: Make, ablation: dict[str, bool]
) -> None:
    detector = small_detector(**switched(ablation)).train()
    before = {key: value.clone() for key, value in detector.image_encoder.state_dict().items()}
    output = detector(make_images(), make_text())
    torch.manual_seed(3)
    loss = (output.logits * torch.randn_like(output.logits)).sum()
    (loss + (output.boxes_xyxy * torch.randn_like(output.boxes_xyxy)).sum()).backward()
    for name, parameter in detector.named_parameters():
        if name.startswith("image_encoder."):
            assert not parameter.requires_grad
            assert parameter.grad is None
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name
    for key, value in detector.image_encoder.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize(
    ("strides", "head_strides"),
    [((4, 8, 16, 32), (4, 8, 16, 32)), ((4, 8, 16, 32), (8, 16, 32)), ((8, 16), (16,))],
)
def test_any_levels(small_detector: Make, strides: tuple[int, ...], head_strides: tuple[int, ...]) -> None:
    detector = small_detector(strides=strides, head_strides=head_strides).eval()
    output = detector(make_images(1, 64, 96), make_text())
    assert [p.shape[2:] for p in output.prompts] == [(64 // s, 96 // s) for s in strides]
    assert output.anchor_strides.unique().tolist() == list(head_strides)
    assert output.logits.shape[1] == sum(64 * 96 // s**2 for s in head_strides)


def test_forward_is_its_three_steps_and_reads_like_the_figure(small_detector: Make) -> None:
    detector = small_detector().eval()
    images, text = make_images(), make_text()
    features = detector.encode(images)
    output = detector.interpret(features, detector.adapt(features), text)
    assert all(
        torch.equal(a, b) for a, b in zip(tensors(output), tensors(detector(images, text)), strict=True)
    )
    assert len(inspect.getsource(RTVPDetector.forward).splitlines()) <= 15
    assert len(inspect.getsource(RTVPDetector.interpret).splitlines()) <= 15


def test_the_prompt_is_the_coarse_one_where_it_was_kept_and_empty_elsewhere(small_detector: Make) -> None:
    detector = small_detector().eval()
    coarse = detector.adapt(detector.encode(make_images()))
    output = detector(make_images(), make_text())
    assert isinstance(detector.refiner, VisualPromptRefiner)
    for i, scorer in enumerate(detector.refiner.scorers):
        activated, scores = scorer(coarse[i])
        assert torch.equal(output.prompt_scores[i], scores)
        assert torch.equal(output.prompts[i], activated * output.prompt_masks[i])
    plain = small_detector(visual_prompt={"enabled": False}).eval()
    coarse = plain.adapt(plain.encode(make_images()))
    assert all(
        torch.equal(a, b) for a, b in zip(plain(make_images(), make_text()).prompts, coarse, strict=True)
    )


@pytest.mark.parametrize("prompts", [1, 100])
@pytest.mark.parametrize("interaction", [True, False])
def test_order_of_prompts_only_orders_the_logits(
    small_detector: Make, prompts: int, interaction: bool
) -> None:
    detector = small_detector(interaction={"enabled": interaction, "heads": 2}).eval()
    images, text = make_images(1), make_text(prompts)
    order = torch.randperm(prompts)
    output, shuffled = detector(images, text), detector(images, text[order])
    torch.testing.assert_close(shuffled.logits, output.logits[..., order], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(shuffled.boxes_xyxy, output.boxes_xyxy, rtol=1e-3, atol=1e-2)


def test_prompts_meet_in_the_neck_and_nowhere_else(small_detector: Make) -> None:
    images, text = make_images(1), make_text(6)
    for interaction in (True, False):
        detector = small_detector(interaction={"enabled": interaction, "heads": 2}).eval()
        alone, together = detector(images, text[:2]).logits, detector(images, text).logits[..., :2]
        assert torch.allclose(alone, together, rtol=1e-4, atol=1e-5) != interaction


def test_an_image_is_judged_by_itself_in_any_memory_format(small_detector: Make) -> None:
    detector = small_detector().eval()
    images, text = make_images(3, 64, 32), make_text()
    together, alone = detector(images, text), detector(images[1:2], text)
    for a, b in zip(tensors(together), tensors(alone), strict=True):
        torch.testing.assert_close(a[1:2], b, rtol=1e-3, atol=1e-3)
    detector = detector.to(memory_format=torch.channels_last)
    other = detector(images.contiguous(memory_format=torch.channels_last), text)
    torch.testing.assert_close(other.logits, together.logits, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(other.boxes_xyxy, together.boxes_xyxy, rtol=1e-3, atol=1e-2)


def test_mixed_precision_trains_with_finite_numbers(small_detector: Make) -> None:
    detector = small_detector().train()
    # 256 px, so that no map that is halved is 1 px wide: there oneDNN's bfloat16 weight gradient of a strided
    # convolution is not finite.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = detector(make_images(2, 256, 256), make_text())
    assert output.boxes_xyxy.dtype == output.logits.dtype == output.distance_logits.dtype == torch.float32
    (output.logits.sum() + output.boxes_xyxy.sum()).backward()
    gradients = [p.grad for p in detector.parameters() if p.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_train_only_parts_are_absent(small_detector: Make) -> None:
    names = [f"{name} {type(module).__name__}".lower() for name, module in small_detector().named_modules()]
    assert not [name for name in names if any(word in name for word in ("expert", "auxiliary", "mask"))]


def test_building_a_detector_imports_no_train_only_parts() -> None:
    code = "import sys, rtvp.models.build, rtvp; print(*[name for name in sys.modules if name[:4] == 'rtvp'])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(run.stdout.split())
    assert "rtvp.models.detector" in imported
    train_only = {
        "rtvp.train",
        "rtvp.models.expert",
        "rtvp.models.visual_prompt.auxiliary_head",
        "rtvp.losses.assigner",
        "rtvp.losses.objective",
    }
    assert not imported & train_only


def test_without_adaptation_and_prompt_the_neck_sees_the_features_alone(small_detector: Make) -> None:
    detector = small_detector(adaptation={"enabled": False}, visual_prompt={"enabled": False}).eval()
    seen: list[tuple[Tensor, ...]] = []
    detector.neck.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        features = detector.encode(make_images())
        detector.interpret(features, detector.adapt(features), make_text())
    assert all(torch.equal(a, b) for a, b in zip(seen[0], features, strict=True))
