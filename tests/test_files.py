from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rtvp.errors import RtvpError
from rtvp.files import read_utf8, replacing, sha256_of, stays_below


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="no such file"):
        read_utf8(tmp_path / "a.json")
    with pytest.raises(RtvpError, match="it is a folder"):
        read_utf8(tmp_path)


def test_only_utf8_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\n\xc3\xa9")
    assert read_utf8(path) == "a\r\né"
    path.write_bytes(b"a\nb\n\xe9")
    with pytest.raises(RtvpError, match=r"a\.txt:3: expected UTF-8 text, got the byte 0xe9"):
        read_utf8(path)


def test_replacing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.txt"
    with replacing(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("second")
        raise KeyboardInterrupt
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(RtvpError, match="cannot write"), replacing(path / "b"):
        pass


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("a.jpg", True),
        ("a/b..c/d,e .jpg", True),
        ("./a", True),
        ("", False),
        ("a/..", False),
        ("\\\\h\\x", False),
    ],
)
def test_names_below(name: str, below: bool) -> None:
    assert stays_below(name) is below


def test_sha256_of_a_file_of_several_blocks(tmp_path: Path) -> None:
    content = bytes(range(256)) * 2**13  # 2 MiB
    (tmp_path / "large").write_bytes(content + b"end")
    assert sha256_of(tmp_path / "large") == hashlib.sha256(content + b"end").hexdigest()
