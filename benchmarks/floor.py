"""What the network would take if this CPU did nothing but its arithmetic, beside what it takes.

    python benchmarks/floor.py [--size 640] [--prompts 10] [--threads 2] [--repeats 20] [--json FILE]

Two ceilings are measured: the operations of a large matrix product, and the bytes of a large copy, a second.
Each layer needs at least its operations at the one or its bytes (input, weights and output once each) at the
other, whichever takes longer; the floor of a part is the sum over its layers. What is no layer (joins,
normalisations, softmax) counts nothing, so the true floor is a little higher.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import rtvp
from latency import PARTS, part_times, processor
from rtvp.models.torch_network import TorchNetwork

BYTES = 4  # of a float32
COPIED = 256 * 2**20  # bytes: beyond any cache
MATRIX = 2048


def main() -> None:
    """Measure, print a table, write JSON."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    network = shipped_module(arguments.size)
    images = torch.rand(1, 3, arguments.size, arguments.size) * 255
    images = images.contiguous(memory_format=torch.channels_last)
    text = nn.functional.normalize(
        torch.randn(arguments.prompts, network.head.classifiers[0].project.out_channels)
    )
    with torch.inference_mode():
        ceilings = _ceilings(arguments.repeats)
        layers = _layers(network, images, text)
        seconds = _part_seconds(network, images, text, arguments.repeats)
        whole = _median(lambda: network(images, text), arguments.repeats)
    parts = {part: _floor([own for own in layers if own["part"] == part], ceilings) for part in PARTS}
    for part, figures in parts.items():
        figures["now_s"] = round(seconds[part], 5)
        figures["times_floor"] = round(seconds[part] / figures["floor_s"], 2)
    floor = sum(figures["floor_s"] for figures in parts.values())
    report = {
        "machine": {"processor": processor(), "threads": arguments.threads, "torch": torch.__version__},
        "size_px": arguments.size,
        "prompts": arguments.prompts,
        "ceilings": ceilings,
        "parts": parts,
        "network": {
            "floor_s": round(floor, 5),
            "now_s": round(whole, 5),
            "times_floor": round(whole / floor, 2),
        },
    }
    _show(report)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=640, help="side of the network input, px")
    parser.add_argument("--prompts", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def shipped_module(size: int) -> Any:
    """The network of the shipped model, in PyTorch."""
    network = rtvp.load(size=size).network
    assert isinstance(network, TorchNetwork)
    return network.module


def _ceilings(repeats: int) -> dict[str, float]:
    source = torch.zeros(COPIED // BYTES)
    target = torch.zeros_like(source)
    ceilings = {"gigabytes_per_s": 2 * COPIED / _fastest(lambda: target.copy_(source), repeats) / 1e9}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        first, second = (torch.randn(MATRIX, MATRIX).to(dtype) for _ in range(2))
        seconds = _fastest(lambda first=first, second=second: first @ second, repeats)  # type: ignore[misc]
        ceilings[f"{name}_gflop_per_s"] = 2 * MATRIX**3 / seconds / 1e9
    return {name: round(value, 1) for name, value in ceilings.items()}


def _layers(network: nn.Module, images: Tensor, text: Tensor) -> list[dict[str, Any]]:
    """Operations and bytes of every layer that has weights, each time it runs."""
    part_of = {name: part for part, names in PARTS.items() for name in names}
    layers: list[dict[str, Any]] = []
    handles = []

    def watch(name: str, layer: nn.Module) -> None:
        def after(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            moved = inputs[0].numel() + output.numel() + sum(p.numel() for p in layer.parameters())
            layers.append({"name": name, "part": part_of[name.split(".")[0]], "bytes": BYTES * moved})

        handles.append(layer.register_forward_hook(after))

    for name, layer in network.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            watch(name, layer)
    with FlopCounterMode(display=False) as counter:
        network(images, text)
    for handle in handles:
        handle.remove()
    counted = counter.get_flop_counts()
    runs = {own["name"]: sum(other["name"] == own["name"] for other in layers) for own in layers}
    root = type(network).__name__
    for own in layers:
        own["flop"] = sum(counted.get(f"{root}.{own['name']}", {}).values()) / runs[own["name"]]
    for part, names in PARTS.items():  # products outside of layers, such as the contrastive logits
        total = sum(sum(counted.get(f"{root}.{name}", {}).values()) for name in names)
        in_layers = sum(own["flop"] for own in layers if own["part"] == part)
        layers.append({"name": f"{part}, products", "part": part, "bytes": 0, "flop": total - in_layers})
    return layers


def _floor(layers: list[dict[str, Any]], ceilings: dict[str, float]) -> dict[str, float]:
    def bound(own: dict[str, Any]) -> float:
        by_flop = own["flop"] / (ceilings["float32_gflop_per_s"] * 1e9)
        return float(max(by_flop, own["bytes"] / (ceilings["gigabytes_per_s"] * 1e9)))

    return {
        "gflop": round(sum(own["flop"] for own in layers) / 1e9, 3),
        "megabytes": round(sum(own["bytes"] for own in layers) / 1e6, 1),
        "floor_s": round(sum(map(bound, layers)), 5),
    }


def _part_seconds(network: nn.Module, images: Tensor, text: Tensor, repeats: int) -> dict[str, float]:
    times = part_times(network, lambda: network(images, text), repeats)
    return {part: found["median"] for part, found in times.items()}


def _seconds(action: Callable[[], object], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return times[3:]


def _fastest(action: Callable[[], object], repeats: int) -> float:
    return min(_seconds(action, repeats))


def _median(action: Callable[[], object], repeats: int) -> float:
    return statistics.median(_seconds(action, repeats))


def _show(report: dict[str, Any]) -> None:
    print(", ".join(f"{name}: {value}" for name, value in report["ceilings"].items()))
    print("part | GFLOP | MB | floor, ms | now, ms | now / floor")
    for part, own in report["parts"].items():
        print(part, own["gflop"], own["megabytes"], *_row(own), sep=" | ")
    print("network", "", "", *_row(report["network"]), sep=" | ")


def _row(figures: dict[str, float]) -> tuple[float, ...]:
    return round(1e3 * figures["floor_s"], 1), round(1e3 * figures["now_s"], 1), figures["times_floor"]


if __name__ == "__main__":
    main()
