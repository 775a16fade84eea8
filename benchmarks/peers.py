"""Speed, start and memory beside other open-vocabulary detectors, on the CPU of this machine.

    python benchmarks/peers.py [--quick] [--size 640] [--prompts 10] [--threads 2] [--rounds 7] [--json FILE]

Every contestant is a process of its own (peer_worker.py). They take turns, round after round, and a ratio is
the median over rounds of times within one round: what else the machine does hits all alike. `--quick` leaves
out the two slow ones and does three rounds. ultralytics is AGPL and never a dependency: it is installed, on
first use, into a virtual environment in `--environment`, beside the same torch, and without torchvision.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

WORKER = Path(__file__).with_name("peer_worker.py")
OURS = (
    "rtvp",
    "rtvp, torch",
    "rtvp, torch bf16",
    "rtvp, openvino",
    "rtvp, openvino bf16",
    "rtvp with Mobile-SAM",
)
THEIRS = (
    "YOLO-World-S",
    "YOLO-World-S, onnx",
    "YOLO-World-S, openvino",
    "YOLO-World-S, openvino bf16",
    "YOLOE-S",
)
TRAINING = ("rtvp, training step", "YOLO-World-S, training step")  # of four pictures
SLOW = ("Grounding DINO-T", "OWLv2-base")  # of transformers, which we depend on
NEEDED = [
    "numpy",
    "pillow",
    "pyyaml",
    "matplotlib",
    "scipy",
    "requests",
    "psutil",
    "opencv-python-headless",
    "polars",
]
NEEDED += ["onnx", "onnxslim", "onnxruntime", "openvino"]
PEERS = ("ultralytics", "ultralytics-thop", "ultralytics-platform")
# torchvision would bring another torch, of gigabytes; all that is used of it is this function.
STAND_IN = """from ultralytics.utils.nms import TorchNMS


class ops:
    nms = staticmethod(TorchNMS.nms)
"""
TURN_SECONDS = 1.0  # at least: two runs of what takes longer
WAYS = {"whole": "file to boxes", "network": "network alone"}
COSTS = {"start_s": "start to first boxes", "peak_mib": "peak memory"}  # once a contestant
PAIRS = {  # what is compared: the faster, as we hope, and the slower
    "whole": [
        ("rtvp", "YOLO-World-S"),
        ("rtvp", "YOLOE-S"),
        ("rtvp, torch", "YOLO-World-S"),
        ("rtvp, torch bf16", "YOLO-World-S"),
        ("rtvp, openvino", "YOLO-World-S"),
        ("rtvp, openvino bf16", "YOLO-World-S"),
        ("rtvp, openvino bf16", "Grounding DINO-T"),
        ("rtvp", "Grounding DINO-T"),
        ("rtvp", "OWLv2-base"),
        ("rtvp with Mobile-SAM", "YOLO-World-S"),
    ],
    "network": [
        ("rtvp, torch", "YOLO-World-S"),
        ("rtvp", "YOLO-World-S, onnx"),
        ("rtvp, openvino", "YOLO-World-S, openvino"),
        ("rtvp, openvino bf16", "YOLO-World-S, openvino bf16"),
        ("rtvp, torch", "YOLOE-S"),
        ("rtvp with Mobile-SAM", "YOLO-World-S"),
        ("rtvp, training step", "YOLO-World-S, training step"),
    ],
}


class Contestant:
    """A running worker; started, it has found its first boxes."""

    def __init__(self, name: str, python: Path, arguments: list[str]) -> None:
        self.name = name
        # What the command `rtvp` sets for itself.
        own = {"THP_MEM_ALLOC_ENABLE": "1"} if name in OURS else {}
        environment = {**os.environ, **own, "OMP_NUM_THREADS": arguments[3], "YOLO_AUTOINSTALL": "false"}
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [str(python), str(WORKER), name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=arguments[-1],
        )
        self.facts = self._read()
        self.facts["start_s"] = time.perf_counter() - start
        self.times: dict[str, list[float]] = {way: [] for way in WAYS}

    def time(self, way: str) -> None:
        """A turn: the median of its runs, as on a line one picture follows another; the first does not count.

        The others have had the caches since its last turn.
        """
        if way == "whole" and not self.facts["whole"]:
            return
        end = time.perf_counter() + TURN_SECONDS
        runs: list[float] = []
        while len(runs) < 2 or time.perf_counter() < end:
            runs.append(self._ask(way)["seconds"])
        self.times[way].append(statistics.median(runs[1:]))

    def end(self) -> None:
        """Ask for its memory and let it go."""
        self.facts |= self._ask("end")
        self.process.wait()

    def _ask(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("@"):
                content: dict[str, Any] = json.loads(line[1:])
                return content
        raise SystemExit(f"error: {self.name} ended without an answer; what it said is above")


def main() -> None:
    """Start all, let them take turns, print tables, write JSON."""
    arguments = _arguments()
    python = _environment(arguments.environment)
    names = [*OURS, *THEIRS, *TRAINING, *([] if arguments.quick else SLOW)]
    rounds = 3 if arguments.quick else arguments.rounds
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "part.png"
        _draw(picture, arguments.size)
        given = [str(picture), *map(str, (arguments.size, arguments.prompts, arguments.threads)), folder]
        _export_once(arguments.prompts)
        contestants = []
        for name in names:
            own = Contestant(name, python if name.startswith("YOLO") else Path(sys.executable), given)
            print(f"{name}: first boxes after {own.facts['start_s']:.1f} s", file=sys.stderr)
            contestants.append(own)
        for number in range(1, rounds + 1):
            for own in contestants:
                for way in WAYS:
                    own.time(way)
            print(f"round {number} of {rounds}", file=sys.stderr)
        for own in contestants:
            own.end()
    report = _report(contestants, arguments, rounds)
    _show(report)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--size", type=int, default=640, help="side of picture and network input, px")
    parser.add_argument("--prompts", type=int, default=10, choices=range(1, 101), metavar="1..100")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--environment", type=Path, default=Path.home() / ".cache" / "rtvp-peers", help="of ultralytics"
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _environment(folder: Path) -> Path:
    """The Python of a virtual environment with ultralytics; made if it is not there."""
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        print(f"installing ultralytics into {folder}, once", file=sys.stderr)
        venv.create(folder, with_pip=True)
        install = [str(python), "-m", "pip", "install", "-q"]
        subprocess.run([*install, f"torch=={version('torch').split('+')[0]}", *NEEDED], check=True)
        subprocess.run([*install, "--no-deps", *PEERS], check=True)
        (packages,) = (folder / "lib").glob("python*/site-packages")
        facts = "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.0\n"
        _write(packages / "torchvision" / "__init__.py", STAND_IN)
        _write(packages / "torchvision-0.0.dist-info" / "METADATA", facts)
        done.touch()
    return python


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _draw(path: Path, side: int) -> None:
    from PIL import Image

    from rtvp.data.synthetic import generate

    Image.fromarray(generate(0, side, side, good=False).image).save(path)


def _export_once(prompts: int) -> None:
    """What is kept from the first run on: the exported model, and text embeddings, which all are given."""
    import rtvp
    from peer_worker import WORDS

    rtvp.load(runtime="onnx").detect(np.zeros((64, 64, 3), np.uint8), list(WORDS[:prompts]))


def _report(contestants: list[Contestant], arguments: argparse.Namespace, rounds: int) -> dict[str, Any]:
    from latency import processor

    by_name = {own.name: own for own in contestants}
    ratios: dict[str, dict[str, dict[str, float]]] = {}
    for way, pairs in PAIRS.items():
        ratios[way] = {}
        for fast, slow in pairs:
            if slow in by_name:
                each = [
                    b / a for a, b in zip(by_name[fast].times[way], by_name[slow].times[way], strict=True)
                ]
                ratios[way][f"{slow} / {fast}"] = _spread(each)
    for cost in COSTS:
        once = {own.name: own.facts[cost] for own in contestants}
        pairs = [pair for pair in PAIRS["whole"] if pair[1] in once]
        ratios[cost] = {f"{slow} / {fast}": _spread([once[slow] / once[fast]]) for fast, slow in pairs}
    return {
        "machine": {"processor": processor(), "threads": arguments.threads},
        "size_px": arguments.size,
        "prompts": arguments.prompts,
        "rounds": rounds,
        "contestants": {
            own.name: {
                **{
                    key: round(value, 2) if isinstance(value, float) else value
                    for key, value in own.facts.items()
                },
                **{f"{way}_s": _spread(times) for way, times in own.times.items() if times},
            }
            for own in contestants
        },
        "ratios": ratios,
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }


def _show(report: dict[str, Any]) -> None:
    print("contestant | file to boxes, s | network, s | start, s | peak MiB | M parameters | GFLOP")
    for name, facts in report["contestants"].items():
        whole, network = (facts.get(f"{way}_s", {}).get("median", "-") for way in WAYS)
        more = [facts.get(key, "-") for key in ("start_s", "peak_mib", "parameters_million", "gflop")]
        print(name, whole, network, *more, sep=" | ")
    for way, pairs in report["ratios"].items():
        for pair, ratio in pairs.items():
            median, least, most = (f"{ratio[key]:.2f}" for key in ("median", "min", "max"))
            print(f"{(WAYS | COSTS)[way]}: {pair}: {median} ({least} to {most})")


if __name__ == "__main__":
    main()
