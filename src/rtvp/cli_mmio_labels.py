"""``rtvp mmio``, one folder or file of labels at a time: what is known, conversion, export, checks."""

from __future__ import annotations

import inspect
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.table import Column, Table

from rtvp.cli_common import CHECK_FAILED, Root, folder_of_sets, number_columns
from rtvp.errors import RtvpError
from rtvp.terminal import make_console

if TYPE_CHECKING:
    from rtvp.mmio.schema import Conversion


def sources_command(root: Root = None) -> None:
    """The sets that are known, what of them lies under --root, and exactly what is missing."""
    from rtvp.mmio.sources import find_sources, source_table

    known = source_table()
    found = find_sources(folder_of_sets(root, "--root"))
    table = Table(
        Column("set", no_wrap=True), "scene", *number_columns("images", "published"), "missing", box=None
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


def convert_command(
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


def export_command(
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


def check_command(
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
        raise typer.Exit(CHECK_FAILED)


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
