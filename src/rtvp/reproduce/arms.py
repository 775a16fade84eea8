"""What is compared: each arm is a name and a pure function of the configuration that all arms start from.

Arms of one comparison get the same images, seeds, sizes, steps and batches. Where the budget's detector takes
over the expert's encoder, every arm keeps that encoder's pre-training: what an arm leaves out is the part of
the paper, not the images that its encoder has seen. Levers change what is learnt from instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rtvp.config import ImageEncoderConfig, TrainConfig
from rtvp.errors import RtvpError


@dataclass(frozen=True, slots=True)
class Arm:
    """One method of a comparison.

    Attributes:
        title: what tables call it.
        change: configuration of the full method -> configuration of this arm.
        closed_set: the expert alone is trained and measured, which knows a fixed list of names, no text.
    """

    title: str
    change: Callable[[TrainConfig], TrainConfig]
    closed_set: bool = False


def full(base: TrainConfig) -> TrainConfig:
    """All three parts of the paper."""
    return base


def without_adaptation(base: TrainConfig) -> TrainConfig:
    """No decoder, no reconstruction, no expert beside the training: the prompt is of the raw features."""
    expert = base.expert
    # Only where the expert leaves its encoder behind does its pre-training matter to what is left.
    kept = expert if expert is not None and expert.shares_encoder and expert.learns_encoder else None
    return _with_detector(base, adaptation=_off(base, "adaptation")).model_copy(update={"expert": kept})


def without_prompt(base: TrainConfig) -> TrainConfig:
    """No scoring, no sparse sampling: the coarse prompt is added as it is."""
    return _with_detector(base, visual_prompt=_off(base, "visual_prompt"))


def without_interaction(base: TrainConfig) -> TrainConfig:
    """The neck sees no text; the head still compares regions with texts."""
    return _with_detector(base, interaction=_off(base, "interaction"))


def yolo_world_like(base: TrainConfig) -> TrainConfig:
    """A CNN encoder, a neck and a region-text head: what is left of YOLO-World-S without the paper's parts.

    The CNN is the budget's expert's. It learns with the rest, unless the budget freezes the encoder of every
    arm after its pre-training as the expert's; then here too. YOLO-World's own text interaction is off: it is
    one of the three parts that are tested.
    """
    bare = without_interaction(without_prompt(without_adaptation(base)))
    if base.expert is None or base.expert.shares_encoder:
        return bare
    encoder = ImageEncoderConfig(name=base.expert.image_encoder, frozen=False)
    training = base.training.model_copy(update={"cached_samples": None, "thaw_beyond": None})
    return _with_detector(bare, image_encoder=encoder).model_copy(update={"training": training})


def expert_alone(base: TrainConfig) -> TrainConfig:
    """The closed-set expert (YOLOv8-S-like), all of it learning for as many steps as RTVP in all its stages.

    Raises:
        RtvpError: a configuration without an expert.
    """
    if base.expert is None:
        raise RtvpError("expected a budget whose `train` has an `expert`, to be measured alone, got none")
    own = base.expert.pretraining
    stage = base.training.model_copy(
        update={
            "steps": own.steps + base.training.steps,
            "learning_rate": own.learning_rate,
            "encoder_learning_rate": own.encoder_learning_rate,
            "thaw_beyond": None,
            "cached_samples": None,
        }
    )
    expert = base.expert.model_copy(update={"pretraining": stage, "learns_encoder": True})
    return base.model_copy(update={"expert": expert})


def patch_size(base: TrainConfig, side: int) -> TrainConfig:
    """Patches of Eq. 6 of ``side`` px of the network input."""
    prompt = base.detector.visual_prompt.model_copy(update={"patch_size": side})
    return _with_detector(base, visual_prompt=prompt)


def other_data(base: TrainConfig, **settings: Any) -> TrainConfig:
    """Other settings of ``data``: what is learnt from, not how."""
    return base.model_copy(update={"data": base.data.model_copy(update=settings)})


def other_encoder(base: TrainConfig, name: str) -> TrainConfig:
    """Another packaged image encoder, frozen, the expert on top of it."""
    changed = _with_detector(base, image_encoder=ImageEncoderConfig(name=name, frozen=True))
    expert = base.expert and base.expert.model_copy(update={"image_encoder": name})
    return changed.model_copy(update={"expert": expert})


def _with_detector(base: TrainConfig, **parts: Any) -> TrainConfig:
    return base.model_copy(update={"detector": base.detector.model_copy(update=parts)})


def _off(base: TrainConfig, part: str) -> Any:
    return getattr(base.detector, part).model_copy(update={"enabled": False})


PAPER_ARMS: Mapping[str, Arm] = {
    "rtvp": Arm("RTVP", full),
    "no-adaptation": Arm("RTVP without expert adaptation", without_adaptation),
    "no-prompt": Arm("RTVP without refined prompt", without_prompt),
    "no-interaction": Arm("RTVP without text-visual interaction", without_interaction),
    "yolo-world-like": Arm("YOLO-World-S-like (all three parts off)", yolo_world_like),
    "expert": Arm("closed-set expert alone (YOLOv8-S-like)", expert_alone, closed_set=True),
    "patch-32": Arm("RTVP, patches of 32 px", partial(patch_size, side=32)),
    "patch-64": Arm("RTVP, patches of 64 px", partial(patch_size, side=64)),
    "patch-128": Arm("RTVP, patches of 128 px", partial(patch_size, side=128)),
}
LEVER_ARMS: Mapping[str, Arm] = {
    "names-only": Arm(
        "RTVP, names alone: no descriptions, synonyms and words for looks",
        partial(other_data, describe_share=0.0, synonym_share=0.0, attribute_words=False),
    ),
    "no-generated": Arm(
        "RTVP, no generated defects", partial(other_data, synthetic_share=0.0, painted_share=0.0)
    ),
    "more-generated": Arm(
        "RTVP, generated defects in 70 % of pictures", partial(other_data, synthetic_share=0.7)
    ),
    "cut-paste": Arm(
        "RTVP, real defects pasted into 30 % of real pictures", partial(other_data, cut_paste_share=0.3)
    ),
    "lite2": Arm("RTVP, EfficientNet-lite2", partial(other_encoder, name="efficientnet_lite2")),
}
ARMS: Mapping[str, Arm] = {**PAPER_ARMS, **LEVER_ARMS}
