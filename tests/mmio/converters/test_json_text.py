from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvp.mmio.converters.json_text import JsonMembers, read_items

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=4), st.sampled_from([None, 0, 2]))
@settings(max_examples=50, deadline=None)
def test_members_are_those_that_the_standard_reader_gives(
    content: dict[str, Any], indent: int | None
) -> None:
    text = json.dumps(content, indent=indent)
    whole = JsonMembers(text)
    assert {key: value for key, _, value in whole} == content
    assert whole.keys == set(content)
    arrays = {key for key, value in content.items() if isinstance(value, list)}
    split = JsonMembers(text, arrays)
    given_items: dict[str, list[Any]] = {key: [] for key in arrays}
    for key, _, value in split:
        if key in arrays:
            given_items[key].append(value)
    assert given_items == {key: content[key] for key in arrays}


@given(st.lists(values, max_size=5))
@settings(max_examples=30, deadline=None)
def test_items_are_those_that_the_standard_reader_gives(content: list[Any]) -> None:
    lines = [line for line, _ in read_items(json.dumps(content, indent=0))]
    assert [value for _, value in read_items(json.dumps(content))] == content
    assert lines == sorted(lines) and all(line >= 2 for line in lines)


def test_lines_are_those_of_the_items() -> None:
    text = '{\n"a": 1,\n"list": [\n {"x": 1},\n\n {"x":\n 2}, 3\n], "empty": [ ],\n"b":\n 2}\n'
    members = JsonMembers(text, {"list", "empty"})
    assert list(members) == [
        ("a", 2, 1),
        ("list", 4, {"x": 1}),
        ("list", 6, {"x": 2}),
        ("list", 7, 3),
        ("b", 10, 2),
    ]
    assert members.keys == {"a", "list", "empty", "b"}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "Expecting an object"),
        ("[]", 1, "Expecting an object"),
        ('{"a": [1,\n2', 2, "Expecting ',' or ']'"),
        ('{"a": [1,\n2,', 2, "Expecting value"),
        ('{"a": [1,\n2],\n', 3, "Expecting value"),
        ('{"a": [1,\n2]\n"b": 1}', 3, "Expecting ',' or '}'"),
        ('{"a": [1,\n]}', 2, "trailing comma"),
        ('{"b": 1,\n}', 2, "trailing comma"),
        ('{"b"\n 1}', 2, "Expecting ':'"),
        ("{1: 2}", 1, "name in quotes"),
        ('{"b": 1}\nx', 2, "Extra data"),
        ('{"b": "cut', 1, "Unterminated string"),
        ('{"b":\n' + "[" * 200_000, 2, "Nested too deeply"),
        ('{"b":\n' + "9" * 10_000 + "}", 2, "integer string conversion"),
    ],
)
def test_faults_are_named_with_their_line(text: str, line: int, message: str) -> None:
    with pytest.raises(json.JSONDecodeError, match="(?i)" + message.replace("'", ".")) as caught:
        list(JsonMembers(text, {"a"}))
    assert caught.value.lineno == line
