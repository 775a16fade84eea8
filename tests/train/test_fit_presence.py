from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from rtvp.data.labelled import LabelledSet
from rtvp.evaluate.image_level import auroc
from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.models.presence import PresenceHead, presence_statistics
from rtvp.train.fit_presence import IMAGES_A_SET, _logistic_regression, _some, fit_presence
from rtvp.types import DetectorOutput, Floats

CELL, SIZE = 8, 64
NAMES = ("blob", "defect")


class BrightDetector(nn.Module):
    """A cell's logit is its brightness, whatever is asked for: rough surfaces score as high as defects."""

    def __init__(self) -> None:
        super().__init__()
        self.presence = PresenceHead()

    def forward(self, images: Tensor, text: Tensor) -> DetectorOutput:
        cells = nn.functional.avg_pool2d(images.mean(dim=1, keepdim=True), CELL).flatten(1)[..., None]
        logits = (cells / 16 - 8).expand(-1, -1, len(text))
        count = logits.shape[1]
        empty = torch.zeros(len(images), count, 4, 2)
        return DetectorOutput(empty[..., 0], logits, empty, torch.zeros(count, 2), torch.ones(count))


class AnyEncoder:
    name, version, width = "any", "1", 2

    def encode(self, texts: Sequence[str]) -> Floats:
        return np.eye(2, dtype=np.float32)[[NAMES.index(text) for text in texts]]


def write(path: Path, rng: np.random.Generator, defective: bool) -> ImageRecord:
    """Surfaces of any brightness; a defect is a cell that is 60 brighter than its surface."""
    level = rng.integers(40, 160)
    pixels = np.full((SIZE, SIZE, 3), level, np.uint8)
    found = ()
    if defective:
        x, y = (int(each) * CELL for each in rng.integers(0, SIZE // CELL, 2))
        pixels[y : y + CELL, x : x + CELL] += 60
        found = (Annotation("blob", (x, y, x + CELL, y + CELL)),)
    Image.fromarray(pixels).save(path)
    return ImageRecord(path, SIZE, SIZE, found, path.stem)


def surfaces(folder: Path, count: int) -> LabelledSet:
    rng = np.random.default_rng(0)
    records = [write(folder / f"{i}.png", rng, defective=i % 3 == 0) for i in range(count)]
    return LabelledSet("surfaces", "surfaces", "", tuple(records), frozenset({"blob"}))


def test_presence_learns_to_look_beside_the_best_cell(tmp_path: Path) -> None:
    own, detector = surfaces(tmp_path, 60), BrightDetector()
    pictures = torch.stack([torch.from_numpy(np.array(Image.open(r.path))) for r in own.images])
    logits = detector(pictures.permute(0, 3, 1, 2).float(), torch.eye(2)).logits
    shown = np.array([bool(record.annotations) for record in own.images], dtype=float)

    def rating() -> float:
        return auroc(detector.presence(logits)[:, 0].double().numpy(), shown, 1 - shown)

    before = rating()
    fit_presence(detector, [own], AnyEncoder(), SIZE)  # type: ignore[arg-type]
    assert before < 0.95
    assert rating() == 1.0
    found = detector.presence(logits)[:, 0] > 0
    assert found.tolist() == shown.astype(bool).tolist()


def test_every_set_weighs_the_same(tmp_path: Path) -> None:
    """A set given twice, or with more images of the same kind, changes nothing but by its images."""
    fitted = []
    for sets in (1, 3):
        detector = BrightDetector()
        fit_presence(detector, [surfaces(tmp_path, 30)] * sets, AnyEncoder(), SIZE)  # type: ignore[arg-type]
        fitted.append(torch.cat([detector.presence.weight, detector.presence.bias]))
    torch.testing.assert_close(fitted[0], fitted[1], rtol=1e-3, atol=1e-3)


def test_regression_has_parity_with_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    statistics = rng.normal(size=(400, 3)) * [2.0, 1.0, 0.5] + [-3.0, -6.0, 1.0]
    present = statistics @ [1.0, -0.5, 2.0] + rng.normal(size=400) > 0.5
    weights = rng.uniform(0.5, 2.0, 400)
    found = _logistic_regression(statistics, present, weights)
    spread = statistics.std(axis=0)
    reference = linear_model.LogisticRegression(C=1 / 1e-3, tol=1e-8, max_iter=1000)
    reference.fit((statistics - statistics.mean(axis=0)) / spread, present, weights / weights.sum())
    coefficients = reference.coef_[0] / spread
    np.testing.assert_allclose(found[:-1], coefficients, rtol=1e-3)
    np.testing.assert_allclose(
        found[-1], reference.intercept_[0] - coefficients @ statistics.mean(axis=0), rtol=1e-3
    )


def test_statistics_of_what_nobody_labelled_are_not_needed(tmp_path: Path) -> None:
    """A set without good images fits from the names that some of its images lack."""
    own = surfaces(tmp_path, 30)
    bad = LabelledSet("bad", "", "", tuple(r for r in own.images if r.annotations), own.vocabulary)
    detector = BrightDetector()
    fit_presence(detector, [own, bad], AnyEncoder(), SIZE)  # type: ignore[arg-type]
    assert torch.isfinite(detector.presence.weight).all()
    assert presence_statistics(torch.zeros(1, 4, 2)).isfinite().all()


def test_many_good_images_leave_room_for_defective_ones() -> None:
    def record(number: int, boxes: int) -> ImageRecord:
        found = (Annotation("blob", (0.0, 0.0, 8.0, 8.0)),) * boxes
        return ImageRecord(Path(f"{number}.png"), SIZE, SIZE, found, str(number))

    chosen = _some([record(i, boxes=int(i >= 300)) for i in range(600)])
    assert len(chosen) == IMAGES_A_SET
    assert sum(bool(each.annotations) for each in chosen) == IMAGES_A_SET // 2
    assert len(_some([record(i, boxes=int(i >= 300)) for i in range(303)])) == IMAGES_A_SET
