from __future__ import annotations

from pathlib import Path

import pytest

from rtvp.errors import RtvpError
from rtvp.mmio.names import term
from rtvp.mmio.sources import source_table
from rtvp.mmio.taxonomy import Found, load_taxonomy, taxonomy

SUPER_CATEGORIES = (
    "automobile manufacturing",
    "daily necessities",
    "metallurgy",
    "precision electronics",
    "textiles",
    "wood processing",
)

SMALL = """
scenes: {cloth: textiles, rope: textiles, boards: wood, steel: metals}
categories:
- {name: knot, scenes: [cloth], description: D., looks: [tied yarn], synonyms: [lump]}
- {name: live knot, scenes: [boards], description: D., looks: [round branch], synonyms: [knot, sound knot]}
- {name: dent, scenes: [steel], description: D., looks: [hollow], synonyms: [lump, ding]}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "taxonomy.yaml").write_text(SMALL)
    return tmp_path / "taxonomy.yaml"


def test_the_packaged_taxonomy_has_the_size_of_the_papers() -> None:
    packaged = taxonomy()
    assert len(packaged.categories) == 100
    assert packaged.super_categories == SUPER_CATEGORIES
    assert len(packaged.scenes) >= 18
    shown = {scene for category in packaged.categories.values() for scene in category.scenes}
    assert shown == set(packaged.scenes)


def test_every_description_is_one_plain_sentence() -> None:
    descriptions = [category.description for category in taxonomy().categories.values()]
    assert len(set(descriptions)) == len(descriptions)
    for text in descriptions:
        assert text[0].isupper() and text.endswith(".") and text.count(".") == 1, text
        assert 6 <= len(text.split()) <= 30, text


def test_looks_can_stand_beside_names_in_training() -> None:
    categories = taxonomy().categories
    looks = [text for category in categories.values() for text in category.looks]
    assert len(set(looks)) == len(looks)
    holder = {term(text): name for name, category in categories.items() for text in category.terms}
    for name, category in categories.items():
        for text in category.looks:
            assert len(text.split()) >= 2 and text == text.strip() and not text.endswith("."), text
            assert holder.get(term(text), name) == name, text


def test_every_name_of_every_source_is_known_where_it_occurs() -> None:
    packaged = taxonomy()
    for name, source in source_table().items():
        assert packaged.scenes[source.scene] == source.super_category, name
        for category in source.categories:
            found = packaged.find(category, source.scene, source.super_category)
            assert found, f"{name}: {category}"
            assert source.scene in packaged.categories[found.category].scenes, f"{name}: {category}"


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("hole", "hole"),
        ("pinhole", "pin hole"),
        ("Pin_Hole", "pin hole"),
        ("missing hole", "missing hole"),
        ("blow hole", "blowhole"),
        ("punched hole", "punching hole"),
        ("blue hole", "blue hole"),
        ("knot hole", "missing knot"),
        ("Scratches", "scratch"),
    ],
)
def test_names_that_look_alike_stay_apart(name: str, category: str) -> None:
    found = taxonomy().find(name)
    assert found and found.category == category


def test_one_name_means_different_things_in_different_scenes() -> None:
    packaged = taxonomy()
    assert packaged.find("knot", "fabric", "textiles") == Found("knot", True)
    assert packaged.find("knot", "sawn wood", "wood processing") == Found("live knot", False)
    assert packaged.find("knot", "a new scene", "wood processing") == Found("live knot", False)
    assert packaged.find("short circuit", "solar cells", "precision electronics") == Found(
        "black core", False
    )
    assert packaged.find("short circuit", "new boards", "precision electronics") == Found(
        "short circuit", True
    )


def test_find_ranks_scene_then_super_category_then_the_own_name(path: Path) -> None:
    small = load_taxonomy(path)
    assert small.find("Knots") == Found("knot", True)
    assert small.find("knot", "boards") == Found("live knot", False)
    assert small.find("knot", "rope", "wood") == Found("live knot", False)
    assert small.find("lump") is None  # two claim it with equal right
    assert small.find("lump", super_category="metals") == Found("dent", False)
    assert small.find("lump", "rope", "textiles") == Found("knot", False)
    assert small.find("nothing") is None


def test_a_synonym_counts_within_its_super_category_only(path: Path) -> None:
    small = load_taxonomy(path)
    assert small.find("ding") == Found("dent", False)
    assert small.find("ding", super_category="wood") is None
    assert small.find("dent", super_category="wood") == Found("dent", True)


def test_super_categories_of_a_category(path: Path) -> None:
    small = load_taxonomy(path)
    assert small.super_categories == ("metals", "textiles", "wood")
    assert small.super_categories_of("live knot") == ("wood",)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("scenes: [cloth]", "scenes: [boards]", "both claim the name 'knot'"),
        ("name: live knot", "name: Knots", "lower case"),
        ("name: live knot", "name: knots", "both claim the name 'knot'"),
        ("name: dent", "name: knot", "both claim the name 'knot'"),
        ("scenes: [cloth]", "scenes: [silk]", "expected scenes of the list, got ['silk']"),
        ("scenes: [cloth]", "scenes: []", "at least 1"),
        ("description: D.", "descripton: D.", "descripton"),
        ("looks: [hollow]", "looks: [1]", "valid string"),
    ],
)
def test_a_taxonomy_that_contradicts_itself_is_refused(path: Path, old: str, new: str, what: str) -> None:
    assert old in SMALL
    path.write_text(SMALL.replace(old, new, 1))
    with pytest.raises(RtvpError) as caught:
        load_taxonomy(path)
    assert what in str(caught.value)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
