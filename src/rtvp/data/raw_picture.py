"""Very large pictures, read part by part where their file stores the pixels as they are.

Line-scan cameras write pictures of hundreds of megapixels, mostly as BMP or as TIFF without compression. Of
such a file any part can be read without the rest; of packed ones it cannot, or not with what Pillow offers.
"""

from __future__ import annotations

import math
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile

from rtvp.depth import scaled, white_of
from rtvp.errors import RtvpError

# Opened as what they are: `Image.open` refuses headers of more than 179 megapixels.
BY_MAGIC: dict[bytes, type[ImageFile.ImageFile]] = {
    b"BM": BmpImageFile, b"II": TiffImageFile, b"MM": TiffImageFile, b"P5": PpmImageFile, b"P6": PpmImageFile,
}  # fmt: skip
BLOCK_PIXELS = 1_000_000  # that are computed with at a time


class Layout(NamedTuple):
    """How a pixel is stored: its samples' type and number, and which of them are red, green and blue."""

    dtype: str
    samples: int
    rgb: tuple[int, int, int]

    @property
    def pixel_bytes(self) -> int:
        """Of a pixel."""
        return self.samples * np.dtype(self.dtype).itemsize


LAYOUTS = {  # by Pillow's name of it
    "L": Layout("u1", 1, (0, 0, 0)),
    "I;16": Layout("<u2", 1, (0, 0, 0)),
    "I;16B": Layout(">u2", 1, (0, 0, 0)),
    "RGB": Layout("u1", 3, (0, 1, 2)),
    "BGR": Layout("u1", 3, (2, 1, 0)),
    "RGBX": Layout("u1", 4, (0, 1, 2)),
    "BGRX": Layout("u1", 4, (2, 1, 0)),
}


class Piece(NamedTuple):
    """A strip or tile of a file: where it lies in the picture, px, and in the file, bytes.

    ``stride`` is from one row to the next, and ``upwards`` says that the lowest row comes first.
    """

    left: int
    top: int
    right: int
    bottom: int
    offset: int
    stride: int
    upwards: bool


class RawPicture:
    """A picture that stays on disk; sliced by rows and columns, it gives these as [h, w, 3] uint8 RGB.

    Args:
        path: of the file.
        shape: height and width, px.
        pieces: that cover the picture.
        layout: of a pixel.

    Reading raises RtvpError if the file ends early, or can no longer be read.
    """

    def __init__(self, path: Path, shape: tuple[int, int], pieces: list[Piece], layout: Layout) -> None:
        self.path, self.pieces, self.layout = path, pieces, layout
        self.shape = (*shape, 3)
        self._edges = np.array([piece[:4] for piece in pieces])

    def __getitem__(self, window: tuple[slice, slice]) -> npt.NDArray[np.uint8]:
        """See the class."""
        samples = self._samples(*window)
        if samples.dtype != np.uint8:
            samples = scaled(samples, 0.0, self._white)
        return np.ascontiguousarray(samples[:, :, self.layout.rgb])

    def resized(self, width: int, height: int) -> npt.NDArray[np.uint8]:
        """The whole picture, smaller: every pixel the mean of those that it covers (as OpenCV's INTER_AREA).

        Args:
            width: px, at most that of the picture.
            height: px, at most that of the picture.

        Returns:
            [height, width, 3] uint8 RGB.
        """
        rows, columns = self.shape[:2]
        scale = rows / height
        out = np.empty((height, width, 3), np.uint8)
        step = max(1, int(BLOCK_PIXELS / columns / scale))
        for first in range(0, height, step):
            starts = np.arange(first, min(first + step, height))[:, None] * scale
            top, bottom = int(starts[0, 0]), min(rows, math.ceil(starts[-1, 0] + scale))
            block = self[top:bottom, :].astype(np.float32)
            narrow = cv2.resize(block, (width, len(block)), interpolation=cv2.INTER_AREA)
            row = np.arange(top, bottom)
            cover = (np.minimum(row + 1, starts + scale) - np.maximum(row, starts)).clip(min=0) / scale
            means = cover.astype(np.float32) @ narrow.reshape(len(block), -1)
            out[first : first + step] = np.rint(means).clip(0, 255).reshape(-1, width, 3)
        return out

    @cached_property
    def _white(self) -> float:
        step = max(1, BLOCK_PIXELS // self.shape[1])
        tops = range(0, self.shape[0], step)
        return white_of(max(int(self._samples(slice(top, top + step), slice(None)).max()) for top in tops))

    def _samples(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """[h, w, samples] as they are stored."""
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        out = np.zeros((bottom - top, right - left, self.layout.samples), self.layout.dtype)
        x1, y1, x2, y2 = self._edges.T
        touched = np.flatnonzero((y1 < bottom) & (y2 > top) & (x1 < right) & (x2 > left))
        try:
            with self.path.open("rb", buffering=0) as file:
                for piece in map(self.pieces.__getitem__, touched):
                    down = range(max(top, piece.top), min(bottom, piece.bottom))
                    across = range(max(left, piece.left), min(right, piece.right))
                    into = out[down.start - top : down.stop - top, across.start - left : across.stop - left]
                    self._read(file, piece, down, across.start, into)
        except OSError as error:
            raise RtvpError(f"cannot read image {self.path}: {error.strerror or error}") from error
        return out

    def _read(self, file: FileIO, piece: Piece, rows: range, left: int, into: npt.NDArray[Any]) -> None:
        """Rows of the picture, from column ``left`` on, which all lie in ``piece``, into [h, w, samples]."""
        start = piece.offset + (left - piece.left) * self.layout.pixel_bytes
        for row, place in zip(rows, into, strict=True):
            number = piece.bottom - 1 - row if piece.upwards else row - piece.top
            file.seek(start + number * piece.stride)
            if file.readinto(place.data) < place.nbytes:
                raise RtvpError(f"cannot read image {self.path}: it is damaged (the file ends early)")


def open_raw(path: Path, more_than: int) -> RawPicture | None:
    """The picture, if it has more than so many pixels and its file stores them as they are; else None.

    What is transparent, turned by its metadata or of other samples than 8 bits and 16-bit grey is left to
    Pillow, as is a file that is not a picture.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with path.open("rb") as file:
            kind = BY_MAGIC.get(file.read(2))
        if kind is None:
            return None
        with kind(path) as image:
            if image.width * image.height <= more_than or image.has_transparency_data:
                return None
            if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                return None
            return _from_header(path, image)
    except Exception:  # a damaged header makes the readers raise nearly anything; Pillow will say what it is
        return None


def _from_header(path: Path, image: ImageFile.ImageFile) -> RawPicture | None:
    pieces: list[Piece] = []
    names: set[str] = set()
    for codec, extents, offset, arguments in image.tile:
        given: list[Any] = [arguments] if isinstance(arguments, str) else list(arguments or ())
        name, stride, step = given + ["", 0, 1][len(given) :]
        if codec != "raw" or name not in LAYOUTS or extents is None:
            return None
        names.add(name)
        stride = stride or (extents[2] - extents[0]) * LAYOUTS[name].pixel_bytes
        _add(pieces, Piece(*extents, offset, stride, step < 0))
    area = sum((piece.right - piece.left) * (piece.bottom - piece.top) for piece in pieces)
    if len(names) != 1 or area != image.width * image.height:  # a file of one plane a colour covers it thrice
        return None
    return RawPicture(path, (image.height, image.width), pieces, LAYOUTS[names.pop()])


def _add(pieces: list[Piece], piece: Piece) -> None:
    """Append a piece, or lengthen the last by it: some files have a strip for every row."""
    if pieces:
        last = pieces[-1]
        end = last.offset + (last.bottom - last.top) * last.stride
        beside = (piece.left, piece.top, piece.right, piece.offset, piece.stride, piece.upwards)
        if beside == (last.left, last.bottom, last.right, end, last.stride, False):
            pieces[-1] = last._replace(bottom=piece.bottom)
            return
    pieces.append(piece)
