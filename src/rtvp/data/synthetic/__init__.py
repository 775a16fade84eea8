"""Procedural defect pictures: surfaces of many materials, named defects, exact boxes and masks."""

from rtvp.data.synthetic.generator import (
    SURFACE_NAMES,
    VERSION,
    SyntheticDefect,
    SyntheticSample,
    generate,
    paint_on,
)
from rtvp.data.synthetic.vocabulary import DEFECT_NAMES, DESCRIPTIONS

__all__ = [
    "DEFECT_NAMES",
    "DESCRIPTIONS",
    "SURFACE_NAMES",
    "VERSION",
    "SyntheticDefect",
    "SyntheticSample",
    "generate",
    "paint_on",
]
