"""Hypothesis strategies: labelled images with names as people give them."""

from __future__ import annotations

from hypothesis import strategies as st

from rtvp.mmio.coco_file import CocoFile
from rtvp.mmio.schema import Annotation, Box, Item

# No control characters, lone surrogates or what XML lacks, no separators of paths; but any script and sign.
_letters = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="/\\\ufffe\uffff")
_words = st.text(_letters, min_size=1, max_size=12)
category_names = _words.map(str.strip).filter(bool)
_stems = st.one_of(
    _words, st.sampled_from(["a b", "a,b", "100%25 #1", "裂纹", "ß&+?", "-", "a.rf.b", "null"])
)


@st.composite
def boxes(draw: st.DrawFn, width: int, height: int, decimals: int = 2) -> Box:
    """A box inside the image with sides of at least 2 px."""
    scale = 10**decimals
    x1 = draw(st.integers(0, (width - 2) * scale))
    y1 = draw(st.integers(0, (height - 2) * scale))
    x2 = draw(st.integers(x1 + 2 * scale, width * scale))
    y2 = draw(st.integers(y1 + 2 * scale, height * scale))
    return (x1 / scale, y1 / scale, x2 / scale, y2 / scale)


@st.composite
def coco_files(draw: st.DrawFn, sources: tuple[str, ...] = ("tiles",)) -> CocoFile:
    """Up to 5 images in up to 2 folders, sorted by key, no two with one path but for its extension."""
    categories = tuple(draw(st.lists(category_names, min_size=1, max_size=4, unique_by=str.casefold)))
    stems = draw(st.lists(_stems, max_size=5, unique_by=lambda stem: stem.casefold().strip()))
    items = []
    for index, stem in enumerate(stems):
        width, height = draw(st.integers(2, 60)), draw(st.integers(2, 60))
        source = draw(st.sampled_from(sources))
        annotations = {
            Annotation(draw(st.sampled_from(categories)), draw(boxes(width, height))): None
            for _ in range(draw(st.integers(0, 4)))
        }
        folder = draw(st.sampled_from(["", "train set/", "val/a/"]))
        name = f"{folder}{index} {stem}.png"
        items.append(
            Item(source, name, width, height, f"{index:064x}", f"{source}/{stem}", tuple(annotations))
        )
    return CocoFile(tuple(sorted(items, key=lambda item: item.key)), categories)
