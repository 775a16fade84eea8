"""Pictures for people: boxes with their labels, a verdict, a heat map."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from rtvp.data.images import RGBArray, picture_to_array
from rtvp.predict.fonts import font_for

Colour: TypeAlias = tuple[int, int, int]
Rectangle: TypeAlias = tuple[int, int, int, int]  # x1, y1, x2, y2; px

GOLDEN_RATIO = 0.618034  # steps of it around the colour circle keep any number of hues apart
OK_COLOUR: Colour = (24, 128, 56)
NOT_OK_COLOUR: Colour = (190, 20, 30)
MIN_FONT_PX = 11
MAP_OPACITY = 0.65  # of the heat map where it is 1


def prompt_colour(index: int) -> Colour:
    """The colour of prompt ``index``: the same in every picture of a run."""
    red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN_RATIO % 1, 0.85, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_detections(
    image: RGBArray,
    boxes_xyxy: npt.NDArray[np.float32],
    label_indices: npt.NDArray[np.int64],
    captions: Sequence[str],
    verdict: str,
    ok: bool,
) -> RGBArray:
    """A copy of the picture with boxes, captions and, in the corner with the fewest boxes, the verdict.

    Args:
        image: [H, W, 3] uint8 RGB.
        boxes_xyxy: [N, 4] px, best first; the best are drawn last, on top.
        label_indices: [N] which prompt, decides the colour.
        captions: N texts.
        verdict: text of the verdict.
        ok: green if so, else red.

    Returns:
        [H, W, 3] uint8 RGB. Texts stay inside; one that does not fit is cut, and left out of a tiny picture.
    """
    height, width = image.shape[:2]
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    line = max(1, round((height * width) ** 0.5 / 350))
    font_px = max(MIN_FONT_PX, round((height * width) ** 0.5 / 45))
    boxes: list[Rectangle] = [tuple(box) for box in np.rint(boxes_xyxy).astype(int).tolist()]
    colours = [prompt_colour(int(index)) for index in label_indices]
    for box, colour in reversed(list(zip(boxes, colours, strict=True))):
        _draw_box(draw, box, colour, line, width, height)
    taken: list[Rectangle] = []
    labels: list[tuple[_Label, Rectangle, Colour]] = []
    corner = _Label(verdict, round(1.3 * font_px), width, height)
    if corner.fits:
        place = min(
            _corners(corner, width, height), key=lambda area: sum(_overlap(area, box) for box in boxes)
        )
        taken.append(place)
        labels.append((corner, place, OK_COLOUR if ok else NOT_OK_COLOUR))
    for caption, box, colour in zip(captions, boxes, colours, strict=True):
        label = _Label(caption, font_px, width, height)
        if label.fits:
            # The best choose first: a label goes where it hides no other, as far as there is such a place.
            place = min(_places(label, box, width, height), key=lambda a: sum(_overlap(a, b) for b in taken))
            taken.append(place)
            labels.append((label, place, colour))
    for label, place, colour in reversed(labels):
        label.paint(draw, place, colour)
    return picture_to_array(canvas)


def draw_outlines(
    image: RGBArray, masks: Iterable[npt.NDArray[np.bool_]], label_indices: npt.NDArray[np.int64]
) -> RGBArray:
    """A copy of the picture with the outlines of N masks [H, W] in the colours of their prompts.

    A line runs along the mask's own outermost pixels: at the picture's edge it is seen, too.
    """
    height, width = image.shape[:2]
    line = max(1, round((height * width) ** 0.5 / 350))
    drawn = image.copy()
    for mask, index in zip(masks, label_indices, strict=True):
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, prompt_colour(int(index)), line)
    return np.asarray(drawn, np.uint8)


def draw_map(image: RGBArray, prompt_map: npt.NDArray[np.float32]) -> RGBArray:
    """The picture under a heat map: unchanged where the map [H, W] is 0, mostly heat where it is 1."""
    levels = np.rint(prompt_map.clip(0, 1) * 255).astype(np.uint8)
    heat = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    opacity = (MAP_OPACITY * levels.astype(np.float32) / 255)[:, :, None]
    blended: RGBArray = np.rint(image * (1 - opacity) + heat * opacity).astype(np.uint8)
    return blended


class _Label:
    """A text on a filled background, cut to the picture's width."""

    def __init__(self, text: str, font_px: int, width: int, height: int) -> None:
        self.pad = max(1, font_px // 6)
        self.font, self.text = font_for(" ".join(text.split()), font_px)
        ascent, descent = self.font.getmetrics()
        self.height = ascent + descent + 2 * self.pad
        room = width - 2 * self.pad
        if self.font.getlength(self.text) > room:
            while self.text and self.font.getlength(self.text + "…") > room:
                self.text = self.text[:-1]
            self.text += "…" if self.text else ""
        self.width = round(self.font.getlength(self.text)) + 2 * self.pad
        self.fits = bool(self.text) and self.height <= height and self.width <= width

    def paint(self, draw: ImageDraw.ImageDraw, place: Rectangle, colour: Colour) -> None:
        """Paint it over ``place``, which has its size."""
        x1, y1, x2, y2 = place
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=colour)
        luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
        ink = (0, 0, 0) if luminance > 110 else (255, 255, 255)
        draw.text((x1 + self.pad, y1 + self.pad), self.text, fill=ink, font=self.font)


def _draw_box(
    draw: ImageDraw.ImageDraw, box: Rectangle, colour: Colour, line: int, width: int, height: int
) -> None:
    x1, y1, x2, y2 = box
    # Up to the last pixel inside: a box that ends at the picture's edge keeps its line.
    right, bottom = max(x1, min(x2, width) - 1), max(y1, min(y2, height) - 1)
    draw.rectangle((x1, y1, right, bottom), outline=colour, width=line)


def _places(label: _Label, box: Rectangle, width: int, height: int) -> list[Rectangle]:
    """Above, below, inside at the top and at the bottom of the box, moved into the picture."""
    x1, y1, _, y2 = box
    x = max(0, min(x1, width - label.width))
    tops = (y1 - label.height, y2, y1, y2 - label.height)
    inside = [max(0, min(top, height - label.height)) for top in tops]
    return [(x, y, x + label.width, y + label.height) for y in inside]


def _corners(label: _Label, width: int, height: int) -> list[Rectangle]:
    right, bottom = width - label.width, height - label.height
    return [(x, y, x + label.width, y + label.height) for y in (0, bottom) for x in (0, right)]


def _overlap(a: Rectangle, b: Rectangle) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
