"""A run over many images, into a folder."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtvp import __version__
from rtvp.errors import RtvpError
from rtvp.predict.coco import SCORE_FLOOR, CocoFile
from rtvp.predict.detector import Detector, checked_threshold
from rtvp.predict.outputs import (
    check_folder,
    explain_name,
    json_list,
    picture_names,
    write_json,
    write_picture,
)
from rtvp.predict.result import ImageProblem, Result
from rtvp.types import Prompt

DETECTIONS_FORMAT = "rtvp-detections"
DETECTIONS_VERSION = 1


@dataclass
class Summary:
    """What a run did.

    Attributes:
        names: prompt names.
        found: detections per prompt name.
        not_ok: images in which something was found.
        ok: images in which nothing was.
        broken: images that could not be read.
        seconds: time of the run, loading of the model not included.
    """

    names: tuple[str, ...]
    found: Counter[str] = field(default_factory=Counter)
    not_ok: int = 0
    ok: int = 0
    broken: int = 0
    seconds: float = 0.0

    @property
    def images_per_second(self) -> float:
        """Images read, searched and written a second."""
        return (self.ok + self.not_ok) / self.seconds if self.seconds else 0.0


def detect_to_folder(
    detector: Detector,
    images: Sequence[Path],
    prompts: Sequence[Prompt],
    out: Path,
    *,
    threshold: float | None = None,
    batch: int = 1,
    explain: bool = False,
    coco: CocoFile | None = None,
    on_image: Callable[[Result | ImageProblem], None] = lambda _: None,
) -> Summary:
    """Look for ``prompts`` in ``images``; write pictures and ``detections.json`` to ``out``.

    Args:
        detector: what to look with.
        images: files; with ``coco`` those of its images, in its order.
        prompts: what to look for; with ``coco`` its `CocoFile.prompts`.
        out: folder of the results, made if need be.
        threshold: score that a detection has to exceed; the detector's own if None.
        batch: images that go through the network together.
        explain: also write the prompt map over each picture.
        coco: also write ``predictions.json``, COCO results with this file's ids, whatever the threshold.
        on_image: told of every image when its files are written.

    Raises:
        RtvpError: an argument is wrong, in which case nothing is written; or a file cannot be written.
    """
    threshold = detector.threshold if threshold is None else checked_threshold(threshold)
    pictures = [out / name for name in picture_names(images)]
    check_folder(out)
    _check_inputs_survive(images, pictures)
    lowest = min(threshold, SCORE_FLOOR) if coco else threshold
    results = detector.detect_many(images, prompts, batch, lowest, explain, keep_images=True)
    summary = Summary(tuple(prompt.name for prompt in prompts))
    entries: list[dict[str, Any]] = []
    problems: list[dict[str, Any]] = []
    start = time.perf_counter()
    with ExitStack() as stack:
        predict = stack.enter_context(json_list(out / "predictions.json")) if coco else None
        for number, (picture, result) in enumerate(zip(pictures, results, strict=True)):
            if isinstance(result, ImageProblem):
                summary.broken += 1
                problems.append(result.to_dict())
            else:
                if coco and predict:
                    for prediction in coco.results(coco.images[number], result.above(SCORE_FLOOR)):
                        predict(prediction)
                shown = result.above(threshold)
                entries.append({**shown.to_dict(), **_write_pictures(shown, picture, out)})
                _count(shown, summary)
            on_image(result)
    summary.seconds = time.perf_counter() - start
    settings = {
        "format": DETECTIONS_FORMAT,
        "version": DETECTIONS_VERSION,
        "rtvp_version": __version__,
        "model": detector.name,
        "input_size": detector.size,
        "threshold": threshold,
        "prompts": [{"name": prompt.name, "texts": list(prompt.texts)} for prompt in prompts],
    }
    write_json(out / "detections.json", {**settings, "images": entries, "problems": problems})
    return summary


def _write_pictures(result: Result, picture: Path, out: Path) -> dict[str, str]:
    """Where they are, relative to ``out``, for ``detections.json``."""
    write_picture(picture, result.draw())
    written = {"picture": picture}
    if result.prompt_map is not None:
        written["explanation"] = explain_name(picture)
        write_picture(written["explanation"], result.draw_explanation())
    return {kind: path.relative_to(out).as_posix() for kind, path in written.items()}


def _count(result: Result, summary: Summary) -> None:
    summary.found.update(result.labels)
    if result.verdict == "OK":
        summary.ok += 1
    else:
        summary.not_ok += 1


def _check_inputs_survive(images: Sequence[Path], pictures: Sequence[Path]) -> None:
    inputs = {image.resolve(): image for image in images}
    for picture in pictures:
        for written in (picture, explain_name(picture)):
            if written.resolve() in inputs:
                raise RtvpError(
                    f"the results would overwrite the image {inputs[written.resolve()]}: take another --out"
                )
