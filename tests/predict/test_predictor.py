"""Images and words to results, with a network whose answers are known."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import rtvp
from rtvp.config import DetectorConfig, VisualPromptConfig
from rtvp.errors import RtvpError
from rtvp.models.build import build_detector, save_detector
from rtvp.models.detector import RTVPDetector
from rtvp.models.text_encoder import make_text_encoder
from rtvp.models.torch_network import TorchNetwork
from rtvp.predict import Detector, ImageProblem, Result
from rtvp.types import Prompt


def test_a_square_is_found_where_it_is(colour_detector: Detector, red_square: np.ndarray) -> None:
    result = colour_detector.detect(red_square, ["red", "green"])
    np.testing.assert_allclose(result.boxes_xyxy, [[128, 64, 192, 128]])
    assert result.boxes_xyxy.dtype == result.scores.dtype == np.float32
    assert result.labels == ["red"]
    assert (result.width, result.height) == (1024, 256)
    assert result.verdict == "NOT OK"
    assert result.verdict_score == result.scores[0] == pytest.approx(1 / (1 + np.exp(-127 / 16)))
    assert result.image_path is None


def test_nothing_is_found_on_a_good_part(colour_detector: Detector, red_square: np.ndarray) -> None:
    result = colour_detector.detect(red_square // 2, ["red"])
    assert result.verdict == "OK"
    assert result.boxes_xyxy.shape == (0, 4)
    assert (result.labels, result.scores.tolist()) == ([], [])
    # The best score is told although it is below the threshold: (127 - 128) / 16 in logits.
    assert result.verdict_score == pytest.approx(1 / (1 + np.exp(1 / 16)), abs=1e-4)


def test_threshold(colour_detector: Detector, red_square: np.ndarray) -> None:
    image = red_square // 2  # scores 0.484
    assert colour_detector.detect(image, ["red"], threshold=0.4).verdict == "NOT OK"
    assert colour_detector.detect(image, ["red"]).threshold == 0.5
    everything = colour_detector.detect(image, ["red"], threshold=0)
    # 16 x 4 cells.
    assert len(everything.scores) == 64
    assert (np.diff(everything.scores) <= 0).all()
    assert len(everything.above(0.4).scores) == 1
    assert everything.above(0.4).threshold == 0.4


@pytest.mark.parametrize("kind", [str, Path, Image.open, lambda path: np.asarray(Image.open(path))])
def test_every_kind_of_image(colour_detector: Detector, folder: Path, kind: type) -> None:
    path = folder / "a" / "one.png"
    result = colour_detector.detect(kind(str(path)), "red")
    np.testing.assert_allclose(result.boxes_xyxy, [[128, 64, 192, 128]])
    assert result.image_path == (path if kind in (str, Path) else None)


def test_prompts_in_every_form(colour_detector: Detector, red_square: np.ndarray) -> None:
    for prompts in (
        "red, green",
        ["red", "green"],
        (Prompt("red", ("crimson",)), "green"),
        "red: crimson\ngreen",
    ):
        result = colour_detector.detect(red_square, prompts)
        assert result.names == ("red", "green")
        assert result.labels == ["red"]
    # What was asked for last is not embedded again.
    assert colour_detector.text_encoder.calls == [("red", "green"), ("red", "crimson", "green")]


def test_names_in_a_list_are_taken_literally(colour_detector: Detector, red_square: np.ndarray) -> None:
    assert colour_detector.detect(red_square, ["cut, or: hole"]).labels == ["cut, or: hole"]


def test_a_hundred_prompts(colour_detector: Detector, red_square: np.ndarray) -> None:
    names = [f"name {i}" for i in range(100)]
    result = colour_detector.detect(red_square, names)
    assert set(result.labels) == set(names[::3])  # every third looks at the red channel


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_many_images_in_order(colour_detector: Detector, folder: Path, batch: int) -> None:
    paths = [folder / name for name in ("a/one.png", "a/broken.png", "b/one.png", "gone.png", "b/two.jpg")]
    results = list(colour_detector.detect_many(paths, ["red"], batch=batch))
    assert [entry.image_path for entry in results] == paths
    verdicts = [entry.verdict if isinstance(entry, Result) else None for entry in results]
    assert verdicts == ["NOT OK", None, "OK", None, "NOT OK"]
    problems = [entry for entry in results if isinstance(entry, ImageProblem)]
    assert [str(problem.image_path) in problem.message for problem in problems] == [True, True]
    assert len(colour_detector.text_encoder.calls) == 1


def test_batch_does_not_change_the_results(colour_detector: Detector) -> None:
    pictures = [
        np.random.default_rng(seed).integers(0, 256, (40 + 30 * seed, 90, 3), dtype=np.uint8)
        for seed in range(5)
    ]
    one = list(colour_detector.detect_many(pictures, "red, green, blue", batch=1, threshold=0.1))
    four = list(colour_detector.detect_many(pictures, "red, green, blue", batch=4, threshold=0.1))
    for a, b in zip(one, four, strict=True):
        np.testing.assert_array_equal(a.boxes_xyxy, b.boxes_xyxy)
        np.testing.assert_array_equal(a.scores, b.scores)


def test_images_are_streamed(colour_detector: Detector, folder: Path) -> None:
    """An endless source: results come as images do, and neither images nor results pile up."""
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield folder / "a" / "one.png"

    results = colour_detector.detect_many(endless(), ["red"], batch=2)
    assert asked == 0
    next(results)
    assert asked == 2
    tracemalloc.start()
    for _ in range(10):
        next(results)
    early = tracemalloc.get_traced_memory()[0]
    for _ in range(40):
        next(results)
    late = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert late - early < 256 * 1024 * 3 * 4  # four pictures of the forty


def test_pixels_of_a_file_are_kept_only_on_request(colour_detector: Detector, folder: Path) -> None:
    path = folder / "a" / "one.png"
    assert colour_detector.detect(path, "red").image is None
    (kept,) = colour_detector.detect_many([path], "red", keep_images=True)
    assert kept.image.shape == (256, 1024, 3)


def test_prompt_map_lies_over_the_original(colour_detector: Detector, red_square: np.ndarray) -> None:
    assert colour_detector.detect(red_square, "red").prompt_map is None
    heat = colour_detector.detect(red_square, "red", explain=True).prompt_map
    assert heat.shape == (256, 1024)
    assert heat.dtype == np.float32
    assert heat.min() == 0
    assert heat.max() <= 1
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert abs(x - 160) <= 2  # the middle of the square
    assert abs(y - 96) <= 2
    assert heat[y, x] > 0.95
    assert heat[200:].max() == 0  # far from it


def test_prompt_map_without_a_visual_prompt(red_square: np.ndarray, colour_detector: Detector) -> None:
    config = DetectorConfig(text_width=4, visual_prompt=VisualPromptConfig(enabled=False))
    detector = Detector(colour_detector.network, config, colour_detector.text_encoder)
    with pytest.raises(RtvpError, match="no visual prompt"):
        detector.detect(red_square, "red", explain=True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"prompts": []}, "prompts: expected at least one"),
        ({"prompts": ""}, "prompts: expected at least one"),
        ({"prompts": [" "]}, "prompts: expected names such as 'scratch', got ' '"),
        ({"prompts": ["\udc80"]}, "prompts: expected names"),
        ({"prompts": ["dent", "dent"]}, "prompts: 'dent' is given twice"),
        ({"threshold": 1.5}, "threshold: expected a number from 0 to 1, got 1.5"),
        ({"threshold": float("nan")}, "threshold: .* got nan"),
        ({"batch": 0}, "batch: expected at least 1, got 0"),
    ],
)
def test_wrong_arguments_fail_at_the_call(
    colour_detector: Detector, arguments: dict[str, object], expected: str
) -> None:
    with pytest.raises(RtvpError, match=expected):
        colour_detector.detect_many([], **{"prompts": ["red"], **arguments})


def test_a_broken_image_is_an_error_of_detect(colour_detector: Detector, folder: Path) -> None:
    with pytest.raises(RtvpError, match=r"cannot read image .*broken\.png"):
        colour_detector.detect(folder / "a" / "broken.png", ["red"])


# ---- checkpoints


CONFIG = DetectorConfig(channels=16, input_size=64)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_detector(path, build_detector(CONFIG), CONFIG, {"threshold": "0.125", "name": "small"})
    return path


def test_load_and_detect(checkpoint: Path, red_square: np.ndarray) -> None:
    detector = rtvp.load(checkpoint)
    assert (detector.name, detector.threshold, detector.size) == ("small", 0.125, 64)
    result = detector.detect(red_square, "scratch, oil stain", threshold=0, explain=True)
    assert 0 < len(result.scores) <= 300
    assert (result.boxes_xyxy >= 0).all()
    assert (result.boxes_xyxy <= [1024, 256, 1024, 256]).all()
    assert set(result.labels) <= {"scratch", "oil stain"}
    assert result.prompt_map.shape == (256, 1024)
    again = detector.detect(red_square, "scratch, oil stain", threshold=0)
    np.testing.assert_array_equal(result.scores, again.scores)


def test_half_precision_is_near_and_told_apart(checkpoint: Path, red_square: np.ndarray) -> None:
    exact, half = rtvp.load(checkpoint), rtvp.load(checkpoint, runtime="torch-bf16")
    one, other = (d.detect(red_square, "scratch", threshold=0, explain=True) for d in (exact, half))
    assert other.presence.dtype == other.boxes_xyxy.dtype == np.float32
    # bfloat16 has three digits; float32 would agree in six.
    np.testing.assert_allclose(other.presence, one.presence, rtol=0.1)
    assert not np.allclose(other.scores[:5], one.scores[:5], rtol=1e-5)
    assert other.prompt_map is not None and other.prompt_map.dtype == np.float32
    prompts = [Prompt("scratch")]
    assert exact.settings(prompts, None)["weights"] != half.settings(prompts, None)["weights"]


def test_load_takes_another_size(checkpoint: Path, red_square: np.ndarray) -> None:
    detector = rtvp.load(checkpoint, size=96)
    assert detector.detect(red_square, "scratch", threshold=0).boxes_xyxy.max() <= 1024


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"size": 100}, "size: expected a positive multiple of 32, got 100"),
        ({"size": 0}, "size: expected a positive multiple of 32, got 0"),
        ({"device": "tpu"}, "device: expected cpu or cuda, got 'tpu'"),
        (
            {"runtime": "fast"},
            "runtime: expected torch, torch-bf16, onnx, openvino, openvino-bf16, got 'fast'",
        ),
    ],
)
def test_load_refuses(checkpoint: Path, options: dict[str, object], expected: str) -> None:
    with pytest.raises(RtvpError, match=expected):
        rtvp.load(checkpoint, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu(checkpoint: Path) -> None:
    with pytest.raises(RtvpError, match="no usable GPU"):
        rtvp.load(checkpoint, device="cuda")


@pytest.mark.parametrize("threshold", ["high", "7", "nan"])
def test_a_wrong_threshold_in_the_checkpoint(tmp_path: Path, threshold: str) -> None:
    path = tmp_path / "odd.safetensors"
    save_detector(path, build_detector(CONFIG), CONFIG, {"threshold": threshold})
    with pytest.raises(RtvpError, match="threshold"):
        rtvp.load(path)


def test_damaged_checkpoints_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    whole = checkpoint.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(0)
    damaged = [whole[:length] for length in (0, 4, 8, 100, header, header + 10, len(whole) - 1)]
    damaged += [rng.bytes(length) for length in (1, 8, 200, 4000)]
    for position in rng.integers(0, header, 8):
        damaged.append(whole[:position] + rng.bytes(1) + whole[position + 1 :])
    path = tmp_path / "damaged.safetensors"
    for content in damaged:
        path.write_bytes(content)
        try:
            rtvp.load(path)
        except RtvpError as error:
            assert "\n" not in str(error)


def test_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="gone"):
        rtvp.load(tmp_path / "gone.safetensors")
    with pytest.raises(RtvpError, match="no checkpoint"):
        rtvp.load(tmp_path)


@pytest.fixture(scope="module")
def small() -> Detector:
    torch.manual_seed(0)
    config = DetectorConfig(channels=16, input_size=96, presence=True)
    network = TorchNetwork(build_detector(config))
    return Detector(network, config, make_text_encoder("minilm"), name="small", digest="ab12")


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(100, 130, (96, 96, 3), dtype=np.uint8)


def test_beside_good_parts_a_difference_counts_more(small: Detector, tmp_path: Path) -> None:
    defective = noise(9)
    defective[40:60, 40:60] = 250
    Image.fromarray(noise(0)).save(tmp_path / "0.png")
    compared = small.compared_with([tmp_path / "0.png", *map(noise, range(1, 6))])

    def gain(image: np.ndarray) -> float:
        scores = [each.detect(image, "hole", threshold=0.0).verdict_score for each in (small, compared)]
        before, after = np.clip(np.array(scores, np.float64), 1e-6, 1 - 1e-6)
        return float(np.log(after / (1 - after)) - np.log(before / (1 - before)))

    assert gain(defective) > 0 > gain(noise(10))
    assert compared.digest.startswith("ab12, compared with ") and small.digest == "ab12"
    assert compared.settings((), None) != small.settings((), None)
    assert isinstance(small.network, TorchNetwork) and isinstance(small.network.module, RTVPDetector)


def test_of_many_good_parts_some_are_taken(small: Detector) -> None:
    many = [noise(seed % 7) for seed in range(70)]
    assert small.compared_with(many).digest == small.compared_with(many[::3]).digest


def test_what_cannot_be_compared_is_said(small: Detector, colour_detector: Detector, tmp_path: Path) -> None:
    good = [noise(0), noise(1)]
    for refused in (colour_detector, small.compared_with(good)):
        with pytest.raises(RtvpError, match="only a checkpoint can be compared with good parts, once"):
            refused.compared_with(good)
    with pytest.raises(RtvpError, match="expected at least 2 images, got 1"):
        small.compared_with(good[:1])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(RtvpError, match=r"broken\.png"):
        small.compared_with([*good, tmp_path / "broken.png"])
    with pytest.raises(RtvpError, match="tile: a part of an image cannot be compared"):
        small.compared_with(good).detect(noise(2), "hole", tile=64)
