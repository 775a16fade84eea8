from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.errors import RtvpError
from rtvp.mmio.names import term
from rtvp.mmio.review import Review, read_review, review_lines

CATEGORIES = ("crack", "hole", "stain", "no")


def read(tmp_path: Path, text: str) -> Review:
    path = tmp_path / "review.yaml"
    path.write_text(text, encoding="utf-8")
    return read_review(path, CATEGORIES)


def test_decisions_for_all_sets_and_for_one(tmp_path: Path) -> None:
    review = read(tmp_path, "Irregular_Hole: hole  # seen\nmy-set:\n  spot: stain\n  irregular hole: null\n")
    entry = review.entry_for("other", "irregular hole")
    assert entry and review.decision(entry) == "hole"
    scoped = review.entry_for("my-set", "irregular-holes")
    assert scoped and review.decision(scoped) is None
    assert review.entry_for("other", "spot") is None
    assert review.entries() == (("", "irregular hole"), ("my-set", "irregular hole"), ("my-set", "spot"))


def test_keys_and_values_are_names_whatever_yaml_thinks_of_them(tmp_path: Path) -> None:
    review = read(tmp_path, "no: crack\n1: hole\n1.0: no\n'null': ~\nyes:\n  off: stain\n")
    assert review.everywhere == {"no": "crack", "1": "hole", "1 0": "no", "null": None}
    assert review.by_source == {"yes": {"off": "stain"}}


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "my-set:\n  # nothing\n", "null\n"])
def test_nothing_but_comments_decides_nothing(tmp_path: Path, text: str) -> None:
    review = read(tmp_path, text)
    assert [entry for entry in review.entries() if entry != ("", "my set")] == []


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("spot: crak\n", 1, "did you mean 'crack'?"),
        ("a: hole\nspot: xyz\n", 2, "one of the taxonomy's names"),
        ("a: hole\nb: hole\nA: crack\n", 3, "another for 'A'"),
        ("s:\n  a: hole\nt:\n  a: hole\ns:\n  b: hole\n", 5, "'s' again"),
        ("s:\n  a: [hole]\n", 2, "got a list or a mapping"),
        ("s:\n  a: {b: hole}\n", 2, "got a list or a mapping"),
        ("- hole\n", 1, "'raw name: category'"),
        ("? [a, b]\n: hole\n", 1, "expected a name before the colon"),
    ],
)
def test_what_is_no_decision_is_told_with_its_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    with pytest.raises(RtvpError) as caught:
        read(tmp_path, text)
    assert f"review.yaml:{line}: " in str(caught.value) and what in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"a: [hole", b"a: \xff\xfe", b"[" * 1500, b"a: *x\n"])
def test_files_that_are_no_yaml(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "review.yaml").write_bytes(content)
    with pytest.raises(RtvpError, match=r"review.yaml"):
        read_review(tmp_path / "review.yaml", CATEGORIES)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="cannot read the review file"):
        read_review(tmp_path / "none.yaml", CATEGORIES)


CHOSEN = st.one_of(st.none(), st.sampled_from(CATEGORIES))
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufeff"), min_size=1
)
DECISIONS = st.dictionaries(NAMES.map(term), CHOSEN, max_size=4)


@given(DECISIONS, st.dictionaries(NAMES, DECISIONS.filter(bool), max_size=3))
@settings(max_examples=40, deadline=None)
def test_written_decisions_are_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    everywhere: dict[str, str | None],
    by_source: dict[str, dict[str, str | None]],
) -> None:
    everywhere = {key: value for key, value in everywhere.items() if key not in by_source}
    review = Review(everywhere, by_source)
    path = tmp_path_factory.mktemp("review") / "review.yaml"
    path.write_text("\n".join(review_lines(review)), encoding="utf-8")
    assert read_review(path, CATEGORIES) == review
