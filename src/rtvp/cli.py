"""The command line. Heavy imports stand inside the commands: ``rtvp --help`` answers at once."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.table import Column, Table

from rtvp import __version__
from rtvp.cli_bundle import bundle_command
from rtvp.cli_calibrate import calibrate_command
from rtvp.cli_evaluate import evaluate_command
from rtvp.cli_export import export_command
from rtvp.cli_mmio import mmio_app
from rtvp.cli_reproduce import reproduce_command
from rtvp.cli_train import train_command
from rtvp.errors import RtvpError
from rtvp.terminal import make_console, make_progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtvp.predict import CocoFile, ImageProblem, Result, Summary
    from rtvp.types import Prompt

SOME_IMAGES_BROKEN = 1
WRONG_USE = 2
INTERRUPTED = 130

# Typer carries its own copy of click or not, depending on its version; this is that click's UsageError.
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)

app = typer.Typer(
    name="rtvp",
    help="Find industrial defects by name, offline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
weights_app = typer.Typer(help="Weights: which are known, fetched and sound.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")
app.add_typer(mmio_app, name="mmio")
app.command("train")(train_command)
app.command("evaluate")(evaluate_command)
app.command("calibrate")(calibrate_command)
app.command("export")(export_command)
app.command("bundle")(bundle_command)
app.command("reproduce")(reproduce_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; problems of the user become one line on stderr. Returns the exit code."""
    # PyTorch reads it once: huge pages for large maps, whose small ones take long to fault in. Linux only.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a prompt may hold what the terminal cannot show
    try:
        code = app(args=arguments, prog_name="rtvp", standalone_mode=False) or 0
    except UsageError as error:
        return _fail(error.format_message())
    except RtvpError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename or 'files'}: {error.strerror or error}")
    except typer.Abort:
        code = INTERRUPTED
    if code == INTERRUPTED:
        print("interrupted", file=sys.stderr)
    return int(code)


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return WRONG_USE


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"rtvp {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Find industrial defects by name, offline."""


@app.command()
def detect(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="SOURCE...", help="Images, folders, glob patterns.")
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(help="What to look for: 'scratch, oil stain: dark smear | shiny patch'.")
    ] = None,
    prompts_file: Annotated[Path | None, typer.Option(help="The same from a file, one a line.")] = None,
    coco: Annotated[
        Path | None,
        typer.Option(help="Take images and category names from this COCO file; write COCO results."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images that --coco names.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("rtvp-out"),
    threshold: Annotated[
        float | None,
        typer.Option(help="Score that a detection has to exceed, 0 to 1; the model's own if left out."),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Thresholds that `rtvp calibrate` found, in place of --threshold.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Also write the visual-prompt map.")] = False,
    masks: Annotated[
        bool,
        typer.Option(
            "--masks", help="Also a mask a box; Mobile-SAM's where `rtvp weights fetch mobile_sam` was run."
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batch: Annotated[int, typer.Option(help="Images that go through the network together.")] = 1,
    size: Annotated[
        int | None,
        typer.Option(help="Side of the network input, px, a multiple of 32; the model's own if left out."),
    ] = None,
    tile: Annotated[
        str | None,
        typer.Option(help="Also look at parts of large images closer: auto, or the side of a part in px."),
    ] = None,
    tile_seconds: Annotated[
        float | None,
        typer.Option(help="Time for the parts of an image: those that promise most come first."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Checkpoint, exported file, or `open`; the shipped model if left out."),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            help="torch, torch-bf16, onnx, openvino or openvino-bf16; if left out, onnx for models of the "
            "package on a CPU, else what fits --weights."
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(help="Images of good parts: what these show as well counts less; folders, patterns."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Model, prompts and thresholds that `rtvp bundle` put into one file.")
    ] = None,
) -> None:
    """Find what the prompts name; write annotated pictures and detections.json to --out.

    Exit code 0 whether or not anything is found, 1 if an image could not be read, 2 if nothing could be done.
    """
    if bundle is not None:
        if weights is not None or runtime is not None:
            raise RtvpError("--bundle holds the model: leave out --weights and --runtime")
        from rtvp.predict.bundle import open_bundle

        opened = open_bundle(bundle)
        weights, runtime = opened.weights, opened.manifest.runtime
        size = opened.manifest.size if size is None else size
        if coco is None and prompts is None and prompts_file is None:
            prompts = opened.manifest.prompts or None
        if threshold is None and calibration is None:
            calibration = opened.calibration
    paths, wanted, coco_file = _plan(sources, prompts, prompts_file, coco, images, out)
    from rtvp.data.images import find_images
    from rtvp.predict import Calibration, detect_to_folder, load, usual_runtime
    from rtvp.tiling import Tiling

    if calibration is not None and threshold is not None:
        raise RtvpError("--calibration holds the thresholds: leave out --threshold")
    if tile_seconds is not None and tile is None:
        raise RtvpError("--tile-seconds is the time for tiles: add --tile auto")
    tiling = Tiling.of(tile)
    if tiling is not None:
        tiling = replace(tiling, seconds=tile_seconds)
    limits = Calibration.read(calibration) if calibration is not None else threshold
    if runtime is None and not reference:  # exported models cannot be compared with good parts
        runtime = usual_runtime(weights, device)
    detector = load(weights, device, size, runtime)
    if reference:
        detector = detector.compared_with(find_images(reference))
    with _image_progress(len(paths)) as on_image:
        summary = detect_to_folder(
            detector,
            paths,
            wanted,
            out,
            threshold=limits,
            batch=batch,
            explain=explain,
            tile=tiling,
            masks=masks,
            coco=coco_file,
            on_image=on_image,
        )
    _print_summary(summary, out)
    if summary.broken:
        raise typer.Exit(SOME_IMAGES_BROKEN)


@app.command()
def samples(
    out: Annotated[Path, typer.Argument(help="Folder for images/ and instances.json.")],
    count: Annotated[int, typer.Option(min=1, help="Number of pictures.")] = 12,
    size: Annotated[int, typer.Option(min=64, max=4096, help="Side of a picture, px.")] = 640,
    seed: Annotated[int, typer.Option(min=0, help="Other seeds give other pictures.")] = 0,
) -> None:
    """Write generated pictures of parts, good and defective, and their labels, to try `rtvp detect` on."""
    from rtvp.data.samples import write_samples

    print(write_samples(out, count, size, seed))


@weights_app.command("list")
def list_known() -> None:
    """Names, sizes and licences of the weights there are."""
    from rtvp.models.weights import list_weights

    table = Table("name", "MB", "licence", "source", "note", box=None)
    for weight in list_weights():
        size = f"{weight.size / 1e6:.1f}" if weight.size else ""
        table.add_row(weight.name, size, weight.licence, weight.source, weight.note)
    make_console().print(table)
    make_console().print("sha256, where the file is one:")
    for weight in list_weights():
        if weight.sha256:
            print(f"{weight.sha256}  {weight.filename}")


@weights_app.command("fetch")
def fetch_weights(
    name: Annotated[str, typer.Argument(help="One of `rtvp weights list`.")],
    offline: Annotated[bool, typer.Option("--offline", help="Do not use the network.")] = False,
) -> None:
    """Download a file of weights, unless it is there; prints its path."""
    from rtvp.models.weights import fetch

    with make_progress() as progress:
        task = progress.add_task(name, total=None)
        path = fetch(name, offline, lambda done, total: progress.update(task, completed=done, total=total))
    print(path)


@weights_app.command("verify")
def verify_weights() -> None:
    """Check size and hash of the files that are there; exit code 1 if one is damaged, or missing for good."""
    from rtvp.models.weights import verify

    checks = verify()
    for check in checks:
        print(f"{check.weight.name}: {check.state}: {check.detail}")
    # A file that can be fetched may well be missing.
    if any(check.state == "bad" or (check.state == "missing" and not check.weight.urls) for check in checks):
        raise typer.Exit(1)


def _check_sources(
    sources: list[str] | None,
    prompts: str | None,
    prompts_file: Path | None,
    coco: Path | None,
    images: Path | None,
) -> None:
    """Raise RtvpError unless it is clear what to look at and what to look for."""
    named = [
        option
        for option, value in (("--prompts", prompts), ("--prompts-file", prompts_file))
        if value is not None
    ]
    if coco is not None:
        if named or sources:
            raise RtvpError(
                f"--coco names the images and the prompts: leave out {named[0] if named else 'SOURCE'}"
            )
        if images is None:
            raise RtvpError("--coco needs --images, the folder of its images")
        if not images.is_dir():
            raise RtvpError(f"--images: expected a folder, got {images}")
        return
    if images is not None:
        raise RtvpError("--images goes with --coco; name images and folders as they are: rtvp detect FOLDER")
    if not sources:
        raise RtvpError(
            "expected an image, a folder or a pattern: rtvp detect SOURCE... --prompts 'scratch, dent'"
        )
    if len(named) != 1:
        problem = "got both" if named else "got neither"
        raise RtvpError(f"expected either --prompts 'scratch, dent' or --prompts-file FILE, {problem}")


def _plan(
    sources: list[str] | None,
    prompts: str | None,
    prompts_file: Path | None,
    coco: Path | None,
    images: Path | None,
    out: Path,
) -> tuple[list[Path], Sequence[Prompt], CocoFile | None]:
    """The images, the prompts, and the COCO file if there is one."""
    _check_sources(sources, prompts, prompts_file, coco, images)
    from rtvp.data.images import find_images
    from rtvp.data.prompts import parse_prompts, read_prompts_file
    from rtvp.predict import read_coco_file

    if coco is not None and images is not None:
        coco_file = read_coco_file(coco)
        return [images / image.file_name for image in coco_file.images], coco_file.prompts(), coco_file
    wanted = read_prompts_file(prompts_file) if prompts_file is not None else parse_prompts(prompts or "")
    return find_images(sources or [], skip=out), wanted, None


@contextmanager
def _image_progress(total: int) -> Iterator[Callable[[Result | ImageProblem], None]]:
    with make_progress() as progress:
        task = progress.add_task("images", total=total)

        def on_image(result: Result | ImageProblem) -> None:
            progress.advance(task)
            error = getattr(result, "message", None)
            if error is not None:
                progress.console.print(f"skipped: {' '.join(error.split())}", soft_wrap=True)

        yield on_image


def _print_summary(summary: Summary, out: Path) -> None:
    columns = (Column(title, justify="right") for title in ("found", "highest score", "threshold"))
    table = Table("prompt", *columns, box=None)
    for name, threshold in zip(summary.names, summary.thresholds, strict=True):
        highest = summary.highest.get(name)
        table.add_row(
            name,
            str(summary.found[name]),
            "-" if highest is None else f"{highest:.2f}",
            f"{threshold:.2f}",
        )
    console = make_console()
    console.print(table)
    images = summary.ok + summary.not_ok
    broken = f", {summary.broken} could not be read" if summary.broken else ""
    if summary.hurried:
        console.print(f"{summary.hurried} images: the time was over before all parts were looked at closer")
    console.print(
        f"{images} images: {summary.not_ok} NOT OK, {summary.ok} OK{broken}; "
        f"{summary.images_per_second:.1f} images/s; results in {out}",
        soft_wrap=True,
    )
    if summary.own_threshold:
        console.print(
            "The threshold is the model's own, of products that it knows. Before OK means anything on yours: "
            "rtvp calibrate GOOD_IMAGES, or choose a --threshold.",
            soft_wrap=True,
        )
