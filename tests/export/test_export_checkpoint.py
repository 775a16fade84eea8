"""From a checkpoint to a file, and from there to detections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import rtvp
from rtvp.errors import RtvpError
from rtvp.export.cache import cached_export
from rtvp.export.checkpoint import export_checkpoint
from rtvp.files import sha256_of
from rtvp.models.exported import METADATA_KEY, ExportFacts
from rtvp.models.runtimes import import_openvino, open_exported
from rtvp.predict import Detector
from rtvp.predict.prompt_check import check_prompts
from rtvp.types import Prompt

PROMPTS = ["scratch", "dent", "oil stain"]


def found_by(detector: Detector, pictures: Path) -> list[tuple[list[int], list[float], list[list[float]]]]:
    results = detector.detect_many(sorted(pictures.iterdir()), PROMPTS, batch=2, threshold=0.05, explain=True)
    return [(r.label_indices.tolist(), r.scores.tolist(), r.boxes_xyxy.tolist()) for r in results]


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_detections_are_those_of_torch(checkpoint: Path, pictures: Path, runtime: str) -> None:
    expected = found_by(rtvp.load(checkpoint), pictures)
    assert sum(len(labels) for labels, _, _ in expected) > 50
    detector = rtvp.load(checkpoint, runtime=runtime)
    assert (detector.name, detector.threshold, detector.size) == ("tiny", 0.3, 64)
    for ours, theirs in zip(found_by(detector, pictures), expected, strict=True):
        assert len(ours[0]) == len(theirs[0])
        # Without regard to the order of equal scores.
        np.testing.assert_allclose(ours[1], theirs[1], atol=1e-4, rtol=1e-3)
        ours_sorted, theirs_sorted = (sorted(boxes[2][:20]) for boxes in (ours, theirs))
        np.testing.assert_allclose(ours_sorted, theirs_sorted, atol=0.1, rtol=1e-2)


def test_an_image_can_be_explained_by_every_runtime(checkpoint: Path, pictures: Path) -> None:
    maps = [
        rtvp.load(checkpoint, runtime=runtime).detect(pictures / "1.png", PROMPTS, explain=True).prompt_map
        for runtime in ("torch", "onnx", "openvino")
    ]
    assert maps[0].std() > 0.01
    for other in maps[1:]:
        assert abs(other - maps[0]).mean() < 1e-3


def test_the_file_says_what_it_is(checkpoint: Path, tmp_path: Path) -> None:
    prompts = (Prompt("scratch", ("line", "<&> ü")), Prompt("dent"))
    written = export_checkpoint(checkpoint, tmp_path / "m.onnx", "onnx", vocabulary=prompts, size=96)
    export_checkpoint(checkpoint, tmp_path / "m.xml", "openvino", vocabulary=prompts, size=96)
    properties = {p.key: p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props}
    facts = ExportFacts.from_text(properties[METADATA_KEY], "here")
    assert facts == written == open_exported(tmp_path / "m.xml").facts
    assert open_exported(tmp_path / "m.onnx", "openvino").facts == facts
    assert (facts.name, facts.licence, facts.threshold, facts.input_size) == ("tiny", "CC0-1.0", 0.3, 96)
    assert facts.prompts == prompts
    assert facts.precision == "float32"
    assert (facts.pixel_mean, facts.pixel_std) == ((120.0, 110.0, 100.0), (50.0, 60.0, 70.0))
    assert facts.checkpoint_sha256 == sha256_of(checkpoint)
    assert facts.config.strides == (8, 16, 32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.bin", "m.onnx", "m.xml"]


@pytest.mark.parametrize("name", ["m.onnx", "m.xml"])
def test_a_vocabulary_refuses_other_prompts(
    checkpoint: Path, pictures: Path, tmp_path: Path, name: str
) -> None:
    vocabulary = (Prompt("scratch"), Prompt("dent", ("hollow",)))
    export_checkpoint(
        checkpoint, tmp_path / name, "onnx" if name == "m.onnx" else "openvino", vocabulary=vocabulary
    )
    detector = rtvp.load(tmp_path / name)
    image = pictures / "2.png"
    expected = rtvp.load(checkpoint).detect(image, vocabulary[::-1], threshold=0.05)
    found = detector.detect(image, vocabulary[::-1], threshold=0.05)
    assert found.names == ("dent", "scratch")
    assert found.label_indices[:5].tolist() == expected.label_indices[:5].tolist()
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4, rtol=1e-3)
    with pytest.raises(RtvpError, match="exported for the prompts scratch, dent alone, got 'crack'"):
        detector.detect(image, ["scratch", "crack"])
    # Nothing is known of what its prompts mean, so there is nothing to warn of.
    assert check_prompts(detector, vocabulary, ["scratch", "void"]) == []


def test_one_text_in_two_prompts_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    vocabulary = (Prompt("scratch", ("line",)), Prompt("crack", ("line",)))
    with pytest.raises(RtvpError, match="got 'line' in two"):
        export_checkpoint(checkpoint, tmp_path / "m.onnx", "onnx", vocabulary=vocabulary)
    assert not list(tmp_path.iterdir())


def test_a_cached_export_is_made_once_a_checkpoint(make_checkpoint: Callable[..., Path]) -> None:
    checkpoint, other = make_checkpoint(), make_checkpoint(channels=24)
    first = cached_export(checkpoint)
    stamp = first.stat().st_mtime_ns
    assert cached_export(checkpoint) == first
    assert first.stat().st_mtime_ns == stamp
    assert cached_export(other) != first


@pytest.mark.parametrize(
    ("name", "format", "problem"),
    [
        ("m.xml", "onnx", r"expected a file named \*.onnx"),
        ("m.onnx", "openvino", r"expected a file named \*.xml"),
        ("m.onnx", "tflite", "format: expected onnx or openvino, got 'tflite'"),
    ],
)
def test_a_wrong_name_is_refused(
    checkpoint: Path, tmp_path: Path, name: str, format: str, problem: str
) -> None:
    with pytest.raises(RtvpError, match=problem):
        export_checkpoint(checkpoint, tmp_path / name, format)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_what_a_check_raises_leaves_no_file(checkpoint: Path, tmp_path: Path) -> None:
    seen = []

    def check(path: Path) -> None:
        seen.append(open_exported(path).facts.name)
        raise ValueError("not good enough")

    for name, format in (("m.onnx", "onnx"), ("m.xml", "openvino")):
        with pytest.raises(ValueError, match="not good enough"):
            export_checkpoint(checkpoint, tmp_path / name, format, check=check)  # type: ignore[arg-type]
    assert seen == ["tiny", "tiny"]
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_an_error(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RtvpError, match="cannot write"):
        export_checkpoint(checkpoint, tmp_path / "file" / "m.onnx", "onnx")


def test_wrong_runtimes_and_files_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    export_checkpoint(checkpoint, tmp_path / "m.onnx", "onnx")
    export_checkpoint(checkpoint, tmp_path / "m.xml", "openvino")
    for weights, runtime, problem in [
        (checkpoint, "tensorrt", "expected torch, torch-bf16, onnx, openvino, openvino-bf16, got 'tensorrt'"),
        (tmp_path / "m.onnx", "torch", "expected the runtime onnx or openvino or openvino-bf16, got 'torch'"),
        (tmp_path / "m.xml", "onnx", "expected the runtime openvino or openvino-bf16, got 'onnx'"),
        (tmp_path / "missing.onnx", None, "no exported model at"),
        (tmp_path / "missing.safetensors", "onnx", "no checkpoint at"),
    ]:
        with pytest.raises(RtvpError, match=problem):
            rtvp.load(weights, runtime=runtime)
    with pytest.raises(RtvpError, match="exported already"):
        export_checkpoint(tmp_path / "m.onnx", tmp_path / "again.onnx", "onnx")


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_foreign_and_damaged_files_are_refused(checkpoint: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(RtvpError, match="is not a"):
        rtvp.load(path)
    export_checkpoint(checkpoint, path, "onnx" if suffix == ".onnx" else "openvino")
    for content, problem in [
        (None, "expected a model that `rtvp export` wrote"),
        ({"format": "x"}, "metadata"),
    ]:
        _write_metadata(path, content)
        with pytest.raises(RtvpError, match=problem):
            rtvp.load(path)


def _write_metadata(path: Path, content: object) -> None:
    text = "" if content is None else json.dumps(content)
    if path.suffix == ".onnx":
        model = onnx.load(path)
        onnx.helper.set_model_props(model, {METADATA_KEY: text})
        onnx.save(model, path)
        return
    openvino = import_openvino()
    model = openvino.Core().read_model(str(path))
    model.set_rt_info(text, METADATA_KEY)
    other = path.with_name("other.xml")
    openvino.save_model(model, str(other))
    del model
    other.replace(path)
    other.with_suffix(".bin").replace(path.with_suffix(".bin"))


def test_exported_models_run_on_the_cpu_alone(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(RtvpError, match="exported models run on the cpu"):
        rtvp.load(checkpoint, device="cuda", runtime="onnx")


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_an_exported_model_goes_without_torch(
    checkpoint: Path, pictures: Path, tmp_path: Path, runtime: str
) -> None:
    """It costs a second and 200 MB; only texts that were never embedded need it."""
    rtvp.load(checkpoint, runtime=runtime).detect(pictures / "1.png", PROMPTS)
    script = (
        "import sys; from pathlib import Path; import rtvp; from rtvp.predict import detect_to_folder;"
        "from rtvp.types import Prompt;"
        f"detector = rtvp.load({str(checkpoint)!r}, runtime={runtime!r});"
        f"detect_to_folder(detector, [Path({str(pictures / '1.png')!r})], [*map(Prompt, {PROMPTS})], "
        f"Path({str(tmp_path / 'out')!r}), explain=True, masks=True, tile=32);"
        "print([name for name in ('torch', 'transformers', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]")
    assert list((tmp_path / "out").iterdir())


def test_nothing_is_reported_to_anyone(checkpoint: Path, pictures: Path, tmp_path: Path) -> None:
    """Both runtimes would leave an identifier in the user's folder, if nobody told them not to."""
    export_checkpoint(checkpoint, tmp_path / "m.onnx", "onnx", vocabulary=[Prompt("dent")])
    (tmp_path / "home").mkdir()
    script = (
        "import sys, numpy as np; from pathlib import Path; import rtvp.models.runtimes as r;"
        "pixels, text = np.zeros((1, 3, 64, 64), np.uint8), np.ones((1, 1), np.float32);"
        f"[r.open_exported(Path({str(tmp_path / 'm.onnx')!r}), x)(pixels, text)"
        " for x in ('onnx', 'openvino')];"
        "assert not [m for m in sys.modules if m.startswith('rtvp.export') or m in ('onnx', 'torch')];"
        "assert sys.modules['openvino_telemetry'] is None"
    )
    hidden = {"ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED", "XDG_CACHE_HOME", "CI"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment["HOME"] = str(tmp_path / "home")
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    assert not list((tmp_path / "home").rglob("*"))


def test_a_missing_package_is_named(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached_export(checkpoint)
    for module, runtime in (("onnxruntime", "onnx"), ("openvino", "openvino")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(RtvpError, match=f"{module} is not installed: pip install {module}"):
                rtvp.load(checkpoint, runtime=runtime)
