from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rtvp.mmio.converters.voc import convert_voc
from rtvp.mmio.schema import Annotation

Write = Callable[..., Path]


def xml(filename: str, *objects: tuple[str, object, object, object, object]) -> str:
    items = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2 in objects
    )
    return f"<annotation><filename>{filename}</filename>{items}</annotation>"


def test_sibling_folders_names_and_good_images(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    image = write_image("set/IMAGES/a.jpg")
    good = write_image("set/IMAGES/b.jpg")
    write_text("set/ANNOTATIONS/a.xml", xml("a.jpg", ("scratches", 2, 3, 40, 50), ("dent", 5.5, 6, 20, 30)))
    write_text("set/ANNOTATIONS/b.xml", xml("b.jpg"))
    conversion = convert_voc(tmp_path, names={"scratches": "scratch"})
    assert [item.path for item in conversion.images] == [image, good]
    first, second = conversion.images
    assert (first.width, first.height, first.group) == (100, 50, "a")
    assert first.annotations == (Annotation("scratch", (2, 3, 40, 50)), Annotation("dent", (5.5, 6, 20, 30)))
    assert second.annotations == ()
    assert conversion.problems == {}


def test_the_nearest_image_counts_and_wrong_file_names_fall_back_on_the_label(
    tmp_path: Path, write_image: Write, write_text: Write
) -> None:
    write_image("copies/IMAGES/a.jpg", size=(10, 10))
    near = write_image("set/IMAGES/a.jpg")
    named_by_label = write_image("set/IMAGES/b.rf.12.png")
    write_text("set/ANNOTATIONS/a.xml", xml("a", ("dent", 1, 1, 9, 9)))
    write_text("set/ANNOTATIONS/b.rf.12.xml", xml("unknown.jpg", ("dent", 1, 1, 9, 9)))
    conversion = convert_voc(tmp_path)
    assert [item.path for item in conversion.images] == [near, named_by_label]
    assert conversion.problems == {"image without label file": 1}


def test_faulty_labels_are_counted_and_skipped(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    for name in "abcdef":
        write_image(f"{name}.jpg")
    write_text("a.xml", xml("../a.jpg", ("dent", 1, 1, 9, 9)))
    write_text("b.xml", xml("b.jpg", ("dent", 1, "", 9, 9)))
    write_text("c.xml", xml("c.jpg", ("dent", 1, "nan", 9, 9)))
    write_text("d.xml", "<annotation><object>")
    write_text("e.xml", '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>')
    (tmp_path / "f.jpg").write_bytes(b"broken")
    write_text("f.xml", xml("f.jpg", ("dent", 1, 1, 9, 9)))
    write_text("g.xml", xml("g.jpg", ("dent", 1, 1, 9, 9)))
    conversion = convert_voc(tmp_path)
    assert conversion.images == ()
    assert conversion.problems == {
        "image does not open": 1,
        "image skipped: malformed box": 2,
        "image without label file": 3,
        "label file does not parse": 2,
        "label names a missing image": 1,
        "label names a path outside the folder": 1,
    }
    assert [line.split(" ")[0] for line in conversion.broken] == [
        "a.xml:1:",
        "b.xml:1:",
        "c.xml:1:",
        "d.xml:1:",
        "e.xml:1:",
        "f.jpg:",
    ]


def test_two_labels_of_one_image(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    write_image("a.jpg")
    write_text("a.xml", xml("a.jpg", ("dent", 1, 1, 9, 9)))
    write_text("b.xml", xml("a.jpg", ("hole", 1, 1, 9, 9)))
    conversion = convert_voc(tmp_path)
    assert [item.name for item in conversion.images[0].annotations] == ["dent"]
    assert conversion.problems == {"second label of an image ignored": 1}


BOMB = """<?xml version="1.0"?>
<!DOCTYPE bomb [
<!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
]>
<annotation><filename>&c;</filename></annotation>"""


def pretty(*boxes: str, size: str = "<width>100</width><height>50</height>") -> str:
    items = "".join(f"<object>\n<name>dent</name>\n{box}</object>\n" for box in boxes)
    return f"<annotation>\n<size>{size}</size>\n{items}</annotation>\n"


def box(xmin: object) -> str:
    return f"<bndbox><xmin>{xmin}</xmin><ymin>5</ymin><xmax>30</xmax><ymax>25</ymax></bndbox>\n"


@pytest.mark.parametrize(
    ("content", "place", "problem"),
    [
        (BOMB.encode(), "a.xml:3", "label file does not parse"),
        (pretty(box(1), box("nan")).encode(), "a.xml:7", "image skipped: malformed box"),
        (pretty(box(1), box("-inf")).encode(), "a.xml:7", "image skipped: malformed box"),
        (pretty(box(1), "<polygon/>").encode(), "a.xml:7", "image skipped: malformed box"),
        (pretty(box(1))[:-20].encode(), "a.xml:6", "label file does not parse"),
        (b"<annotation>\n<name>\xe9</name></annotation>", "a.xml:2", "label file does not parse"),
        (b'<?xml version="1.0" encoding="klingon"?><annotation/>', "a.xml:1", "label file does not parse"),
        (b"", "a.xml:1", "label file does not parse"),
        (
            pretty(box(1), size="<width>1000000000</width><height>1000000000</height>").encode(),
            "a.xml:2",
            "image skipped: absurd declared size",
        ),
        (
            b"<annotation>\r\n<filename>../../x.jpg</filename></annotation>",
            "a.xml:2",
            "label names a path outside the folder",
        ),
    ],
)
def test_hostile_files_are_reported_with_their_line(
    tmp_path: Path, write_image: Write, content: bytes, place: str, problem: str
) -> None:
    write_image("a.jpg")
    (tmp_path / "a.xml").write_bytes(content)
    conversion = convert_voc(tmp_path)
    assert conversion.images == ()
    assert conversion.problems[problem] == 1
    (line,) = conversion.broken
    assert line.startswith(f"{place}: expected") and len(line) < 250


def test_an_xml_file_may_state_its_encoding_and_a_false_size(tmp_path: Path, write_image: Write) -> None:
    write_image("a.jpg")
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + pretty(
        box(10), size="<width>50</width><height>0</height>"
    )
    (tmp_path / "a.xml").write_bytes(text.replace("dent", "Kräcker").encode("latin-1"))
    conversion = convert_voc(tmp_path)
    assert conversion.images[0].annotations == (Annotation("Kräcker", (10, 5, 30, 25)),)
    assert conversion.problems == {}
