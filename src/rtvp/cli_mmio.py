"""``rtvp mmio``: the benchmark builder on the command line."""

from __future__ import annotations

import inspect
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.table import Column, Table

from rtvp.cli_common import DATA_VARIABLE, folder_of_sets, step_bars
from rtvp.errors import RtvpError
from rtvp.terminal import make_console

if TYPE_CHECKING:
    from rtvp.mmio.build import Build
    from rtvp.mmio.categories import Embedder, ImageTextScorer
    from rtvp.mmio.leaks import Leaks
    from rtvp.mmio.schema import Conversion

FAILED = 1  # exit code where a check finds errors

mmio_app = typer.Typer(
    help="The benchmark: public defect sets, converted, cleaned, matched, split and measured.",
    no_args_is_help=True,
)
Root = Annotated[
    Path | None,
    typer.Option(help=f"Folder that holds the folders of the sets; ${DATA_VARIABLE} if left out."),
]


@mmio_app.command()
def sources(root: Root = None) -> None:
    """The sets that are known, what of them lies under --root, and exactly what is missing."""
    from rtvp.mmio.sources import find_sources, source_table

    known = source_table()
    found = find_sources(folder_of_sets(root, "--root"))
    table = Table(
        Column("set", no_wrap=True), "scene", *_number_columns("images", "published"), "missing", box=None
    )
    for entry in found:
        published = "" if entry.published_images is None else str(entry.published_images)
        missing = "; ".join(entry.missing)
        table.add_row(entry.name, known[entry.name].scene, str(entry.images_found), published, missing)
    console = make_console()
    console.print(table)
    readable = [entry for entry in found if entry.readable]
    images = sum(entry.images_found for entry in readable)
    console.print(f"{len(readable)} of {len(found)} sets can be read here, {images} images")


@mmio_app.command()
def convert(
    layout: Annotated[str, typer.Argument(metavar="FORMAT", help="voc, yolo, coco, labelme, mask, ...")],
    folder: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of images and labels.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="COCO json file to write.")],
    option: Annotated[
        list[str] | None, typer.Option(help="Of the format, as name=value in YAML; may be repeated.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="YAML file: raw class -> name, null for a class that is no defect.")
    ] = None,
    masks: Annotated[bool, typer.Option("--masks", help="Keep the defects' pixels as RLE.")] = False,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out malformed label files instead of stopping.")
    ] = False,
) -> None:
    """Convert one folder of labelled images to a COCO json file; its file names are relative to SRC."""
    from rtvp.mmio.coco_file import to_items, write_coco_file
    from rtvp.mmio.converters import CONVERTERS, MASK_LAYOUTS

    if layout not in CONVERTERS:
        raise RtvpError(f"expected a format out of {', '.join(CONVERTERS)}, got {layout!r}")
    if masks and layout not in MASK_LAYOUTS:
        raise RtvpError(f"--masks: {layout} knows boxes only; {', '.join(sorted(MASK_LAYOUTS))} know masks")
    converter = CONVERTERS[layout]
    options = _options(option or [], set(inspect.signature(converter).parameters), layout)
    if masks:
        options["masks"] = True
    conversion: Conversion = converter(folder, names=_read_names(names), **options)
    if conversion.broken and not skip_broken:
        more = f" (and {len(conversion.broken) - 1} more)" if len(conversion.broken) > 1 else ""
        raise RtvpError(
            f"{folder}/{conversion.broken[0]}{more}: correct it, or leave such files out with --skip-broken"
        )
    if not conversion.images:
        raise RtvpError(
            f"{folder}: expected images with labels in the layout {layout}, found none"
            + "".join(f"; {problem} ({count})" for problem, count in conversion.problems.items())
        )
    counts = Counter(box.name for record in conversion.images for box in record.annotations)
    write_coco_file(out, to_items(conversion.images, folder.resolve().name, folder), sorted(counts))
    _print_conversion(conversion, counts, out)


@mmio_app.command()
def export(
    file: Annotated[Path, typer.Argument(help="COCO json file.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; it must not hold anything yet.")],
    layout: Annotated[str, typer.Option("--format", help="yolo, voc, coco or labelstudio.")],
    images: Annotated[
        Path | None,
        typer.Option(help="Folder that the file names are relative to; images are copied from it."),
    ] = None,
) -> None:
    """Write the labels of a COCO json file in another layout."""
    from rtvp.mmio.coco_file import read_coco_file
    from rtvp.mmio.exporters import EXPORTERS

    if layout not in EXPORTERS:
        raise RtvpError(f"--format: expected one of {', '.join(EXPORTERS)}, got {layout!r}")
    EXPORTERS[layout](read_coco_file(file), out, images, copy_images=images is not None)
    print(out)


@mmio_app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="COCO json files; several are the sides of a split.")],
    images: Annotated[Path | None, typer.Option(help="Folder that their file names are relative to.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Images decoded at once.")] = 1,
) -> None:
    """Find what would break training or falsify an evaluation later; exit code 1 if there are errors."""
    from rtvp.mmio.check import check as check_files

    report = check_files(files, images, jobs=jobs)
    print(report.to_json() if as_json else report.to_text())
    if report.errors:
        raise typer.Exit(FAILED)


@mmio_app.command()
def build(
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


@mmio_app.command()
def leaks(
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
        raise typer.Exit(FAILED)


@mmio_app.command()
def stats(
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


@mmio_app.command()
def pack(
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

    encoder = make_text_encoder("minilm")
    return lambda texts: encoder.encode(texts).numpy()


def _image_text(clip: str | None) -> ImageTextScorer | None:
    if clip is None:
        return None
    from rtvp.models.image_text import ClipImageText

    return ClipImageText(clip)


def _options(given: list[str], known: set[str], layout: str) -> dict[str, Any]:
    known = known - {"root", "names", "masks"}
    options: dict[str, Any] = {}
    for entry in given:
        key, equals, text = entry.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or key not in known:
            raise RtvpError(
                f"--option: expected name=value with a name out of {', '.join(sorted(known))} ({layout}), "
                f"got {entry!r}"
            )
        try:
            options[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RtvpError(f"--option {key}: expected a YAML value, got {text!r}") from error
    return options


def _read_names(path: Path | None) -> dict[str, str | None] | None:
    if path is None:
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RtvpError(f"--names: {path} is not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not all(
        isinstance(raw, str) and (name is None or isinstance(name, str)) for raw, name in content.items()
    ):
        raise RtvpError(f"--names: expected lines 'raw class: name' (or null) in {path}")
    return content


def _print_conversion(conversion: Conversion, counts: Counter[str], out: Path) -> None:
    console = make_console()
    table = Table("class", Column("boxes", justify="right"), box=None)
    for name, count in sorted(counts.items()):
        table.add_row(name, str(count))
    console.print(table)
    for problem, count in conversion.problems.items():
        console.print(f"{problem}: {count}")
    good = sum(not record.annotations for record in conversion.images)
    console.print(
        f"{len(conversion.images)} images, {good} of them good, {counts.total()} boxes: {out}", soft_wrap=True
    )


def _print_build(built: Build, out: Path) -> None:
    console = make_console()
    sets = Table("set", *_number_columns("images", "good", "boxes", "kept", "boxes kept"), box=None)
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
        "split", *_number_columns("train", "test", "left out", "seen", "unseen"), "promise", box=None
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


def _number_columns(*names: str) -> list[Column]:
    return [Column(name, justify="right") for name in names]
