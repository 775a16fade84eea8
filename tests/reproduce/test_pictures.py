"""Which detectors stand in the figures, and how they are prompted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rtvp.data.labelled import LabelledSet, SplitSets
from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.reproduce import pictures
from rtvp.reproduce.attention_figure import Shown
from rtvp.reproduce.embedding_figure import Embedding, PromptedDetector


class FakeRunner:
    """Runs nothing; what it trained is told by name."""

    def __init__(self, folder: Path) -> None:
        self.places = SimpleNamespace(benchmark=folder, data=folder)
        self.name, self.results, self.out = "smoke", folder / "results", folder / "out"
        self.seeds = range(2)
        self.written: list[tuple[str, int, dict[str, float | None]]] = []

    def trained(self, task: Any, arm: str, seed: int) -> Any:
        name = f"{arm} {seed} of {task.name}"
        return SimpleNamespace(predictor=lambda: name, detector=lambda: f"measured {name}")

    def write(self, item: str, task: Any, arm: str, title: str, seed: int, figures: Any, *_: Any) -> Any:
        self.written.append((arm, seed, figures))
        return SimpleNamespace(arm=arm, seed=seed, figures=figures, budget=self.name)

    def run(self, item: str, task: Any, arms: Sequence[str], seeds: Sequence[int]) -> list[Any]:
        assert tuple(seeds) == (0,)
        thresholds = {arm: {"operating_point": {"threshold": len(arm) / 100}} for arm in arms}
        return [SimpleNamespace(title=arm, evaluation=thresholds[arm]) for arm in arms]

    def run_peer(self, item: str, task: Any, peer: Any) -> Any:
        return SimpleNamespace(title="a peer", evaluation={"operating_point": {"threshold": 0.5}})


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> SplitSets:
    boxes = tuple(Annotation(name, (0, 0, 5, 5)) for name in ("rust", "rust", "dent", "seen"))
    record = ImageRecord(Path("a.png"), 9, 9, boxes, "a")
    labelled = LabelledSet("parts", "parts", "", (record,), frozenset({"rust", "dent", "seen"}))
    found = SplitSets("zero-shot/category", (), (labelled,), ("seen",), ("dent", "rust"), "digest")
    monkeypatch.setattr(pictures, "read_split_sets", lambda build, root, split: found)
    return found


def test_figure_4_prompts_each_detector_its_own_way(
    sides: SplitSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[PromptedDetector, ...]] = []

    def draw(arms: tuple[PromptedDetector, ...], sets: Any, names: Any, out: Path, seed: int) -> Any:
        assert (sets, names) == (sides.test, ("dent", "rust"))
        assert out == tmp_path / "results" / "figure4" / "smoke" / f"seed-{seed}.png"
        drawn.append(arms)
        figures = {"silhouette": 0.25 + seed / 2, "AP": float("nan"), "AP50": 0.5}
        return tuple(Embedding(arm.title, np.zeros((3, 2), np.float32), figures) for arm in arms)

    monkeypatch.setattr(pictures, "embedding_figure", draw)
    monkeypatch.setattr(pictures, "prompted_regions", lambda detector: f"regions of {detector}")
    runner: Any = FakeRunner(tmp_path)
    (table,) = pictures.figure4(runner, [])
    rtvp = "rtvp 0 of zero-shot-category"
    assert [(arm.detector, arm.regions, arm.boxes_as_prompt) for arm in drawn[0]] == [
        (rtvp, None, True),
        ("yolo-world-like 0 of zero-shot-category", f"regions of {rtvp}", False),
        ("no-interaction 0 of zero-shot-category", None, False),
        (rtvp, None, False),
    ]
    assert table.rows[-1] == ("RTVP", "50.0 ± 35.4", "–", "50.0 ± 0.0")
    assert [(arm, seed) for arm, seed, _ in runner.written][:4] == [(arm, 0) for arm in pictures.FIGURE4]
    assert runner.written[0][2]["AP"] is None


def test_figure_5_shows_each_detector_at_its_own_threshold(
    sides: SplitSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(ours: Any, shown: Sequence[Shown], sets: Any, out: Path) -> list[dict[str, Any]]:
        assert ours == "rtvp 0 of closed"
        assert not out.is_relative_to(tmp_path / "results")  # it shows images of the sets
        detectors = ["measured expert 0 of closed", "measured yolo-world-like 0 of closed"]
        assert [each.detector for each in shown] == [*detectors, "measured rtvp 0 of closed", "the peer"]
        assert [each.threshold for each in shown] == [0.06, 0.15, 0.04, 0.5]
        return [{"auroc": {"score M": 0.5}}, {"auroc": {"score M": 0.75}}]

    monkeypatch.setattr(pictures, "attention_figure", draw)
    runner: Any = FakeRunner(tmp_path)
    peer: Any = "the peer"
    (table,) = pictures.figure5(runner, [peer])
    assert table.rows == (("score M", "62.5"),)
