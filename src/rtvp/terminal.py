"""How commands show tables and progress."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


def make_console(stderr: bool = False) -> Console:
    """A console that prints texts as they are: what is shown holds names of the user, none of it markup."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def make_progress() -> Progress:
    """A bar on stderr if that is a terminal, else nothing."""
    console = make_console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
