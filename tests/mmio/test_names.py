from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.mmio.names import content_words, plain, shared_words, term, words


@pytest.mark.parametrize(
    "name", ["pin hole", "Pin_Hole", "pin-hole", "PinHole", " PIN  HOLE ", "pin.holes", "Pin_holes"]
)
def test_ways_of_writing_a_name_are_one_term(name: str) -> None:
    assert term(name) == "pin hole"


@pytest.mark.parametrize(
    ("one", "other"),
    [("gray stroke", "Grey_strokes"), ("colour", "Color"), ("flat tyre", "flat tire"), ("patches", "patch"),
     ("broken tooth", "broken teeth"), ("scratches", "scratch"), ("rolled-in_scale", "rolled in scale"),
     ("bodies", "body"), ("boxes", "box"), ("glasses", "glass")],
)  # fmt: skip
def test_spelling_and_plural_do_not_matter(one: str, other: str) -> None:
    assert term(one) == term(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("pin hole", "hole"), ("pinhole", "pin hole"), ("scratched", "scratch"), ("glass", "glas"),
     ("断经", "松经")],
)  # fmt: skip
def test_different_names_are_different_terms(one: str, other: str) -> None:
    assert term(one) != term(other)


def test_words_of_camel_case_and_numbers() -> None:
    assert words("MT_Blowhole") == ("mt", "blowhole")
    assert words("XMLDefect2Crack") == ("xml", "defect2", "crack")
    assert plain("Oil_Spot-2") == "oil spot 2"


@pytest.mark.parametrize("name", ["", "--", "?!"])
def test_a_name_without_words_stands_for_itself(name: str) -> None:
    assert term(name) == plain(name) == name
    assert content_words(name) == ()


def test_content_words_leave_out_grammar_and_what_only_says_defect() -> None:
    assert content_words("holes on the surface") == ("hole", "surface")
    assert content_words("weld bead defect") == ("bead", "weld")
    assert content_words("gear fault") == ("gear",)
    assert content_words("Defect") == ("defect",)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("hole", "pin hole", ("hole",)),
        ("hole", "blowhole", ("hole",)),
        ("scratched head", "scratch", ("scratch",)),
        ("broken teeth", "break", ("break",)),
        ("welding line", "weld defect", ("weld",)),
        ("rolled-in scale", "rolled pit", ("rolled",)),
        ("pitted surface", "rolled pit", ("pit",)),
        ("split teeth", "broken tooth", ("tooth",)),
        ("damaged door", "car body damage", ("damage",)),
        ("peeling", "orange peel", ("peel",)),
        ("line defect", "weld defect", ()),
        ("pin", "spin", ()),
        ("crack", "scratch", ()),
        ("color defect", "gear fault", ()),
    ],
)
def test_shared_words(one: str, other: str, shared: tuple[str, ...]) -> None:
    assert shared_words(one, other) == shared
    assert shared_words(other, one) == shared


NAMES = st.lists(st.sampled_from(["holes", "pin", "Broken", "teeth", "İ", "of", "défaut", "2"]), min_size=1)


@given(NAMES, st.sampled_from([" ", "_", "-", "  "]))
@settings(max_examples=50, deadline=None)
def test_a_term_is_its_own_term(parts: list[str], sign: str) -> None:
    name = sign.join(parts)
    assert term(term(name)) == term(name) == term(name.upper())
    assert plain(plain(name)) == plain(name)
    assert bool(shared_words(name, name))
