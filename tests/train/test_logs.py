from __future__ import annotations

import csv
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event

from rtvp.train.logs import PHASES, StageLog, Stopwatch

CPU = torch.device("cpu")


def events(folder: Path) -> Iterator[Event]:
    """What lies in TensorBoard's files: records of a length, its checksum, the content, its checksum."""
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def points(folder: Path) -> list[tuple[int, str, float]]:
    return [(e.step, v.tag, v.simple_value) for e in events(folder) for v in e.summary.value]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "small.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_stopwatch_tells_phases_apart() -> None:
    watch = Stopwatch(CPU)
    time.sleep(0.02)
    watch.lap("data")
    time.sleep(0.04)
    watch.lap("forward")
    watch.lap("backward")
    time.sleep(0.02)
    watch.lap("data")
    seconds = watch.seconds
    assert seconds["data"] >= 0.04 and seconds["forward"] >= 0.04
    assert seconds["backward"] < 0.02 and seconds["rest"] == 0
    watch.restart()
    watch.lap("rest")
    assert watch.seconds["data"] == 0 and watch.seconds["rest"] < 0.02


def test_rows_and_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch = Stopwatch(CPU)
    log = StageLog(tmp_path, "small", 0, 5, 2, watch)
    for step in range(5):
        time.sleep(0.01)
        watch.lap("forward")
        log.update(step, {"box": torch.tensor(float(step), requires_grad=True)}, 4)
        watch.lap("rest")
    log.close()
    found = rows(tmp_path)
    assert [(row["step"], float(row["box"])) for row in found] == [("2", 0.5), ("4", 2.5), ("5", 4.0)]
    for row, steps in zip(found, (2, 2, 1), strict=True):
        shares = {phase: float(row[phase]) for phase in PHASES}
        assert sum(shares.values()) == pytest.approx(1, abs=0.1)
        assert shares["data"] == shares["backward"] == 0
        seconds = 4 * steps / float(row["images_per_second"])
        assert 0.95 * steps * 0.01 < shares["forward"] * seconds < seconds
    written = points(tmp_path / "tensorboard" / "small")
    assert [(step, value) for step, tag, value in written if tag == "box"] == [(2, 0.5), (4, 2.5), (5, 4.0)]
    assert {tag for _, tag, _ in written} == {"box", "images_per_second", *PHASES}
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith("small 5/5 box 4.000 ") and lines[-1].endswith("images/s 0 min left")


def test_what_is_done_again_is_logged_once(tmp_path: Path) -> None:
    for first in (0, 2):
        log = StageLog(tmp_path, "small", first, 4, 1, Stopwatch(CPU))
        for step in range(first, 4):
            log.update(step, {"box": torch.tensor(float(step + 10 * first))}, 1)
        log.close()
    assert [float(row["box"]) for row in rows(tmp_path)] == [0.0, 1.0, 22.0, 23.0]
    starts = [e.step for e in events(tmp_path / "tensorboard" / "small") if e.HasField("session_log")]
    assert starts == [1, 3], "TensorBoard drops what came from these steps on in earlier files"


def test_time_left_is_of_the_steps_that_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 60.0])
    times = SimpleNamespace(monotonic=lambda: next(clock), perf_counter=time.perf_counter)
    monkeypatch.setattr("rtvp.train.logs.time", times)
    log = StageLog(tmp_path, "small", 90, 100, 2, Stopwatch(CPU))
    log.update(90, {"box": torch.tensor(1.0)}, 3)
    log.update(91, {"box": torch.tensor(1.0)}, 3)
    monkeypatch.undo()
    log.close()
    assert "small 92/100 box 1.000 0.1 images/s 4 min left" in capsys.readouterr().err
