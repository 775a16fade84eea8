from __future__ import annotations

from pathlib import Path

from rtvp.config import TrainConfig, load_config
from rtvp.data.glossary import descriptions, forbidden_words, glossary, says, synonyms
from rtvp.data.synthetic import DEFECT_NAMES, DESCRIPTIONS
from rtvp.mmio.names import term
from rtvp.mmio.sources import source_table
from rtvp.mmio.taxonomy import taxonomy


def test_names_and_descriptions_are_plain_texts() -> None:
    for name, texts in glossary().items():
        assert name == name.lower().strip() != ""
        assert texts, name
        assert len(set(texts)) == len(texts), name
        for text in texts:
            assert isinstance(text, str), f"{name}: {text!r} is not read as a text"
            assert len(text.split()) >= 2, f"{name}: {text!r} describes nothing"


def test_no_description_is_the_name_of_another_defect() -> None:
    """A comma too many in the file does that, and the model would learn that the two are one."""
    names = {*glossary(), *DEFECT_NAMES}
    for name, texts in {**DESCRIPTIONS, **glossary()}.items():
        assert not (names - {name}) & set(texts), name


def test_no_two_names_share_a_description() -> None:
    texts = [text for texts in glossary().values() for text in texts]
    assert len(texts) == len(set(texts))


def test_every_name_of_the_sets_that_were_trained_on_is_described() -> None:
    config = load_config(Path(__file__).parents[2] / "configs" / "shipped.yaml", TrainConfig)
    names = {name for source in config.data.sources for name in source_table()[source].categories}
    assert names <= set(glossary())


def test_an_excluded_name_is_found_in_any_writing_and_order() -> None:
    forbidden = forbidden_words(["pin hole", "no such category"])
    for text in (
        "pin hole",
        "Pin-Holes",
        "pinhole",
        "small dark pinhole",
        "hole of a pin",
        "no such category",
    ):
        assert says(text, forbidden), text
    for text in ("hole", "pin", "missing hole", "category"):
        assert not says(text, forbidden), text


def test_the_generic_name_is_never_forbidden() -> None:
    """The taxonomy has it as a synonym of categories that sets call by nothing else."""
    assert "defect" in taxonomy().categories["weld defect"].synonyms
    forbidden = forbidden_words(["weld defect"])
    assert says("weld defects", forbidden) and not says("defect", forbidden)


def test_no_text_of_training_says_an_excluded_name() -> None:
    excluded = frozenset({"stain", "pin hole", "break", "crack"})
    forbidden = forbidden_words(excluded)
    before = {**descriptions(), **synonyms()}
    assert any(says(text, forbidden) for texts in before.values() for text in texts)
    for texts in (descriptions(excluded), synonyms(excluded)):
        assert not excluded & set(texts)
        assert not [text for own in texts.values() for text in own if says(text, forbidden)]
        assert all(texts.values()), "a name without texts is left out"


def test_descriptions_are_those_of_real_and_generated_defects() -> None:
    texts = descriptions()
    assert set(texts) == {*glossary(), *DEFECT_NAMES}
    assert texts["crack"] == glossary()["crack"] and texts["burr"] == DESCRIPTIONS["burr"]


def test_a_synonym_means_one_category() -> None:
    texts = synonyms()
    terms = [term(text) for own in texts.values() for text in own]
    assert "defect" not in terms
    assert not set(terms) & {term(name) for name in taxonomy().categories}
    for name, own in texts.items():
        assert set(own) <= set(taxonomy().categories[name].synonyms)
