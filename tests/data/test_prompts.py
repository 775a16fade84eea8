import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvp.data.prompts import MAX_FILE_BYTES, parse_prompts, read_prompts_file
from rtvp.errors import RtvpError
from rtvp.types import Prompt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scratch", (Prompt("scratch"),)),
        ("scratch, oil stain", (Prompt("scratch"), Prompt("oil stain"))),
        (" scratch ,\n\toil \t stain\r\n,", (Prompt("scratch"), Prompt("oil stain"))),
        ("scratch: thin  line | groove , dent", (Prompt("scratch", ("thin line", "groove")), Prompt("dent"))),
        ("scratch: | groove |", (Prompt("scratch", ("groove",)),)),
        ("Kratzer: ratio 3:1", (Prompt("Kratzer", ("ratio 3:1",)),)),
        ("部品の傷, Ölfleck", (Prompt("部品の傷"), Prompt("Ölfleck"))),
        ("bolt #3", (Prompt("bolt #3"),)),
    ],
)
def test_parse(text: str, expected: tuple[Prompt, ...]) -> None:
    assert parse_prompts(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "prompts: expected at least one prompt"),
        (" , \n", "prompts: expected at least one prompt"),
        ("scratch, : thin line", "prompts, entry 2: expected a name"),
        ("scratch, --", "prompts, entry 2: expected a name"),
        (
            "Scratch, dent, scratch",
            "prompts, entry 3: the name 'scratch' was given before, at prompts, entry 1",
        ),
        ("oil  stain, Oil Stain", "entry 2: the name 'Oil Stain' was given before"),
        ("scratch | groove", r"expected 'name: text \| text'"),
        ("dent, scr\x00atch", r"entry 2: expected plain text, got the character U\+0000"),
        ("scr\udcffatch", r"entry 1: expected plain text, got the character U\+DCFF"),
        ("a" * 1001, "entry 1: 1001 characters; expected at most 1000"),
    ],
)
def test_parse_errors(text: str, told: str) -> None:
    with pytest.raises(RtvpError, match=told):
        parse_prompts(text)


FILE = """\
# what the line camera should look for

scratch: thin bright line | shallow groove, open or closed   # the frequent one
  oil stain
bolt #3
    # the end
"""
FILE_PROMPTS = (
    Prompt("scratch", ("thin bright line", "shallow groove, open or closed")),
    Prompt("oil stain"),
    Prompt("bolt #3"),
)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
def test_read_file(tmp_path: Path, line_end: str, mark: bytes) -> None:
    path = tmp_path / "defects.txt"
    path.write_bytes(mark + FILE.replace("\n", line_end).encode())
    assert read_prompts_file(path) == FILE_PROMPTS


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "defects.txt: expected at least one prompt"),
        (b"# nothing\n\n", "defects.txt: expected at least one prompt"),
        (b"scratch\n: thin line\n", "defects.txt, line 2: expected a name"),
        (
            b"scratch\n\n# dents\nSCRATCH: groove\n",
            "line 4: the name 'SCRATCH' was given before, at .*, line 1",
        ),
        (b"scratch, oil stain\n", "line 1: a comma in the name; write one prompt a line"),
        (b"dent\n" + b"s" * 1001, "line 2: 1001 characters; expected at most 1000"),
        (b"dent\nscr\x07atch\n", r"line 2: expected plain text, got the character U\+0007"),
        (b"dent\r\n\xd6lfleck\r\n", "line 2: not UTF-8 text; save the file as UTF-8"),
        ("scratch\n".encode("utf-16"), "line 1: not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "line 1: not UTF-8 text"),
        (b"PK\x03\x04\x14\x00", r"line 1: expected plain text, got the character U\+0003"),
        (b"a\n" * MAX_FILE_BYTES, "over 4 MiB"),
    ],
)
def test_read_file_errors(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "defects.txt"
    path.write_bytes(content)
    with pytest.raises(RtvpError, match=told) as error:
        read_prompts_file(path)
    assert "defects.txt" in str(error.value)


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match=r"cannot read the prompts file .*absent\.txt: No such file"):
        read_prompts_file(tmp_path / "absent.txt")
    with pytest.raises(RtvpError, match="it is not a file"):
        read_prompts_file(tmp_path)
    with pytest.raises(RtvpError, match="cannot read the prompts file"):
        read_prompts_file(Path("nul\0in.txt"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RtvpError, match="it is not a file"):
        read_prompts_file(tmp_path / "pipe")


@given(noise=st.binary(max_size=200))
def test_any_bytes_give_prompts_or_one_line(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.mktemp("noise") / "defects.txt"
    path.write_bytes(noise)
    try:
        prompts = read_prompts_file(path)
    except RtvpError as error:
        assert "\n" not in str(error)
        assert "defects.txt" in str(error)
    else:
        assert prompts
        assert all(text == text.strip() != "" for prompt in prompts for text in prompt.all_texts)


NAMES = st.text("abcdefgh -'/", min_size=1).map(lambda name: f"x{' '.join(name.split())}y")
TEXTS = st.lists(NAMES, max_size=3).map(tuple)


@given(
    st.lists(st.builds(Prompt, NAMES, TEXTS), min_size=1, max_size=6, unique_by=lambda prompt: prompt.name)
)
def test_what_is_written_is_read_back(prompts: list[Prompt]) -> None:
    text = "\n".join(f"{prompt.name}: {' | '.join(prompt.texts)}" for prompt in prompts)
    assert parse_prompts(text) == tuple(prompts)
