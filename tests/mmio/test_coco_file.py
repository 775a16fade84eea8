from __future__ import annotations

import json
import random
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated_items import coco_files
from hypothesis import given, settings
from pycocotools import mask as reference_mask
from pycocotools.coco import COCO

from rtvp.errors import RtvpError
from rtvp.mmio.coco_file import CocoFile, read_coco_file, to_items, write_coco_file
from rtvp.mmio.schema import Annotation, ImageRecord, Item

ITEM = Item(
    "tiles", "a/1.png", 40, 30, "f" * 64, "tiles/g", (Annotation("dent, deep", (1.004, 2, 10.239, 30)),)
)


def document(**lists: Any) -> dict[str, Any]:
    """A small COCO document as others write it."""
    return {
        "images": [{"id": 7, "file_name": "b/x.jpg", "width": 40, "height": 30}],
        "annotations": [{"id": 0, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3.5, 4]}],
        "categories": [{"id": 3, "name": "dent"}, {"id": 1, "name": "hole", "supercategory": "metal"}],
    } | lists


def masked(counts: str) -> dict[str, Any]:
    """An annotation with a mask of these counts."""
    mask = {"size": [30, 40], "counts": counts}
    return {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4], "segmentation": mask}


@pytest.mark.parametrize("prefixed", [False, True])
@given(coco=coco_files(sources=("tiles", "1")))
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read_again(prefixed: bool, coco: CocoFile) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "coco.json")
        write_coco_file(path, reversed(coco.items), coco.categories, prefix_source=prefixed)
        assert read_coco_file(path) == coco
        first = path.read_bytes()
        write_coco_file(path, coco.items, coco.categories, prefix_source=prefixed)
        assert path.read_bytes() == first
        assert [child.name for child in Path(folder).iterdir()] == ["coco.json"]


def test_the_document(tmp_path: Path) -> None:
    path = tmp_path / "new" / "coco.json"
    good = Item("tiles", "b.png", 5, 6, "", "tiles/b", ())
    write_coco_file(
        path, [good, ITEM], ["hole", "dent, deep"], supercategories={"hole": "metal"}, info={"seed": 3}
    )
    assert json.loads(path.read_text(encoding="ascii")) == {
        "info": {"seed": 3},
        "categories": [{"id": 1, "name": "hole", "supercategory": "metal"}, {"id": 2, "name": "dent, deep"}],
        "images": [
            {
                "id": 1,
                "file_name": "a/1.png",
                "width": 40,
                "height": 30,
                "source": "tiles",
                "sha256": "f" * 64,
                "group": "tiles/g",
            },
            {
                "id": 2,
                "file_name": "b.png",
                "width": 5,
                "height": 6,
                "source": "tiles",
                "sha256": "",
                "group": "tiles/b",
            },
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 2,
                "bbox": [1.0, 2, 9.24, 28],
                "area": 258.72,
                "iscrowd": 0,
            }
        ],
    }
    assert read_coco_file(path).supercategories == {"hole": "metal"}
    assert COCO(str(path)).getAnnIds(imgIds=[1]) == [1]


def test_masks_are_kept_with_their_area(tmp_path: Path) -> None:
    pixels = [[0, 1, 1], [0, 1, 0]]
    counts = reference_mask.encode(np.asfortranarray(pixels, np.uint8))["counts"].decode()
    item = Item("s", "a.png", 3, 2, "", "s/a", (Annotation("dent", (1, 0, 3, 2), counts),))
    path = tmp_path / "coco.json"
    write_coco_file(path, [item], ["dent"])
    assert read_coco_file(path).items == (item,)
    reference = COCO(str(path))
    assert reference.anns[1]["area"] == 3
    assert reference.annToMask(reference.anns[1]).tolist() == pixels


def test_the_source_is_taken_off_only_where_it_was_put_on(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    item = Item("tiles", "tiles/1.png", 4, 4, "", "tiles/1", ())
    for prefixed, name in ((False, "tiles/1.png"), (True, "tiles/tiles/1.png")):
        write_coco_file(path, [item], [], prefix_source=prefixed)
        assert json.loads(path.read_text())["images"][0]["file_name"] == name
        assert read_coco_file(path).items == (item,)


def test_items_of_records(tmp_path: Path) -> None:
    image = tmp_path / "sub" / "a.png"
    image.parent.mkdir()
    image.write_bytes(b"abc")
    record = ImageRecord(image, 4, 3, ITEM.annotations, "g")
    (item,) = to_items([record], "tiles", tmp_path)
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert item == Item("tiles", "sub/a.png", 4, 3, digest, "tiles/g", ITEM.annotations)
    assert to_items([record], "tiles", tmp_path, hash=lambda path: path.name)[0].sha256 == "a.png"


@pytest.mark.parametrize(
    ("items", "categories", "message"),
    [
        ([ITEM, ITEM], ["dent, deep"], "images: expected each once, got 'tiles/a/1.png' 2 times"),
        ([ITEM], ["dent, deep", "dent, deep"], "categories: expected each once"),
        ([ITEM], ["hole"], "tiles/a/1.png: expected a name out of the 1 categories, got 'dent, deep'"),
    ],
)
def test_nothing_is_written_of_what_would_be_ambiguous(
    tmp_path: Path, items: list[Item], categories: list[str], message: str
) -> None:
    with pytest.raises(RtvpError, match=message):
        write_coco_file(tmp_path / "coco.json", items, categories)
    assert list(tmp_path.iterdir()) == []


def test_writing_holds_one_entry_at_a_time(tmp_path: Path) -> None:
    class Endless(tuple[Annotation, ...]):
        """Says that it holds 4,000 annotations without holding them."""

        def __iter__(self) -> Iterator[Annotation]:
            edges = random.Random(0)
            return (Annotation("dent", (edges.random(), 0, 30, 30)) for _ in range(4_000))

    item = Item("s", "a.png", 40, 40, "", "s/a", Endless())
    path = tmp_path / "coco.json"
    tracemalloc.start()
    write_coco_file(path, [item], ["dent"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 400_000
    assert peak < 100_000


def test_files_of_others_are_read_in_any_order_of_their_parts(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    others = document()
    for order in (list(others), list(reversed(others))):
        path.write_text(json.dumps({key: others[key] for key in order}, indent=2), encoding="utf-8-sig")
        coco = read_coco_file(path)
        assert coco.categories == ("hole", "dent")
        assert coco.supercategories == {"hole": "metal"}
        assert coco.items == (Item("", "b/x.jpg", 40, 30, "", "x", (Annotation("dent", (1, 2, 4.5, 6)),)),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": [{"id": 1, "width": 4, "height": 4}]}, r":1: images\[0\]: file_name: Field required"),
        ({"images": document()["images"] * 2}, r"images\[1\]: expected each id once, got 7 again"),
        ({"images": {}}, "images"),
        ({"annotations": 3}, "annotations"),
        ({"images": [{"id": 7, "file_name": "x", "width": 10**9, "height": 9}]}, "at most [0-9]+ pixels"),
        (
            {"images": [{"id": 7, "file_name": "x", "width": 0, "height": 9}]},
            "width: Input should be greater",
        ),
        ({"annotations": [masked("~~")]}, "segmentation: expected COCO's compressed run lengths"),
        ({"annotations": [masked("01")]}, "segmentation: expected run lengths that sum to 40 x 30"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, float("nan"), 4]}]}, "bbox.2"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 4]}]}, "at least 4 items"),
        ({"annotations": [{"image_id": 7, "category_id": 4, "bbox": [1, 2, 3, 4]}]}, "category, got 4"),
        ({"annotations": [{"image_id": 8, "category_id": 3, "bbox": [1, 2, 3, 4]}]}, "an image of the file"),
        ({"annotations": ["x"]}, r"annotations\[0\]"),
        ({"categories": document()["categories"][:1] * 2}, "each id once, got 3 again"),
    ],
)
def test_what_is_no_coco_is_refused_with_its_place(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(document(**change)))
    with pytest.raises(RtvpError, match=message) as caught:
        read_coco_file(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "C:\\x.jpg", "..\\x.jpg", "\0", " "]
)
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "coco.json"
    images = [{"id": 7, "file_name": name, "width": 4, "height": 4}]
    path.write_text(json.dumps(document(images=images), indent=1))
    with pytest.raises(
        RtvpError, match=r"coco\.json:3: images\[0\]: file_name: .*below the folder of the images"
    ):
        read_coco_file(path)


def test_a_document_without_its_lists_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    path.write_text('{"images": [], "categories": []}')
    with pytest.raises(RtvpError, match="found no annotations"):
        read_coco_file(path)
    path.write_text('{"images": [], "categories": [], "annotations": []}')
    assert read_coco_file(path) == CocoFile((), ())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, write_text: Callable[..., Path]) -> None:
    path = write_text("coco.json", "old")
    with pytest.raises(RtvpError):
        write_coco_file(path, [ITEM], [])
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["coco.json"]
