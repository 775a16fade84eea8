"""``rtvp train``: a run as a configuration describes it, or a checkpoint fine-tuned on a user's images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from rtvp.errors import RtvpError
from rtvp.terminal import make_console

if TYPE_CHECKING:
    from rtvp.train.finetune import Finetuned

FIGURES = ("AP", "AP50")


def train_command(
    data: Annotated[
        Path,
        typer.Option(help="With CONFIG the folder of the data sets; with --from a COCO file of your images."),
    ],
    config: Annotated[
        Path | None, typer.Argument(help="YAML file that describes a whole run; leave it out with --from.")
    ] = None,
    benchmark: Annotated[
        Path | None, typer.Option(help="What `rtvp mmio build` made, if CONFIG names a split of it.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run; one that was interrupted goes on.")] = Path(
        "rtvp-run"
    ),
    start: Annotated[
        str | None, typer.Option("--from", help="Fine-tune this checkpoint, or `shipped`, or `open`.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the images that --data names; its own or `images` in it if left out."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of the fine-tuning; 400 if left out.")] = None,
    replay_share: Annotated[
        float | None,
        typer.Option(help="Of the pictures, such as it knew before, from 0 to below 1; 0.25 if left out."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(help="Folder of the public sets, to repeat them too and not generated pictures alone."),
    ] = None,
    retention: Annotated[
        Path | None,
        typer.Option(help="COCO file to measure on what is kept; generated pictures if left out."),
    ] = None,
    retention_images: Annotated[
        Path | None, typer.Option(help="Folder of the images that --retention names.")
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(help="Share of the weights that stay as they were, 0 to 1: gains less, forgets less."),
    ] = None,
    tiles: Annotated[
        bool | None,
        typer.Option(
            "--tiles",
            help="Learn and measure large pictures in parts too, as `rtvp detect --tile auto` does.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the fine-tuning; 0 if left out.")] = None,
) -> None:
    """Train a detector as CONFIG says, or fine-tune one: rtvp train --from shipped --data my_coco.json."""
    tuning = {
        "--images": images,
        "--steps": steps,
        "--replay-share": replay_share,
        "--replay": replay,
        "--retention": retention,
        "--retention-images": retention_images,
        "--keep": keep,
        "--tiles": tiles,
        "--seed": seed,
    }
    given = [option for option, value in tuning.items() if value is not None]
    if config is not None:
        if start is not None or given:
            option = "--from" if start is not None else given[0]
            raise RtvpError(f"{option} is for fine-tuning, and CONFIG describes a whole run: leave out one")
        _train(config, data, benchmark, out)
        return
    if start is None:
        raise RtvpError(
            "expected a configuration, rtvp train CONFIG --data FOLDER, or a checkpoint to fine-tune, "
            "rtvp train --from shipped --data my_coco.json; got neither"
        )
    if benchmark is not None:
        raise RtvpError("--benchmark goes with CONFIG: leave it out to fine-tune")
    if retention_images is not None and retention is None:
        raise RtvpError("--retention-images goes with --retention, the COCO file of these images")
    with _training_packages():
        from rtvp.train.finetune import FinetuneTask, finetune
        from rtvp.train.finetune_data import CocoFolder

    kept = None if retention is None else CocoFolder(retention, retention_images)
    task = FinetuneTask(
        CocoFolder(data, images),
        start,
        steps,
        replay_share,
        replay,
        kept,
        keep or 0.0,
        seed or 0,
        bool(tiles),
    )
    _print(finetune(task, out))


def _train(config: Path, data: Path, benchmark: Path | None, out: Path) -> None:
    with _training_packages():
        from rtvp.train import run_training

    print(run_training(config, out, data, benchmark))


@contextmanager
def _training_packages() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise RtvpError(f"training needs the package {error.name}: pip install 'rtvp[train]'") from error


def _print(result: Finetuned) -> None:
    new = "new" if result.held_out else "new, but trained on"
    figures = [Column(figure, justify="right", no_wrap=True) for figure in FIGURES]
    table = Table(Column("measured on", overflow="fold"), "prompts", "images", "boxes", *figures, box=None)
    for row in result.rows:
        changes = (f"{_shown(row.before[key])} -> {_shown(row.after[key])}" for key in FIGURES)
        of = f"{new if row.is_new else 'retention'}: {row.of}"
        table.add_row(of, row.asked, str(row.images), str(row.boxes), *changes)
    console = make_console()
    console.print(table)
    if not result.held_out:
        console.print(
            "Too few pictures to hold some out: the new AP is of those that were trained on and says little.",
            soft_wrap=True,
        )
    print(result.checkpoint)


def _shown(value: float | None) -> str:
    """Per cent, as papers give it; a dash where nothing can be measured."""
    return "-" if value is None else f"{100 * value:.1f}"
