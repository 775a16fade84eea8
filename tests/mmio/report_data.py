"""A small benchmark whose numbers are counted by hand."""

from __future__ import annotations

import hashlib

from rtvp.mmio.schema import Annotation, Box, Item
from rtvp.mmio.taxonomy import Category, Taxonomy

SCENE_OF = {"plates": "metal plates", "strip": "metal plates", "shirts": "garments"}
SUPER_CATEGORY_OF = {"plates": "metallurgy", "strip": "metallurgy", "shirts": "textiles"}

SMALL: Box = (0.0, 0.0, 31.0, 33.0)  # 1023 px
MEDIUM: Box = (10.0, 10.0, 42.0, 42.0)  # 1024 px, the least that is medium
LARGE: Box = (0.0, 0.0, 96.0, 96.0)  # 9216 px, the least that is large


def make_item(
    source: str, name: str, *boxes: tuple[str, Box], size: tuple[int, int] = (100, 100), group: str = ""
) -> Item:
    """An image of the benchmark with (category, box) pairs."""
    digest = hashlib.sha256(f"{source}/{name}".encode()).hexdigest()
    annotations = tuple(Annotation(category, box) for category, box in boxes)
    return Item(source, name, *size, digest, f"{source}/{group or name}", annotations)


def make_taxonomy(*names: str) -> Taxonomy:
    """A taxonomy of metal plates, garments and boards with categories of these names."""
    scenes = {"metal plates": "metallurgy", "garments": "textiles", "boards": "wood processing"}
    categories = {
        name: Category(name=name, scenes=("metal plates",), description=f"A {name}.", looks=("dark",))
        for name in names
    }
    return Taxonomy(scenes=scenes, categories=categories)


ITEMS = (
    make_item("plates", "a.png", ("scratch", SMALL), ("scratch", LARGE), ("dent", MEDIUM)),
    make_item("plates", "b.png", ("scratch", MEDIUM)),
    make_item("plates", "good.png"),
    make_item("strip", "a.png", ("scratch", SMALL), size=(200, 50)),
    make_item("shirts", "a.png", ("hole", SMALL)),
    make_item("shirts", "b.png", ("hole", SMALL), ("scratch", SMALL), size=(200, 50)),
)
TAXONOMY = make_taxonomy("scratch", "dent", "burr")
