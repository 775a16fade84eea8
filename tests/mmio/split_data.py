"""Images to split: no files, only what is known of them."""

from __future__ import annotations

import hashlib

from hypothesis import strategies as st

from rtvp.mmio.schema import Annotation, Item

BOX = (0.0, 0.0, 5.0, 5.0)


def item(key: str, *names: str, group: str | None = None, sha256: str | None = None) -> Item:
    """An image of the set before the slash that shows these defects; a group of its own, if none is given."""
    source, file_name = key.split("/", 1)
    content = hashlib.sha256(key.encode()).hexdigest() if sha256 is None else sha256
    annotations = tuple(Annotation(name, BOX) for name in names)
    return Item(source, file_name, 10, 10, content, f"{source}/{group or file_name}", annotations)


@st.composite
def item_sets(draw: st.DrawFn, names: str = "abcde", max_size: int = 60) -> list[Item]:
    """Images of three sets, in groups of any size, with up to three of ``names``; some are copies."""
    shown = st.lists(st.sampled_from(names), max_size=3, unique=True)
    row = st.tuples(st.sampled_from("xyz"), shown, st.integers(0, 15), st.integers(0, 200))
    rows = draw(st.lists(row, max_size=max_size))
    return [
        item(f"{source}/{i:03}", *own, group=f"g{group}", sha256=f"{min(content, i + 30):064}")
        for i, (source, own, group, content) in enumerate(rows)
    ]
