"""The store of weight files: what exists, where it is kept, how it is fetched and checked.

Fetched files live in ``weights_home()``; the shipped models lie in the package. Here they are bytes, no more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import platformdirs

from rtvp.errors import RtvpError
from rtvp.files import sha256_of

SHIPPED, OPEN = "rtvp-lite0", "open"
SHIPPED_MODELS = {
    SHIPPED: "the whole detector, needs no other vision weights; trained on sets of mixed terms",
    OPEN: "as rtvp-lite0, from generated pictures and sets whose terms allow commercial use",
}


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of weights, or, where ``urls`` and ``sha256`` are empty, a folder to obtain by hand.

    Attributes:
        name: how commands name it.
        filename: how it is stored.
        urls: where it can be had, tried in order.
        size: bytes; 0 where it is not one file.
        sha256: hex digest of the content.
        licence: SPDX identifier.
        source: who made it, and which version it is.
        note: what a person should know.
    """

    name: str
    filename: str
    urls: tuple[str, ...]
    size: int
    sha256: str
    licence: str
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class WeightCheck:
    """Whether one file is there and right; ``detail`` says what to do where it is not."""

    weight: WeightFile
    state: Literal["ok", "missing", "bad", "by hand"]
    detail: str


MOBILE_SAM_COMMIT = "f706ad9c4eb7f219c00d9050e46328518ffb65d2"
KNOWN_WEIGHTS = {
    weight.name: weight
    for weight in (
        WeightFile(
            name="mobile_sam",
            filename="mobile_sam.pt",
            urls=(
                f"https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/{MOBILE_SAM_COMMIT}/weights/mobile_sam.pt",
            ),
            size=40_728_226,
            sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            licence="Apache-2.0",
            source=f"ChaoningZhang/MobileSAM at {MOBILE_SAM_COMMIT[:7]}",
            note="image encoder TinyViT-5M, and the mask decoder of --masks",
        ),
        WeightFile(
            name="clip-vit-base-patch32",
            filename="clip-vit-base-patch32",
            urls=(),
            size=0,
            sha256="",
            licence="MIT",
            source="openai/clip-vit-base-patch32",
            note="text encoder CLIP, a folder with config.json, the tokenizer and model.safetensors: copy it "
            "from the Hugging Face hub by hand and name it in the configuration, text_encoder: clip:FOLDER",
        ),
    )
}


def weights_home() -> Path:
    """Folder of the fetched files: ``RTVP_HOME``, or the user's cache folder."""
    home = os.environ.get("RTVP_HOME")
    return Path(home).expanduser() if home else Path(platformdirs.user_cache_dir("rtvp"))


def is_offline(flag: bool = False) -> bool:
    """Whether the network is out of bounds: by ``flag`` or by a true value of ``RTVP_OFFLINE``."""
    return flag or os.environ.get("RTVP_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def list_weights() -> tuple[WeightFile, ...]:
    """Every file of weights there is: the shipped models first.

    Raises:
        RtvpError: the installed package lacks a shipped model.
    """
    return (*map(_shipped_weight, SHIPPED_MODELS), *KNOWN_WEIGHTS.values())


def find_checkpoint(weights: str | os.PathLike[str] | None) -> Path:
    """Path of a detector: of a shipped one by its name, None for the first of them, or of a user's own file.

    Raises:
        RtvpError: a shipped model is missing or damaged.
    """
    if weights is None:
        return find(SHIPPED)
    return find(str(weights)) if str(weights) in SHIPPED_MODELS else Path(weights)


def find(name: str) -> Path:
    """Path of a file of weights that is there and whole: its size and hash are checked.

    Raises:
        RtvpError: no such name, or the file is missing or damaged; says how to get it.
    """
    weight = _weight(name)
    check = _check(weight)
    if check.state != "ok":
        raise RtvpError(f"weights {name}: {check.detail}")
    return _path(weight)


def verify() -> list[WeightCheck]:
    """Check every file of weights by size and hash.

    Raises:
        RtvpError: the installed package lacks a shipped model.
    """
    return [_check(weight) for weight in list_weights()]


def fetch(
    name: str,
    offline: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    retry_pause_s: float = 1.0,
) -> Path:
    """Path of a file of weights, downloaded if need be; a broken download goes on where it stopped.

    One download of a name at a time: two would write the same ``.part`` file, and fail the check of its hash.

    Args:
        name: one of ``list_weights()``.
        offline: refuse to use the network, as ``RTVP_OFFLINE`` does.
        progress: called with the bytes that are there and the bytes in all, as they come.
        retry_pause_s: seconds before the first retry of a broken download; doubles with each.

    Raises:
        RtvpError: no such name, offline, the download failed, or what came is not the file expected.
    """
    weight = _weight(name)
    check = _check(weight)
    if check.state == "ok":
        return _path(weight)
    if not weight.urls:
        raise RtvpError(f"weights {name}: {check.detail}")
    if is_offline(offline):
        raise RtvpError(f"weights {name}: RTVP is offline, and {check.detail}")
    failures: list[str] = []
    for url in weight.urls:
        try:
            return _fetch_from(url, weight, progress, retry_pause_s)
        except RtvpError as error:  # noqa: PERF203
            failures.append(str(error))
    raise RtvpError(f"weights {name}: {'; '.join(failures)}; or {_by_hand(weight)}")


def _fetch_from(
    url: str, weight: WeightFile, progress: Callable[[int, int], None], retry_pause_s: float
) -> Path:
    from rtvp.models.download import download  # brings httpx, which nothing but a download should pay for

    path = _path(weight)
    part = path.with_name(f"{path.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        download(url, part, weight.size, progress, retry_pause_s)
        digest = sha256_of(part)
        if digest != weight.sha256:
            part.unlink()
            raise RtvpError(f"{url} sent a file of sha256 {digest}, expected {weight.sha256}; it was deleted")
        return part.replace(path)
    except OSError as error:
        raise RtvpError(f"cannot write {part}: {error.strerror or error}") from error


def _weight(name: str) -> WeightFile:
    if name in SHIPPED_MODELS:
        return _shipped_weight(name)
    if name not in KNOWN_WEIGHTS:
        known = ", ".join((*SHIPPED_MODELS, *KNOWN_WEIGHTS))
        raise RtvpError(f"weights: expected one of {known}, got {name!r:.80}")
    return KNOWN_WEIGHTS[name]


def _shipped_folder() -> Path:
    return Path(str(files("rtvp") / "shipped"))


def _shipped_weight(name: str) -> WeightFile:
    path = _shipped_folder() / f"{name}.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        size, sha256 = int(facts["size"]), str(facts["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RtvpError(f"weights {name}: cannot read {path}; reinstall the package rtvp") from error
    return WeightFile(
        name=name,
        filename=f"{name}.safetensors",
        urls=(),
        size=size,
        sha256=sha256,
        licence="Apache-2.0",
        source="shipped in the package rtvp",
        note=SHIPPED_MODELS[name],
    )


def _path(weight: WeightFile) -> Path:
    return (_shipped_folder() if weight.name in SHIPPED_MODELS else weights_home()) / weight.filename


def _check(weight: WeightFile) -> WeightCheck:
    if not weight.sha256:
        return WeightCheck(weight, "by hand", weight.note)
    path = _path(weight)
    if weight.name in SHIPPED_MODELS:
        advice = "reinstall the package rtvp"
    else:
        advice = f"run `rtvp weights fetch {weight.name}`, or {_by_hand(weight)}"
    try:
        size = path.stat().st_size
        digest = sha256_of(path) if size == weight.size else ""
    except FileNotFoundError:
        return WeightCheck(weight, "missing", f"{path} is missing; {advice}")
    except OSError as error:
        return WeightCheck(weight, "bad", f"cannot read {path} ({error.strerror or error}); {advice}")
    if size != weight.size:
        return WeightCheck(weight, "bad", f"{path} has {size} bytes, expected {weight.size}; {advice}")
    if digest != weight.sha256:
        return WeightCheck(weight, "bad", f"{path} has sha256 {digest}; {advice}")
    return WeightCheck(weight, "ok", str(path))


def _by_hand(weight: WeightFile) -> str:
    return (
        f"put {weight.urls[0]} ({weight.size} bytes, sha256 {weight.sha256}) at {_path(weight)} by hand, "
        "for instance from another machine"
    )
