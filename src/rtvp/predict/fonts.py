"""Fonts that can draw a given text."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

from PIL import ImageFont

# Tried in this order where Pillow's own font, which covers Latin, lacks a character; looked up where the
# system keeps its fonts.
FALLBACK_FONTS = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "msyh.ttc",
    "malgun.ttf",
    "PingFang.ttc",
    "Arial Unicode.ttf",
)
UNASSIGNED = "\uffff"  # in no font: shows what a font draws for a character that it lacks


@lru_cache(maxsize=1024)
def font_for(text: str, size: int) -> tuple[ImageFont.FreeTypeFont, str]:
    """The first font that has every character of ``text``, at ``size`` px, and the text to draw with it.

    Where no font has them all, the text comes back with ``?`` for those that the standard font lacks.
    """
    standard = _standard_font(size)
    lacking = _lacking(text, standard)
    if not lacking:
        return standard, text
    for name in FALLBACK_FONTS:
        font = _system_font(name, size)
        if font is not None and not _lacking(text, font):
            return font, text
    return standard, "".join("?" if character in lacking else character for character in text)


@lru_cache(maxsize=64)
def _standard_font(size: int) -> ImageFont.FreeTypeFont:
    return cast(
        ImageFont.FreeTypeFont, ImageFont.load_default(size)
    )  # with a size it is never the bitmap font


@lru_cache(maxsize=64)
def _system_font(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _lacking(text: str, font: ImageFont.FreeTypeFont) -> set[str]:
    placeholder = _shape(UNASSIGNED, font)
    return {character for character in set(text) - {" "} if _shape(character, font) == placeholder}


def _shape(character: str, font: ImageFont.FreeTypeFont) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)
