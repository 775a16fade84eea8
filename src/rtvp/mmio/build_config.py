"""The schema of the file that configures a build."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from rtvp.config import StrictModel

Share = Annotated[float, Field(gt=0, lt=1)]


class CleaningConfig(StrictModel):
    """What is removed. Each rule can be switched off, and ``keep`` stands over all of them."""

    unreadable: bool = Field(default=True, description="remove images that do not decode to their end")
    # The least contrast among 3,915 images of 21 public sets is 32.
    blank_contrast: int | None = Field(
        default=8,
        ge=0,
        le=255,
        description="grey levels between the darkest and the brightest spot, up to which a good image is "
        "blank; null keeps blank images",
    )
    exact_duplicates: bool = Field(default=True, description="remove all but one of files of the same bytes")
    near_duplicates: bool = Field(
        default=True,
        description="remove all but one of copies that were encoded anew, scaled, mirrored or turned by "
        "quarters, if their labels agree",
    )
    # Of the pairs of like layout and brightness in them, 9 agree in texture to less than 77 % and 190 to
    # more than 82 %; the latter, looked at, show the same picture.
    near_texture: float = Field(
        default=0.8, gt=0.5, le=1, description="agreement of textures from which two images never part"
    )
    # Real images keep to these limits when they are halved (99 of 100), made JPEGs of quality 50 (96), or
    # halved and of quality 70 (93). A board with a defect and one without are 56 grey levels apart somewhere.
    copy_texture: float = Field(default=0.9, gt=0.5, le=1, description="agreement of the textures of copies")
    copy_mean: float = Field(
        default=2.0, ge=0, le=8, description="mean difference of the thumbnails of copies, grey levels"
    )
    copy_largest: int = Field(
        default=12, ge=0, le=255, description="largest difference of the thumbnails of copies, grey levels"
    )
    contradictions: Literal["richer", "drop", "keep"] = Field(
        default="richer",
        description="which of copies with contradictory labels stay: the one with more boxes, none, or all",
    )
    keep: tuple[str, ...] = Field(
        default=(), description="images that are never removed: patterns such as set/folder/*.png"
    )

    @field_validator("keep", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value


class MatchingConfig(StrictModel):
    """How class names are matched to the categories of the taxonomy."""

    threshold: float = Field(default=0.8, ge=0, le=1, description="likeness from which a name is matched")


class SplitsConfig(StrictModel):
    """The shares of the splits. Every split keeps groups, copies and near-duplicates together."""

    closed_test_share: Share = Field(default=0.2, description="of the images of every category")
    unseen_categories: Share = Field(default=0.35, description="of the categories")
    unseen_scenes: Share = Field(default=0.25, description="of the scenes")
    max_cosine: float = Field(
        default=0.6, gt=0, le=1, description="of the names of a seen and an unseen category, by meaning"
    )


class BuildConfig(StrictModel):
    """A whole build. What is not stated has the values of the benchmark."""

    seed: int = 0
    sources: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="of the table of sources; null: all that are found"
    )
    cleaning: CleaningConfig = CleaningConfig()
    matching: MatchingConfig = MatchingConfig()
    splits: SplitsConfig = SplitsConfig()
    keep_masks: bool = Field(default=False, description="keep the defects' pixels, where a set knows them")

    @field_validator("sources", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value
