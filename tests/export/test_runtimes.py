"""What the runtimes do to the process that they run in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtvp.export.checkpoint import export_checkpoint
from rtvp.models.runtimes import threads

# One thread opens a detector, another one lets it go, as a queue of jobs may do; then a worker process ends.
LET_GO_ELSEWHERE = """
import gc, signal, subprocess, sys
from pathlib import Path
from threading import Thread
from rtvp.models.runtimes import open_exported

networks = [open_exported(Path(sys.argv[1]), sys.argv[2])]
other = Thread(target=networks.clear)
other.start()
other.join()
gc.collect()
heard = []
signal.signal(signal.SIGCHLD, lambda *_: heard.append("a child ended"))
subprocess.run([sys.executable, "-c", ""], check=True)
print(*heard)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of child processes are a matter of POSIX")
@pytest.mark.parametrize("runtime", ["onnx", "openvino", "openvino-bf16"])
def test_a_process_hears_its_signals_after_the_model_is_gone(
    checkpoint: Path, tmp_path: Path, runtime: str
) -> None:
    path = tmp_path / "model.onnx"
    export_checkpoint(checkpoint, path, "onnx")
    command = [sys.executable, "-c", LET_GO_ELSEWHERE, str(path), runtime]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "a child ended"), done.stderr


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("", 0), ("many", 0), (None, 0)])
def test_threads_are_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, given: str | None, expected: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert threads() == expected
