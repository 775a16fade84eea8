"""What was found in one image, for people and for programs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from rtvp.data.images import Picture, RGBArray, drawn_size, open_picture, resized
from rtvp.errors import RtvpError
from rtvp.predict.masks import BoolArray, decode_mask, decode_masks
from rtvp.predict.outputs import write_picture
from rtvp.predict.render import draw_detections, draw_map, draw_outlines

Verdict = Literal["OK", "NOT OK"]


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What was found in one image.

    Attributes:
        image_path: where the image came from; None if it was given as pixels.
        width: of the original image, px.
        height: of the original image, px.
        names: what was looked for, K prompt names.
        boxes_xyxy: [N, 4] float32, pixels of the original image, best score first.
        label_indices: [N] int64, index into ``names``.
        scores: [N] float32 in [0, 1], descending, all above ``threshold``.
        threshold: the score that a detection had to exceed; one a name where the detector was calibrated.
        presence: [K] float32 in [0, 1], how likely the image shows what each name says: the highest score of
            its detections, be it below the threshold; 0 if there is none.
        tiles: how many were looked at and how many cover the image; fewer if their time was over.
        prompt_map: [H, W] float32 in [0, 1], what the visual prompt picked out, as large as the picture that
            `draw` gives; only on request.
        mask_counts: N masks as COCO's compressed run-length counts; only on request.
        image: [H, W, 3] uint8 RGB, kept if there is no file to read again, or on request; but not of an image
            so large that it stayed on disk.
    """

    image_path: Path | None
    width: int
    height: int
    names: tuple[str, ...]
    boxes_xyxy: npt.NDArray[np.float32]
    label_indices: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    threshold: float | tuple[float, ...]
    presence: npt.NDArray[np.float32]
    tiles: tuple[int, int] = (0, 0)
    prompt_map: npt.NDArray[np.float32] | None = field(default=None, repr=False)
    mask_counts: tuple[str, ...] | None = field(default=None, repr=False)
    image: RGBArray | None = field(default=None, repr=False)

    @property
    def labels(self) -> list[str]:
        """The prompt name of each detection."""
        return [self.names[index] for index in self.label_indices]

    @property
    def verdict_score(self) -> float:
        """The presence of whatever is likeliest to be there."""
        return float(self.presence.max())

    @property
    def masks(self) -> BoolArray | None:
        """[N, height, width] bool, made anew by each call; None if no masks were asked for.

        That is a byte a pixel and detection: of large images take one after the other, by `mask`.
        """
        if self.mask_counts is None:
            return None
        masks = np.zeros((len(self.mask_counts), self.height, self.width), np.bool_)
        for index in range(len(masks)):
            masks[index] = self.mask(index)
        return masks

    def mask(self, index: int) -> BoolArray:
        """[height, width] bool: the pixels of one detection.

        Raises:
            RtvpError: no masks were asked for.
        """
        if self.mask_counts is None:
            raise RtvpError("this result has no masks: detect with masks=True")
        return decode_mask(self.mask_counts[index], self.width, self.height)

    def segmentation(self, index: int) -> dict[str, Any]:
        """One mask as COCO writes it: ``size`` as height and width, ``counts`` compressed.

        Raises:
            RtvpError: no masks were asked for.
        """
        if self.mask_counts is None:
            raise RtvpError("this result has no masks: detect with masks=True")
        return {"size": [self.height, self.width], "counts": self.mask_counts[index]}

    @property
    def verdict(self) -> Verdict:
        """``NOT OK`` if anything was found, that is, if any detection exceeded the threshold of its name."""
        return "NOT OK" if len(self.scores) else "OK"

    def above(self, threshold: float | tuple[float, ...]) -> Result:
        """The same result with the detections that exceed a threshold no lower than this one's.

        Args:
            threshold: for all names, or one a name.
        """
        kept = self.scores > np.broadcast_to(threshold, len(self.names))[self.label_indices]
        return replace(
            self,
            threshold=threshold,
            boxes_xyxy=self.boxes_xyxy[kept],
            label_indices=self.label_indices[kept],
            scores=self.scores[kept],
            mask_counts=None if self.mask_counts is None else tuple(compress(self.mask_counts, kept)),
        )

    def draw(self) -> RGBArray:
        """The picture with boxes, labels, scores, the verdict, and outlines where there are masks.

        Returns:
            [height, width, 3] uint8 RGB; of an image of more than 50 megapixels a smaller one, of 50.

        Raises:
            RtvpError: the image was not kept, and its file can no longer be read.
        """
        captions = [f"{label} {score:.2f}" for label, score in zip(self.labels, self.scores, strict=True)]
        verdict = f"{self.verdict} {self.verdict_score:.2f}"
        pixels, indices = self._pixels(), self.label_indices
        height, width = pixels.shape[:2]
        boxes = self.boxes_xyxy * np.array(2 * [width / self.width, height / self.height], np.float32)
        if self.mask_counts is not None:
            decoded = decode_masks(self.mask_counts, self.width, self.height)
            masks = (_resized_mask(mask, width, height) for mask in decoded)
            pixels = draw_outlines(pixels, masks, indices)
        return draw_detections(pixels, boxes, indices, captions, verdict, self.verdict == "OK")

    def draw_explanation(self) -> RGBArray:
        """The picture under its prompt map: [height, width, 3] uint8 RGB, as large as that of `draw`.

        Raises:
            RtvpError: no explanation was asked for, or the image can no longer be read.
        """
        if self.prompt_map is None:
            raise RtvpError("this result has no prompt map: detect with explain=True")
        return draw_map(self._pixels(), self.prompt_map)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what `draw` gives to a .png or .jpg file, whole or not at all.

        Raises:
            RtvpError: see `draw`; or the file cannot be written.
        """
        write_picture(Path(path), self.draw())

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, as in ``detections.json``: boxes to 0.01 px, scores to 6 decimals."""
        found = zip(self.boxes_xyxy.tolist(), self.labels, self.scores.tolist(), strict=True)
        detections: list[dict[str, Any]] = [
            {"box_xyxy": [round(edge, 2) for edge in box], "label": label, "score": round(score, 6)}
            for box, label, score in found
        ]
        if self.mask_counts is not None:
            for index, detection in enumerate(detections):
                detection["segmentation"] = self.segmentation(index)
        return {
            "image": None if self.image_path is None else self.image_path.as_posix(),
            "width": self.width,
            "height": self.height,
            "verdict": self.verdict,
            "verdict_score": round(self.verdict_score, 6),
            "presence": {
                name: round(score, 6) for name, score in zip(self.names, self.presence.tolist(), strict=True)
            },
            **(
                {"tiles": dict(zip(("looked_at", "planned"), self.tiles, strict=True))}
                if self.tiles[1]
                else {}
            ),
            "detections": detections,
        }

    def _pixels(self) -> RGBArray:
        if self.image is not None:
            picture: Picture = self.image
        elif self.image_path is not None:
            picture = open_picture(self.image_path)
        else:
            raise RtvpError("this result was made without its image")
        return resized(picture, *drawn_size(self.width, self.height))


@dataclass(frozen=True, slots=True)
class ImageProblem:
    """An image that could not be read; the images beside it are not affected.

    Attributes:
        image_path: where it is; None if it was given as pixels.
        message: what is wrong, one line that names the path.
    """

    image_path: Path | None
    message: str

    def to_dict(self) -> dict[str, Any]:
        """As in ``detections.json``."""
        path = None if self.image_path is None else self.image_path.as_posix()
        return {"image": path, "error": self.message}


def _resized_mask(mask: BoolArray, width: int, height: int) -> BoolArray:
    if mask.shape == (height, width):
        return mask
    nearest = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(nearest, np.bool_)
