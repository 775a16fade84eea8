"""What several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column

from rtvp.errors import RtvpError
from rtvp.terminal import make_progress

if TYPE_CHECKING:
    from rich.progress import TaskID

DATA_VARIABLE = "RTVP_DATA"
CHECK_FAILED = 1  # exit code where a check finds errors
Root = Annotated[
    Path | None,
    typer.Option(help=f"Folder that holds the folders of the sets; ${DATA_VARIABLE} if left out."),
]


def folder_of_sets(given: Path | None, option: str) -> Path:
    """The folder that holds the folders of all sets: as given by ``option``, or by the environment.

    Raises:
        RtvpError: neither is given, or it is no folder.
    """
    found = given if given is not None else Path(os.environ.get(DATA_VARIABLE) or "")
    if given is None and not os.environ.get(DATA_VARIABLE):
        raise RtvpError(
            f"expected the folder of the data sets: give {option}, or set {DATA_VARIABLE}; "
            "`rtvp mmio sources` says which sets there are and what is missing"
        )
    if not found.is_dir():
        raise RtvpError(f"{option}: expected the folder of the data sets, got {found}, which is no folder")
    return found


def number_columns(*names: str) -> list[Column]:
    """Columns of a table for numbers."""
    return [Column(name, justify="right") for name in names]


@contextmanager
def step_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for every step of a long job: call with its name, how much is done, and of how much."""
    with make_progress() as progress:
        tasks: dict[str, TaskID] = {}

        def tell(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=total)
            progress.update(tasks[step], completed=done, total=total)

        yield tell


def reference_images(reference: Sequence[str], measured: Iterable[Path]) -> list[Path]:
    """The images that --reference names: good parts to compare with.

    Raises:
        RtvpError: there are none, or one is among those that are measured.
    """
    from rtvp.data.images import find_images

    images = find_images(reference)
    if both := {path.resolve() for path in images} & {path.resolve() for path in measured}:
        raise RtvpError(
            f"--reference: expected other images than those that are measured, got {min(both)} in both: "
            "good parts that are known by heart would promise too much"
        )
    return images
