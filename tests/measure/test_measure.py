from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from rtvp.data.labelled import LabelledSet
from rtvp.errors import RtvpError
from rtvp.evaluate import evaluate
from rtvp.evaluate.outcome import Outcome
from rtvp.measure import make_prompts, measure, measure_labels
from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.types import Detections, Prompt

BOX = (2.0, 3.0, 20.0, 12.0)


class FindsTheBox:
    """Finds `BOX` under every name that it is asked for, with falling scores, unless the picture is black."""

    name = "finds the box"

    def __init__(self) -> None:
        self.batches: list[tuple[int, tuple[str, ...]]] = []

    def detect(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Prompt]) -> list[Detections]:
        self.batches.append((len(images), tuple(prompt.name for prompt in prompts)))
        return [self._one(len(prompts) if image.any() else 0) for image in images]

    def _one(self, count: int) -> Detections:
        return Detections(
            torch.tensor(BOX).expand(count, 4), 0.9 - 0.1 * torch.arange(count), torch.arange(count)
        )


@pytest.fixture
def sets(tmp_path: Path) -> list[LabelledSet]:
    """Boards with dents and scratches and one image that is good; wheels with cracks."""

    def record(name: str, *labels: str, black: bool = False) -> ImageRecord:
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (40, 30), "black" if black else "gray").save(path)
        return ImageRecord(
            path, 40, 30, tuple(Annotation(label, BOX) for label in labels), f"group of {name}"
        )

    boards = (record("0", "dent"), record("1", "scratch"), record("2", black=True))
    return [
        LabelledSet("boards", "circuit boards", "electronics", boards, frozenset({"dent", "scratch"})),
        LabelledSet("wheels", "train wheels", "metallurgy", (record("3", "crack"),), frozenset({"crack"})),
    ]


NAMES = ("crack", "dent", "scratch")


def test_outcomes_say_what_was_to_be_found_and_what_was_found(sets: list[LabelledSet]) -> None:
    detector, steps = FindsTheBox(), []
    outcomes = measure(detector, sets, make_prompts("own", NAMES), 2, lambda: steps.append(1))
    assert detector.batches == [(2, ("dent", "scratch")), (1, ("dent", "scratch")), (1, ("crack",))]
    assert len(steps) == 4
    first, _, good, wheel = outcomes
    assert first.truth == (("dent", BOX),)
    assert first.predictions == (("dent", pytest.approx(0.9), BOX), ("scratch", pytest.approx(0.8), BOX))
    assert (first.source, first.scene, first.super_category) == ("boards", "circuit boards", "electronics")
    assert (first.width, first.height, first.group) == (40, 30, "boards/group of 0")
    assert first.annotated == {"dent", "scratch"}
    assert good.is_good and good.predictions == ()
    assert (wheel.image, wheel.annotated) == (str(sets[1].images[0].path), {"crack"})


def test_all_names_at_once_are_judged_where_they_are_annotated(sets: list[LabelledSet]) -> None:
    outcomes = measure(FindsTheBox(), sets, make_prompts("all", NAMES))
    assert [outcome.annotated for outcome in outcomes] == [
        {"dent", "scratch"},
        {"dent", "scratch"},
        {"crack", "dent", "scratch"},  # of a good image it is known that nothing is there
        {"crack"},
    ]
    assert len(outcomes[0].predictions) == 3
    # "crack" on a board with a dent is neither right nor wrong; "scratch" is wrong.
    assert evaluate(outcomes).categories["crack"]["AP"] == pytest.approx(1.0)


def test_unseen_names_alone(sets: list[LabelledSet]) -> None:
    outcomes = measure(FindsTheBox(), sets, make_prompts("unseen", NAMES, ["scratch"]))
    evaluation = evaluate(outcomes)
    assert list(evaluation.categories) == ["scratch"]
    assert evaluation.boxes == 1
    assert evaluation.good == 1  # an image with other defects is no good one
    assert outcomes[0].annotated == {"scratch"} and outcomes[3].annotated == set()


def test_the_generic_prompt_means_every_box(sets: list[LabelledSet]) -> None:
    detector = FindsTheBox()
    evaluation = evaluate(measure(detector, sets, make_prompts("generic", NAMES)))
    assert {names for _, names in detector.batches} == {("defect",)}
    assert list(evaluation.categories) == ["defect"]
    assert evaluation.boxes == 3
    assert evaluation.figures["AP"] == evaluation.figures["AP_agnostic"] == pytest.approx(1.0)
    assert evaluation.figures["auroc"] == 1.0


def test_prompts_may_have_further_texts(sets: list[LabelledSet]) -> None:
    prompts = make_prompts("own", NAMES, texts={"dent": ["dip"], "hole": ["gap"]})
    assert prompts(sets[0]) == [Prompt("dent", ("dip",)), Prompt("scratch")]


def test_labels_keep_what_is_known_of_them(sets: list[LabelledSet]) -> None:
    path = str(sets[0].images[0].path)
    labels = Outcome(
        path, "", "", "", 40, 30, (("dent", BOX),), (), frozenset({"dent", "hole"}), areas=(7.0,)
    )
    (outcome,) = measure_labels(FindsTheBox(), [labels], [Prompt("dent"), Prompt("scratch")])
    assert outcome.areas == (7.0,)
    assert outcome.annotated == {"dent"}
    assert [name for name, *_ in outcome.predictions] == ["dent", "scratch"]


def test_a_picture_that_cannot_be_read_ends_it(sets: list[LabelledSet]) -> None:
    sets[0].images[1].path.write_bytes(b"no picture")
    with pytest.raises(RtvpError, match="cannot read image"):
        measure(FindsTheBox(), sets, make_prompts("own", NAMES))
