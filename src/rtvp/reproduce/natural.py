"""MS-COCO and LVIS, in the layouts of their official downloads, which the user gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rtvp.config import TrainConfig
from rtvp.data.labelled import LabelledSet
from rtvp.errors import RtvpError
from rtvp.evaluate.coco_labels import Labels, read_labels
from rtvp.evaluate.matching import COCO_LIMITS, LVIS_LIMITS
from rtvp.evaluate.outcome import Outcome
from rtvp.files import sha256_of
from rtvp.measure import NamedDetector, measure_labels
from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.reproduce.tasks import OnImage, Places, Side, Task
from rtvp.train.data import RunData
from rtvp.types import Prompt

COCO_LAYOUT = (
    "annotations/instances_train2017.json, annotations/instances_val2017.json, train2017/ and val2017/ "
    "(MS-COCO 2017, cocodataset.org)"
)
LVIS_LAYOUT = (
    "lvis_v1_train.json and lvis_v1_val.json (lvisdataset.org), in it or in annotations/, and the images of "
    "MS-COCO 2017 in train2017/ and val2017/"
)
RARE = "r"


def coco_task() -> Task:
    """Trained on train2017, tested on val2017; all 80 names are asked for in every image."""
    return Task("coco", "all 80 names", _without_defects, _read_coco_training, _read_coco_test)


def lvis_task() -> Task:
    """Trained on the common and frequent names of LVIS v1, tested on all: the rare ones are unseen."""
    return Task("lvis", "all names, rare ones unseen", _without_defects, _read_lvis_training, _read_lvis_test)


def _without_defects(config: TrainConfig) -> TrainConfig:
    """Natural images: nothing generated, painted or pasted in; nothing is read by the names of sources."""
    none_of_ours = {"split": None, "sources": ("given",), "held_out": ()}
    changes = {**none_of_ours, "synthetic_share": 0.0, "painted_share": 0.0, "cut_paste_share": 0.0}
    return config.model_copy(update={"data": config.data.model_copy(update=changes)})


def _read_coco_training(config: TrainConfig, places: Places) -> RunData:
    path = _file(places.natural, ("annotations/instances_train2017.json",), COCO_LAYOUT)
    labels = read_labels(path, places.natural / "train2017")
    # A crowd is no single object to learn, and what it covers is not known to be free of others.
    known = [outcome for outcome in labels.outcomes if not outcome.crowds]
    return _run_data(config, path, known, frozenset(labels.names), frozenset())


def _read_coco_test(places: Places, at_most: int | None) -> Side:
    path = _file(places.natural, ("annotations/instances_val2017.json",), COCO_LAYOUT)
    return _test(path, read_labels(path, places.natural / "val2017"), at_most, lvis=False)


def _read_lvis_training(config: TrainConfig, places: Places) -> RunData:
    """Names that an image's labels do not mention are taken as absent, as usual where LVIS is learnt."""
    path = _lvis_file(places, "train")
    labels = read_labels(path, places.natural, lvis=True)
    rare = frozenset(name for name, group in labels.frequencies.items() if group == RARE)
    # Without a box of the base nothing is known of an image: it may show rare things, or unlabelled ones.
    known = [outcome for outcome in labels.outcomes if any(name not in rare for name, _ in outcome.truth)]
    return _run_data(config, path, known, frozenset(labels.names) - rare, rare)


def _read_lvis_test(places: Places, at_most: int | None) -> Side:
    path = _lvis_file(places, "val")
    return _test(path, read_labels(path, places.natural, lvis=True), at_most, lvis=True)


def _test(path: Path, labels: Labels, at_most: int | None, *, lvis: bool) -> Side:
    total = len(labels.outcomes)
    outcomes = labels.outcomes[:: 1 if at_most is None else max(1, -(-total // at_most))]
    prompts = [Prompt(name) for name in labels.names]

    def run(detector: NamedDetector, on_image: OnImage) -> list[Outcome]:
        return measure_labels(detector, outcomes, prompts, on_image=on_image)

    limits = LVIS_LIMITS if lvis else COCO_LIMITS
    return Side(sha256_of(path), len(outcomes), run, labels.frequencies or None, limits)


def _run_data(
    config: TrainConfig,
    path: Path,
    outcomes: Sequence[Outcome],
    vocabulary: frozenset[str],
    excluded: frozenset[str],
) -> RunData:
    every = max(2, round(1 / config.data.validation_share))  # of these images no two show the same thing
    records = [_record(outcome, vocabulary) for outcome in outcomes]
    parts = (tuple(r for i, r in enumerate(records) if bool(i % every) == learnt) for learnt in (True, False))
    train, validation = (LabelledSet(path.stem, path.stem, "", part, vocabulary) for part in parts)
    return RunData((train,), (validation,), (), excluded, f"{sha256_of(path)}-{every}")


def _record(outcome: Outcome, vocabulary: frozenset[str]) -> ImageRecord:
    boxes = tuple(Annotation(name, box) for name, box in outcome.truth if name in vocabulary)
    return ImageRecord(Path(outcome.image), outcome.width, outcome.height, boxes, outcome.image)


def _lvis_file(places: Places, side: str) -> Path:
    name = f"lvis_v1_{side}.json"
    return _file(places.natural, (name, f"annotations/{name}"), LVIS_LAYOUT)


def _file(folder: Path, names: Sequence[str], layout: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise RtvpError(f"{folder}: expected {layout}; found no {names[0]}")
