"""``rtvp mmio``, the whole benchmark: building it, and what is done with a build."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from rtvp.cli_common import CHECK_FAILED, Root, folder_of_sets, number_columns, step_bars
from rtvp.errors import RtvpError
from rtvp.terminal import make_console

if TYPE_CHECKING:
    from rtvp.mmio.build import Build
    from rtvp.mmio.categories import Embedder, ImageTextScorer
    from rtvp.mmio.leaks import Leaks


def build_command(
    out: Annotated[Path, typer.Option(help="Folder of the benchmark; an unfinished build in it goes on.")],
    root: Root = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of the build; see docs/mmio.md.")] = None,
    review: Annotated[Path | None, typer.Option(help="What people decided on class names.")] = None,
    clip: Annotated[
        str | None, typer.Option(help="Folder or hub name of a CLIP, for names that texts leave open.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that read images and labels.")] = 2,
) -> None:
    """Convert, clean, match, split and measure all sets under --root, in one go."""
    from rtvp.config import load_config
    from rtvp.mmio.build import build as build_benchmark
    from rtvp.mmio.build_config import BuildConfig

    chosen = load_config(config, BuildConfig) if config is not None else BuildConfig()
    with step_bars() as tell:
        built = build_benchmark(
            folder_of_sets(root, "--root"),
            out,
            chosen,
            jobs=jobs,
            embed=_embedder(),
            image_text=_image_text(clip),
            review=review,
            progress=tell,
        )
    _print_build(built, out)


def leaks_command(
    folder: Annotated[Path, typer.Argument(metavar="BUILD", help="Folder of a finished build.")],
    split: Annotated[str, typer.Argument(help="closed, zero-shot/category, zero-shot/meaning, ...")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Near names, shared groups and near-duplicates across a split; exit code 1 if it breaks its promise."""
    from rtvp.mmio.built import read_build
    from rtvp.mmio.leaks import find_leaks

    built = read_build(folder)
    if split not in built.splits:
        raise RtvpError(f"expected a split out of {', '.join(built.splits)}, got {split!r}")
    found = find_leaks(
        built.splits[split], built.items, built.near_pairs, _embedder(), scene_of=built.scene_of
    )
    if as_json:
        print(json.dumps(found.to_json(), indent=1))
    else:
        _print_leaks(found)
    if not found.ok:
        raise typer.Exit(CHECK_FAILED)


def stats_command(
    folder: Annotated[Path, typer.Argument(metavar="BUILD", help="Folder of a finished build.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    root: Root = None,
) -> None:
    """Numbers, plots, contact sheets and one HTML page about a build."""
    from rtvp.mmio.built import read_build
    from rtvp.mmio.report import write_report
    from rtvp.mmio.sources import source_table
    from rtvp.mmio.taxonomy import taxonomy

    built, base, known = read_build(folder), folder_of_sets(root, "--root"), source_table()
    folders = {name: base / known[name].folder for name in built.scene_of}
    written = write_report(
        out,
        built.items,
        folders,
        built.scene_of,
        built.super_category_of,
        taxonomy(),
        splits=tuple(built.splits.values()),
    )
    for line in written.skipped:
        print(f"skipped: {line}", file=sys.stderr)
    print(written.files[-1])


def pack_command(
    annotations: Annotated[
        Path, typer.Argument(help="COCO file, such as BUILD/annotations/closed_train.json.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the shards; an unfinished packing in it goes on.")],
    root: Root = None,
    max_side: Annotated[int, typer.Option(min=1, help="Longest side of an image, px.")] = 640,
    shard_mb: Annotated[int, typer.Option(min=1, help="Largest size of a shard, MiB.")] = 64,
    jobs: Annotated[int, typer.Option(min=1, help="Images reduced at once.")] = 2,
) -> None:
    """Write images and labels as WebDataset shards with an index."""
    from rtvp.mmio.pack import pack as pack_shards

    with step_bars() as tell:
        index = pack_shards(
            annotations,
            folder_of_sets(root, "--root"),
            out,
            max_side=max_side,
            shard_mb=shard_mb,
            jobs=jobs,
            progress=tell,
        )
    print(f"{index.images} images, {index.boxes} boxes: {out}")


def _embedder() -> Embedder:
    """The embedded text encoder, as the builder wants it; loaded when the first name has to be judged."""
    from rtvp.models.text_encoder import make_text_encoder

    return make_text_encoder("minilm").encode


def _image_text(clip: str | None) -> ImageTextScorer | None:
    if clip is None:
        return None
    from rtvp.models.image_text import ClipImageText

    return ClipImageText(clip)


def _print_build(built: Build, out: Path) -> None:
    console = make_console()
    sets = Table("set", *number_columns("images", "good", "boxes", "kept", "boxes kept"), box=None)
    for row in built.report.sets:
        numbers = (
            row.images,
            row.good,
            sum(row.boxes.values()),
            row.kept_images,
            sum(row.kept_boxes.values()),
        )
        sets.add_row(row.name, *map(str, numbers))
    console.print(sets)
    splits = Table(
        "split", *number_columns("train", "test", "left out", "seen", "unseen"), "promise", box=None
    )
    for split in built.report.splits:
        promise = "kept" if split.leaks.ok else "; ".join(split.leaks.broken)
        sides = (split.train, split.test, split.left_out, split.seen, split.unseen)
        splits.add_row(split.name, *map(str, sides), promise)
    console.print(splits)
    for name, why in built.report.not_made.items():
        console.print(f"{name}: not made, {why}", soft_wrap=True)
    for note in built.report.notes:
        console.print(note, soft_wrap=True)
    broken = [(row.name, line) for row in built.report.sets for line in row.broken]
    for name, line in broken:
        console.print(f"left out: {name}/{line}", soft_wrap=True)
    removed = len(built.report.cleaned.removals)
    images = sum(row.kept_images for row in built.report.sets)
    console.print(f"{images} images, {removed} removed; digest {built.digest}; {out}", soft_wrap=True)


def _print_leaks(found: Leaks) -> None:
    console = make_console()
    table = Table("seen", "unseen", Column("cosine", justify="right"), "common words", box=None)
    for pair in found.near_names:
        cosine = "" if pair.cosine is None else f"{pair.cosine:.2f}"
        table.add_row(pair.seen, pair.unseen, cosine, " ".join(pair.shared_words))
    console.print(table)
    for group in found.shared_groups:
        console.print(f"group on both sides: {group}", soft_wrap=True)
    for what, copies in (("the same bytes", found.copies), ("nearly the same", found.near_duplicates)):
        for one, other in copies:
            console.print(f"{what}: {one} and {other}", soft_wrap=True)
    console.print("\n".join(found.broken) or f"{found.split}: keeps its promise", soft_wrap=True)
