"""`rtvp bundle`: model, prompts and thresholds in one checked file, for a machine without a network."""

from __future__ import annotations

import tempfile
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtvp.errors import RtvpError
from rtvp.terminal import make_console

if TYPE_CHECKING:
    from rtvp.types import Prompt

CALIBRATION = "calibration.json"


class Runtime(str, Enum):
    """What runs the model of a bundle."""

    torch = "torch"
    onnx = "onnx"
    openvino = "openvino"


def bundle_command(
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", help="The bundle.")],
    weights: Annotated[
        Path | None,
        typer.Option(help="Checkpoint, exported file, or `open`; the shipped model if left out."),
    ] = None,
    runtime: Annotated[Runtime, typer.Option(help="What a checkpoint is exported for.")] = Runtime.onnx,
    prompts: Annotated[
        str | None,
        typer.Option(help="What is looked for, as in `rtvp detect`; built into what is exported."),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Thresholds that `rtvp calibrate` found for model and prompts.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="As in `rtvp detect`.")] = None,
) -> None:
    """Write everything that `rtvp detect --bundle OUT.zip` needs to one file, with the hash of each part."""
    from rtvp.data.prompts import parse_prompts
    from rtvp.export.checkpoint import SUFFIX_OF, export_checkpoint, read_checkpoint
    from rtvp.models.runtimes import is_exported, open_exported
    from rtvp.models.weights import find_checkpoint
    from rtvp.predict.bundle import Manifest, parts_of, write_bundle
    from rtvp.predict.calibration import Calibration, score_settings
    from rtvp.tiling import Tiling

    if out.suffix.lower() != ".zip":
        raise RtvpError(f"expected a bundle named *.zip, got {out}")
    wanted = parse_prompts(prompts) if prompts is not None else ()
    model = find_checkpoint(weights)
    with tempfile.TemporaryDirectory() as folder:
        if is_exported(model):
            facts = open_exported(model).facts
            runs = Runtime.openvino if model.suffix.lower() == ".xml" else Runtime.onnx
        elif runtime is Runtime.torch:
            facts, runs = read_checkpoint(model)[2], runtime
        else:
            checkpoint, model = model, Path(folder) / f"model{SUFFIX_OF[runtime.value]}"
            facts = export_checkpoint(checkpoint, model, runtime.value, vocabulary=wanted, size=size)
            runs = runtime
        name = f"model{model.suffix.lower()}"
        files = {name: model}
        if model.suffix.lower() == ".xml":
            files["model.bin"] = model.with_suffix(".bin")
        if calibration is not None:
            thresholds = Calibration.read(calibration)
            side, tile = size or facts.input_size, thresholds.settings["tile"]
            asked = wanted or facts.prompts or thresholds.prompts
            tiling = None if tile is None else Tiling(**tile)
            thresholds.for_settings(score_settings(facts.name, facts.digest, side, asked, tiling))
            files[CALIBRATION] = calibration
        manifest = Manifest(
            weights=name,
            runtime=runs.value,
            size=size,
            prompts=prompts or ", ".join(_as_text(prompt) for prompt in facts.prompts),
            calibration=None if calibration is None else CALIBRATION,
            licence=facts.licence,
            trained_on=facts.trained_on,
            parts=parts_of(files),
        )
        write_bundle(out, manifest, files)
    size_mb = out.stat().st_size / 1e6
    make_console().print(f"{facts.name}, {size_mb:.1f} MB: rtvp detect ... --bundle {out}", soft_wrap=True)


def _as_text(prompt: Prompt) -> str:
    return f"{prompt.name}: {' | '.join(prompt.texts)}" if prompt.texts else prompt.name
