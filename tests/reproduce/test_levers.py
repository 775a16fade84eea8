from __future__ import annotations

import math
from pathlib import Path

import pytest

from rtvp.config import TrainConfig
from rtvp.data.labelled import LabelledSet, SplitSets
from rtvp.reproduce.levers import drawn_out, task_of_scenes
from rtvp.reproduce.tasks import Places


def test_a_line_through_doublings() -> None:
    points = [(scenes, {"AP50": 0.01 + 0.02 * math.log2(scenes)}) for scenes in (2, 4, 8, 8)]
    points.append((16, {"AP50": None}))
    told = drawn_out(points, "AP50")
    assert told.startswith("AP50: +2.00 points for each doubling of the scenes (line through 4 runs")
    assert "scatter by 0.00), 14.3 points at 100 scenes" in told  # 0.01 + 0.02 * 6.64
    assert drawn_out(points[:1], "AP50") == "AP50: too few points for a line."


def test_fewer_scenes_are_a_part_of_more(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = {"a": "boards", "b": "boards", "c": "tiles", "d": "fabrics", "e": "gears"}
    sets = tuple(LabelledSet(name, scene, "", (), frozenset()) for name, scene in scenes.items())
    sides = SplitSets("zero-shot/scene", sets, (), frozenset(), frozenset(), "")
    monkeypatch.setattr("rtvp.reproduce.levers.read_split_sets", lambda *_: sides)
    read: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "rtvp.reproduce.levers.read_run_data", lambda config, *_: read.append(config.data.sources)
    )
    for seed in range(8):
        config = TrainConfig.model_validate(
            {"seed": seed, "data": {"split": "zero-shot/scene"}, "training": {"steps": 1}}
        )
        for count in (1, 2, 4):
            task_of_scenes(count).read_training(config, Places(Path(), Path()))
        one, two, four = (set(sources) for sources in read[-3:])
        assert one < two < four == set(scenes)
        assert [len({scenes[name] for name in some}) for some in (one, two, four)] == [1, 2, 4]
    assert len(set(read[::3])) > 1  # seeds choose differently
    assert task_of_scenes(2).name == "zero-shot-scene-2"
