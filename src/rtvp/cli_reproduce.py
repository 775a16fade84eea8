"""``rtvp reproduce``: the paper's tables and figures on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtvp.cli_common import Root, folder_of_sets, step_bars
from rtvp.errors import RtvpError
from rtvp.terminal import make_console

if TYPE_CHECKING:
    from rtvp.reproduce.budget import BudgetName
    from rtvp.reproduce.items import Item
    from rtvp.reproduce.tables import ResultTable
    from rtvp.reproduce.tasks import Places

LIST, PAGE = "list", "results-page"


def reproduce_command(
    item: Annotated[
        str,
        typer.Argument(metavar="ITEM", help="table1 ... figure5; `list` says what each is; results-page."),
    ],
    budget: Annotated[str, typer.Option(help="How much work: smoke, cpu, gpu or paper.")] = "smoke",
    data: Root = None,
    benchmark: Annotated[
        Path | None, typer.Option(help="What `rtvp mmio build` made; built below --out if left out.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the runs: what is in it is used again, what was begun goes on.")
    ] = Path("runs/reproduce"),
    results: Annotated[Path, typer.Option(help="Folder of the results: JSON, tables, plots.")] = Path(
        "results"
    ),
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Runs of each arm; the budget's number if left out.")
    ] = None,
    coco: Annotated[Path | None, typer.Option(help="Folder of MS-COCO 2017, for table3.")] = None,
    lvis: Annotated[Path | None, typer.Option(help="Folder of LVIS v1, for table4.")] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(help="Zero-shot detector of transformers, hub name or folder; may be repeated."),
    ] = None,
    online: Annotated[bool, typer.Option("--online", help="Peers may be downloaded.")] = False,
    page: Annotated[Path, typer.Option(help="What results-page writes.")] = Path("docs/results.md"),
) -> None:
    """Make a table or figure of the paper from data, the paper's numbers beside ours.

    results-page gathers all results in one page, with a verdict on each claim of the paper.
    """
    try:
        from rtvp.reproduce.items import ITEMS
        from rtvp.reproduce.results import write_table
    except ModuleNotFoundError as error:
        raise RtvpError(
            f"reproducing needs the package {error.name}: pip install 'rtvp[train,mmio,reproduce]'"
        ) from error
    if item == LIST:
        for name, known in ITEMS.items():
            print(f"{name}: {known.title}")
        return
    if item == PAGE:
        from rtvp.reproduce.results_page import write_results_page

        print(write_results_page(results, page))
        return
    if item not in ITEMS:
        raise RtvpError(f"expected an item out of {', '.join(ITEMS)}, {LIST}, {PAGE}, got {item!r}")
    chosen, wanted = _budget(budget), ITEMS[item]
    if peer and not wanted.takes_peers:
        raise RtvpError(f"--peer: expected an item that other zero-shot detectors can stand in, got {item}")
    places = _places(item, wanted, data, benchmark, {"--coco": coco, "--lvis": lvis}, out)
    tables = _make(wanted, chosen, places, out, results, seeds, peer or [], online)
    write_table(results, item, chosen if wanted.trains else None, tables)
    _print(tables)


def _budget(given: str) -> BudgetName:
    from rtvp.reproduce.budget import BUDGETS

    for name in BUDGETS:
        if name == given:
            return name
    raise RtvpError(f"--budget: expected one of {', '.join(BUDGETS)}, got {given!r}")


def _places(
    name: str,
    item: Item,
    data: Path | None,
    benchmark: Path | None,
    natural: dict[str, Path | None],
    out: Path,
) -> Places:
    """Where the data of an item lies; the benchmark is built if need be."""
    from rtvp.reproduce.benchmark import find_or_build
    from rtvp.reproduce.tasks import Places

    if item.option:
        folder = natural[item.option]
        if folder is None:
            raise RtvpError(f"{name}: expected {item.option} FOLDER with {item.layout}, got no {item.option}")
        return Places(natural=folder)
    root = folder_of_sets(data, "--data")
    with step_bars() as tell:
        return Places(root, find_or_build(benchmark, root, out / "benchmark", tell))


def _make(
    item: Item,
    budget: BudgetName,
    places: Places,
    out: Path,
    results: Path,
    seeds: int | None,
    peers: list[str],
    online: bool,
) -> list[ResultTable]:
    from rtvp.reproduce.budget import load_budget
    from rtvp.reproduce.peers import load_peer
    from rtvp.reproduce.runner import Runner

    runner = Runner(load_budget(budget), budget, places, out, results, seeds)
    return item.make(runner, [load_peer(peer, runner.device, online) for peer in peers])


def _print(tables: list[ResultTable]) -> None:
    console = make_console()
    for table in tables:
        console.print(table.to_rich())
        for note in table.notes:
            console.print(note, soft_wrap=True)
