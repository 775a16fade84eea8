"""The categories of the benchmark: names, places and looks. The list is taxonomy.yaml."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from rtvp.config import StrictModel, load_config
from rtvp.mmio.names import term


class Category(StrictModel):
    """One kind of defect, whichever product it is on."""

    name: str = Field(description="canonical: lower case, singular unless it is always many")
    scenes: tuple[str, ...] = Field(strict=False, min_length=1, description="where it occurs")
    synonyms: tuple[str, ...] = Field(default=(), strict=False, description="other names of the same thing")
    description: str = Field(description="how it looks, in one sentence: shape, colour, texture, place")
    looks: tuple[str, ...] = Field(
        strict=False, min_length=1, description="the same in a few words, to average with the name"
    )

    @field_validator("name", "synonyms")
    @classmethod
    def _is_plain(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for name in (value,) if isinstance(value, str) else value:
            if not name or name != " ".join(name.lower().split()):
                raise ValueError(f"expected names in lower case without needless spaces, got {name!r}")
        return value

    @property
    def terms(self) -> tuple[str, ...]:
        """Its name and its synonyms."""
        return (self.name, *self.synonyms)


class TaxonomyFile(StrictModel):
    """The schema of taxonomy.yaml."""

    scenes: dict[str, str] = Field(description="scene -> its super-category")
    categories: tuple[Category, ...] = Field(strict=False)

    @model_validator(mode="after")
    def _is_consistent(self) -> TaxonomyFile:
        holders: dict[str, list[Category]] = defaultdict(list)
        for category in self.categories:
            unknown = set(category.scenes) - set(self.scenes)
            if unknown:
                raise ValueError(f"{category.name}: expected scenes of the list, got {sorted(unknown)}")
            for key in sorted({term(text) for text in category.terms}):
                for other in holders[key]:
                    if term(other.name) == term(category.name) or {*other.scenes} & {*category.scenes}:
                        raise ValueError(f"{category.name} and {other.name} both claim the name {key!r}")
                holders[key].append(category)
        return self


@dataclass(frozen=True)
class Found:
    """A category that goes by a name.

    Attributes:
        category: its canonical name.
        exact: whether the name is the canonical one, but for the way of writing; else it is a synonym.
    """

    category: str
    exact: bool


@dataclass(frozen=True)
class Taxonomy:
    """The list of all categories.

    Attributes:
        scenes: scene -> its super-category.
        categories: by canonical name, in the order of the file.
    """

    scenes: Mapping[str, str]
    categories: Mapping[str, Category]

    @cached_property
    def super_categories(self) -> tuple[str, ...]:
        """The super-categories of all scenes, sorted."""
        return tuple(sorted(set(self.scenes.values())))

    def super_categories_of(self, name: str) -> tuple[str, ...]:
        """The super-categories of the scenes where the category ``name`` occurs, sorted."""
        return tuple(sorted({self.scenes[scene] for scene in self.categories[name].scenes}))

    def find(self, name: str, scene: str = "", super_category: str = "") -> Found | None:
        """The category that ``name`` means, by its name or a synonym, in any way of writing it.

        One name can mean different things in different places: of several categories that claim it, one of
        the same scene is taken, else one of the same super-category, else the one whose own name it is. A
        synonym counts only within the super-categories of its category, where that of the set is known: a
        "float" in cloth is a loose yarn, on metal it is something else.

        Args:
            name: as a set writes it.
            scene: of the set; "" if not known.
            super_category: of the set; "" if not known.

        Returns:
            None where no category claims the name, or several do with equal right.
        """
        key = term(name)
        ranked: dict[tuple[bool, bool, bool], list[Found]] = defaultdict(list)
        for category in self._by_term.get(key, ()):
            exact = term(category.name) == key
            near = super_category in self.super_categories_of(category.name)
            if exact or near or not super_category:
                ranked[scene in category.scenes, near, exact].append(Found(category.name, exact))
        best = ranked[max(ranked)] if ranked else []
        return best[0] if len(best) == 1 else None

    @cached_property
    def _by_term(self) -> dict[str, tuple[Category, ...]]:
        holders: dict[str, list[Category]] = defaultdict(list)
        for category in self.categories.values():
            for key in {term(text) for text in category.terms}:
                holders[key].append(category)
        return {key: tuple(found) for key, found in holders.items()}


def load_taxonomy(path: Path) -> Taxonomy:
    """Read a taxonomy.

    Raises:
        RtvpError: the file is missing or no YAML, a key or value is not allowed, a scene is not listed, or
            two categories of one scene claim the same name.
    """
    content = load_config(path, TaxonomyFile)
    return Taxonomy(content.scenes, {category.name: category for category in content.categories})


@cache
def taxonomy() -> Taxonomy:
    """The packaged taxonomy: that of the benchmark."""
    return load_taxonomy(Path(__file__).with_name("taxonomy.yaml"))
