from __future__ import annotations

from pathlib import Path

from rtvp.config import TrainConfig, load_config
from rtvp.data.glossary import glossary
from rtvp.data.synthetic import DEFECT_NAMES, DESCRIPTIONS
from rtvp.mmio.sources import source_table


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
