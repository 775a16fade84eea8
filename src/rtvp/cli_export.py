"""`rtvp export`: a checkpoint as a file for other runtimes, proven to find the same."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from rtvp.errors import RtvpError
from rtvp.terminal import make_console, make_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    from rtvp.models.weights import find_checkpoint

    built_in = parse_prompts(vocabulary) if vocabulary is not None else ()
    images = _images(verify, labels)
    calibration = find_images(list(int8)) if int8 else []
    wanted = parse_prompts(prompts) if prompts is not None else built_in or _default_prompts(images)
    checkpoint = find_checkpoint(weights)

    def check(path: Path) -> None:
        if images is not None:
            _verify(checkpoint, path, images, wanted)

    with make_progress() as progress:
        facts = export_checkpoint(
            checkpoint,
            out,
            format.value,
            vocabulary=built_in,
            calibration=progress.track(calibration, description="calibrate") if calibration else (),
            asked=wanted,
            size=size,
            check=check,
        )
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


def _verify(
    checkpoint: Path, exported: Path, images: list[Path] | LabelledSet, prompts: Sequence[Prompt]
) -> None:
    """Print the comparison; leave with `OUT_OF_TOLERANCE` if it is too large."""
    from rtvp.data.labelled import LabelledSet
    from rtvp.export.checkpoint import read_checkpoint
    from rtvp.export.verify import Comparison, compare_images
    from rtvp.measure import RtvpNamed
    from rtvp.models.runtimes import encoder_of, open_exported
    from rtvp.models.text_encoder import make_text_encoder

    detector, config, _ = read_checkpoint(checkpoint)
    network = open_exported(exported)
    facts = network.facts
    comparison = Comparison()
    with make_progress() as progress:
        count = len(images.images) if isinstance(images, LabelledSet) else len(images)
        task = progress.add_task("verify", total=count)
        compare_images(
            comparison,
            RtvpNamed(detector, make_text_encoder(config.text_encoder), facts.input_size),
            RtvpNamed(network, encoder_of(facts), facts.input_size),
            images,
            prompts,
            facts.threshold,
            on_image=lambda: progress.advance(task),
        )
    _tell(comparison)
    if problem := comparison.problem(facts.precision):
        make_console(stderr=True).print(f"error: {problem}: nothing written", soft_wrap=True)
        raise typer.Exit(OUT_OF_TOLERANCE)


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
