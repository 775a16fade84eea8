"""MS-COCO and LVIS as users have them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from natural_files import write_coco, write_lvis
from numpy.typing import NDArray

from rtvp.config import TrainConfig
from rtvp.errors import RtvpError
from rtvp.evaluate.evaluation import evaluate
from rtvp.evaluate.matching import LVIS_LIMITS
from rtvp.reproduce.budget import load_budget
from rtvp.reproduce.natural import coco_task, lvis_task
from rtvp.reproduce.tasks import Places
from rtvp.types import Detections, Prompt


class Perfect:
    """Finds the one box of every image, under every name."""

    name = "perfect"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def detect(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Prompt]) -> list[Detections]:
        self.asked = [prompt.name for prompt in prompts]
        boxes = np.array([[8, 8, 32, 40]] * len(prompts), np.float32)
        found = Detections(boxes, np.full(len(prompts), 0.5, np.float32), np.arange(len(prompts)))
        return [found] * len(images)


def config() -> TrainConfig:
    return load_budget("cpu").train


def test_coco_is_trained_without_defects_and_without_crowds(tmp_path: Path) -> None:
    task, places = coco_task(), Places(natural=write_coco(tmp_path))
    configured = task.configure(config())
    assert (configured.data.synthetic_share, configured.data.cut_paste_share, configured.data.split) == (
        0,
        0,
        None,
    )
    assert TrainConfig.model_validate(configured.model_dump()) == configured
    data = task.read_training(configured, places)
    ((train,), (validation,)) = data.train, data.validation
    names = [record.path.name for labelled in (train, validation) for record in labelled.images]
    assert sorted(names) == [f"{number:012}.jpg" for number in (1, 2, 3)]  # the fourth is a crowd
    assert train.vocabulary == {"cat", "dog"} and not data.excluded
    assert all(record.annotations[0].box_xyxy == (8, 8, 32, 40) for record in train.images)


def test_coco_is_tested_on_val(tmp_path: Path) -> None:
    test = coco_task().read_test(Places(natural=write_coco(tmp_path)), None)
    detector, seen = Perfect(), []
    outcomes = test.measure(detector, lambda: seen.append(1))
    assert (test.images, len(seen)) == (4, 4)
    assert all("val2017" in outcome.image for outcome in outcomes)
    assert detector.asked == ["cat", "dog"]
    assert 0 < evaluate(outcomes, limits=test.limits).figures["AP"] < 1  # the other name is wrong in COCO


def test_rare_names_of_lvis_never_reach_training(tmp_path: Path) -> None:
    task = lvis_task()
    data = task.read_training(task.configure(config()), Places(natural=write_lvis(tmp_path)))
    everything = [record for labelled in (*data.train, *data.validation) for record in labelled.images]
    assert {a.name for record in everything for a in record.annotations} == {"air conditioner", "alarm clock"}
    assert all(labelled.vocabulary == {"air conditioner", "alarm clock"} for labelled in data.train)
    assert data.excluded == {"aerosol can"}
    assert len(everything) == 4  # not the two whose only box is rare: nothing is known of them
    assert all(record.annotations for record in everything)


def test_lvis_is_tested_federated_with_its_frequencies(tmp_path: Path) -> None:
    test = lvis_task().read_test(Places(natural=write_lvis(tmp_path)), None)
    outcomes = test.measure(Perfect(), lambda: None)
    assert test.frequencies == {"air conditioner": "f", "alarm clock": "c", "aerosol can": "r"}
    assert test.limits == LVIS_LIMITS
    first = outcomes[0]
    assert first.annotated == {
        "air conditioner",
        "alarm clock",
    }  # what it shows, and what it is known to lack
    figures = evaluate(outcomes, frequencies=test.frequencies, limits=test.limits).figures
    assert figures["APr"] == pytest.approx(1.0)  # nobody knows whether aerosol cans are in the other images
    assert figures["APc"] < 1


def test_a_test_side_can_be_thinned(tmp_path: Path) -> None:
    places = Places(natural=write_coco(tmp_path, images=5))
    assert coco_task().read_test(places, 2).images == 2
    assert coco_task().read_test(places, 9).images == 5


@pytest.mark.parametrize(
    ("task", "wanted"), [(coco_task(), "instances_train2017"), (lvis_task(), "lvis_v1_train")]
)
def test_a_folder_without_the_files_says_what_to_get(tmp_path: Path, task: object, wanted: str) -> None:
    with pytest.raises(RtvpError, match=f"expected .*{wanted}.*found no ") as caught:
        task.read_training(config(), Places(natural=tmp_path))  # type: ignore[attr-defined]
    assert "\n" not in str(caught.value)
