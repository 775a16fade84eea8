"""Annotated examples of a scene on one picture, to be looked at by a person."""

from __future__ import annotations

import io
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from rtvp.errors import RtvpError
from rtvp.files import stays_below
from rtvp.mmio.annotated_example import CELL_SIZE, PAPER, draw_example, name_colours
from rtvp.mmio.collector import UNREADABLE_IMAGE, open_image, reason_unreadable
from rtvp.mmio.schema import Item

COLUMNS = 4
GAP = 12  # px between the cells
MIN_EXAMPLES, MAX_EXAMPLES = 8, 16
DRAFT_SIDE = 2048  # px; a JPEG of twice that or more is decoded at a half, a quarter or an eighth of its size
JPEG_QUALITY = 82

_WHITE = (255, 255, 255, 255)


@dataclass(frozen=True, slots=True)
class ContactSheet:
    """A grid of examples.

    Attributes:
        picture: RGB; the cells are numbered from 1, row by row.
        shown: what is in them.
        skipped: images that could not be shown, one line each: "source/file_name: why".
    """

    picture: Image.Image
    shown: tuple[Item, ...]
    skipped: tuple[str, ...]

    def to_jpeg(self) -> bytes:
        """The picture as the content of a JPEG file."""
        file = io.BytesIO()
        # Full resolution of colour: else thin coloured lines are washed out.
        self.picture.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
        return file.getvalue()


def contact_sheet(items: Sequence[Item], folders: Mapping[str, Path]) -> ContactSheet:
    """Draw examples of one scene; images that do not open or have another size than stated are passed over.

    There are as many as the scene has categories, but at least ``MIN_EXAMPLES`` and at most ``MAX_EXAMPLES``
    if there are so many images, and the last one is good if any is. At any time one image is held in memory
    besides the sheet. The choice is random, but depends on the content of the images alone.

    Args:
        items: of one scene, in any order.
        folders: source -> folder that its file names are relative to.

    Returns:
        A sheet; one without cells where no image can be shown.

    Raises:
        RtvpError: a source has no folder.
    """
    names = sorted({annotation.name for item in items for annotation in item.annotations})
    colours = name_colours(names)
    shown: list[Item] = []
    cells: list[Image.Image] = []
    skipped: list[str] = []

    def show(candidates: Iterable[Item], wanted: int) -> None:
        for item in candidates:
            if len(cells) >= wanted:
                return
            try:
                picture = _read(item, _folder(folders, item.source))
            except UNREADABLE_IMAGE as error:
                skipped.append(f"{item.key}: {reason_unreadable(error)}")
                continue
            cells.append(draw_example(len(cells) + 1, item, picture, colours))
            shown.append(item)

    good = _shuffled(item for item in items if not item.annotations)
    size = min(MAX_EXAMPLES, max(MIN_EXAMPLES, len(names) + bool(good)))
    show(_examples(items), size - bool(good))
    show(good, len(cells) + 1)
    return ContactSheet(_grid(cells), tuple(shown), tuple(skipped))


def _examples(items: Iterable[Item]) -> Iterator[Item]:
    """All defective images, in an order in which every category comes about as often.

    The next image shows the category that was shown least, of several the rarest. Of each category the images
    of one group come only once until every group has had its turn.
    """
    first: dict[str, Item] = {}
    defective = _shuffled(item for item in items if item.annotations)
    for item in defective:
        first.setdefault(item.group, item)
    defective.sort(key=lambda item: first[item.group] is not item)
    queues: dict[str, deque[Item]] = defaultdict(deque)
    for item in defective:
        for name in {annotation.name for annotation in item.annotations}:
            queues[name].append(item)
    sizes = {name: len(queue) for name, queue in queues.items()}
    shown: Counter[str] = Counter()
    taken: set[str] = set()
    while queues:
        name = min(queues, key=lambda name: (shown[name], sizes[name], name))
        item = queues[name].popleft()
        if not queues[name]:
            del queues[name]
        if item.key not in taken:
            taken.add(item.key)
            shown.update({annotation.name for annotation in item.annotations})
            yield item


def _shuffled(items: Iterable[Item]) -> list[Item]:
    """In the order of their content hashes: as good as random, and always the same."""
    return sorted(items, key=lambda item: (item.sha256, item.key))


def _folder(folders: Mapping[str, Path], source: str) -> Path:
    if source not in folders:
        raise RtvpError(
            f"expected the folder of every source, got none for {source!r}: give it, to see its images"
        )
    return folders[source]


def _read(item: Item, folder: Path) -> Image.Image:
    """The image as shown, RGB, possibly reduced.

    Raises:
        One of UNREADABLE_IMAGE.
    """
    if not stays_below(item.file_name):
        raise ValueError("its name leaves the folder of the set")
    with open_image(folder / item.file_name) as image:
        size = image.size
        image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
        shown = ImageOps.exif_transpose(image)
        if {item.width, item.height} != {*size} or (shown.width > shown.height) != (item.width > item.height):
            raise ValueError(f"it has {size[0]} x {size[1]} px, its labels say {item.width} x {item.height}")
        if shown.mode[0] in "IF":
            return _from_deep(shown)
        if shown.has_transparency_data:
            picture = shown.convert("RGBA")
            shown = Image.alpha_composite(Image.new("RGBA", picture.size, _WHITE), picture)
        return shown.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """Samples of more than 8 bits, from the darkest to the brightest one."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    levels = np.rint((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    return Image.fromarray(levels).convert("RGB")


def _grid(cells: Sequence[Image.Image]) -> Image.Image:
    columns = min(COLUMNS, max(1, len(cells)))
    rows = -(-len(cells) // columns)
    width, height = CELL_SIZE
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP), PAPER)
    for index, cell in enumerate(cells):
        row, column = divmod(index, columns)
        sheet.paste(cell, (GAP + column * (width + GAP), GAP + row * (height + GAP)))
    return sheet
