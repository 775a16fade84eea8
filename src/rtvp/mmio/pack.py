"""Packs labelled images into WebDataset shards: plain tar files, each image beside a json of its labels."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from rtvp.config import StrictModel
from rtvp.errors import RtvpError
from rtvp.files import find_below, replacing, sha256_of
from rtvp.mmio.coco_file import CocoFile, read_coco_file
from rtvp.mmio.collector import UNREADABLE_IMAGE, exif_orientation, open_image, reason_unreadable, shown_size
from rtvp.mmio.plain_image import plain_image
from rtvp.mmio.schema import Item
from rtvp.mmio.sources import source_table

INDEX_FILE = "index.json"

_BATCH = 32  # images that are held at once
_BLOCK = 512  # bytes: a tar file is made of these
_DECIMALS = 2  # of coordinates, px
_KEPT_FORMATS = {"JPEG": "jpg", "PNG": "png"}  # what every reader of shards decodes
_JPEG: dict[str, Any] = {"quality": 95, "subsampling": 0}  # small coloured defects outlive it


class Shard(StrictModel):
    """A finished tar file: its name, number of samples, bytes and digest."""

    file: str
    samples: int
    bytes: int
    sha256: str


class PackIndex(StrictModel):
    """The index of all shards.

    Attributes:
        key: of what was packed, and how.
        complete: whether all images are packed.
        categories: names in the order of their ids, from 1.
        images: in all shards, once it is complete.
        boxes: of these images.
        max_side: longest side of an image, px.
        shards: in order.
    """

    key: str
    complete: bool
    categories: list[str]
    images: int
    boxes: int
    max_side: int
    shards: list[Shard]


@dataclass(frozen=True, slots=True)
class _Sample:
    """The two files of one image."""

    extension: str
    image: bytes
    labels: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes in a tar file."""
        return sum(_BLOCK + -(-len(content) // _BLOCK) * _BLOCK for content in (self.image, self.labels))


def pack(
    annotations: Path,
    root: Path,
    out: Path,
    *,
    max_side: int = 640,
    shard_mb: int = 64,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> PackIndex:
    """Write ``out/shard-NNNNNN.tar`` and ``out/index.json``.

    A sample is an image and a json of the same number: where it comes from, its size, and its boxes as x, y,
    width, height in pixels of the packed image; a mask keeps the size of the original. Larger images are
    reduced to ``max_side``; others of the kinds that every reader knows are packed as they are, byte by byte.
    The same input gives the same shards; killed, it goes on behind the last whole one.

    Args:
        annotations: COCO file of the benchmark, or any other.
        root: folder of all sets; for another file, the folder that its file names are relative to.
        out: a new folder, or that of an unfinished or earlier run.
        max_side: longest side of an image, px.
        shard_mb: largest size of a shard, in MiB, unless a single image is larger.
        jobs: threads that reduce images.
        progress: is told how many images are packed.

    Raises:
        RtvpError: an image is missing, unreadable or not the one that was labelled; ``out`` holds something
            else; a number is out of range; or a file cannot be written.
    """
    if max_side < 1 or shard_mb < 1 or jobs < 1:
        raise RtvpError(f"expected max_side, shard_mb and jobs from 1, got {max_side}, {shard_mb} and {jobs}")
    coco = read_coco_file(annotations)
    # Mixed, but always in the same way: whoever reads shard by shard shall not meet set by set.
    items = sorted(coco.items, key=lambda item: hashlib.sha256(item.key.encode()).digest())
    key = hashlib.sha256(f"{sha256_of(annotations)} {max_side} {shard_mb}".encode()).hexdigest()
    index = PackIndex(
        key=key,
        complete=False,
        categories=list(coco.categories),
        images=len(items),
        boxes=sum(len(item.annotations) for item in items),
        max_side=max_side,
        shards=_finished_shards(out, key),
    )
    done = sum(shard.samples for shard in index.shards)
    encode = partial(_encode, root=root, max_side=max_side, ids=_ids(coco))
    with ThreadPoolExecutor(jobs) as pool:
        samples = _samples(pool, encode, items[done:])
        for shard in _write_shards(out, samples, len(index.shards), done, shard_mb << 20):
            index.shards.append(shard)
            _write_index(out, index)
            done += shard.samples
            if progress is not None:
                progress("pack", done, len(items))
    index = index.model_copy(update={"complete": True})
    _write_index(out, index)
    kept = {INDEX_FILE, *(shard.file for shard in index.shards)}
    for path in (*out.glob("shard-*.tar*"), *out.glob(f"{INDEX_FILE}.*")):
        if path.name not in kept:  # of a run with other options, or one that was killed
            path.unlink()
    return index


def _ids(coco: CocoFile) -> dict[str, int]:
    return {name: number for number, name in enumerate(coco.categories, start=1)}


def _finished_shards(out: Path, key: str) -> list[Shard]:
    """The whole shards of an earlier run of the same ``key``, up to the first that is gone or damaged."""
    if not out.is_dir() or not any(out.iterdir()):
        return []
    try:
        known = PackIndex.model_validate_json((out / INDEX_FILE).read_bytes())
    except FileNotFoundError as error:
        if any(not path.name.startswith(("shard-", INDEX_FILE)) for path in out.iterdir()):
            raise RtvpError(f"expected a new folder for the shards, but {out} holds other files") from error
        return []
    except ValueError as error:
        raise RtvpError(
            f"{out / INDEX_FILE}: expected the index of an earlier run: give a new folder"
        ) from error
    finished = []
    for shard in known.shards if known.key == key else ():
        path = out / shard.file
        if not path.is_file() or sha256_of(path) != shard.sha256:
            break
        finished.append(shard)
    return finished


def _samples(
    pool: ThreadPoolExecutor, encode: Callable[[Item], _Sample], items: Sequence[Item]
) -> Iterator[_Sample]:
    for start in range(0, len(items), _BATCH):
        yield from pool.map(encode, items[start : start + _BATCH])


def _write_shards(
    out: Path, samples: Iterator[_Sample], number: int, sample_number: int, limit: int
) -> Iterator[Shard]:
    """Write shards of at most ``limit`` bytes from shard ``number`` on, and tell of each when it is whole."""
    sample = next(samples, None)
    while sample is not None:
        path = out / f"shard-{number:06}.tar"
        count = size = 0
        with replacing(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            while sample is not None and (not count or size + sample.size <= limit):
                _add(tar, f"{sample_number:08}.{sample.extension}", sample.image)
                _add(tar, f"{sample_number:08}.json", sample.labels)
                count, size, sample_number = count + 1, size + sample.size, sample_number + 1
                sample = next(samples, None)
        yield Shard(file=path.name, samples=count, bytes=path.stat().st_size, sha256=sha256_of(path))
        number += 1


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # no owner, and the first second of 1970
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _write_index(out: Path, index: PackIndex) -> None:
    with replacing(out / INDEX_FILE) as temporary:
        temporary.write_text(index.model_dump_json(indent=1) + "\n", encoding="utf-8", newline="\n")


def _encode(item: Item, root: Path, max_side: int, ids: Mapping[str, int]) -> _Sample:
    path = _locate(item, root)
    content = path.read_bytes()
    if item.sha256 and hashlib.sha256(content).hexdigest() != item.sha256:
        raise RtvpError(f"{path}: expected the image that was labelled, got other content: build again")
    try:
        extension, image, size = _reduce(path, content, max_side)
    except UNREADABLE_IMAGE as error:
        raise RtvpError(f"{path}: {reason_unreadable(error)}: leave it out, or restore it") from error
    scale_x, scale_y = size[0] / item.width, size[1] / item.height
    boxes = []
    for annotation in item.annotations:
        x1, y1, x2, y2 = annotation.box_xyxy
        edges = (x1 * scale_x, y1 * scale_y, (x2 - x1) * scale_x, (y2 - y1) * scale_y)
        box: dict[str, Any] = {
            "category": annotation.name,
            "category_id": ids[annotation.name],
            "bbox": [round(edge, _DECIMALS) for edge in edges],
        }
        if annotation.mask is not None:
            box["segmentation"] = {"size": [item.height, item.width], "counts": annotation.mask}
        boxes.append(box)
    labels = {
        "source": item.source,
        "file_name": item.file_name,
        "sha256": item.sha256,
        "group": item.group,
        "width": size[0],
        "height": size[1],
        "original_width": item.width,
        "original_height": item.height,
        "annotations": boxes,
    }
    return _Sample(extension, image, json.dumps(labels, ensure_ascii=False).encode())


def _locate(item: Item, root: Path) -> Path:
    names = [item.file_name]
    if item.source in source_table():
        names = [f"{source_table()[item.source].folder}/{item.file_name}"]
    elif item.source:
        names = [item.key, item.file_name]
    path = find_below(root, names)
    if path is None:
        raise RtvpError(
            f"{item.key}: expected its image at {root / names[0]}: check the folder of the images"
        )
    return path


def _reduce(path: Path, content: bytes, max_side: int) -> tuple[str, bytes, tuple[int, int]]:
    """The extension, the content and the size (width, height) of an image as it is packed."""
    with open_image(path) as image:
        width, height = shown_size(image)
        scale = min(max_side / max(width, height), 1.0)
        if scale == 1 and exif_orientation(image) == 1 and image.format in _KEPT_FORMATS:
            image.load()  # a damaged one shall not be packed
            return _KEPT_FORMATS[image.format], content, (width, height)
        image.draft(None, (2 * max_side, 2 * max_side))  # no smaller, for a smooth reduction
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        reduced = plain_image(image).resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    reduced.save(file, "JPEG", **_JPEG)
    return "jpg", file.getvalue(), size
