"""A run over many images, into a folder."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rtvp import __version__
from rtvp.errors import RtvpError
from rtvp.predict.calibration import Calibration
from rtvp.predict.coco import SCORE_FLOOR, CocoFile
from rtvp.predict.detector import Detector
from rtvp.predict.masks import MaskMaker
from rtvp.predict.outputs import (
    check_folder,
    explain_name,
    json_list,
    picture_names,
    write_json,
    write_picture,
)
from rtvp.predict.result import ImageProblem, Result
from rtvp.tiling import Tiling
from rtvp.types import Prompt

DETECTIONS_FORMAT = "rtvp-detections"
DETECTIONS_VERSION = 1


@dataclass
class Summary:
    """What a run did.

    Attributes:
        names: prompt names.
        thresholds: the score that a detection of each name has to exceed.
        own_threshold: whether that is the model's own, which knows nothing of these parts.
        found: detections per prompt name.
        highest: the highest score of each name in any image.
        not_ok: images in which something was found.
        ok: images in which nothing was.
        broken: images that could not be read.
        hurried: images whose tiles were not all looked at, as their time was over.
        seconds: time of the run, loading of the model not included.
    """

    names: list[str]
    thresholds: tuple[float, ...]
    own_threshold: bool = False
    found: Counter[str] = field(default_factory=Counter)
    highest: dict[str, float] = field(default_factory=dict)
    not_ok: int = 0
    ok: int = 0
    broken: int = 0
    hurried: int = 0
    seconds: float = 0.0

    @property
    def images_per_second(self) -> float:
        """Images read, searched and written a second."""
        return (self.ok + self.not_ok) / self.seconds if self.seconds else 0.0

    def count(self, result: Result | ImageProblem) -> None:
        """Add one image."""
        if isinstance(result, ImageProblem):
            self.broken += 1
            return
        self.hurried += result.tiles[0] < result.tiles[1]
        for name, presence in zip(result.names, result.presence.tolist(), strict=True):
            self.highest[name] = max(presence, self.highest.get(name, 0.0))
        if result.verdict == "OK":
            self.ok += 1
        else:
            self.not_ok += 1
            self.found.update(result.labels)


def detect_to_folder(
    detector: Detector,
    images: Sequence[Path],
    prompts: Sequence[Prompt],
    out: Path,
    *,
    threshold: float | Calibration | None = None,
    batch: int = 1,
    explain: bool = False,
    tile: Tiling | int | str | None = None,
    masks: bool | MaskMaker = False,
    coco: CocoFile | None = None,
    on_image: Callable[[Result | ImageProblem], None] = lambda _: None,
) -> Summary:
    """Look for ``prompts`` in ``images``; write pictures and ``detections.json`` to ``out``.

    Args:
        detector: what to look with.
        images: files; with ``coco`` those of its images, in its order.
        prompts: what to look for; with ``coco`` its `CocoFile.prompts`.
        out: folder of the results, made if need be.
        threshold: score that a detection has to exceed, or a calibration; the detector's own if None.
        batch: images that go through the network together.
        explain: also write the prompt map over each picture.
        tile: also look at parts of each image closer, see `Detector.detect_many`.
        masks: also give each detection its mask, see `Detector.detect_many`.
        coco: also write ``predictions.json``, COCO results with this file's ids, whatever the threshold.
        on_image: told of every image when its files are written.

    Raises:
        RtvpError: an argument is wrong, in which case nothing is written; or a file cannot be written.
    """
    tiling = Tiling.of(tile)
    limits = detector.limits(threshold, prompts, tiling)
    pictures = _places(images, out)
    lowest = min(SCORE_FLOOR, *np.atleast_1d(limits).tolist()) if coco else threshold
    maker = detector.mask_maker(masks)
    results = detector.detect_many(images, prompts, batch, lowest, explain, True, tiling, maker or False)
    of_each = tuple(np.broadcast_to(limits, len(prompts)).tolist())
    summary = Summary([prompt.name for prompt in prompts], of_each, own_threshold=threshold is None)
    content, start = _settings(detector, limits, prompts, tiling, maker), time.perf_counter()
    with ExitStack() as stack:
        predict = stack.enter_context(json_list(out / "predictions.json")) if coco else None
        for number, (picture, result) in enumerate(zip(pictures, results, strict=True)):
            if isinstance(result, ImageProblem):
                content["problems"].append(result.to_dict())
            else:
                if coco and predict:
                    for prediction in coco.results(coco.images[number], result.above(SCORE_FLOOR)):
                        predict(prediction)
                result = result.above(limits)
                content["images"].append(result.to_dict() | _write_pictures(result, picture, out))
            summary.count(result)
            on_image(result)
    summary.seconds = time.perf_counter() - start
    write_json(out / "detections.json", content)
    return summary


def _settings(
    detector: Detector,
    limits: float | tuple[float, ...],
    prompts: Sequence[Prompt],
    tiling: Tiling | None,
    maker: MaskMaker | None,
) -> dict[str, Any]:
    """``detections.json`` before the first image."""
    return {
        "format": DETECTIONS_FORMAT,
        "version": DETECTIONS_VERSION,
        "rtvp_version": __version__,
        **detector.settings(prompts, tiling),
        "masks": None if maker is None else maker.name,
        "threshold": limits,  # for all prompts, or one a prompt
        "images": [],
        "problems": [],
    }


def _write_pictures(result: Result, picture: Path, out: Path) -> dict[str, str]:
    """Where they are, relative to ``out``, for ``detections.json``."""
    write_picture(picture, result.draw())
    written = {"picture": picture}
    if result.prompt_map is not None:
        written["explanation"] = explain_name(picture)
        write_picture(written["explanation"], result.draw_explanation())
    return {kind: path.relative_to(out).as_posix() for kind, path in written.items()}


def _places(images: Sequence[Path], out: Path) -> list[Path]:
    """Where the annotated pictures go; RtvpError if they cannot, or would take an image's place."""
    check_folder(out)
    pictures = [out / name for name in picture_names(images)]
    inputs = {image.resolve(): image for image in images}
    for picture in pictures:
        for written in (picture.resolve(), explain_name(picture).resolve()):
            if written in inputs:
                raise RtvpError(
                    f"the results would overwrite the image {inputs[written]}: take another --out"
                )
    return pictures
