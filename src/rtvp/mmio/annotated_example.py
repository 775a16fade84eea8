"""One annotated image, drawn small for people: boxes with names, and a lens over what is too small to see."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TypeAlias, cast

from PIL import Image, ImageDraw, ImageFont

from rtvp.mmio.schema import Annotation, Box, Item

Colour: TypeAlias = tuple[int, int, int]

PICTURE_SIDE = 300  # px, of the square that the image is fitted into
CAPTION_HEIGHT = 40
CELL_SIZE = (PICTURE_SIDE, PICTURE_SIDE + CAPTION_HEIGHT)

PAPER: Colour = (22, 27, 34)
INK: Colour = (230, 237, 243)
QUIET: Colour = (145, 152, 161)
GOOD_COLOUR: Colour = (86, 211, 100)
HALO: Colour = (0, 0, 0)

_MAX_ENLARGEMENT = 4.0
_MIN_BOX_SIDE = 12.0  # px as drawn: smaller boxes are drawn around what they mark
_LENS_SIDE = 104
_LENS_BELOW = 30.0  # px: a box whose longer side is drawn shorter is put under the lens
_LENS_FIELD = 2.5  # longer sides of the box
_MIN_FIELD = 24.0  # px of the image
_MAX_HIDDEN = 0.2  # of the lens: more of the boxes than that it may not hide
_FONT_PX, _LABEL_PX = 13, 12
_LINE = 17  # px from one line of the caption to the next
_CHIP = 9
_GOLDEN_RATIO = 0.618034  # steps of it around the colour circle keep any number of hues apart


def name_colours(names: Sequence[str]) -> dict[str, Colour]:
    """A bright colour for each category name, told apart from its neighbours in the list."""
    colours = {}
    for index, name in enumerate(names):
        red, green, blue = colorsys.hsv_to_rgb((0.13 + index * _GOLDEN_RATIO) % 1, 0.8, 1.0)
        colours[name] = (round(255 * red), round(255 * green), round(255 * blue))
    return colours


def draw_example(number: int, item: Item, picture: Image.Image, colours: Mapping[str, Colour]) -> Image.Image:
    """The image with its boxes above a caption of its categories; a lens shows what is too small.

    Args:
        number: shown in the caption.
        item: tells the boxes.
        picture: RGB, its pixels, possibly reduced.
        colours: category -> colour.

    Returns:
        RGB of ``CELL_SIZE``.
    """
    cell = Image.new("RGB", CELL_SIZE, PAPER)
    scale = min(PICTURE_SIDE / max(item.width, item.height), _MAX_ENLARGEMENT)
    width, height = max(1, round(item.width * scale)), max(1, round(item.height * scale))
    left, top = (PICTURE_SIDE - width) // 2, (PICTURE_SIDE - height) // 2
    cell.paste(picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0), (left, top))
    draw = ImageDraw.Draw(cell)
    largest_first = sorted(item.annotations, key=lambda a: (-_area(a.box_xyxy), a.box_xyxy, a.name))
    drawn = []
    for annotation in largest_first:
        x1, y1, x2, y2 = annotation.box_xyxy
        box = _around((left + x1 * scale, top + y1 * scale, left + x2 * scale, top + y2 * scale))
        _draw_box(draw, box, colours[annotation.name])
        drawn.append(box)
    taken: list[Box] = []
    if largest_first:
        lens = _draw_lens(cell, item, picture, largest_first[-1], drawn, scale, colours)
        taken += [lens] if lens else []
    _draw_labels(draw, largest_first, drawn, taken, colours)
    _draw_caption(draw, number, item, colours)
    return cell


def _draw_box(draw: ImageDraw.ImageDraw, box: Box, colour: Colour) -> None:
    """A frame just outside of ``box``, as far as the cell reaches."""
    x1, y1, x2, y2 = box
    edge = float(PICTURE_SIDE)
    _rectangle(draw, (max(0.0, x1 - 1), max(0.0, y1 - 1), min(edge, x2 + 1), min(edge, y2 + 1)), colour)


def _rectangle(draw: ImageDraw.ImageDraw, box: Box, colour: Colour) -> None:
    """A line on the inner side of ``box`` with a dark rim, so that it is seen on any ground."""
    x1, y1, x2, y2 = (round(side) for side in box)
    x2, y2 = max(x1, x2 - 1), max(y1, y2 - 1)
    draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=HALO, width=4)
    draw.rectangle((x1, y1, x2, y2), outline=colour, width=2)


def _draw_lens(
    cell: Image.Image,
    item: Item,
    picture: Image.Image,
    annotation: Annotation,
    drawn: Sequence[Box],
    scale: float,
    colours: Mapping[str, Colour],
) -> Box | None:
    """The surroundings of a small box, enlarged, in the corner that hides least; the place that it takes."""
    x1, y1, x2, y2 = annotation.box_xyxy
    longer = max(x2 - x1, y2 - y1)
    if longer * scale >= _LENS_BELOW:
        return None
    far = float(PICTURE_SIDE - _LENS_SIDE)
    corners = [(x, y, x + _LENS_SIDE, y + _LENS_SIDE) for y in (0.0, far) for x in (far, 0.0)]
    place = min(corners, key=lambda corner: sum(_overlap(corner, box) for box in drawn))
    if sum(_overlap(place, box) for box in drawn) > _MAX_HIDDEN * _LENS_SIDE**2:
        return None
    field = min(max(_LENS_FIELD * longer, _MIN_FIELD), float(min(item.width, item.height)))
    x = min(max((x1 + x2 - field) / 2, 0.0), item.width - field)
    y = min(max((y1 + y2 - field) / 2, 0.0), item.height - field)
    across, down = picture.width / item.width, picture.height / item.height
    detail = picture.resize(
        (_LENS_SIDE, _LENS_SIDE),
        Image.Resampling.BICUBIC,
        box=(x * across, y * down, (x + field) * across, (y + field) * down),
    )
    zoom, colour = _LENS_SIDE / field, colours[annotation.name]
    inside = ImageDraw.Draw(detail)
    _rectangle(inside, ((x1 - x) * zoom, (y1 - y) * zoom, (x2 - x) * zoom, (y2 - y) * zoom), colour)
    inside.rectangle((0, 0, _LENS_SIDE - 1, _LENS_SIDE - 1), outline=HALO, width=3)
    inside.rectangle((0, 0, _LENS_SIDE - 1, _LENS_SIDE - 1), outline=colour, width=2)
    draw, ends = ImageDraw.Draw(cell), (*_centre(drawn[-1]), *_centre(place))
    draw.line(ends, fill=HALO, width=3)
    draw.line(ends, fill=colour)
    cell.paste(detail, (round(place[0]), round(place[1])))
    _draw_box(draw, drawn[-1], colour)
    return place


def _draw_labels(
    draw: ImageDraw.ImageDraw,
    annotations: Sequence[Annotation],
    drawn: Sequence[Box],
    taken: list[Box],
    colours: Mapping[str, Colour],
) -> None:
    """The name at the largest box of each category, where it hides no other name and no lens."""
    named: set[str] = set()
    font = _font(_LABEL_PX)
    for annotation, (x1, y1, _, y2) in zip(annotations, drawn, strict=True):
        if annotation.name in named:
            continue
        text = _fitting(annotation.name, font, PICTURE_SIDE - 8)
        width, height = font.getlength(text) + 6, _LABEL_PX + 4.0
        x = min(max(x1 - 2, 0.0), PICTURE_SIDE - width)
        tops = (y1 - height - 2, y2 + 2, y1 + 2, y2 - height - 2)
        places = [(x, y, x + width, y + height) for y in tops if 0 <= y <= PICTURE_SIDE - height]
        free = [place for place in places if not any(_overlap(place, other) for other in taken)]
        if not free:
            continue
        place = min(free, key=lambda place: sum(_overlap(place, box) for box in drawn))
        colour = colours[annotation.name]
        draw.rectangle([round(side) for side in place], fill=colour)
        ink = HALO if 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 125 else INK
        draw.text((place[0] + 3, place[1] + height / 2), text, fill=ink, font=font, anchor="lm")
        taken.append(place)
        named.add(annotation.name)


def _draw_caption(draw: ImageDraw.ImageDraw, number: int, item: Item, colours: Mapping[str, Colour]) -> None:
    """The number of the example and, in two lines, how many boxes of each category it has."""
    font = _font(_FONT_PX)
    x, y = 2.0, PICTURE_SIDE + 11.0
    draw.text((x, y), str(number), fill=QUIET, font=font, anchor="lm")
    start = x = x + font.getlength("00") + 6
    if not item.annotations:
        draw.text((x, y), "good", fill=GOOD_COLOUR, font=font, anchor="lm")
    counts = Counter(annotation.name for annotation in item.annotations)
    for name, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
        suffix = f" x{count}" if count > 1 else ""
        text = _fitting(name, font, PICTURE_SIDE - start - 2 * _CHIP - font.getlength(suffix)) + suffix
        width = _CHIP + 5 + font.getlength(text)
        if x > start and x + width > PICTURE_SIDE:
            x, y = start, y + _LINE
        if y > sum(CELL_SIZE[1:]) - 4:
            return
        draw.rectangle((x, y - _CHIP / 2, x + _CHIP, y + _CHIP / 2), fill=colours[name])
        draw.text((x + _CHIP + 5, y), text, fill=INK, font=font, anchor="lm")
        x += width + 12


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))  # with a size never the bitmap font


def _fitting(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """``text`` cut to ``room`` px; what Pillow's own font, which covers Latin, lacks becomes "?"."""
    text = " ".join(text.split()).encode("latin-1", "replace").decode("latin-1")
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text + "..."


def _around(box: Box) -> Box:
    """``box`` made large enough to be seen, inside the picture."""
    sides = []
    for low, high in ((box[0], box[2]), (box[1], box[3])):
        grow = max(0.0, _MIN_BOX_SIDE - (high - low)) / 2
        low = min(max(low - grow, 0.0), PICTURE_SIDE - _MIN_BOX_SIDE)
        sides.append((low, min(max(high + grow, low + _MIN_BOX_SIDE), float(PICTURE_SIDE))))
    (x1, x2), (y1, y2) = sides
    return x1, y1, x2, y2


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _overlap(a: Box, b: Box) -> float:
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, across) * max(0.0, down)
