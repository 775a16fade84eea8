"""`rtvp export`: a checkpoint as a file for other runtimes, proven to find the same."""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from rtvp.cli_common import step_bars
from rtvp.errors import RtvpError
from rtvp.terminal import make_console

if TYPE_CHECKING:
    from rtvp.data.labelled import LabelledSet
    from rtvp.export.verify import Comparison
    from rtvp.types import Prompt

OUT_OF_TOLERANCE = 1


class Format(str, Enum):
    """Of an exported file."""

    onnx = "onnx"
    openvino = "openvino"


def export_command(
    out: Annotated[Path, typer.Option(help="The file: *.onnx, or *.xml for OpenVINO.")],
    format: Annotated[
        Format, typer.Option(help="For ONNX Runtime and others, or OpenVINO's own.")
    ] = Format.onnx,
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint, or `open`; the shipped model if left out.")
    ] = None,
    vocabulary: Annotated[
        str | None,
        typer.Option(help="Prompts to build in, as in `rtvp detect`; else any can be asked for later."),
    ] = None,
    int8: Annotated[
        list[str] | None,
        typer.Option(
            help="8-bit integers, calibrated on these images: files, folders, patterns; repeatable."
        ),
    ] = None,
    verify: Annotated[
        list[str] | None,
        typer.Option(help="Compare with the checkpoint on these images; repeatable."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="COCO file of the images in the folder --verify: compares AP as well."),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(help="What --int8 and --verify ask for; the vocabulary, labels or common defects else."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Default side of the input, px, a multiple of 32; the model's own else."),
    ] = None,
) -> None:
    """Write a checkpoint as a file that ONNX Runtime or OpenVINO runs: `rtvp detect --weights FILE`.

    Exit code 1, and no file, if --verify finds it out of tolerance.
    """
    if vocabulary is not None and prompts is not None:
        raise RtvpError("--vocabulary says what is asked for: leave out --prompts")
    from rtvp.data.images import find_images
    from rtvp.data.prompts import parse_prompts
    from rtvp.export.checkpoint import export_checkpoint
    from rtvp.export.verify import Comparison, ToleranceError, compare_files
    from rtvp.models.weights import find_checkpoint

    built_in = parse_prompts(vocabulary) if vocabulary is not None else ()
    images = _images(verify, labels)
    calibration = find_images(list(int8)) if int8 else []
    wanted = parse_prompts(prompts) if prompts is not None else built_in or _default_prompts(images)
    checkpoint = find_checkpoint(weights)
    comparison = Comparison()
    try:
        with step_bars() as tell:

            def check(path: Path) -> None:
                if images is not None:
                    compare_files(comparison, checkpoint, path, images, wanted, partial(tell, "verify"))

            facts = export_checkpoint(
                checkpoint,
                out,
                format.value,
                vocabulary=built_in,
                calibration=calibration,
                asked=wanted,
                size=size,
                on_calibrated=partial(tell, "calibrate"),
                check=check,
            )
    except ToleranceError as error:
        _tell(comparison)
        make_console(stderr=True).print(f"error: {error}: nothing written", soft_wrap=True)
        raise typer.Exit(OUT_OF_TOLERANCE) from error
    if images is not None:
        _tell(comparison)
    asked = ", ".join(prompt.name for prompt in facts.prompts) or "any prompts"
    make_console().print(
        f"{facts.name}, {facts.precision}, {asked}: rtvp detect ... --weights {out}", soft_wrap=True
    )


def _images(verify: list[str] | None, labels: Path | None) -> list[Path] | LabelledSet | None:
    from rtvp.data.images import find_images
    from rtvp.data.labelled import read_coco_set

    if labels is None:
        return find_images(list(verify)) if verify else None
    if verify is None or len(verify) != 1 or not Path(verify[0]).is_dir():
        raise RtvpError("--labels needs --verify FOLDER, the folder of the images that it names")
    return read_coco_set(labels, Path(verify[0]))


def _default_prompts(images: list[Path] | LabelledSet | None) -> tuple[Prompt, ...]:
    from rtvp.data.labelled import LabelledSet
    from rtvp.data.synthetic import DEFECT_NAMES
    from rtvp.types import Prompt

    names = sorted(images.vocabulary) if isinstance(images, LabelledSet) else DEFECT_NAMES
    return tuple(Prompt(name) for name in names)


def _tell(comparison: Comparison) -> None:
    table = Table("against the checkpoint", "", box=None)
    table.add_row("images", str(comparison.images))
    table.add_row("boxes compared", str(len(comparison.pairs)))
    table.add_row("the same, in order", f"{100 * comparison.same_share:.2f} %")
    if comparison.pairs:
        ious, scores = comparison.ious, comparison.score_differences
        table.add_row("IoU, lowest and mean", f"{ious.min():.4f}, {ious.mean():.4f}")
        table.add_row("score difference, largest and mean", f"{scores.max():.6f}, {scores.mean():.6f}")
    if (precisions := comparison.precisions()) is not None:
        table.add_row("AP, checkpoint and exported", f"{precisions[0]:.4f}, {precisions[1]:.4f}")
    make_console().print(table)
