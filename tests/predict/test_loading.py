"""Which runtime a model is run by; what is loaded is tested where it is used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import rtvp
from rtvp.errors import RtvpError
from rtvp.export.cache import cached_export
from rtvp.models.runtimes import ExportedNetwork
from rtvp.models.torch_network import TorchNetwork
from rtvp.models.weights import find_checkpoint
from rtvp.predict import usual_runtime

MODELS = [None, "rtvp-lite0", "open"]


@pytest.mark.parametrize("weights", MODELS)
def test_a_model_of_the_package_is_run_by_onnx_runtime_and_exported_once(weights: str | None) -> None:
    assert usual_runtime(weights, "cpu") == "onnx"
    network = rtvp.load(weights, runtime=usual_runtime(weights, "cpu")).network
    assert isinstance(network, ExportedNetwork)
    assert network.facts.name == (weights or "rtvp-lite0")


def test_other_weights_and_devices_are_run_by_what_fits_them(tmp_path: Path) -> None:
    assert usual_runtime(None, "cuda") is None
    assert usual_runtime(tmp_path / "own.safetensors", "cpu") is None
    assert usual_runtime(tmp_path / "own.onnx", "cpu") is None
    assert isinstance(rtvp.load().network, TorchNetwork)  # of Python, where compared_with may follow


def test_without_onnx_runtime_torch_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert usual_runtime(None, "cpu") is None


def test_where_nothing_can_be_kept_torch_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").write_text("in the way")
    monkeypatch.setenv("RTVP_HOME", str(tmp_path / "home"))
    assert usual_runtime(None, "cpu") is None


def test_a_damaged_model_is_told_of_by_loading_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(name: str) -> Path:
        raise RtvpError(f"weights {name}: damaged")

    monkeypatch.setattr("rtvp.models.weights.find", damaged)
    assert usual_runtime(None, "cpu") is None
    with pytest.raises(RtvpError, match="weights rtvp-lite0: damaged"):
        rtvp.load()


@pytest.mark.parametrize("left", [0, 1000])
def test_an_export_that_was_kept_and_damaged_is_made_anew(
    left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTVP_HOME", str(tmp_path))
    kept = cached_export(find_checkpoint("open"))
    whole = kept.read_bytes()
    kept.write_bytes(whole[:left])
    assert isinstance(rtvp.load("open", runtime="onnx").network, ExportedNetwork)
    assert kept.stat().st_size == len(whole)


def test_a_damaged_export_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(b"cut short")
    with pytest.raises(RtvpError, match=r"own\.onnx is not a readable ONNX model"):
        rtvp.load(own)
    assert own.read_bytes() == b"cut short"


def test_where_nothing_can_be_exported_torch_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later PyTorch may have dropped its exporter; that must not keep anybody from detecting."""

    def dropped(*_: object, **__: object) -> None:
        raise TypeError("export() got an unexpected keyword argument 'dynamo'")

    monkeypatch.setenv("RTVP_HOME", str(tmp_path))
    monkeypatch.setattr("torch.onnx.export", dropped)
    assert usual_runtime(None, "cpu") is None
    with pytest.raises(RtvpError, match=r"cannot export rtvp-lite0 \(export\(\) got an unexpected"):
        rtvp.load(runtime="onnx")
    assert not list(tmp_path.rglob("*.onnx*"))
