"""Checks the images that COCO documents list: on disk, and against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rtvp.files import find_below, sha256_of
from rtvp.mmio.check_labels import LabelFile
from rtvp.mmio.coco_file import CocoImage
from rtvp.mmio.collector import open_image, reason_unreadable, shown_size
from rtvp.mmio.findings import Findings

_PROBED = 20  # images that are looked for to find their folder
_BATCH = 256  # images in flight


@dataclass(frozen=True, slots=True)
class ImageOnDisk:
    """An image that was looked for.

    Attributes:
        sha256: of its bytes; "" if it is not there.
        faults: kind and detail of all that is wrong with it.
    """

    sha256: str
    faults: tuple[tuple[str, str], ...]


def find_images_folder(file: LabelFile) -> Path | None:
    """The folder that the names in ``file`` start from, if it is beside the file."""
    folders = (file.path.parent, file.path.parent / "images")
    probed = list(islice(file.images.values(), _PROBED))
    return next((folder for folder in folders if any(_locate(folder, image) for image in probed)), None)


def check_images(file: LabelFile, folder: Path, findings: Findings, jobs: int) -> Mapping[int, str]:
    """Open and decode every image of ``file`` below ``folder``; returns id -> SHA-256 of those found."""
    hashes = {}
    numbers = iter(file.images)
    with ThreadPoolExecutor(jobs) as pool:
        while batch := list(islice(numbers, _BATCH)):
            images = [file.images[number] for number in batch]
            looked_for = pool.map(_look, images, [folder] * len(images))
            for number, image, found in zip(batch, images, looked_for, strict=True):
                for kind, detail in found.faults:
                    findings.add(kind, f"{file.path}: {image.file_name}", detail)
                if found.sha256:
                    hashes[number] = found.sha256
    return hashes


def _locate(folder: Path, image: CocoImage) -> Path | None:
    """The file of an image; ``folder`` may be that of all sets, or of the one set."""
    names = [f"{image.source}/{image.file_name}"] if image.source else []
    return find_below(folder, [*names, image.file_name])


def _look(image: CocoImage, folder: Path) -> ImageOnDisk:
    path = _locate(folder, image)
    if path is None:
        return ImageOnDisk("", (("missing image", f"expected it below {folder}"),))
    try:
        sha256 = sha256_of(path)
        with open_image(path) as picture:
            shown = shown_size(picture)
            # JPEGs are decoded at an eighth of their size where possible: all bytes are read none the less.
            picture.draft(None, (max(1, shown[0] // 8), max(1, shown[1] // 8)))
            picture.load()
    except Exception as error:  # decoders let errors of any type out of damaged files
        return ImageOnDisk("", (("unreadable image", reason_unreadable(error)),))
    faults = []
    if shown != (image.width, image.height):
        stated = f"{image.width} x {image.height}"
        faults.append(("wrong size", f"expected {stated} as the file says, got {shown[0]} x {shown[1]}"))
    if image.sha256 and image.sha256 != sha256:
        faults.append(("changed image", "expected the content that the file was made for (its sha256)"))
    return ImageOnDisk(sha256, tuple(faults))


class _Place(NamedTuple):
    file: int  # which of the files
    name: str
    sha256: str


def check_duplicates(
    files: Sequence[LabelFile], hashes: Sequence[Mapping[int, str]], findings: Findings
) -> None:
    """Note images that occur twice, in one file or in two, by content; by name where a content is not known.

    Args:
        files: the documents.
        hashes: for each, image id -> SHA-256 of the file on disk; where it has none, the stated one counts.
        findings: where they are noted.
    """
    by_content: dict[str, _Place] = {}
    by_name: dict[tuple[str, str], _Place] = {}
    for number, (file, on_disk) in enumerate(zip(files, hashes, strict=True)):
        for image_id, image in file.images.items():
            place = _Place(number, image.file_name, on_disk.get(image_id, image.sha256))
            name = (image.source, image.file_name)
            for kind, other in _matches(place, by_content.get(place.sha256), by_name.get(name)):
                detail = f"also in {files[other.file].path}: {other.name}"
                findings.add(kind, f"{file.path}: {place.name}", detail)
            if place.sha256:
                by_content.setdefault(place.sha256, place)
            by_name.setdefault(name, place)


def _matches(place: _Place, content: _Place | None, name: _Place | None) -> Iterator[tuple[str, _Place]]:
    """What kind of duplicate ``place`` is of the place of the same content and that of the same name."""
    if name is not None and name.file == place.file:
        yield "image listed twice", name
    elif content is not None:
        yield ("image in two files" if content.file != place.file else "two images of one content"), content
    elif name is not None and not (name.sha256 and place.sha256):
        yield "image in two files", name
