"""The one preprocess: files, arrays and pictures of any common kind to what the detector reads.

The rules, for every caller (detect, train, evaluate):

- **Colour.** The result is 8-bit RGB. Grey, 1-bit, palette and CMYK pictures are converted.
- **Transparency.** Composited over white, as a viewer shows it.
- **Integers of more than 8 bits.** Cameras store 10, 12 or 14 bits in 16-bit files, so white is the largest
  value of the smallest of 8, 10, 12, 14, 16, 24, 32 bits that holds the brightest sample. Negative is black.
- **Floating point.** 0..1 when no sample lies outside, else 0..255 when none lies outside that, else the
  range from the darkest to the brightest sample. What is not finite is as dark as the darkest sample.
- **Orientation.** The EXIF orientation is applied: boxes refer to the picture as a viewer shows it.
- **Several frames or pages.** The first one.
- **Very large.** Detection leaves a file of more than 50 megapixels on disk and reads it part by part, if its
  pixels lie there as they are (`rtvp.data.raw_picture`). They are the same pixels.
"""

from __future__ import annotations

import glob
import math
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from rtvp.data.raw_picture import RawPicture, open_raw
from rtvp.depth import to_8_bits
from rtvp.errors import RtvpError
from rtvp.types import Letterbox

S = TypeVar("S")
T = TypeVar("T")
RGBArray: TypeAlias = npt.NDArray[np.uint8]
Picture: TypeAlias = "RGBArray | RawPicture"  # [H, W, 3], in memory or on disk
Pixels: TypeAlias = npt.NDArray[np.uint8]  # [3, H, W] RGB, of an input of the network
ImageSource: TypeAlias = "str | os.PathLike[str] | npt.NDArray[Any] | Image.Image"

# Pillow reads more, some of it through outside programs; these are what cameras and scanners write.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = (
    ".bmp", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm",
    ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
MAX_PIXELS = 150_000_000  # a larger picture is not decoded at once: 450 MB as RGB
LARGE_PIXELS = 50_000_000  # a larger picture stays on disk if it can, and is drawn smaller
BLOCK_PIXELS = 4_000_000  # of a picture that are converted at a time
PAD_VALUE = 114
INPUT_STEP = 32  # px: the coarsest stride; sides of the network input are multiples of it
TILE_SCALE = 0.5  # of the parts of a large picture: a defect of 20 px is 10 px in the input
MAX_STRETCH = 2.0  # the longest side of an input, relative to the side of a square one
WHITE = (255, 255, 255, 255)


def read_image(path: str | os.PathLike[str]) -> RGBArray:
    """Read an image file, by the rules of this module.

    Returns:
        [H, W, 3] uint8 RGB.

    Raises:
        RtvpError: missing, empty, not an image, damaged, or of more than ``MAX_PIXELS`` pixels.
    """
    path = Path(path)
    try:
        if not path.is_file():  # also keeps pipes and devices from being waited for
            raise _unreadable(path, "it is a folder" if path.is_dir() else "no such file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes below our limit and of odd metadata
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                return _to_rgb(_decode_deep_colour(image, path) if _is_deep_colour(image) else image)
    except RtvpError:
        raise
    except UnidentifiedImageError as error:
        empty = path.stat().st_size == 0
        kinds = ", ".join(FORMATS)
        raise _unreadable(
            path, "it is empty" if empty else f"not an image of a known kind ({kinds})"
        ) from error
    except Image.DecompressionBombError as error:
        raise _unreadable(
            path,
            f"it has more than {MAX_PIXELS // 1_000_000} megapixels, the most that is decoded at once "
            "(detection reads BMP, PPM and TIFF without compression part by part)",
        ) from error
    except Exception as error:  # a damaged file makes the decoders raise nearly anything
        raise _unreadable(path, _reason(error)) from error


def to_rgb(image: ImageSource) -> RGBArray:
    """A path, an array or a Pillow picture to [H, W, 3] uint8 RGB, by the rules of this module.

    Arrays are [H, W] grey, [H, W, 1] grey, [H, W, 2] grey and alpha, [H, W, 3] RGB or [H, W, 4] RGBA, of any
    integer, boolean or floating type.

    Raises:
        RtvpError: a file that cannot be read (see `read_image`), or an array of another shape or type.
    """
    if isinstance(image, np.ndarray):
        return _to_rgb(_picture_of(image))
    if isinstance(image, Image.Image):
        try:
            return _to_rgb(image)
        except Exception as error:  # Pillow decodes late: a damaged file shows only here
            raise RtvpError(f"cannot read the given picture: {_reason(error)}") from error
    return read_image(image)


def open_picture(image: ImageSource) -> Picture:
    """As `to_rgb`, but a file of more than ``LARGE_PIXELS`` pixels that are not packed stays on disk.

    Raises:
        RtvpError: see `to_rgb`.
    """
    raw = open_raw(Path(image), LARGE_PIXELS) if isinstance(image, (str, os.PathLike)) else None
    return to_rgb(image) if raw is None else raw


def picture_to_array(picture: Image.Image) -> RGBArray:
    """A picture of 8 bits a channel, composited over white, as [H, W, 3] uint8 RGB.

    Pillow makes several copies on the way, so blocks go one by one: a picture may have 100 megapixels.
    """
    rows = max(1, BLOCK_PIXELS // picture.width)
    if rows >= picture.height:
        return np.array(_plain_rgb(picture))
    rgb = np.empty((picture.height, picture.width, 3), np.uint8)
    for top in range(0, picture.height, rows):
        block = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        rgb[top : top + rows] = np.asarray(_plain_rgb(block))
    return rgb


def letterbox(image: Picture, size: int) -> tuple[Pixels, Letterbox]:
    """Scale to the pixels of a square of side ``size``, keep the aspect, pad the little that is left over.

    The input has the shape of the picture, as nearly as multiples of 32 px allow. In a square as long as
    itself, a plank would be looked at through a third of the input, the rest being padding.

    Args:
        image: [H, W, 3] uint8 RGB; one on disk is read as often as it is placed.
        size: side, px, of the input of a square picture.

    Returns:
        [3, H, W] uint8 RGB, padded at the right and bottom with ``PAD_VALUE``, and the placement, which leads
        boxes back to the original. Sides are multiples of 32, at most ``MAX_STRETCH`` times ``size``.
    """
    height, width = image.shape[:2]
    wished = fitting_scale(width, height, size)
    # To the nearest multiple and not up to the next: what is padded costs as much as what is looked at.
    steps = [max(1, round(side * wished / INPUT_STEP)) for side in (width, height)]
    scale = min(INPUT_STEP * count / side for count, side in zip(steps, (width, height), strict=True))
    placement = Letterbox(width, height, scale)
    new_width, new_height = content_size(placement)
    content = resized(image, new_width, new_height)
    input_height, input_width = (-(-side // INPUT_STEP) * INPUT_STEP for side in (new_height, new_width))
    padded = np.full((input_height, input_width, 3), PAD_VALUE, dtype=np.uint8)
    padded[:new_height, :new_width] = content
    return np.ascontiguousarray(padded.transpose(2, 0, 1)), placement


def resized(image: Picture, width: int, height: int) -> RGBArray:
    """A picture at another size, px; itself if it has that size already."""
    if isinstance(image, RawPicture):
        return image.resized(width, height)
    if (height, width) == image.shape[:2]:
        return image
    # Averaging over the source pixels keeps thin defects that plain interpolation would step over.
    smaller = width * height < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), dtype=np.uint8)


def drawn_size(width: int, height: int) -> tuple[int, int]:
    """Width and height at which people see a picture: its own up to ``LARGE_PIXELS`` pixels, else as many."""
    scale = min(1.0, math.sqrt(LARGE_PIXELS / (width * height)))
    return max(1, int(width * scale)), max(1, int(height * scale))


def fitting_scale(width: int, height: int, size: int) -> float:
    """The scale at which a picture has the pixels of a square of side ``size``; very long ones get less."""
    return min(size / math.sqrt(width * height), MAX_STRETCH * size / max(width, height))


def content_size(placement: Letterbox) -> tuple[int, int]:
    """Width and height, px, that the picture takes up at the top left of the input; the rest is padding."""
    width, height = round(placement.width * placement.scale), round(placement.height * placement.scale)
    return max(1, width), max(1, height)


def run_by_shape(
    images: Sequence[S], pixels: Callable[[S], Pixels], run: Callable[[list[S]], Iterable[T]]
) -> list[T]:
    """Run images in batches of one shape each.

    Args:
        images: what is known of each.
        pixels: one of them to its [3, H, W].
        run: images of one shape to one result an image.

    Returns:
        The results, in order of ``images``.
    """
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        by_shape.setdefault(pixels(image).shape, []).append(index)
    results: dict[int, T] = {}
    for indices in by_shape.values():
        results.update(zip(indices, run([images[index] for index in indices]), strict=True))
    return [results[index] for index in range(len(images))]


def find_images(sources: Sequence[str | os.PathLike[str]], skip: Path | None = None) -> list[Path]:
    """The image files that files, folders (with everything below) and glob patterns name.

    A file that is named is taken whatever its suffix; in folders and patterns the suffix decides
    (``SUFFIXES``), and what is hidden (its name starts with a dot) is left out.

    Args:
        sources: paths or patterns; ``**`` crosses folders.
        skip: a folder whose files are left out where it lies below a source, so that a run does not take an
            earlier run's pictures for images.

    Returns:
        Sorted paths, each file once.

    Raises:
        RtvpError: a source that names no image.
    """
    skipped = skip.resolve() if skip else None
    found: dict[Path, Path] = {}
    for source in sources:
        for path in _images_of(os.fspath(source), skipped):
            found.setdefault(path.resolve(), path)
    return sorted(found.values())


def _images_of(source: str, skipped: Path | None) -> list[Path]:
    path = Path(source)
    if source and path.is_file():
        return [path]
    if source and path.is_dir():
        images = _images_below(path, skipped)
        if not images:
            raise RtvpError(f"no images in folder {path}: expected files ending in {' '.join(SUFFIXES)}")
        return images
    # Path.glob takes no absolute patterns.
    matches = map(Path, glob.glob(source, recursive=True))  # noqa: PTH207
    images = [match for match in matches if _is_image(match)]
    if not images:
        raise RtvpError(
            f"no image matches {source}" if glob.has_magic(source) else f"no such file or folder: {source!r}"
        )
    return images


def _images_below(folder: Path, skipped: Path | None) -> list[Path]:
    images = [p for p in folder.rglob("*") if _is_image(p) and not _hidden(p.relative_to(folder))]
    # Only a folder further down is an earlier run's leftover: the source itself was asked for.
    if skipped is None or folder.resolve() not in skipped.parents:
        return images
    return [path for path in images if skipped not in path.resolve().parents]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _to_rgb(image: Image.Image) -> RGBArray:
    image.load()  # of a TIFF this applies the orientation already, and drops it from the metadata
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # else it would make a copy all the same
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":  # single-channel deeper than 8 bits
        image = Image.fromarray(to_8_bits(np.asarray(image)))
    return picture_to_array(image)


def _plain_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, WHITE)
        image = Image.alpha_composite(background, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy what is RGB already


def _picture_of(array: npt.NDArray[Any]) -> Image.Image:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or not 1 <= channels <= 4 or array.size == 0:
        raise RtvpError(f"image array: expected shape [H, W] or [H, W, 1 to 4], got {list(array.shape)}")
    if array.dtype.kind not in "buif":
        raise RtvpError(f"image array: expected integers or floats, got {array.dtype}")
    samples = to_8_bits(array)
    return Image.fromarray(samples[:, :, 0] if array.ndim == 3 and channels == 1 else samples)


def _is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Whether the file holds several channels of 16 bits, of which Pillow would drop the low byte."""
    if image.format not in ("PNG", "TIFF") or len(image.getbands()) == 1:
        return False
    return any(";16" in str(tile[3]) for tile in image.tile)  # raw modes such as RGB;16B, LA;16B


def _decode_deep_colour(image: Image.Image, path: Path) -> Image.Image:
    samples = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.ndim != 3 or samples.shape[:2] != (image.height, image.width):
        raise _unreadable(path, "it is damaged (its 16-bit samples cannot be decoded)")
    order = [2, 1, 0, 3][: samples.shape[2]]  # OpenCV gives BGR
    picture = Image.fromarray(to_8_bits(samples[:, :, order]))
    picture.getexif()[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
    return picture


def _unreadable(path: Path, problem: str) -> RtvpError:
    return RtvpError(f"cannot read image {path}: {problem}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:  # from the file system, not from the decoder
        return error.strerror
    return f"it is damaged ({' '.join(str(error).split()) or type(error).__name__})"
