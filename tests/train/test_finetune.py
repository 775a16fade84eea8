"""Fine-tuning on a user's images, in little: what is learnt, what is kept, what is reported."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

import rtvp
from rtvp.cli import main
from rtvp.config import DetectorConfig, load_config
from rtvp.data.synthetic import DEFECT_NAMES, generate
from rtvp.errors import RtvpError
from rtvp.evaluate import evaluate
from rtvp.measure import RtvpNamed, make_prompts, measure
from rtvp.models.build import build_detector, load_detector, save_detector
from rtvp.models.image_encoder import IMAGE_ENCODERS, EfficientNetLite
from rtvp.models.torch_network import TorchNetwork
from rtvp.train import finetune as finetuning
from rtvp.train.finetune import RECIPE_FILE, Finetuned, FinetuneTask, finetune
from rtvp.train.finetune_data import (
    FIRST_UNDRAWN_SEED,
    CocoFolder,
    Recipe,
    make_samples,
    read_finetune_data,
    retention_set,
)
from rtvp.train.interpolate import interpolate
from rtvp.train.optim import MovingAverage
from rtvp.types import Floats

SIZE, WIDTH = 64, 4
CONFIG = DetectorConfig(channels=16, input_size=SIZE, distance_bins=4, text_width=WIDTH)
SMALL: dict[str, Any] = {
    "least_held_out": 2,
    "replay_images": 2,
    "retention_images": 3,
    "checkpoint_every": 1,
}
STAGE = {"steps": 2, "batch_size": 4, "learning_rate": 1e-3, "warmup_steps": 1}
OLD_SET = "workpiece-crack"


class Interruption(Exception):  # noqa: N818
    pass


class HashedWords:
    """Embeddings of no meaning, the same for the same text."""

    name, version, width = "hashed", "1", WIDTH

    def encode(self, texts: Sequence[str]) -> Floats:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
        rows = [torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return F.normalize(torch.stack(rows), dim=-1).numpy()


def write_coco(
    folder: Path,
    count: int,
    names: Sequence[str] = ("deep_scratch", "Blob"),
    seed: int = 0,
    good: int = 0,
    scale: int = 1,
) -> Path:
    """Grey pictures with a bright rectangle each, which is called by the names in turn; the last are good.

    They are ``scale`` times 80 x 60 px, and the rectangles 30 px wide whatever that is.
    """
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images, boxes = [], []
    for i in range(count):
        width, height = 80 * scale, 60 * scale
        pixels = rng.integers(90, 110, (height, width, 3), dtype=np.uint8)
        x, y = (int(rng.integers(0, most)) for most in (width - 30, height - 30))
        if i < count - good:
            pixels[y : y + 30, x : x + 30] = 230
            boxes.append((i, i % len(names), [x, y, 30, 30]))
        Image.fromarray(pixels).save(folder / "images" / f"part{i}.png")
        images.append({"id": i, "file_name": f"part{i}.png", "width": width, "height": height})
    content = {
        "images": images,
        "categories": [{"id": k, "name": name} for k, name in enumerate(names)],
        "annotations": [
            {"id": n, "image_id": i, "category_id": k, "bbox": box} for n, (i, k, box) in enumerate(boxes)
        ],
    }
    path = folder / "parts.json"
    path.write_text(json.dumps(content))
    return path


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def write_old_set(root: Path, count: int) -> None:
    """A public set in YOLO's layout; its last picture is good."""
    rng = np.random.default_rng(9)
    for part in ("images", "labels"):
        (root / OLD_SET / part).mkdir(parents=True)
    (root / OLD_SET / "data.yaml").write_text(yaml.safe_dump({"names": ["crack"]}))
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(
            root / OLD_SET / "images" / f"old{i}.png"
        )
        (root / OLD_SET / "labels" / f"old{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n" if i < count - 1 else "")


@pytest.fixture
def recipe() -> Recipe:
    packaged = load_config(RECIPE_FILE, Recipe).model_dump()
    training = {**packaged["training"], **STAGE, "sizes": (SIZE,)}
    return Recipe.model_validate({**packaged, **SMALL, "training": training})


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco(tmp_path_factory.mktemp("parts"), 14, good=2)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    detector = build_detector(CONFIG)
    save_detector(path, detector, CONFIG, {"trained_on": OLD_SET, "threshold": "0.321"})
    return path


@pytest.fixture(scope="module")
def tune(parts: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Finetuned]:
    """Fine-tunes by a small recipe: ``tune(out, keep=0.5)``."""
    small = yaml.safe_load(RECIPE_FILE.read_text()) | SMALL
    small["training"] |= STAGE
    path = tmp_path_factory.mktemp("recipe") / "finetune.yaml"
    path.write_text(yaml.safe_dump(small))

    def run(out: Path, data: Path = parts, weights: Path = start, **options: Any) -> Finetuned:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(finetuning, "RECIPE_FILE", path)
            patch.setattr(finetuning, "make_text_encoder", lambda spec: HashedWords())
            return finetune(FinetuneTask(CocoFolder(data), str(weights), **options), out)

    return run


@pytest.fixture(scope="module")
def finished(tune: Callable[..., Finetuned], tmp_path_factory: pytest.TempPathFactory) -> Finetuned:
    return tune(tmp_path_factory.mktemp("runs") / "tuned")


def read(path: Path, recipe: Recipe, **options: Any) -> Any:
    return read_finetune_data(CocoFolder(path), recipe, 0, **options)


# ---- the images


def test_names_are_those_that_detect_asks_for(parts: Path, recipe: Recipe) -> None:
    data = read(parts, recipe)
    assert data.train.vocabulary == {"deep scratch", "Blob"}
    shown = {a.name for record in data.train.images for a in record.annotations}
    assert shown == {"deep scratch", "Blob"}


def test_the_images_are_parted_and_every_name_is_on_both_sides(parts: Path, recipe: Recipe) -> None:
    data = read(parts, recipe)
    train, kept = ({record.path for record in own.images} for own in (data.train, data.measured))
    assert data.held_out and not train & kept and len(train | kept) == 14
    for own in (data.train, data.measured):
        assert {a.name for r in own.images for a in r.annotations} == {"deep scratch", "Blob"}


def test_groups_and_copies_stay_together(tmp_path: Path, recipe: Recipe) -> None:
    path = write_coco(tmp_path, 12)
    for i in (1, 2):
        shutil.copy(tmp_path / "images" / "part0.png", tmp_path / "images" / f"part{i}.png")
    edit(path, lambda coco: [image.update(group="shift 1") for image in coco["images"][2:6]])
    data = read(path, recipe)
    together = {f"part{i}.png" for i in range(6)}
    for own in (data.train, data.measured):
        assert {r.path.name for r in own.images} & together in (set(), together)
    assert data.held_out


def test_a_set_too_small_is_measured_on_itself(
    tmp_path: Path, recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    data = read(write_coco(tmp_path, 4, good=1), recipe)
    assert not data.held_out and data.measured == data.train and len(data.train.images) == 4
    assert "too few pictures to hold some out" in capsys.readouterr().err


def test_boxes_are_cut_to_the_image_and_empty_names_left_out(
    tmp_path: Path, recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(coco: dict[str, Any]) -> None:
        coco["categories"].append({"id": 7, "name": "never_seen"})
        coco["annotations"][0]["bbox"] = [70, 50, 30, 30]
        coco["annotations"][1]["bbox"] = [90, 10, 5, 5]  # outside

    data = read(edit(write_coco(tmp_path, 4), change), recipe)
    by_name = {record.path.name: record.annotations for record in data.train.images}
    assert by_name["part0.png"][0].box_xyxy == (70, 50, 80, 60)
    assert by_name["part1.png"] == ()
    assert data.train.vocabulary == {"deep scratch", "Blob"}
    said = capsys.readouterr().err
    assert "1 boxes without area inside their image are left out" in said
    assert "no box of never seen: left out" in said


def test_the_digest_follows_the_labels(tmp_path: Path, recipe: Recipe) -> None:
    path = write_coco(tmp_path, 6)
    first = read(path, recipe).digest
    assert read(path, recipe).digest == first
    edit(path, lambda coco: coco["annotations"][3].update(bbox=[1, 2, 10, 10]))
    assert read(path, recipe).digest != first


# ---- what is repeated


@pytest.mark.parametrize("share", [0.0, 0.25, 0.6])
def test_old_pictures_are_spread_evenly(parts: Path, recipe: Recipe, share: float) -> None:
    recipe = recipe.model_copy(update={"replay_share": share})
    samples = make_samples(read(parts, recipe), recipe, recipe.training, 0)
    own = {"deep scratch", "Blob", "defect"}
    for first in (0, 3):
        old = sum(samples.sample(i, SIZE).known not in (None, own) for i in range(first, first + 20))
        good_old = sum(
            samples.sample(i, SIZE).known is None and int((i + 1) * share) > int(i * share)
            for i in range(first, first + 20)
        )
        assert abs(old + good_old - 20 * share) <= 1
    assert set(DEFECT_NAMES) <= set(samples.all_names) if share else set(samples.all_names) < own


def test_a_picture_is_a_function_of_its_number(parts: Path, recipe: Recipe) -> None:
    data = read(parts, recipe)
    one, other = (make_samples(data, recipe, recipe.training, 0) for _ in range(2))
    for i in (2, 3, 2):
        assert np.array_equal(one.sample(i, SIZE).image, other.sample(i, SIZE).image)


def test_known_public_sets_are_replayed(parts: Path, recipe: Recipe, tmp_path: Path) -> None:
    write_old_set(tmp_path, 5)
    data = read(parts, recipe, known_sets=[OLD_SET, "neu-det"], replay=tmp_path)
    (old,) = data.replay
    assert old.name == OLD_SET and old.vocabulary == {"crack"}
    assert len(old.images) == 2 and all(record.annotations for record in old.images)
    samples = make_samples(data, recipe.model_copy(update={"generated_share": 0.0}), recipe.training, 0)
    assert samples.sample(3, SIZE).known == {"crack", "defect"}


def test_a_set_with_pictures_of_the_users_is_not_replayed(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_old_set(tmp_path / "sets", 5)
    path = write_coco(tmp_path / "own", 4)
    shutil.copy(
        tmp_path / "sets" / OLD_SET / "images" / "old4.png", tmp_path / "own" / "images" / "part3.png"
    )
    with pytest.raises(RtvpError, match=r"--replay: expected a folder with sets .*found none in"):
        read(path, recipe, known_sets=[OLD_SET], replay=tmp_path / "sets")
    assert f"{OLD_SET}: holds pictures of --data" in capsys.readouterr().err


def test_sets_are_not_replayed_to_a_checkpoint_of_a_zero_shot_split(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: Path) -> tuple[Any, ...]:
        detector, config, metadata = load_detector(path)
        return detector, config, {**metadata, "split": "zero-shot/category"}

    monkeypatch.setattr(finetuning, "load_detector", load)
    task = FinetuneTask(CocoFolder(parts), "shipped", replay=tmp_path)
    with pytest.raises(RtvpError, match=r"--replay: whole sets .* unseen names of zero-shot/category"):
        finetune(task, tmp_path / "run")


def test_generated_pictures_to_measure_on_are_never_trained_on(parts: Path, recipe: Recipe) -> None:
    with retention_set(read(parts, recipe), 3, SIZE) as kept:
        folder = kept.images[0].path.parent
        pixels = [np.asarray(Image.open(record.path)) for record in kept.images]
        boxes = [[a.box_xyxy for a in record.annotations] for record in kept.images]
    assert not folder.exists() and parts.parent not in folder.parents
    made = [generate(FIRST_UNDRAWN_SEED + i, SIZE, SIZE) for i in range(3)]
    assert all(np.array_equal(a, b.image) for a, b in zip(pixels, made, strict=True))
    assert boxes == [[defect.box_xyxy for defect in sample.defects] for sample in made]
    assert kept.vocabulary == frozenset(DEFECT_NAMES)


# ---- the weights


@pytest.mark.parametrize("keep", [0.0, 0.25, 1.0])
def test_interpolation(keep: float) -> None:
    torch.manual_seed(1)
    tuned, first = build_detector(CONFIG), build_detector(CONFIG)
    start, before = first.state_dict(), {k: v.clone() for k, v in tuned.state_dict().items()}
    interpolate(tuned, start, keep)
    for name, value in tuned.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, keep * start[name] + (1 - keep) * before[name])
            if keep in (0, 1):
                assert torch.equal(value, start[name] if keep else before[name]), name


def test_what_learns_and_what_does_not(finished: Finetuned, start: Path) -> None:
    before, after = load_file(start), load_file(finished.checkpoint)
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    fixed = ("running_mean", "running_var")
    encoder = IMAGE_ENCODERS[CONFIG.image_encoder.name]()
    early = len(encoder.blocks) - len(encoder.blocks_beyond(8))
    still = ("decoder.", "image_encoder.conv", "image_encoder.bn")
    still += tuple(f"image_encoder.blocks.{block}." for block in range(early))
    assert not any(name.startswith(still) or name.endswith(fixed) for name in moved)
    for part in ("pyramid.", "neck.", "head.", "refiner.", f"image_encoder.blocks.{early}."):
        assert any(name.startswith(part) for name in moved), part


def test_an_encoder_that_cannot_be_cut_stays_as_it_is(
    tune: Callable[..., Finetuned], start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EfficientNetLite, "blocks_beyond", lambda encoder, stride: ())
    before, after = load_file(start), load_file(tune(tmp_path / "run").checkpoint)
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert "image_encoder" not in moved and "head" in moved


def test_keeping_all_is_the_start_and_does_not_train_again(
    finished: Finetuned,
    tune: Callable[..., Finetuned],
    start: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished.checkpoint.parent, out)

    def no_step(*_: object) -> None:
        raise AssertionError("a step was done")

    monkeypatch.setattr(MovingAverage, "update", no_step)
    result = tune(out, keep=1.0)
    first, kept = load_file(start), load_file(result.checkpoint)
    assert all(torch.equal(kept[name], value) for name, value in first.items())
    assert all(row.before == row.after for row in result.rows)


def test_an_interrupted_run_ends_as_an_unbroken_one(
    finished: Finetuned, tune: Callable[..., Finetuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rtvp.train import loop

    save = loop.save_state

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise Interruption

    monkeypatch.setattr(loop, "save_state", save_and_stop)
    with pytest.raises(Interruption):
        tune(tmp_path / "run")
    monkeypatch.undo()
    result = tune(tmp_path / "run")
    whole, resumed = load_file(finished.checkpoint), load_file(result.checkpoint)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert result.rows == finished.rows


# ---- the report


def test_the_report(finished: Finetuned, start: Path, parts: Path) -> None:
    record = json.loads((finished.checkpoint.parent / "finetune.json").read_text())
    assert record["start_sha256"] == hashlib.sha256(start.read_bytes()).hexdigest()
    assert record["names"] == ["Blob", "deep scratch"] and record["new_is_held_out"] is True
    assert record["recipe"]["training"]["sizes"] == [SIZE] and record["seed"] == 0
    assert {row.asked for row in finished.rows} == {"names", "defect"}
    assert [row.is_new for row in finished.rows] == [True, True, False, False]
    for row in finished.rows:
        part = "new" if row.is_new else "retention"
        assert row.after == record["after"][part][row.asked]["figures"]
        assert row.before == record["before"][part][row.asked]["figures"]
    assert {p.name for p in parts.parent.iterdir()} == {"parts.json", "images"}  # nothing is left there


def test_the_figures_are_those_of_the_checkpoints(
    finished: Finetuned, start: Path, parts: Path, recipe: Recipe
) -> None:
    kept = read(parts, recipe).measured
    for path, when in ((start, "before"), (finished.checkpoint, "after")):
        named = RtvpNamed(TorchNetwork(load_detector(path)[0]), HashedWords(), SIZE)
        for asked, prompting in (("names", "own"), ("defect", "generic")):
            outcomes = measure(named, [kept], make_prompts(prompting, ()))  # type: ignore[arg-type]
            (row,) = (row for row in finished.rows if row.is_new and row.asked == asked)
            assert getattr(row, when)["AP50"] == pytest.approx(evaluate(outcomes).figures["AP50"])
            assert row.images == len(kept.images)


def test_large_pictures_are_learnt_and_measured_in_parts(
    tune: Callable[..., Finetuned], start: Path, tmp_path: Path
) -> None:
    large = write_coco(tmp_path, 8, scale=6)
    plain, closer = (tune(tmp_path / str(tiles), data=large, tiles=tiles) for tiles in (False, True))
    recorded = [json.loads((tmp_path / f"{tiles}" / "finetune.json").read_text()) for tiles in (False, True)]
    assert [record["recipe"]["tile_share"] for record in recorded] == [0.0, 0.5]
    assert [record["tiles"] for record in recorded] == [False, True]
    # What is looked at more closely scores otherwise, before and after.
    assert recorded[0]["before"]["new"] != recorded[1]["before"]["new"]
    first, second = (load_detector(run.checkpoint)[0].state_dict() for run in (plain, closer))
    assert any(not torch.equal(value, second[name]) for name, value in first.items())


def test_the_checkpoint_goes_where_any_goes(finished: Finetuned, tune: Callable[..., Finetuned]) -> None:
    _, config, metadata = load_detector(finished.checkpoint)
    assert config == CONFIG and metadata["trained_on"] == f"{OLD_SET}, parts"
    assert 0 <= float(metadata["threshold"]) <= 1
    network = TorchNetwork(load_detector(finished.checkpoint)[0])
    detected = rtvp.predict.Detector(network, config, HashedWords())
    assert detected.detect(np.zeros((20, 30, 3), np.uint8), "blob").names == ("blob",)


def test_without_images_held_out_the_threshold_is_the_starts(
    tune: Callable[..., Finetuned], tmp_path: Path
) -> None:
    kept = write_coco(tmp_path / "kept", 3, names=("rust",), seed=5)
    result = tune(tmp_path / "run", write_coco(tmp_path / "few", 3), retention=CocoFolder(kept))
    assert not result.held_out
    assert load_detector(result.checkpoint)[2]["threshold"] == "0.321"
    (row,) = (row for row in result.rows if not row.is_new and row.asked == "names")
    assert (row.of, row.images, row.boxes) == ("parts", 3, 3)


# ---- mistakes


def test_a_folder_holds_one_run(finished: Finetuned, tune: Callable[..., Finetuned]) -> None:
    before = finished.checkpoint.read_bytes()
    with pytest.raises(RtvpError, match="holds a run on other images, from another checkpoint"):
        tune(finished.checkpoint.parent, steps=3)
    assert finished.checkpoint.read_bytes() == before


def no_boxes(folder: Path) -> Path:
    return edit(write_coco(folder, 3), lambda coco: coco["annotations"].clear())


def no_image(folder: Path) -> Path:
    path = write_coco(folder, 3)
    (folder / "images" / "part1.png").unlink()
    return path


def no_coco(folder: Path) -> Path:
    (folder / "parts.json").write_text('{"hello": "world"}')
    return folder / "parts.json"


def no_json(folder: Path) -> Path:
    (folder / "parts.json").write_bytes(b"\x89PNG")
    return folder / "parts.json"


@pytest.mark.parametrize(
    ("write", "options", "message"),
    [
        (no_boxes, {}, "expected images with boxes, got none"),
        (no_image, {}, r"expected its image part1.png in .*images, found no such file"),
        (no_coco, {}, r"parts.json"),
        (no_json, {}, r"parts.json"),
        (lambda folder: folder / "nothing.json", {}, "nothing.json"),
        (lambda folder: write_coco(folder, 3), {"keep": 1.5}, "keep: expected a share from 0 to 1, got 1.5"),
        (
            lambda folder: write_coco(folder, 3),
            {"replay_share": 1.0},
            "fine-tuning: replay_share: .*less than 1",
        ),
    ],
)
def test_mistakes_are_named_in_one_line_before_anything_is_done(
    tune: Callable[..., Finetuned],
    tmp_path: Path,
    write: Callable[[Path], Path],
    options: dict[str, Any],
    message: str,
) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(RtvpError, match=message) as caught:
        tune(tmp_path / "run", write(tmp_path / "own"), **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_format_is_refused(tune: Callable[..., Finetuned], tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "expert.safetensors", metadata={"format": "rtvp-expert-1"})
    with pytest.raises(
        RtvpError, match="expected a checkpoint of format rtvp-detector-1, got format rtvp-exp"
    ):
        tune(tmp_path / "run", weights=tmp_path / "expert.safetensors")


def test_retention_is_not_measured_on_what_is_trained_on(parts: Path, recipe: Recipe, tmp_path: Path) -> None:
    path = write_coco(tmp_path, 3, seed=7)
    shutil.copy(parts.parent / "images" / "part4.png", tmp_path / "images" / "part2.png")
    with pytest.raises(
        RtvpError, match=r"--retention: expected images that are not trained on, got 1 .*part2.png"
    ):
        read(parts, recipe, retention=CocoFolder(path))


# ---- the command


def test_train_from_a_checkpoint(
    parts: Path,
    finished: Finetuned,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[tuple[FinetuneTask, Path]] = []

    def keep_task(task: FinetuneTask, out: Path) -> Finetuned:
        asked.append((task, out))
        return finished

    monkeypatch.setattr(finetuning, "finetune", keep_task)
    arguments = [
        "--from",
        "shipped",
        "--data",
        parts,
        "--steps",
        7,
        "--keep",
        0.5,
        "--out",
        "run",
        "--replay-share",
        0,
    ]
    assert main(["train", *map(str, arguments)]) == 0
    task = FinetuneTask(CocoFolder(parts), "shipped", steps=7, keep=0.5, replay_share=0.0)
    assert asked == [(task, Path("run"))]
    shown = capsys.readouterr().out
    row = finished.rows[0]
    change = " -> ".join(f"{100 * (of['AP50'] or 0):.1f}" for of in (row.before, row.after))
    assert re.search(rf"^ *new: parts +names +{row.images} +{row.boxes} .*{change} *$", shown, re.MULTILINE)
    assert re.search(r"^ *retention: generated pictures +defect +3 .* -> ", shown, re.MULTILINE)
    assert shown.splitlines()[-1] == str(finished.checkpoint)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "x.json"], "error: expected a configuration, .* or a checkpoint to fine-tune"),
        (["run.yaml", "--data", "x", "--from", "shipped"], "error: --from is for fine-tuning, and CONFIG"),
        (["run.yaml", "--data", "x", "--steps", "3"], "error: --steps is for fine-tuning, and CONFIG"),
        (
            ["--from", "shipped", "--data", "x.json", "--benchmark", "b"],
            "error: --benchmark goes with CONFIG",
        ),
        (
            ["--from", "shipped", "--data", "x.json", "--retention-images", "b"],
            "error: --retention-images goes with --retention",
        ),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert re.match(message, captured.err)
