"""Bundles: whole or refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rtvp.errors import RtvpError
from rtvp.predict.bundle import MANIFEST, Manifest, open_bundle, parts_of, write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    files = {"model.onnx": tmp_path / "my model.onnx", "line.json": tmp_path / "line 1.json"}
    files["model.onnx"].write_bytes(b"a model" * 1000)
    files["line.json"].write_bytes(b"{}")
    manifest = Manifest(
        weights="model.onnx",
        runtime="onnx",
        size=320,
        prompts="scratch: thin line, dent",
        calibration="line.json",
        licence="CC0-1.0",
        trained_on="pictures",
        parts=parts_of(files),
    )
    write_bundle(tmp_path / "line.zip", manifest, files)
    return tmp_path / "line.zip"


def change(bundle: Path, edit: Callable[[dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(bundle) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    edit(content)
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def edit_manifest(**changes: object) -> Callable[[dict[str, bytes]], None]:
    def edit(content: dict[str, bytes]) -> None:
        content[MANIFEST] = json.dumps(json.loads(content[MANIFEST]) | changes).encode()

    return edit


def test_round_trip(bundle: Path, tmp_path: Path) -> None:
    opened = open_bundle(bundle)
    assert opened.weights.read_bytes() == b"a model" * 1000
    assert opened.calibration is not None
    assert opened.calibration.read_bytes() == b"{}"
    assert (opened.manifest.prompts, opened.manifest.size) == ("scratch: thin line, dent", 320)
    assert tmp_path not in opened.folder.parents


def test_what_was_unpacked_is_checked_again(bundle: Path) -> None:
    opened = open_bundle(bundle)
    stamp = opened.weights.stat().st_mtime_ns
    open_bundle(bundle)
    assert opened.weights.stat().st_mtime_ns == stamp
    opened.weights.write_bytes(b"A model" * 1000)
    assert open_bundle(bundle).weights.read_bytes() == b"a model" * 1000


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda c: c.update({"model.onnx": b"A model" * 1000}), "model.onnx is not what its manifest says"),
        (lambda c: c.update({"model.onnx": b"a model" * 9999}), "model.onnx is not what its manifest says"),
        (lambda c: c.update({"more.txt": b""}), "first 'more.txt'"),
        (lambda c: c.update({"../../evil": b""}), "first '../../evil'"),
        (lambda c: c.pop("line.json"), "first 'line.json'"),
        (lambda c: c.pop(MANIFEST), "found no manifest.json"),
        (lambda c: c.update({MANIFEST: b"{"}), "manifest.json is not JSON"),
        (edit_manifest(format="other"), "format"),
        (edit_manifest(weights="other.onnx"), "names 'other.onnx', which is no part"),
        (edit_manifest(parts=[{"name": "../x", "size": 0, "sha256": "0" * 64}]), "parts.0.name"),
        (edit_manifest(parts=[{"name": "/x", "size": 0, "sha256": "0" * 64}]), "parts.0.name"),
    ],
)
def test_a_changed_bundle_is_refused(
    bundle: Path, edit: Callable[[dict[str, bytes]], None], problem: str
) -> None:
    change(bundle, edit)
    with pytest.raises(RtvpError) as raised:
        open_bundle(bundle)
    assert problem in str(raised.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="expected a bundle"):
        open_bundle(tmp_path / "missing.zip")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(RtvpError, match="expected a bundle"):
        open_bundle(tmp_path / "text.zip")


def test_no_byte_can_be_changed_unseen(bundle: Path, tmp_path: Path) -> None:
    whole = bundle.read_bytes()
    expected = open_bundle(bundle).weights.read_bytes()
    for position in range(0, len(whole), 7):
        damaged = tmp_path / "damaged.zip"
        damaged.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            assert open_bundle(damaged).weights.read_bytes() == expected
        except RtvpError:
            continue
