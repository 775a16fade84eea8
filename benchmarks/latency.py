"""How long one picture takes on a CPU, where the time goes, and how much memory it needs.

    python benchmarks/latency.py [--size 640] [--prompts 10] [--threads 2] [--repeats 20] [--json FILE]

Each figure is the median over the repeats, with the fastest and the slowest. Start-up is measured in runs
of its own: from the start of Python to the first result, with and without cached text embeddings.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

PARTS = {
    "encoder": ("image_encoder",),
    "prompt": ("pyramid", "decoder", "refiner"),
    "neck": ("neck",),
    "head": ("head",),
}

# Prints the most memory, MiB, that this very program held at once; what `resource` tells on Linux starts with
# what the parent held when it forked.
PEAK = """
from pathlib import Path
status = Path("/proc/self/status")
if status.exists():
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
else:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak / 1024)
"""

# Runs in a fresh interpreter: image, number of prompts, threads, weights or "", size -> peak memory in MiB.
FIRST_RESULT = """
import sys
import torch
torch.set_num_threads(int(sys.argv[3]))
import rtvp
from rtvp.data.synthetic import DEFECT_NAMES
detector = rtvp.load(sys.argv[4] or None, size=int(sys.argv[5]))
detector.detect(sys.argv[1], list(DEFECT_NAMES[: int(sys.argv[2])]))
"""


def main() -> None:
    """Measure and print; ``--json`` also writes the figures to a file."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "part.png"
        figures = {"machine": _machine(arguments.threads), **_measure(arguments, picture)}
    print(json.dumps(figures, indent=1))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=640, help="side of picture and network input, px")
    parser.add_argument("--prompts", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--weights", default="", help="checkpoint; the shipped model if left out")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _machine(threads: int) -> dict[str, Any]:
    import platform

    import torch

    return {
        "processor": processor(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def processor() -> str:
    """Its name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _measure(arguments: argparse.Namespace, picture: Path) -> dict[str, Any]:
    import torch
    from PIL import Image

    import rtvp
    from rtvp.data.synthetic import DEFECT_NAMES, generate

    torch.set_num_threads(arguments.threads)
    Image.fromarray(generate(0, arguments.size, arguments.size, good=False).image).save(picture)
    detector = rtvp.load(arguments.weights or None, size=arguments.size)
    prompts = list(DEFECT_NAMES[: arguments.prompts])
    network: Any = detector.network
    network = network.module
    parameters = {
        part: sum(p.numel() for name in names for p in _module(network, name).parameters())
        for part, names in PARTS.items()
    }
    whole = _seconds(lambda: detector.detect(picture, prompts), arguments.repeats)
    return {
        "size_px": arguments.size,
        "prompts": len(prompts),
        "parameters": {"total": sum(parameters.values()), **parameters},
        "file_to_boxes_s": whole,
        "parts_s": part_times(network, lambda: detector.detect(picture, prompts), arguments.repeats),
        **_start_up(arguments, picture),
    }


def _module(network: Any, name: str) -> Any:
    import torch

    return getattr(network, name) or torch.nn.Identity()


def _seconds(action: Callable[[], object], repeats: int) -> dict[str, float]:
    for _ in range(3):
        action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return {
        "median": round(statistics.median(times), 4),
        "min": round(min(times), 4),
        "max": round(max(times), 4),
    }


def part_times(network: Any, action: Callable[[], object], repeats: int) -> dict[str, dict[str, float]]:
    """Median seconds and share of the network's time of each part, by hooks around its modules."""
    spent: dict[str, list[float]] = {part: [] for part in PARTS}
    handles = []
    for part, names in PARTS.items():
        for name in names:
            module, started = _module(network, name), [0.0]

            def before(*_: Any, started: list[float] = started) -> None:
                started[0] = time.perf_counter()

            def after(*_: Any, started: list[float] = started, part: str = part) -> None:
                spent[part][-1] += time.perf_counter() - started[0]

            handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    for _ in range(repeats):
        for times in spent.values():
            times.append(0.0)
        action()
    for handle in handles:
        handle.remove()
    medians = {part: statistics.median(times) for part, times in spent.items()}
    total = sum(medians.values())
    return {part: {"median": round(m, 4), "share": round(m / total, 3)} for part, m in medians.items()}


def _start_up(arguments: argparse.Namespace, picture: Path) -> dict[str, Any]:
    only_torch = [sys.executable, "-c", "import torch" + PEAK]
    done = subprocess.run(only_torch, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = {"peak_memory_import_torch_mib": round(float(done.stdout))}
    with tempfile.TemporaryDirectory() as home:
        command = [
            sys.executable,
            "-c",
            FIRST_RESULT + PEAK,
            str(picture),
            str(arguments.prompts),
            str(arguments.threads),
        ]
        command += [arguments.weights, str(arguments.size)]
        for label in ("first_run", "text_cached"):
            start = time.perf_counter()
            done = subprocess.run(
                command, env={**os.environ, "RTVP_HOME": home}, check=True, capture_output=True, text=True
            )
            figures[f"start_to_first_result_{label}_s"] = round(time.perf_counter() - start, 2)
            figures[f"peak_memory_{label}_mib"] = round(float(done.stdout))
    return figures


if __name__ == "__main__":
    main()
