"""One optimisation step: which terms there are, what learns from them, and what runs when."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from rtvp.config import LossWeights, MaskingConfig
from rtvp.models.cross_modal_attention import MaxSigmoidAttention
from rtvp.train.step import ConvergenceMonitor, Losses, RTVPStep, weighted
from rtvp.types import Batch, Prompt, Target

DETECTION = {"classification", "box", "distance"}
PROMPT = {"prompt_box", "prompt_score"}
EXPERT = {"expert", "reconstruction"}
MakeStep = Callable[..., RTVPStep]


def total(terms: Losses) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def without_gradient(step: nn.Module) -> list[str]:
    return [
        name
        for name, parameter in step.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    ]


def inputs_of(module: nn.Module) -> list[tuple[Tensor, ...]]:
    """Filled with the first argument of every call of ``module``."""
    seen: list[tuple[Tensor, ...]] = []
    module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    return seen


def test_every_parameter_learns(make_step: MakeStep, batch: Batch, text: Tensor) -> None:
    step = make_step()
    terms = step(batch, text, 0)
    assert set(terms) == DETECTION | PROMPT | EXPERT
    assert all(term.ndim == 0 and term > 0 for term in terms.values())
    total(terms).backward()
    assert without_gradient(step) == []
    assert all(p.grad is not None and p.grad.isfinite().all() for p in step.parameters())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"adaptation": {"enabled": False}}, DETECTION | PROMPT),
        ({"visual_prompt": {"enabled": False}}, DETECTION | EXPERT),
        ({"interaction": {"enabled": False}}, DETECTION | PROMPT | EXPERT),
        ({"expert": False}, DETECTION | PROMPT),
        (
            {"adaptation": {"enabled": False}, "visual_prompt": {"enabled": False}, "expert": False},
            DETECTION,
        ),
    ],
)
def test_parts_can_be_left_out(
    make_step: MakeStep, batch: Batch, text: Tensor, changes: dict[str, object], expected: set[str]
) -> None:
    step = make_step(**changes)
    terms = step(batch, text, 0)
    assert set(terms) == expected
    total(terms).backward()
    silent = [name for name in without_gradient(step) if not name.startswith("expert.")]
    assert silent == []
    attention = any(isinstance(module, MaxSigmoidAttention) for module in step.detector.modules())
    assert attention == ("interaction" not in changes)


@pytest.mark.parametrize("name", LossWeights.model_fields)
def test_weight_zero_removes_the_term(make_step: MakeStep, batch: Batch, text: Tensor, name: str) -> None:
    masking = MaskingConfig(share=0.0)  # else the end of the adaptation would change the other terms too
    full = make_step(masking=masking)(batch, text, 0)
    reduced = make_step(losses=LossWeights(**{name: 0.0}), masking=masking)(batch, text, 0)
    # Without the reconstruction there is nothing that the expert could help with.
    gone = EXPERT if name == "reconstruction" else {name}
    assert set(full) - set(reduced) == gone
    for other in set(reduced) - {"expert"}:
        torch.testing.assert_close(reduced[other], full[other], msg=other)
    if name in DETECTION:
        assert reduced["expert"] < full["expert"], "the expert's own terms have the same weights"
    elif "expert" in reduced:
        torch.testing.assert_close(reduced["expert"], full["expert"])


@pytest.mark.parametrize("name", sorted(LossWeights.model_fields))
def test_terms_grow_with_their_weight(make_step: MakeStep, batch: Batch, text: Tensor, name: str) -> None:
    default = LossWeights()
    doubled = default.model_copy(update={name: 2 * getattr(default, name)})
    first, second = (make_step(losses=losses)(batch, text, 0) for losses in (default, doubled))
    torch.testing.assert_close(second[name], 2 * first[name])


def test_weighted_leaves_out_what_weighs_nothing() -> None:
    terms = {"classification": torch.tensor(2.0), "box": torch.tensor(3.0)}
    assert weighted(terms, LossWeights(classification=0.25, box=0)) == {"classification": torch.tensor(0.5)}


def test_masks_hide_a_share_of_the_patches_from_the_decoder_alone(
    make_step: MakeStep, batch: Batch, text: Tensor
) -> None:
    step = make_step(masking=MaskingConfig(patch_cells=1, share=0.25))
    decoder = step.detector.decoder
    assert decoder is not None
    masked = inputs_of(decoder)
    fused = inputs_of(step.detector.neck)
    step(batch, text, 0)
    for level in masked[0]:
        hidden = (level == 0).all(dim=1).flatten(1).float().mean(dim=1)
        cells = level.shape[2] * level.shape[3]
        assert hidden.tolist() == pytest.approx([round(0.25 * cells) / cells] * 2)
    assert all((level != 0).any(dim=1).all() for level in fused[0]), "the detector sees everything"


def test_masks_are_of_the_step_and_end_with_the_adaptation(
    make_step: MakeStep, batch: Batch, text: Tensor
) -> None:
    step = make_step(masking=MaskingConfig(share=0.5))
    decoder = step.detector.decoder
    assert decoder is not None
    seen = inputs_of(decoder)
    for number in (0, 1, 0):
        step(batch, text, number)
    assert torch.equal(seen[0][0], seen[2][0])
    assert not torch.equal(seen[0][0], seen[1][0])
    step.stop_adapting()
    step(batch, text, 1)
    assert all((level != 0).any(dim=1).all() for level in seen[3])


def test_nothing_is_masked_without_an_expert(make_step: MakeStep, batch: Batch, text: Tensor) -> None:
    step = make_step(expert=False, masking=MaskingConfig(share=0.5))
    decoder = step.detector.decoder
    assert decoder is not None
    seen = inputs_of(decoder)
    step(batch, text, 0)
    assert all((level != 0).any(dim=1).all() for level in seen[0])


def test_stopping_fixes_the_decoder_and_lets_the_expert_go(
    make_step: MakeStep, batch: Batch, text: Tensor
) -> None:
    step = make_step()
    decoder = step.detector.decoder
    assert decoder is not None
    optimizer = torch.optim.AdamW(step.parameters(), lr=1e-2, weight_decay=0.1)
    total(step(batch, text, 0)).backward()
    optimizer.step()  # moments are there when the decoder stops
    optimizer.zero_grad(set_to_none=True)
    step.stop_adapting()
    before = copy.deepcopy(step.state_dict())
    assert not any(name.startswith("expert.") for name in before)
    terms = step(batch, text, 1)
    assert set(terms) == DETECTION | PROMPT
    total(terms).backward()
    optimizer.step()
    after = step.state_dict()
    for name, parameter in step.named_parameters():
        moved = not torch.equal(after[name], before[name])
        assert moved != name.startswith("detector.decoder."), name
        assert parameter.requires_grad != name.startswith("detector.decoder.")


def test_losses_fall_on_one_batch(make_step: MakeStep, batch: Batch, text: Tensor) -> None:
    step = make_step()
    optimizer = torch.optim.AdamW(step.parameters(), lr=1e-2)
    history = []
    for _ in range(30):
        terms = step(batch, text, 0)
        optimizer.zero_grad()
        total(terms).backward()
        optimizer.step()
        history.append({name: term.item() for name, term in terms.items()})
    first, last = history[0], history[-1]
    assert sum(last.values()) < 0.5 * sum(first.values())
    for name in ("classification", "box", "distance", "expert", "reconstruction"):
        assert last[name] < 0.8 * first[name], name
    assert last["prompt_box"] < first["prompt_box"]


def test_the_expert_is_asked_about_its_own_classes_alone(make_step: MakeStep, batch: Batch) -> None:
    """A name that is none of its classes, such as a phrase, changes nothing for it."""
    expert = make_step().expert
    assert expert is not None
    extra = [
        torch.cat([t.positives, torch.ones(len(t.positives), 1, dtype=torch.bool)], 1) for t in batch.targets
    ]
    targets = [Target(t.boxes_xyxy, p) for t, p in zip(batch.targets, extra, strict=True)]
    wider = batch._replace(
        targets=tuple(targets),
        prompts=(*batch.prompts, Prompt("long red scratch")),
        names=(*batch.names, "long red scratch"),
        annotated=torch.cat([batch.annotated, torch.ones(2, 1, dtype=torch.bool)], 1),
    )
    for name, term in expert(batch).items():
        torch.testing.assert_close(expert(wider)[name], term)


def test_the_experts_logits_are_matched_by_name(make_step: MakeStep, batch: Batch) -> None:
    """The order of a batch's names is not the order of the expert's classes."""
    expert = make_step().expert
    assert expert is not None
    order = [3, 0, 4, 2, 1]
    turned = batch._replace(
        targets=tuple(Target(t.boxes_xyxy, t.positives[:, order]) for t in batch.targets),
        prompts=tuple(batch.prompts[k] for k in order),
        names=tuple(batch.names[k] for k in order),
        annotated=batch.annotated[:, order],
    )
    assert set(expert(batch)) == DETECTION
    for name, term in expert(batch).items():
        torch.testing.assert_close(expert(turned)[name], term)


def test_pairs_that_are_not_annotated_teach_nothing(make_step: MakeStep, batch: Batch, text: Tensor) -> None:
    step = make_step(expert=False)
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, len(batch.names), dtype=torch.bool))
    targets = (nothing,) * len(batch.targets)
    unknown = batch._replace(annotated=torch.zeros_like(batch.annotated), targets=targets)
    assert step(unknown, text, 0)["classification"].item() == 0
    assert step(batch, text, 0)["classification"].item() > 0


@pytest.mark.parametrize("shared", [True, False])
def test_every_encoder_runs_once_a_step(
    make_step: MakeStep, batch: Batch, text: Tensor, shared: bool
) -> None:
    step = make_step(frozen=True, shared=shared)
    assert step.expert is not None
    encoders = {step.detector.image_encoder, step.expert.expert.image_encoder}
    assert len(encoders) == (1 if shared else 2)
    calls = [inputs_of(encoder) for encoder in encoders]
    step(batch, text, 0)
    assert [len(each) for each in calls] == [1] * len(encoders)


def test_a_frozen_encoder_stays_and_the_experts_own_learns(
    make_step: MakeStep, batch: Batch, text: Tensor
) -> None:
    apart = make_step(frozen=True)
    total(apart(batch, text, 0)).backward()
    assert without_gradient(apart) == []
    assert apart.expert is not None
    assert all(p.grad is None for p in apart.detector.image_encoder.parameters())
    assert all(p.grad is not None for p in apart.expert.expert.image_encoder.parameters())

    shared = make_step(frozen=True, shared=True)
    terms = shared(batch, text, 0)
    total(terms).backward()
    assert set(terms) == DETECTION | PROMPT | EXPERT
    assert without_gradient(shared) == []
    assert all(p.grad is None for p in shared.detector.image_encoder.parameters())


def test_the_expert_does_not_learn_from_the_reconstruction(
    make_step: MakeStep, batch: Batch, text: Tensor
) -> None:
    step = make_step()
    step(batch, text, 0)["reconstruction"].backward()
    learnt = {name for name, parameter in step.named_parameters() if parameter.grad is not None}
    assert learnt
    assert not any(name.startswith(("expert.", "auxiliary_head.", "detector.neck.")) for name in learnt)
    assert any(name.startswith("detector.decoder.") for name in learnt)


def decisions(monitor: ConvergenceMonitor, losses: Sequence[float]) -> list[bool]:
    return [monitor.update(loss) for loss in losses]


def test_the_monitor_compares_means_of_windows() -> None:
    # Means 3, 2, 1.95: the last changes by 2.5 %.
    losses = [4.0, 2.0, 3.0, 1.0, 1.95, 1.95]
    assert decisions(ConvergenceMonitor(2, 0.03), losses) == [False] * 5 + [True]
    assert decisions(ConvergenceMonitor(2, 0.02), losses) == [False] * 6


def test_the_monitor_takes_a_small_rise_for_converged_too() -> None:
    assert decisions(ConvergenceMonitor(1, 0.1), [2.0, 2.1]) == [False, True]
    assert decisions(ConvergenceMonitor(1, 0.1), [2.0, 3.0]) == [False, False]
    assert decisions(ConvergenceMonitor(1, 0.0), [2.0, 2.0]) == [False, False], "threshold 0 never stops"


@pytest.mark.parametrize("cut", range(9))
def test_the_monitor_goes_on_from_its_state(cut: int) -> None:
    losses = [5.0, 4.0, 4.5, 3.0, 2.0, 2.5, 2.0, 2.4, 2.1]
    whole = decisions(ConvergenceMonitor(3, 0.2), losses)
    assert any(whole)
    first, second = ConvergenceMonitor(3, 0.2), ConvergenceMonitor(3, 0.2)
    begun = decisions(first, losses[:cut])
    second.restore(first.state())
    assert begun + decisions(second, losses[cut:]) == whole


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_maps_that_a_batch_brings_stand_for_its_images(
    make_step: MakeStep, batch: Batch, text: Tensor, kind: torch.dtype
) -> None:
    step = make_step(frozen=True, shared=True)
    encoder = step.detector.image_encoder
    maps = encoder(batch.images.float())
    brought = batch._replace(images=batch.images[:, :0], features=tuple(each.to(kind) for each in maps))
    expected, own = step(batch, text, 0), step.expert(batch)
    calls = inputs_of(encoder)
    tolerance = 1e-5 if kind == torch.float32 else 2e-2
    for found, wanted in ((step(brought, text, 0), expected), (step.expert(brought), own)):
        assert set(found) == set(wanted)
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, msg=name)
    assert calls == []
