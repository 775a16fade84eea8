"""Runs many calls of one function in several processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

from rtvp.errors import RtvpError

Progress = Callable[[str, int, int], None]  # step, done, of how many

_Result = TypeVar("_Result")


def follow_parent() -> None:
    """Make a process end with the one that started it, also where that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the parent, which ends the others
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


class Workers:
    """Processes for a while: a context manager. One job needs none.

    Args:
        jobs: number of processes.
        progress: is told how many calls are done.
    """

    def __init__(self, jobs: int, progress: Progress) -> None:
        # Spawned, as a fork copies the locks of other libraries' threads in whatever state they are.
        self._pool = (
            ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=follow_parent)
            if jobs > 1
            else None
        )
        self._progress = progress

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(
        self, step: str, function: Callable[..., _Result], calls: Sequence[tuple[Any, ...]]
    ) -> list[_Result]:
        """The results of the calls, in their order.

        Args:
            step: what the progress is told.
            function: of a module, so that a process can find it by name.
            calls: the arguments of each.

        Raises:
            RtvpError: a process was killed.
        """
        self._progress(step, 0, len(calls))
        if self._pool is None:
            results = []
            for done, arguments in enumerate(calls, start=1):
                results.append(function(*arguments))
                self._progress(step, done, len(calls))
            return results
        try:
            futures = [self._pool.submit(function, *arguments) for arguments in calls]
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                self._progress(step, done, len(calls))
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise RtvpError(
                f"{step}: a process was killed from outside, as happens when memory runs out: "
                "run it again with fewer jobs, it goes on where it stopped"
            ) from error
