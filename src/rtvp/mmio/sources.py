"""The public sets that the benchmark is built from, and how each is read: the table is sources.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from rtvp.config import StrictModel, load_config
from rtvp.errors import RtvpError
from rtvp.mmio.converters import CONVERTERS
from rtvp.mmio.groups import GroupRule
from rtvp.mmio.schema import Conversion


class Source(StrictModel):
    """One set as its authors published it."""

    folder: str = Field(description="where its labels and images lie, below the folder of all sets")
    super_category: str = Field(description="one of the six of MMIO")
    scene: str = Field(description="what the pictures show")
    licence: str = Field(description="as its authors state it")
    converter: str
    options: dict[str, Any] = Field(default_factory=dict, description="of the converter")
    names: dict[str, str | None] = Field(description="raw category -> canonical name; null: no defect")
    group_rule: GroupRule

    @field_validator("converter")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in CONVERTERS:
            raise ValueError(f"expected one of {', '.join(CONVERTERS)}")
        return value

    @property
    def categories(self) -> tuple[str, ...]:
        """The canonical names that this set annotates, sorted."""
        return tuple(sorted({name for name in self.names.values() if name is not None}))


class SourceTable(StrictModel):
    """The schema of sources.yaml."""

    sources: dict[str, Source]


@cache
def source_table() -> dict[str, Source]:
    """All known sources by name."""
    return load_config(Path(__file__).with_name("sources.yaml"), SourceTable).sources


def available_sources(root: Path) -> tuple[str, ...]:
    """Names of the sources whose folder lies below ``root``, sorted."""
    return tuple(sorted(name for name, source in source_table().items() if (root / source.folder).is_dir()))


def load_source(root: Path, name: str) -> Conversion:
    """Read the source ``name`` from its folder below ``root``, with canonical category names.

    Raises:
        RtvpError: there is no source of this name, or its folder is not there.
    """
    table = source_table()
    if name not in table:
        raise RtvpError(f"expected a source out of {', '.join(sorted(table))}, got {name!r}")
    source = table[name]
    folder = root / source.folder
    if not folder.is_dir():
        raise RtvpError(
            f"source {name}: expected its images and labels in {folder}, which is no folder: "
            "check the data folder you gave"
        )
    convert = CONVERTERS[source.converter]
    return convert(folder, names=source.names, group_rule=source.group_rule, **source.options)
