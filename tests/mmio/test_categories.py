from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rtvp.errors import RtvpError
from rtvp.mmio.categories import (
    Matching,
    Merge,
    NearNames,
    RawName,
    match,
    name_cosines,
    near_names,
    write_review,
)
from rtvp.mmio.review import Review, read_review
from rtvp.mmio.taxonomy import Taxonomy, load_taxonomy

TAXONOMY = """
scenes: {cloth: textiles, steel: metals, boards: metals}
categories:
- {name: hole, scenes: [cloth, steel], description: Round., looks: [a b], synonyms: [perforation]}
- {name: pin hole, scenes: [boards], description: Tiny., looks: [c d]}
- {name: stain, scenes: [cloth], description: Blot., looks: [e f]}
- {name: crack, scenes: [steel], description: Thin line., looks: [g h], synonyms: [fissure]}
"""

# Where texts lie in a plane, as angles in degrees: cos 30 = 0.87, cos 40 = 0.77.
ANGLES = {"hole": 0, "perforation": 20, "pin hole": 42, "stain": 90, "crack": 180, "fissure": 200}


@pytest.fixture
def taxonomy(tmp_path: Path) -> Taxonomy:
    (tmp_path / "taxonomy.yaml").write_text(TAXONOMY)
    return load_taxonomy(tmp_path / "taxonomy.yaml")


class Plane:
    """A text model whose texts lie at given angles; counts what it is asked."""

    def __init__(self, **angles: float) -> None:
        self.angles = {**ANGLES, **{name.replace("_", " "): angle for name, angle in angles.items()}}
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        radians = np.deg2rad([self.angles[text] for text in texts])
        return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


class Pictures:
    """An image-text model that reads off the first pixel of a crop which text it shows, with which score."""

    def __init__(self, **shown: tuple[str, float]) -> None:
        self.shown = {name.replace("_", " "): value for name, value in shown.items()}
        self.asked: list[str] = []
        self.texts: list[str] = []

    def crops(self, raw: RawName) -> list[NDArray[np.uint8]]:
        self.asked.append(raw.name)
        number = list(self.shown).index(raw.name) if raw.name in self.shown else None
        return [] if number is None else [np.full((4, 4, 3), number, np.uint8)] * 2

    def __call__(self, crops: Sequence[NDArray[np.uint8]], texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts = list(texts)
        scores = np.zeros((len(crops), len(texts)), np.float32)
        for row, crop in enumerate(crops):
            name, score = list(self.shown.values())[crop[0, 0, 0]]
            scores[row, [text.startswith(f"{name}:") for text in texts].index(True)] = (
                score + 0.1 * (-1) ** row
            )
        return scores


def only(matching: Matching) -> Merge:
    (merge,) = matching.merges
    return merge


def test_names_and_synonyms_decide_without_a_model(taxonomy: Taxonomy) -> None:
    matching = match(
        [RawName("s", "Pin_Holes"), RawName("s", "fissures", "steel", "metals"), RawName("s", "speck")],
        taxonomy,
        None,
    )
    assert matching.merges == (
        Merge("s", "Pin_Holes", "pin hole", 1.0, "exact"),
        Merge("s", "fissures", "crack", None, "synonym"),
        Merge("s", "speck", "speck", None, "unmatched"),
    )
    assert matching.category_of == {
        ("s", "Pin_Holes"): "pin hole",
        ("s", "fissures"): "crack",
        ("s", "speck"): "speck",
    }


def test_a_synonym_is_merged_with_the_cosine_of_the_two_names(taxonomy: Taxonomy) -> None:
    embed = Plane()
    merges = match([RawName("s", "Perforation"), RawName("t", "Cracks")], taxonomy, embed).merges
    assert merges == (
        Merge("s", "Perforation", "hole", 0.9397, "synonym"),
        Merge("t", "Cracks", "crack", 1.0, "exact"),
    )
    assert set(embed.asked) == {"hole", "perforation", "crack"}  # the rest of the taxonomy is not needed


def test_the_nearest_text_decides_from_the_threshold_on(taxonomy: Taxonomy) -> None:
    embed = Plane(big_gap=-30, far_gap=-45)
    near = only(match([RawName("s", "big_gap")], taxonomy, embed))
    assert near == Merge(
        "s", "big_gap", "hole", 0.866, "text", (("hole", 0.866), ("pin hole", 0.309), ("stain", -0.5))
    )
    far = only(match([RawName("s", "far_gap", "cloth", "textiles")], taxonomy, embed))
    assert far == Merge(
        "s", "far_gap", "far_gap", 0.7071, "unmatched", (("hole", 0.7071), ("stain", -0.7071))
    )
    lower = only(match([RawName("s", "far_gap", "cloth", "textiles")], taxonomy, embed, threshold=0.7))
    assert (lower.category, lower.decided_by) == ("hole", "text")


def test_the_nearest_of_name_and_synonyms_counts(taxonomy: Taxonomy) -> None:
    merge = only(match([RawName("s", "split", "steel", "metals")], taxonomy, Plane(split=210)))
    assert (merge.category, merge.score, merge.decided_by) == ("crack", 0.9848, "text")


def test_likeness_stays_within_the_super_category(taxonomy: Taxonomy) -> None:
    embed = Plane(blot=91)
    assert only(match([RawName("s", "blot", "", "textiles")], taxonomy, embed)).category == "stain"
    assert only(match([RawName("s", "blot")], taxonomy, embed)).category == "stain"
    metal = only(match([RawName("s", "blot", "", "metals")], taxonomy, embed))
    assert metal.decided_by == "unmatched" and "stain" not in dict(metal.near)


def test_likeness_never_joins_two_classes_of_one_set(taxonomy: Taxonomy) -> None:
    embed = Plane(gap=1, opening=2)
    raws = [RawName("s", "hole"), RawName("s", "gap"), RawName("t", "opening"), RawName("t", "gap")]
    decided = {(m.source, m.raw): (m.category, m.decided_by) for m in match(raws, taxonomy, embed).merges}
    assert decided == {
        ("s", "hole"): ("hole", "exact"),
        ("s", "gap"): ("gap", "unmatched"),
        ("t", "gap"): ("hole", "text"),  # the surer one of the two
        ("t", "opening"): ("opening", "unmatched"),
    }


def test_images_decide_where_texts_do_not(taxonomy: Taxonomy) -> None:
    embed = Plane(type_a=240, type_b=241, gap=1)
    pictures = Pictures(type_a=("pin hole", 0.85), type_b=("crack", 0.75), gap=("crack", 0.99))
    raws = [RawName("s", "type a", "boards", "metals"), RawName("s", "type b", "boards", "metals")]
    matching = match([*raws, RawName("s", "gap")], taxonomy, embed, image_text=pictures, crops=pictures.crops)
    text, by_image, unsure = matching.merges
    assert (text.category, text.decided_by) == ("hole", "text")
    assert (by_image.category, by_image.decided_by) == ("pin hole", "image")
    assert by_image.score == pytest.approx(0.85, abs=1e-4)  # the mean over both crops
    assert (unsure.category, unsure.decided_by) == ("type b", "unmatched")
    assert unsure.score == pytest.approx(0.7547, abs=1e-4)  # fissure, by text, is more than 0.75 by image
    assert pictures.asked == ["type a", "type b"]
    assert pictures.texts == ["hole: Round.", "pin hole: Tiny.", "crack: Thin line."]  # what metals have


def test_images_alone_decide_without_a_text_model(taxonomy: Taxonomy) -> None:
    pictures = Pictures(x=("stain", 0.9))
    matching = match(
        [RawName("s", "x"), RawName("s", "y")], taxonomy, None, image_text=pictures, crops=pictures.crops
    )
    assert [(m.category, m.decided_by) for m in matching.merges] == [("stain", "image"), ("y", "unmatched")]


def test_a_person_stands_over_every_machine(taxonomy: Taxonomy) -> None:
    review = Review(
        {"hole": "stain", "gap": None, "fissure": None},
        {"t": {"hole": None, "gap": "crack"}, "u": {"x": "hole"}},
    )
    raws = [RawName(source, name) for source in "st" for name in ("hole", "gap", "fissure")]
    matching = match(raws, taxonomy, Plane(hole_t=90, gap=1), review=review)
    assert matching.category_of == {
        ("s", "hole"): "stain",
        ("s", "gap"): "gap",
        ("s", "fissure"): "fissure",
        ("t", "hole"): "hole (t)",  # apart, though the taxonomy has that name
        ("t", "gap"): "crack",
        ("t", "fissure"): "fissure",
    }
    assert {merge.decided_by for merge in matching.merges} == {"review"}
    assert [merge.score for merge in matching.merges if merge.source == "s"] == [None, None, 0.0]
    assert matching.unused_reviews == (("u", "x"),)


def test_near_names_are_listed(taxonomy: Taxonomy) -> None:
    raws = [RawName("s", "hole"), RawName("s", "pin hole"), RawName("t", "stain")]
    matching = match(raws, taxonomy, Plane())
    assert matching.near_names == (NearNames("hole", "pin hole", 0.7431),)
    assert near_names(["hole", "pin hole", "perforation"], Plane(), 0.9) == (
        NearNames("hole", "perforation", 0.9397),
        NearNames("pin hole", "perforation", 0.9272),
    )


def test_the_order_of_the_names_does_not_matter(taxonomy: Taxonomy) -> None:
    names = ["gap", "opening", "hole", "blot", "split", "Fissure"]
    raws = [RawName(source, name, "", kind) for source in "ab" for name in names for kind in ("", "metals")]
    embed = Plane(gap=1, opening=2, blot=91, split=210)
    first = match(raws, taxonomy, embed)
    for seed in range(5):
        random.Random(seed).shuffle(raws)
        assert match(raws, taxonomy, embed) == first
    assert match([], taxonomy, embed).merges == ()


def test_the_review_file_is_a_template_that_keeps_what_people_decided(
    taxonomy: Taxonomy, tmp_path: Path
) -> None:
    review = Review({"blot": "stain"}, {"s": {"speck": None}})
    embed = Plane(blot=0, speck=0, gap=1, type_1=240)
    raws = [RawName("s", name) for name in ("blot", "speck", "gap", "hole")]
    matching = match([*raws, RawName("my: set", "Type_1")], taxonomy, embed, review=review)
    path = tmp_path / "review.yaml"
    write_review(path, matching)
    assert read_review(path, taxonomy.categories) == review
    text = path.read_text()
    assert (
        '# "my: set":\n#   "Type_1": null  # unmatched 0.77; near: crack 0.77, hole -0.50, stain -0.87\n'
        in text
    )
    assert '"hole":' not in text  # nothing to decide
    # Once the signs are gone, it says what the machine said.
    body = text[text.index('# "my: set"') :].replace("# ", "", 1).replace("#   ", "  ", 1)
    path.write_text(body)
    assert read_review(path, taxonomy.categories).by_source == {"my: set": {"type 1": None}}


def test_what_a_model_returns_is_checked(taxonomy: Taxonomy) -> None:
    def flat(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.ones(len(texts), np.float32)

    def narrow(crops: Sequence[NDArray[np.uint8]], texts: Sequence[str]) -> NDArray[np.float32]:
        return np.ones((len(crops), 1), np.float32)

    pictures = Pictures(x=("stain", 0.9))
    with pytest.raises(RtvpError, match=r"text model: expected .* rows"):
        match([RawName("s", "x")], taxonomy, flat)
    with pytest.raises(RtvpError, match=r"image-text model: expected scores of shape \(2, 4\), got \(2, 1\)"):
        match([RawName("s", "x")], taxonomy, None, image_text=narrow, crops=pictures.crops)
    with pytest.raises(RtvpError, match="pass both"):
        match([RawName("s", "x")], taxonomy, None, image_text=narrow)
    with pytest.raises(RtvpError, match="between 0 and 1"):
        match([RawName("s", "x")], taxonomy, None, threshold=80)


def test_cosines_of_two_lists() -> None:
    cosines = name_cosines(["hole", "stain"], ["stain", "crack", "hole"], Plane())
    assert cosines.tolist() == pytest.approx(np.array([[0, -1, 1], [1, 0, 0]]), abs=1e-4)
    assert name_cosines([], [], Plane()).size == 0
