"""``rtvp evaluate``: all figures of a model, or of its results, on labelled images."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from rtvp import __version__
from rtvp.cli_common import Root, folder_of_sets, reference_images
from rtvp.errors import RtvpError
from rtvp.files import replacing
from rtvp.terminal import make_console, make_progress

if TYPE_CHECKING:
    from rtvp.evaluate import Evaluation, Frequency, Outcome
    from rtvp.measure import NamedDetector
    from rtvp.predict import Detector

COUNTS = ("images", "good", "boxes")
OF_SCENES = (
    "images",
    "good",
    "boxes",
    "AP",
    "AP50",
    "AP_agnostic",
    "AP50_agnostic",
    "auroc",
    "false_per_good",
)
OF_CATEGORIES = ("images", "boxes", "AP", "AP50", "precision", "recall")
OF_SIZES = ("boxes", "AP", "AP50")


class Side(str, Enum):
    """Of a split."""

    test = "test"
    train = "train"


class Prompts(str, Enum):
    """What a model is asked for; see `rtvp.measure.make_prompts`."""

    own = "own"
    all = "all"
    unseen = "unseen"
    generic = "generic"


@dataclass(frozen=True, slots=True)
class _Task:
    """What is evaluated, and what the report says of it."""

    outcomes: Sequence[Outcome]
    about: Mapping[str, Any]
    threshold: float | None
    seen: Sequence[str] = ()
    unseen: Sequence[str] = ()
    frequencies: Mapping[str, Frequency] | None = None


def evaluate_command(
    benchmark: Annotated[
        Path | None, typer.Option(help="Folder of a finished build; goes with --split and --data.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="closed, zero-shot/category, zero-shot/meaning or zero-shot/scene.")
    ] = "closed",
    side: Annotated[Side, typer.Option(help="Of the split.")] = Side.test,
    data: Root = None,
    coco: Annotated[Path | None, typer.Option(help="COCO file of the labels, in place of a build.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images that --coco names.")] = None,
    lvis: Annotated[bool, typer.Option("--lvis", help="--coco is an LVIS file.")] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint, or `open`; the shipped model if left out.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Evaluate these COCO results of --coco; no model is run.")
    ] = None,
    prompts: Annotated[
        Prompts,
        typer.Option(help="Ask each set for its own names, for all names at once, unseen ones, any defect."),
    ] = Prompts.own,
    threshold: Annotated[
        float | None,
        typer.Option(help="Score that a detection has to exceed; the model's own, of results the best."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batch: Annotated[int, typer.Option(min=1, help="Images that go through the network together.")] = 4,
    size: Annotated[
        int | None, typer.Option(help="Side of the network input, px; the model's own if left out.")
    ] = None,
    tile: Annotated[
        str | None,
        typer.Option(help="Also look at parts of large images closer: auto, or the side of a part in px."),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(help="Good parts to compare with, as in `rtvp detect`; not images of --coco itself."),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Keep what is found in this file; interrupted, the same command goes on from it."),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples for 95 % intervals; 0 for none.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """Average precision and recall, verdicts over whole images; per scene and category.

    On a build of the benchmark (--benchmark), or on a COCO or LVIS file (--coco).
    """
    _check(benchmark, coco, images, weights, results)
    if reference and (coco is None or results is not None or tile is not None):
        raise RtvpError("--reference goes with --coco and --images, not with --results or --tile")
    if lvis and coco is None:
        raise RtvpError("--lvis goes with --coco: leave it out, or give the LVIS file")
    if results is not None and prompts is not Prompts.own:
        raise RtvpError(f"--prompts {prompts.value}: results were made before, leave it out")
    if results is not None and keep is not None:
        raise RtvpError("--keep: results were made before, leave it out")
    if threshold is not None and not 0 <= threshold <= 1:
        raise RtvpError(f"--threshold: expected a number from 0 to 1, got {threshold}")
    from rtvp.evaluate import COCO_LIMITS, LVIS_LIMITS, evaluate

    if results is not None and coco is not None:
        task = _of_results(coco, results, lvis)
    else:
        from rtvp.predict import load

        model = load(weights, device, size)
        if reference:
            assert coco is not None and images is not None
            model = model.compared_with(_apart(reference, coco, images, lvis))
        with _asked(model, prompts, batch, tile, keep) as how:
            if benchmark is not None:
                task = _on_build(how, benchmark, split, side, folder_of_sets(data, "--data"))
            else:
                assert coco is not None and images is not None
                task = _on_coco(how, coco, images, lvis)
    with _bar("resamples", bootstrap) as step:
        evaluation = evaluate(
            task.outcomes,
            seen=task.seen,
            unseen=task.unseen,
            frequencies=task.frequencies,
            threshold=task.threshold if threshold is None else threshold,
            limits=LVIS_LIMITS if lvis else COCO_LIMITS,
            bootstrap=bootstrap,
            seed=seed,
            on_resample=step,
        )
    if json_file is not None:
        about = {"rtvp_version": __version__, **task.about, "bootstrap": bootstrap, "seed": seed}
        _write_json(json_file, about | evaluation.to_json())
    _print(evaluation, set(task.unseen))


def _check(
    benchmark: Path | None,
    coco: Path | None,
    images: Path | None,
    weights: Path | None,
    results: Path | None,
) -> None:
    """Raise RtvpError unless it is clear what to evaluate on what."""
    if (benchmark is None) == (coco is None):
        problem = "got neither" if coco is None else "got both"
        raise RtvpError(f"expected --benchmark BUILD or --coco FILE to evaluate on, {problem}")
    if benchmark is not None and (images is not None or results is not None):
        option = "--images" if results is None else "--results"
        raise RtvpError(f"{option} goes with --coco: leave it out, or give the COCO file")
    if results is not None and weights is not None:
        raise RtvpError("expected --weights to run a model, or --results to run none, got both")
    if coco is not None and results is None:
        if images is None:
            raise RtvpError("--coco needs --images, the folder of its images, or --results")
        if not images.is_dir():
            raise RtvpError(f"--images: expected a folder, got {images}")


def _apart(reference: Sequence[str], coco: Path, images: Path, lvis: bool) -> list[Path]:
    """Good parts to compare with, none of which is measured."""
    from rtvp.evaluate.coco_labels import read_labels

    outcomes = read_labels(coco, images, lvis=lvis).outcomes
    return reference_images(reference, (Path(outcome.image) for outcome in outcomes))


def _of_results(coco: Path, results: Path, lvis: bool) -> _Task:
    from rtvp.evaluate.coco_labels import read_labels, with_results

    labels = read_labels(coco, lvis=lvis)
    about = {"labels": str(coco), "results": str(results)}
    return _Task(with_results(labels, results), about, None, frequencies=labels.frequencies)


@dataclass(frozen=True)
class _How:
    """A model and how it is asked."""

    model: Detector
    named: NamedDetector
    prompts: Prompts
    batch: int
    tile: str | None

    def about(self) -> dict[str, Any]:
        model = self.model
        asked = {"model": model.name, "weights": model.digest, "input_size": model.size}
        asked |= {"prompts": self.prompts.value}
        return asked | ({"tile": self.tile} if self.tile else {})


@contextmanager
def _asked(
    model: Detector, prompts: Prompts, batch: int, tile: str | None, keep: Path | None
) -> Iterator[_How]:
    """A model that is ready to be asked, while the file in which it keeps what it finds is open."""
    from rtvp.measure import KeptDetections, RtvpNamed
    from rtvp.tiling import Tiling

    tiling = Tiling.of(tile)
    named = RtvpNamed(model.network, model.text_encoder, model.size, model.name, model.cache, tiling)
    if keep is None:
        yield _How(model, named, prompts, batch, tile)
    else:
        # Another release may find other things with the same weights.
        settings = {**model.settings((), tiling), "device": model.device, "rtvp_version": __version__}
        with KeptDetections(named, keep, settings) as kept:
            yield _How(model, kept, prompts, batch, tile)


def _on_coco(how: _How, coco: Path, images: Path, lvis: bool) -> _Task:
    from rtvp.data.dataset import GENERIC_NAME
    from rtvp.evaluate.coco_labels import read_labels
    from rtvp.measure import measure_labels
    from rtvp.types import Prompt

    if how.prompts is Prompts.unseen:
        raise RtvpError("--prompts unseen: a COCO file does not say what is unseen: give --benchmark BUILD")
    labels = read_labels(coco, images, lvis=lvis)
    names = [GENERIC_NAME] if how.prompts is Prompts.generic else labels.names
    with _bar("images", len(labels.outcomes)) as step:
        outcomes = measure_labels(how.named, labels.outcomes, [Prompt(n) for n in names], how.batch, step)
    about = {"labels": str(coco), **how.about()}
    return _Task(outcomes, about, how.model.threshold, frequencies=labels.frequencies)


def _on_build(how: _How, build: Path, split: str, side: Side, root: Path) -> _Task:
    from rtvp.data.labelled import read_split_sets
    from rtvp.measure import make_prompts, measure

    parts = read_split_sets(build, root, split)
    sets = parts.test if side is Side.test else parts.train
    if how.prompts is Prompts.unseen and not parts.unseen:
        raise RtvpError(f"--prompts unseen: the split {split} has no unseen names: take another --split")
    names = {name for each in (*parts.train, *parts.test) for name in each.vocabulary}
    asked = make_prompts(how.prompts.value, names, parts.unseen)
    with _bar("images", sum(len(each.images) for each in sets)) as step:
        outcomes = measure(how.named, sets, asked, how.batch, step)
    about = {"split": split, "side": side.value, "data_digest": parts.digest, **how.about()}
    return _Task(outcomes, about, how.model.threshold, parts.seen, parts.unseen)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[], None]]:
    with make_progress() as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(f"{text}\n", encoding="utf-8", newline="\n")


def _print(evaluation: Evaluation, unseen: Collection[str]) -> None:
    console = make_console()
    rows = {
        name: {**row, "unseen": "unseen" if name in unseen else ""}
        for name, row in evaluation.categories.items()
    }
    columns = (*OF_CATEGORIES, "unseen") if unseen else OF_CATEGORIES
    console.print(_table("category", columns, rows))
    if len(evaluation.scenes) > 1:
        console.print(_table("scene", OF_SCENES, evaluation.scenes))
    if len(evaluation.super_categories) > 1:
        console.print(_table("super-category", OF_SCENES, evaluation.super_categories))
    console.print(_table("share of the image", OF_SIZES, evaluation.sizes))
    console.print(_figures(evaluation))
    point, best = evaluation.operating_point, evaluation.best_f1
    console.print(
        f"{evaluation.images} images, {evaluation.good} good; {evaluation.boxes} boxes; "
        f"at the threshold {point.threshold:.3f}: precision {_shown('precision', point.precision)}, "
        f"recall {_shown('recall', point.recall)}; means over the categories where their F1 is best, "
        f"{best.threshold:.3f}: {_shown('precision', best.precision)}, {_shown('recall', best.recall)}",
        soft_wrap=True,
    )


def _figures(evaluation: Evaluation) -> Table:
    table = Table("figure", Column("value", justify="right"), Column("95 %", justify="right"), box=None)
    for key, value in evaluation.figures.items():
        interval = evaluation.intervals.get(key)
        bounds = "" if interval is None else " to ".join(_shown(key, bound) for bound in interval)
        table.add_row(key, _shown(key, value), bounds)
    return table


def _table(first: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, float | str]]) -> Table:
    table = Table(Column(first, no_wrap=True), *(Column(key, justify="right") for key in columns), box=None)
    for name, row in rows.items():
        table.add_row(name, *(_shown(key, row[key]) for key in columns))
    return table


def _shown(key: str, value: float | str) -> str:
    """Shares in per cent, as papers give them; counts as they are; a dash where nothing can be measured."""
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return "-"
    if key in COUNTS:
        return str(value)
    return f"{value:.2f}" if key.startswith("false_per_good") else f"{100 * value:.1f}"
