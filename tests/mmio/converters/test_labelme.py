from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtvp.mmio.converters.labelme import convert_labelme
from rtvp.mmio.rle import decode_counts, parse_counts

Write = Callable[..., Path]


def shape(kind: str | None, points: Any, label: str = "dent", **more: Any) -> dict[str, Any]:
    typed = {} if kind is None else {"shape_type": kind}
    return {"label": label, "points": points, "group_id": None, "flags": {}, **typed, **more}


def labelme(*shapes: Any, image: str | None = "a.jpg", **more: Any) -> str:
    size = {"imageHeight": 50, "imageWidth": 100}
    content = {"version": "5.4", "shapes": shapes, "imagePath": image, "imageData": None, **size, **more}
    return json.dumps(content, indent=1)


@pytest.mark.parametrize(
    ("kind", "points", "box", "area"),
    [
        ("polygon", [[10, 5], [30, 5], [30, 25], [10, 25]], (10, 5, 30, 25), 400),
        (None, [[10, 5], [30, 5], [10, 25]], (10, 5, 30, 25), 200),  # files of old versions state no type
        ("rectangle", [[30, 25], [10, 5]], (10, 5, 30, 25), 400),
        ("rectangle", [[10, 5], [30, 5], [30, 25], [10, 25]], (10, 5, 30, 25), 400),
        ("circle", [[50, 25], [53, 29]], (45, 20, 55, 30), math.pi * 25),
        ("linestrip", [[10, 5], [20, 30], [30, 25]], (9.5, 4.5, 30.5, 30.5), None),
        ("line", [[10, 20], [40, 20]], (9.5, 19.5, 40.5, 20.5), None),
    ],
)
def test_every_type_of_shape(
    tmp_path: Path,
    write_image: Write,
    write_text: Write,
    kind: str,
    points: Any,
    box: tuple[float, ...],
    area: float | None,
) -> None:
    write_image("a.jpg")
    write_text("a.json", labelme(shape(kind, points)))
    (annotation,) = convert_labelme(tmp_path, masks=True).images[0].annotations
    assert annotation.box_xyxy == pytest.approx(box)
    assert convert_labelme(tmp_path).images[0].annotations[0].mask is None
    if area is None:
        assert annotation.mask is None
    else:
        assert annotation.mask is not None
        mask = decode_counts(parse_counts(annotation.mask, (100, 50)), (100, 50))
        assert mask.sum() == pytest.approx(area, abs=25)
        ys, xs = np.nonzero(mask)
        assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == pytest.approx(box, abs=1)


def test_points_have_no_area_unless_one_is_given(
    tmp_path: Path, write_image: Write, write_text: Write
) -> None:
    write_image("a.jpg")
    write_image("b.jpg")
    write_text("a.json", labelme(shape("point", [[20, 20]]), shape("rectangle", [[1, 1], [9, 9]])))
    write_text("b.json", labelme(shape("point", [[20, 20]]), image="b.jpg"))
    dropped = convert_labelme(tmp_path)
    assert [[item.box_xyxy for item in image.annotations] for image in dropped.images] == [[(1, 1, 9, 9)]]
    assert dropped.problems == {"image skipped: only points": 1, "point without area dropped": 2}
    kept = convert_labelme(tmp_path, point_size=6)
    assert kept.images[1].annotations[0].box_xyxy == (17, 17, 23, 23)


def test_shapes_of_one_group_are_one_defect(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    write_image("a.jpg")
    shapes = [
        shape("rectangle", [[1, 1], [9, 9]], group_id=3),
        shape("rectangle", [[50, 20], [60, 30]]),
        shape("rectangle", [[20, 1], [29, 12]], group_id=3),
        shape("rectangle", [[20, 1], [29, 12]], label="hole", group_id=3),
    ]
    write_text("a.json", labelme(*shapes))
    annotations = convert_labelme(tmp_path, names={"dent": "bump"}).images[0].annotations
    assert [(item.name, item.box_xyxy) for item in annotations] == [
        ("bump", (1, 1, 29, 12)),
        ("bump", (50, 20, 60, 30)),
        ("hole", (20, 1, 29, 12)),
    ]


@pytest.mark.parametrize(
    ("image", "label", "stated"),
    [
        ("set/a.jpg", "set/a.json", "a.jpg"),
        ("set/a.jpg", "set/a.json", "renamed before the export.jpg"),
        ("set/a.jpg", "set/a.json", None),
        ("set/images/a.jpg", "set/json/x.json", "..\\images\\a.jpg"),
    ],
)
def test_where_the_image_is_found(
    tmp_path: Path, write_image: Write, write_text: Write, image: str, label: str, stated: str | None
) -> None:
    path = write_image(image)
    write_text(label, labelme(shape("rectangle", [[1, 1], [9, 9]]), image=stated))
    conversion = convert_labelme(tmp_path)
    assert [item.path for item in conversion.images] == [path]
    assert conversion.problems == {}


def test_good_images(tmp_path: Path, write_image: Write, write_text: Write) -> None:
    write_image("bad/a.jpg")
    write_image("bad/unlabelled.jpg")
    write_image("fine/b.jpg")
    write_text("bad/a.json", labelme())
    write_text("bad/settings.json", "{}")
    conversion = convert_labelme(tmp_path, good_folders=["fine"])
    assert [(item.path.name, item.annotations) for item in conversion.images] == [
        ("a.jpg", ()),
        ("b.jpg", ()),
    ]
    assert conversion.problems == {"image without label file": 1, "json file is not LabelMe": 1}


def test_other_encodings(tmp_path: Path, write_image: Write) -> None:
    write_image("a.jpg")
    text = labelme(shape("rectangle", [[1, 1], [9, 9]], label="凸粉")).encode().decode("unicode_escape")
    (tmp_path / "a.json").write_bytes(text.encode("gbk"))
    assert convert_labelme(tmp_path, encoding="gbk").images[0].annotations[0].name == "凸粉"
    assert convert_labelme(tmp_path).problems == {
        "image without label file": 1,
        "label file does not parse": 1,
    }


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (labelme(shape("polygon", [[1, 1], [9, float("nan")]])), 4, "malformed shape"),
        (labelme(shape("polygon", [[1, 1], [9, float("inf")]])), 4, "malformed shape"),
        (labelme(shape("circle", [[1, 1]])), 4, "malformed shape"),
        (labelme(shape("ellipsoid", [[1, 1], [9, 9]])), 4, "malformed shape"),
        (labelme(shape(["circle"], [[1, 1], [9, 9]])), 4, "malformed shape"),  # type: ignore[arg-type]
        (labelme(shape("polygon", [[1, 1, 1]])), 4, "malformed shape"),
        (labelme(shape("polygon", "points")), 4, "malformed shape"),
        (labelme("shape"), 4, "malformed shape"),
        (labelme(imageHeight=10**9, imageWidth=10**9), 1, "absurd declared size"),
        (labelme(image="../../etc/passwd"), 1, "outside the folder"),
        (labelme(shape("polygon", [[1, 1], [9, 9]]))[:90], None, "does not parse"),
    ],
)
def test_malformed_files_are_reported_and_give_nothing(
    tmp_path: Path, write_image: Write, write_text: Write, text: str, line: int | None, problem: str
) -> None:
    write_image("a.jpg")
    write_text("a.json", text)
    conversion = convert_labelme(tmp_path)
    assert conversion.images == ()
    assert [key for key in conversion.problems if problem in key]
    (broken,) = conversion.broken
    assert broken.startswith("a.json:" if line is None else f"a.json:{line}: expected")
