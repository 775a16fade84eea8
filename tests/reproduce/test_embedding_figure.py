"""Figure 4: the same regions under every arm, their features, clusters and files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from figure_sets import COLOURS, small_rtvp, squares
from PIL import Image

from rtvp.data.labelled import LabelledSet
from rtvp.errors import RtvpError
from rtvp.predict import Detector
from rtvp.reproduce import embedding_figure as embedding_module
from rtvp.reproduce.embedding_figure import (
    PromptedDetector,
    choose_regions,
    embed,
    embedding_figure,
    most_frequent,
    pool,
)
from rtvp.reproduce.look import Look
from rtvp.types import Detections, Letterbox, Prompt

pytest.importorskip("sklearn", reason="t-SNE needs scikit-learn: pip install 'rtvp[reproduce]'")
pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install 'rtvp[mmio]'")

NAMES = ("blue", "red")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledSet]:
    folder = tmp_path_factory.mktemp("squares")
    return [
        squares(folder, "one", ["red"], 6),
        squares(folder, "two", ["blue", "green"], 5),
        squares(folder, "three", ["red", "blue"], 3),
    ]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return small_rtvp()


def test_the_most_frequent_of_the_wanted_names(sets: list[LabelledSet]) -> None:
    assert most_frequent(sets, ["red", "blue", "green", "dent"], 2) == ("blue", "red")  # 9, 8, 5 boxes
    assert most_frequent(sets, ["green", "dent"]) == ("green",)


def test_regions_are_drawn_by_the_seed_name_by_name(sets: list[LabelledSet]) -> None:
    def drawn(names: tuple[str, ...], seed: int) -> dict[str, list[tuple[str, str]]]:
        chosen = choose_regions(sets, names, 4, seed)
        places = [(r.annotation.name, r.labelled.name, r.record.path.name) for r in chosen]
        return {name: [place[1:] for place in places if place[0] == name] for name in names}

    assert [len(places) for places in drawn(NAMES, 0).values()] == [4, 4]
    assert drawn(NAMES, 0) == drawn(NAMES, 0)
    assert drawn(NAMES, 0) != drawn(NAMES, 1)
    assert drawn(("green", "red"), 0)["red"] == drawn(NAMES, 0)["red"]
    assert len(choose_regions(sets, NAMES, 100)) == 17


def test_clusters_need_names_and_boxes(sets: list[LabelledSet]) -> None:
    with pytest.raises(RtvpError, match="expected 2 to 6 names, got 1"):
        choose_regions(sets, ["red"], 4)
    with pytest.raises(RtvpError, match="expected 2 boxes of 'dent' or more, got 0"):
        choose_regions(sets, ["dent", "red"], 4)


def test_pooling_weights_cells_by_what_the_box_covers() -> None:
    fine, coarse = torch.zeros(2, 4, 4), torch.ones(2, 2, 2)
    fine[0, 0, 0], fine[1, 0, 1] = 3.0, 4.0
    boxes = torch.tensor([[0.0, 0, 8, 8], [4.0, 0, 16, 8], [0.0, 0, 32, 32]])
    pooled = pool([fine, coarse], [8, 16], boxes)
    half = 0.5**0.5
    # The second box covers half of the first cell and all of the second: 1.5 and 4.
    second = np.array([1.5, 4]) / np.hypot(1.5, 4)
    expected = [[1, 0, half, half], [*second, half, half], [0.6, 0.8, half, half]]
    np.testing.assert_allclose(pooled.numpy(), expected, rtol=1e-5)


def test_what_an_arm_does_to_the_picture_and_the_prompt(sets: list[LabelledSet], detector: Detector) -> None:
    regions = choose_regions(sets, NAMES, 5)
    plain = embed(PromptedDetector("RTVP", detector), regions, NAMES)
    sharp = embed(PromptedDetector("a", detector, lambda i: np.ones(i.shape[:2], bool)), regions, NAMES)
    blurred = embed(PromptedDetector("b", detector, lambda i: i[..., 0] > 150), regions, NAMES)
    given = embed(PromptedDetector("c", detector, boxes_as_prompt=True), regions, NAMES)
    np.testing.assert_array_equal(sharp.points, plain.points)
    assert sharp.figures == plain.figures
    for other in (blurred, given):
        assert other.figures["silhouette"] != pytest.approx(plain.figures["silhouette"], abs=1e-6)
    assert set(plain.figures) == {"silhouette", "silhouette_plane", "AP", "AP50"}
    assert 0 <= plain.figures["AP"] <= plain.figures["AP50"] <= 1


def look_at_colours(_: Detector, image: np.ndarray, prompts: Sequence[Prompt], *__: object) -> Look:
    """Features are the colours of 8, 16 and 32 px; each prompt finds the pixels of exactly its colour."""
    small = image[:80, :120].reshape(10, 8, 15, 8, 3).mean(axis=(1, 3)) - 125
    feature = torch.from_numpy(small).permute(2, 0, 1).float()
    boxes, labels = [], []
    for index, prompt in enumerate(prompts):
        y, x = np.nonzero((image == COLOURS[prompt.name]).all(axis=2))
        if len(y):
            boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
            labels.append(index)
    scores = np.full(len(boxes), 0.9, np.float32)
    found = Detections(np.array(boxes, np.float32), scores, np.array(labels))
    levels = tuple(F.avg_pool2d(feature, side, ceil_mode=True) for side in (1, 2, 4))
    return Look(Letterbox(120, 80, 1.0), levels, (), (), found)


def test_clusters_and_detections_are_judged_by_name(
    sets: list[LabelledSet], detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_module, "look", look_at_colours)
    regions = choose_regions(sets, NAMES, 9)
    perfect = embed(PromptedDetector("RTVP", detector), regions, NAMES).figures
    assert perfect["silhouette"] > 0.5
    assert perfect["AP"] == pytest.approx(1.0)
    red = [region for region in regions if region.annotation.name == "red"]
    torn = [
        replace(region, annotation=replace(region.annotation, name=NAMES[index % 2]))
        for index, region in enumerate(red)
    ]
    assert embed(PromptedDetector("RTVP", detector), torn, NAMES).figures["silhouette"] < 0.1


def test_the_figure_and_its_points(sets: list[LabelledSet], detector: Detector, tmp_path: Path) -> None:
    arms = [PromptedDetector("boxes", detector, boxes_as_prompt=True), PromptedDetector("RTVP", detector)]
    found = embedding_figure(arms, sets, NAMES, tmp_path / "deep" / "figure4.png", most=4)
    assert [each.title for each in found] == ["boxes", "RTVP"]
    with Image.open(tmp_path / "deep" / "figure4.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height > 300
    text = (tmp_path / "deep" / "figure4.json").read_text()
    assert str(tmp_path) not in text
    content = json.loads(text)
    assert content["names"] == list(NAMES)
    assert [region["name"] for region in content["regions"]].count("red") == 4
    for arm, each in zip(content["arms"], found, strict=True):
        assert arm["figures"] == each.figures
        np.testing.assert_allclose(arm["points"], each.points, atol=1e-3)
        assert each.points.shape == (8, 2)
