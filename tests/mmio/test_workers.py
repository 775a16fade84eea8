from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtvp.errors import RtvpError
from rtvp.mmio.workers import Workers

PARENT = """
import multiprocessing, sys, threading, time
from rtvp.mmio.workers import Workers

def tell():
    time.sleep(0.2)
    while len(multiprocessing.active_children()) < 2:
        time.sleep(0.05)
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)

if __name__ == "__main__":
    threading.Thread(target=tell).start()
    with Workers(2, lambda *step: None) as workers:
        workers.run("wait", time.sleep, [(60,), (60,)])
"""


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_calls(jobs: int) -> None:
    told: list[tuple[str, int, int]] = []
    with Workers(jobs, lambda *step: told.append(step)) as workers:
        assert workers.run("power", pow, [(2, n) for n in range(20)]) == [2**n for n in range(20)]
        with pytest.raises(ZeroDivisionError):
            workers.run("divide", divmod, [(1, 1), (1, 0)])
        assert workers.run("nothing", pow, []) == []
    assert told[:2] == [("power", 0, 20), ("power", 1, 20)]
    assert ("power", 20, 20) in told


def test_a_killed_process_is_an_error_for_people() -> None:
    with Workers(2, lambda *step: None) as workers, pytest.raises(RtvpError, match="fewer jobs"):
        workers.run("convert", os.abort, [()])


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc")
def test_the_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
        time.sleep(0.5)  # until they are set up
        assert all(is_running(pid) for pid in children)
        parent.kill()
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in children)
