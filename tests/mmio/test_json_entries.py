from __future__ import annotations

from pathlib import Path

import pytest

from rtvp.errors import RtvpError
from rtvp.mmio.json_entries import Entry, read_json_entries


def test_entries_name_their_places_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a":\r\n [1,\r\n {"b": [2]}\r\n], "c": [],\n\n "d": ["e"]}\n')
    assert list(read_json_entries(path, ("a", "c"))) == [
        Entry("a", 0, 1, 2),
        Entry("a", 1, {"b": [2]}, 3),
        Entry("d", 0, ["e"], 6),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": [1,\n2', "a.json:2: expected a whole JSON object"),
        (b'{"a": [1,\n {"b": 2', "a.json:2: expected a whole JSON object"),
        (b'{"a": []}\n{}', "a.json:2: .*Extra data"),
        (b"[]", "a.json:1: "),
        (b'{"a":\n "\xe9"}', "a.json:2: expected UTF-8 text"),
        (b'{"a":\n' + b"[" * 200_000, "a.json:2: "),
        (b'{"a":\n [' + b"9" * 5000 + b"]}", "a.json:2: "),
        (b'{"b": []}', "expected the lists a, found no a"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(RtvpError, match=message) as caught:
        list(read_json_entries(path, ("a",)))
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
