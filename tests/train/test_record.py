from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from rtvp.config import TrainConfig
from rtvp.train import record
from rtvp.train.record import environment, git_state, write_record

CONFIG = TrainConfig.model_validate({"seed": 7, "data": {"sources": ["a"]}, "training": {"steps": 3}})


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def test_a_record_tells_what_the_run_was_made_with(tmp_path: Path) -> None:
    assert write_record(tmp_path, CONFIG, "abc") == tmp_path / "run.json"
    found = read(tmp_path)
    assert TrainConfig.model_validate(found["config"]) == CONFIG
    assert (found["seed"], found["data_digest"], found["resumed"]) == (7, "abc", [])
    assert found["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["packages"]["python"] == platform.python_version()
    hardware = found["hardware"]
    assert hardware["processes"] == 1 and hardware["threads"] == torch.get_num_threads()
    assert hardware["processor"] and hardware["cores"] >= 1
    assert found["started"].endswith("+00:00")


def test_a_run_that_goes_on_keeps_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(tmp_path, CONFIG, "abc")
    before = read(tmp_path)
    write_record(tmp_path, CONFIG, "abc")
    assert read(tmp_path) == before, "nothing changed"
    other = {**environment(), "git": {"commit": "1234", "dirty": False}}
    monkeypatch.setattr(record, "environment", lambda: other)
    for _ in range(2):
        write_record(tmp_path, CONFIG, "abc")
    after = read(tmp_path)
    (resumed,) = after.pop("resumed")
    assert {**after, "resumed": []} == before
    assert resumed["git"] == other["git"] and resumed["hardware"] == before["hardware"]


def test_the_commit_is_that_of_the_repository_that_tracks_the_code(tmp_path: Path) -> None:
    code = tmp_path / "src"
    code.mkdir()
    (code / "code.py").write_text("one\n")
    assert git_state(code) is None
    git(tmp_path, "init")
    assert git_state(code) is None, "beside a repository is not in it"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "notes.txt").write_text("not code\n")
    assert git_state(code) == {"commit": commit, "dirty": False}
    (code / "more.py").write_text("two\n")
    assert git_state(code) == {"commit": commit, "dirty": True}
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "second")
    assert git_state(code) == {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
    (code / "code.py").write_text("three\n")
    assert git_state(code)["dirty"]


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(Path(__file__).parent) is None
