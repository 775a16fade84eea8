from pathlib import Path

import pytest

from rtvp.errors import RtvpError
from rtvp.models.text_encoder import make_text_encoder


def test_minilm() -> None:
    encoder = make_text_encoder("minilm")
    assert (encoder.name, encoder.width) == ("minilm", 384)
    assert encoder.version


@pytest.mark.parametrize("spec", ["", "bert", "minilm:", "minilm:large", "clip", "clip:", ":", "Minilm"])
def test_other_words_are_told(spec: str) -> None:
    with pytest.raises(RtvpError, match="expected minilm or clip:FOLDER_OR_HUB_NAME, got"):
        make_text_encoder(spec)


def test_clip_reads_what_follows_the_first_colon(tmp_path: Path) -> None:
    folder = tmp_path / "odd:name"
    folder.mkdir()
    with pytest.raises(RtvpError, match="odd:name lacks"):
        make_text_encoder(f"clip:{folder}")
