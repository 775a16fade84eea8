"""What a run was made with: written beside its results, so that they can be made again."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from rtvp.config import TrainConfig
from rtvp.files import read_utf8, replacing
from rtvp.losses.processes import world_size

RECORD_FILE = "run.json"
PACKAGES = (
    "rtvp",
    "torch",
    "numpy",
    "lightning-fabric",
    "opencv-python-headless",
    "pillow",
    "safetensors",
    "tokenizers",
    "transformers",
    "faster-coco-eval",
)
GIT_SECONDS = 10


def write_record(out: Path, config: TrainConfig, data_digest: str) -> Path:
    """Write ``run.json``, or add to it how a run goes on that was interrupted.

    Its entries are ``config``, ``seed``, ``data_digest``, and of the start ``started`` (UTC), ``git``,
    ``packages`` and ``hardware``. ``resumed`` lists the same four of later starts with other code, packages
    or hardware.

    Args:
        out: folder of the run.
        config: of the run.
        data_digest: of its images, labels and parts.

    Returns:
        The file.

    Raises:
        RtvpError: it cannot be read or written.
    """
    path, now = out / RECORD_FILE, environment()
    start = {"started": datetime.now(timezone.utc).isoformat(timespec="seconds"), **now}
    if path.is_file():
        record = json.loads(read_utf8(path))
        last = (record["resumed"] or [record])[-1]
        if all(last[key] == value for key, value in now.items()):
            return path
        record["resumed"].append(start)
    else:
        content = config.model_dump(mode="json")
        record = {"config": content, "seed": config.seed, "data_digest": data_digest, **start, "resumed": []}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def environment() -> dict[str, Any]:
    """State of the code, versions of packages (None: not installed), and the machine."""
    return {
        "git": git_state(Path(__file__).parents[1]),
        "packages": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "hardware": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "processes": world_size(),
            "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        },
    }


def git_state(package: Path) -> dict[str, Any] | None:
    """``commit`` of the repository that tracks a folder of code, and ``dirty``: whether the folder differs.

    None where no repository tracks it, as when the package is installed, or git is not there.
    """
    if not _git(package, "ls-files", "."):
        return None
    commit, changes = _git(package, "rev-parse", "HEAD"), _git(package, "status", "--porcelain", ".")
    return None if commit is None or changes is None else {"commit": commit, "dirty": bool(changes)}


def processor() -> str:
    """Name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
