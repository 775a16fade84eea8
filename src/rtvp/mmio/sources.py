"""The public sets that the benchmark is built from, and how each is read: the table is ``sources/*.yaml``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from rtvp.config import StrictModel, load_config
from rtvp.errors import RtvpError
from rtvp.mmio.collector import IMAGE_SUFFIXES
from rtvp.mmio.converters import CONVERTERS, MASK_LAYOUTS
from rtvp.mmio.groups import GroupRule
from rtvp.mmio.schema import Conversion

SuperCategory = Literal[
    "automobile manufacturing",
    "daily necessities",
    "metallurgy",
    "precision electronics",
    "textiles",
    "wood processing",
]


class Files(StrictModel):
    """What has to lie in the folder of a set: globs below it.

    What the stars of ``images`` and ``labels`` stand for tells which label belongs to which image; where the
    one has more stars than the other, its last ones count (``**/`` never does).
    """

    images: str = Field(description="images that have labels, and maybe the good ones")
    labels: str | None = Field(default=None, description="label files of one image each")
    good: str | None = Field(default=None, description="images that need no label, as they are good")
    tables: dict[str, str] = Field(
        default_factory=dict, description="files that many images share: what they are -> glob"
    )


class Source(StrictModel):
    """One set as its authors published it. Where a fact is not known it says so ("not checked")."""

    super_category: SuperCategory
    scene: str = Field(min_length=1, description="what the pictures show")
    folder: str = Field(min_length=1, description="where the set lies, below the folder of all sets")
    home_page: str = Field(min_length=1)
    citation: str = Field(min_length=1, description="what its authors ask to cite, or who made it")
    licence: str = Field(min_length=1, description="as its authors state it")
    how_to_obtain: str = Field(min_length=1)
    layout: str = Field(min_length=1, description="of its folder, in words")
    label_format: str = Field(min_length=1, description="in words")
    published_images: int | None = Field(
        ge=1, description="all there are, augmented copies too; null: not checked"
    )
    files: Files | None = Field(description="null where nothing can be read")
    converter: str | None = Field(description="null: its labels cannot be read here")
    options: dict[str, Any] = Field(default_factory=dict, description="of the converter")
    names: dict[str, str | None] = Field(
        min_length=1, description="raw category -> canonical name; null: no defect"
    )
    group_rule: GroupRule = Field(description="which images may never be parted")
    quirks: list[str] = Field(default_factory=list, description="what is odd about it")
    tried: bool = Field(default=False, description="whether its files have been read here")

    @model_validator(mode="after")
    def _is_readable_or_not(self) -> Source:
        if self.converter is not None and self.converter not in CONVERTERS:
            raise ValueError(f"converter: expected null or one of {', '.join(CONVERTERS)}")
        if (self.converter is None) != (self.files is None):
            raise ValueError("expected both converter and files, or null for both")
        return self

    @property
    def categories(self) -> tuple[str, ...]:
        """The canonical names that this set annotates, sorted."""
        return tuple(sorted({name for name in self.names.values() if name is not None}))


class SourceTable(StrictModel):
    """The schema of a file of sources."""

    sources: dict[str, Source]


@dataclass(frozen=True, slots=True)
class Found:
    """What of a source lies below the folder of all sets.

    Attributes:
        name: of the source.
        folder: where it is looked for.
        images_found: number of its images, good ones too.
        published_images: how many there are in the whole set; None: not known.
        readable: whether :func:`load_source` has something to read.
        missing: one line for each thing that is not there; may be empty of a part of the set, too.
    """

    name: str
    folder: Path
    images_found: int
    published_images: int | None
    readable: bool
    missing: tuple[str, ...]


@cache
def source_table() -> dict[str, Source]:
    """All known sources by name, sorted.

    Raises:
        RtvpError: two files of the table know the same name.
    """
    table: dict[str, Source] = {}
    for path in sorted(Path(__file__).with_name("sources").glob("*.yaml")):
        for name, source in load_config(path, SourceTable).sources.items():
            if name in table:
                raise RtvpError(f"{path}: expected every source once, got {name} again: give it another name")
            table[name] = source
    return dict(sorted(table.items()))


def available_sources(root: Path) -> tuple[str, ...]:
    """Names of the sources that can be read and whose folder lies below ``root``, sorted."""
    return tuple(
        name
        for name, source in source_table().items()
        if source.converter is not None and (root / source.folder).is_dir()
    )


def load_source(root: Path, name: str, *, masks: bool = False) -> Conversion:
    """Read the source ``name`` from its folder below ``root``, with canonical category names.

    Args:
        root: folder of all sets.
        name: of the source.
        masks: keep the defects' pixels, where the layout knows them.

    Raises:
        RtvpError: there is no source of this name, its labels cannot be read here, or its folder is not
            there.
    """
    table = source_table()
    if name not in table:
        raise RtvpError(f"expected a source out of {', '.join(table)}, got {name!r}")
    source = table[name]
    if source.converter is None:
        raise RtvpError(
            f"source {name}: expected one whose labels can be read, got one that is only listed "
            f"({source.label_format}): leave it out, or convert it to COCO by hand"
        )
    folder = root / source.folder
    if not folder.is_dir():
        raise RtvpError(
            f"source {name}: expected its images and labels in {folder}, which is no folder: "
            "check the data folder you gave"
        )
    options = dict(source.options)
    if masks and source.converter in MASK_LAYOUTS:
        options["masks"] = True
    convert = CONVERTERS[source.converter]
    return convert(folder, names=source.names, group_rule=source.group_rule, **options)


def find_sources(root: Path) -> tuple[Found, ...]:
    """What of every source lies below ``root``, and exactly what is missing; sorted by name.

    Only names of files are looked at: what is inside of them shows when they are converted.
    """
    return tuple(_find(root / source.folder, name, source) for name, source in source_table().items())


def _find(folder: Path, name: str, source: Source) -> Found:
    images: set[str] = set()
    missing = [] if folder.is_dir() else [f"the folder {source.folder}"]
    readable = False
    if source.files is None:
        missing.append(f"a way to read its labels ({source.label_format})")
    elif not missing:
        images, missing, readable = _look(folder, source.files)
    return Found(name, folder, len(images), source.published_images, readable, tuple(missing))


def _look(folder: Path, files: Files) -> tuple[set[str], list[str], bool]:
    """The images in ``folder``, what is missing, and whether what is there can be read."""
    labels = _matches(folder, files.labels)
    good = _matches(folder, files.good, IMAGE_SUFFIXES)
    labelled = _matches(folder, files.images, IMAGE_SUFFIXES) - labels - good
    missing = [] if labelled else [f"images: nothing matches {files.images}"]
    if files.labels is not None and not labels:
        missing.append(f"labels: nothing matches {files.labels}")
    missing += [
        f"{what}: nothing matches {glob}" for what, glob in files.tables.items() if not _matches(folder, glob)
    ]
    readable = not missing
    if files.good is not None and not good:
        missing.append(f"good images: nothing matches {files.good}")
    if files.labels is not None and labelled and labels:
        missing += _unpaired(labelled, files.images, labels, files.labels)
    return labelled | good, missing, readable


def _matches(folder: Path, glob: str | None, suffixes: frozenset[str] | None = None) -> set[str]:
    """Paths relative to ``folder``, with forward slashes, of the files that match ``glob``."""
    if glob is None:
        return set()
    return {
        path.relative_to(folder).as_posix()
        for path in folder.glob(glob)
        if (suffixes is None or path.suffix.lower() in suffixes) and path.is_file()
    }


def _unpaired(images: set[str], image_glob: str, labels: set[str], label_glob: str) -> list[str]:
    """Says how many images have no label file, and how many label files no image."""
    image_pattern, label_pattern = _pattern(image_glob), _pattern(label_glob)
    stars = min(image_pattern.groups, label_pattern.groups)

    def keys(paths: set[str], pattern: re.Pattern[str]) -> dict[str, tuple[str, ...]]:
        matches = ((path, pattern.fullmatch(path)) for path in sorted(paths))
        return {path: match.groups()[-stars:] for path, match in matches if match}

    of_images, of_labels = keys(images, image_pattern), keys(labels, label_pattern)
    said = []
    for what, each, here, there in (
        ("the label file", "images", of_images, of_labels),
        ("the image", "label files", of_labels, of_images),
    ):
        known = set(there.values())
        alone = [path for path, key in here.items() if key not in known]
        if alone:
            said.append(f"{what} of {len(alone)} of {len(here)} {each}, such as {alone[0]}")
    return said


def _pattern(glob: str) -> re.Pattern[str]:
    """``glob`` as an expression with a group for every star; the one at its end leaves out the extension."""
    regex = {"**/": "(?:.*/)?", "*": "([^/]*)"}
    text = "".join(regex.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*)", glob))
    return re.compile(text + r"\.[^/.]*" if glob.endswith("*") else text)
