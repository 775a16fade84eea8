from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rtvp.mmio.converters.deeppcb import convert_deeppcb

Write = Callable[..., Path]


@pytest.fixture
def board(tmp_path: Path, write_image: Write, write_text: Write) -> Path:
    for name in ("g/0/01_test.jpg", "g/0/01_temp.jpg", "g/0/02_test.jpg", "g/0/03_test.jpg"):
        write_image(name)
    write_text("g/0_not/01.txt", "10 20 30 40 1\n1 2 9 8 6\n")
    write_text("g/0_not/02.txt", "10,20,30,40,4\n")
    write_text("g/0_not/03.txt", "10 20 30 40 7\n")
    write_text("trainval.txt", "g/0/01.jpg g/0_not/01.txt\ng/0/03.jpg g/0_not/03.txt\nodd\n")
    write_text("test.txt", "g/0/02.jpg g/0_not/02.txt\ng/0/04.jpg g/0_not/04.txt\n../x.jpg g/0_not/01.txt\n")
    return tmp_path


def test_listed_pairs_templates_and_problems(board: Path) -> None:
    conversion = convert_deeppcb(board)
    assert [image.path.name for image in conversion.images] == ["01_temp.jpg", "01_test.jpg", "02_test.jpg"]
    template, first, second = conversion.images
    assert template.annotations == ()
    assert template.group == first.group == "01"
    assert [(item.name, item.box_xyxy) for item in first.annotations] == [
        ("open circuit", (10, 20, 30, 40)),
        ("pin hole", (1, 2, 9, 8)),
    ]
    assert second.annotations[0].name == "spur"
    assert conversion.problems == {
        "image skipped: malformed label line or unknown type": 1,
        "label names a path outside the folder": 1,
        "list names a missing image": 1,
        "malformed list line": 1,
    }
    assert [line.split(" ")[0] for line in conversion.broken] == [
        "trainval.txt:3:",
        "test.txt:3:",
        "g/0_not/03.txt:1:",
    ]


def test_templates_can_be_left_out_and_names_mapped(board: Path) -> None:
    conversion = convert_deeppcb(board, templates=False, names={"pin hole": None, "spur": "copper spur"})
    assert [[item.name for item in image.annotations] for image in conversion.images] == [
        ["open circuit"],
        ["copper spur"],
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"1 2 9 8 6\r\n1 2 nan 8 6\r\n", 2),
        (b"1 2 9 8 6\r1 2 9 8\r", 2),
        (b"1 2 9" + b"9" * 5000 + b" 8 6\n", 1),
        (b"1 2 9" + b"9" * 400 + b" 8 6\n", 1),
        (b"\n1 2 9 8 6 \xff\n", 2),
    ],
)
def test_malformed_lines_are_reported(board: Path, content: bytes, line: int) -> None:
    (board / "g/0_not/02.txt").write_bytes(content)
    conversion = convert_deeppcb(board, templates=False)
    assert [image.path.name for image in conversion.images] == ["01_test.jpg"]
    assert any(broken.startswith(f"g/0_not/02.txt:{line}: expected") for broken in conversion.broken)
    assert all(len(broken) < 200 for broken in conversion.broken)
