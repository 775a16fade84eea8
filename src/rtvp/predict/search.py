"""What is looked for, an image on its way through the network, and what becomes of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rtvp.data.images import ImageSource, Picture, Pixels, letterbox, open_picture
from rtvp.data.prompts import parse_prompts
from rtvp.errors import RtvpError
from rtvp.predict.masks import Embedded, MaskMaker, View, make_masks
from rtvp.predict.result import ImageProblem, Result
from rtvp.tiling import Closer, Tiling
from rtvp.types import Floats, Letterbox, Prompt

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, and how; the fields are the arguments of `Detector.detect_many`."""

    names: tuple[str, ...]
    text: Floats
    batch: int
    threshold: float | tuple[float, ...]
    explain: bool
    keep_images: bool
    tiling: Tiling | None
    maker: MaskMaker | None


@dataclass(frozen=True, slots=True)
class Placed:
    """An image as the network sees it, and what else is needed of it."""

    path: Path | None
    pixels: Pixels
    letterbox: Letterbox
    original: Picture | None


def read(image: ImageSource, size: int, search: Search) -> Placed | ImageProblem:
    """Decode an image and place it in an input of side ``size``, px; or why it could not be read."""
    path = Path(image) if isinstance(image, (str, os.PathLike)) else None
    try:
        original = open_picture(image)
        pixels, placement = letterbox(original, size)
    except RtvpError as error:
        return ImageProblem(path, str(error))
    needed = search.keep_images or search.tiling or search.maker or path is None
    return Placed(path, pixels, placement, original if needed else None)


def to_result(image: Placed, search: Search, closer: Closer, heat: Floats | None) -> Result:
    """What was found in an image, down to any score, and what the visual prompt picked out: its result."""
    # Pixels that can be read again are not kept unasked: a list of results would fill the memory.
    wanted = search.keep_images or image.path is None
    kept = image.original if wanted and isinstance(image.original, np.ndarray) else None
    found = closer.found
    presence = np.zeros(len(search.names), np.float32)
    np.maximum.at(presence, found.labels, found.scores)
    return Result(
        image_path=image.path,
        width=image.letterbox.width,
        height=image.letterbox.height,
        names=search.names,
        boxes_xyxy=found.boxes_xyxy,
        label_indices=found.labels,
        scores=found.scores,
        threshold=0.0,
        presence=presence,
        tiles=(closer.looked_at, closer.planned),
        prompt_map=heat if search.explain else None,
        image=kept,
    ).above(search.threshold)


def with_masks(
    result: Result, image: Placed, search: Search, heat: Floats | None, picture: Tensor | None
) -> Result:
    """The result with a mask a detection, if masks were asked for.

    Args:
        result: of ``image``.
        image: as it was placed.
        search: names the maker of masks.
        heat: what the visual prompt picked out, if the maker reads it; not used if smaller than the image.
        picture: [1, C, h, w] map of the image encoder, if the maker reads it.
    """
    if search.maker is None:
        return result
    assert image.original is not None
    embedded = None if picture is None else Embedded(picture, image.letterbox)
    alike = heat is not None and heat.shape == image.original.shape[:2]
    view = View(image.original, result.boxes_xyxy, heat if alike else None, embedded)
    return replace(result, mask_counts=make_masks(search.maker, view))


def as_prompts(prompts: str | Sequence[str | Prompt]) -> tuple[Prompt, ...]:
    """Prompts, however they are given.

    Raises:
        RtvpError: none, a name that is empty or cannot be written, or one that is given twice.
    """
    if isinstance(prompts, str):
        return parse_prompts(prompts)
    wanted = tuple(Prompt(prompt) if isinstance(prompt, str) else prompt for prompt in prompts)
    if not wanted:
        raise RtvpError("prompts: expected at least one such as 'scratch', got none")
    seen: set[str] = set()
    for prompt in wanted:
        if not prompt.name.strip() or any("\ud800" <= c <= "\udfff" for c in "".join(prompt.all_texts)):
            raise RtvpError(f"prompts: expected names such as 'scratch', got {prompt.name!r:.80}")
        if prompt.name in seen:
            raise RtvpError(f"prompts: {prompt.name!r:.80} is given twice; keep one")
        seen.add(prompt.name)
    return wanted
