"""Table 1 and Figure 2, and the split tasks, from a small built benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_benchmark import write_sets

from rtvp.data.labelled import read_split_sets
from rtvp.errors import RtvpError
from rtvp.mmio.built import read_build
from rtvp.reproduce.benchmark import figure2, find_or_build, table1
from rtvp.reproduce.budget import load_budget
from rtvp.reproduce.claims import Judgement, judge_benchmark
from rtvp.reproduce.tasks import SPLIT_TASKS, Places, some_images


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    folder = tmp_path_factory.mktemp("benchmark")
    root = write_sets(folder / "data")
    return Places(root, find_or_build(None, root, folder / "built", lambda step, done, total: None))


def test_a_finished_build_is_used_again(places: Places) -> None:
    def tell(step: str, done: int, total: int) -> None:
        pytest.fail(f"built again: {step}")

    assert find_or_build(None, places.data, places.benchmark, tell) == places.benchmark
    assert find_or_build(places.benchmark, places.data, Path("nowhere"), tell) == places.benchmark
    with pytest.raises(RtvpError, match="expected a finished build"):
        find_or_build(places.data, places.data, Path("nowhere"), tell)


def test_table_1_has_a_row_for_the_build(places: Places) -> None:
    table = table1(read_build(places.benchmark))
    assert table.rows[-2] == ("MMIO-80K", "100", "21836", "18", "Text, Image")
    assert table.rows[-1] == ("built here", "2", "24", "2", "Text, Image")
    assert "2 of " in table.notes[0]


def test_figure_2_is_drawn_and_counted(places: Places, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the mmio extra")
    table = figure2(read_build(places.benchmark), tmp_path)
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["boxes"] == ("80000+", "22")
    assert rows["small boxes"] == ("the vast majority", "100%")
    statistics = json.loads((tmp_path / "stats.json").read_text(encoding="utf-8"))
    judged = {where: found for where, _, found in judge_benchmark(statistics)}
    assert judged["Figure 2c"] == Judgement("reproduced", "100% of 22 boxes are below 32 x 32 px")
    assert judged["Table 1"].verdict == "not testable here" and "2 categories" in judged["Table 1"].why
    assert (tmp_path / "categories.png").read_bytes().startswith(b"\x89PNG")


def test_unseen_names_are_not_in_the_training_of_a_zero_shot_task(places: Places) -> None:
    built = read_build(places.benchmark)
    for name, task in SPLIT_TASKS.items():
        split = name.replace("-", "/", 2).replace("/", "-", 1) if name != "closed" else name
        if split not in built.splits:
            continue
        config = task.configure(load_budget("cpu").train)
        data = task.read_training(config, places)
        unseen = set(built.splits[split].unseen)
        assert data.excluded >= unseen
        # By meaning, texts of ours that give an unseen name away as well; never a seen name.
        assert data.excluded == unseen or built.splits[split].max_cosine is not None
        assert not data.excluded & set(built.splits[split].seen)
        for labelled in (*data.train, *data.validation):
            assert not unseen & labelled.vocabulary
            assert not unseen & {a.name for record in labelled.images for a in record.annotations}


def test_a_thinned_test_side_keeps_every_set(places: Places) -> None:
    sets = read_split_sets(places.benchmark, places.data, "closed").test
    assert some_images(sets, None) == sets
    thinned = some_images(sets, 2)
    assert [labelled.name for labelled in thinned] == [labelled.name for labelled in sets]
    assert all(len(few.images) < len(many.images) for few, many in zip(thinned, sets, strict=True))
    assert all(few.images for few in thinned)
