from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from tiny_sets import BOX, write_set

from rtvp.errors import RtvpError
from rtvp.mmio import sources as module
from rtvp.mmio.sources import Found, Source, available_sources, find_sources, load_source, source_table
from rtvp.mmio.splits import split_by_group
from rtvp.mmio.taxonomy import taxonomy

SUPER_CATEGORIES = {
    "automobile manufacturing",
    "daily necessities",
    "metallurgy",
    "precision electronics",
    "textiles",
    "wood processing",
}

# Images, good ones, boxes, groups of the development subset of each set.
EXPECTED = {
    "car-body-damage": (100, 0, 170, 100),
    "car-damage-coco": (69, 0, 162, 69),
    "car-damaged-parts": (700, 9, 1363, 700),
    "cookie": (24, 11, 16, 24),
    "deeppcb": (414, 54, 2408, 360),
    "fabric-hole": (60, 2, 58, 37),
    "fabric-roboflow": (22, 0, 29, 22),
    "garment-dirt": (133, 0, 176, 63),
    "gear-fault": (40, 5, 50, 40),
    "kolektorsdd": (60, 8, 54, 50),
    "leather-custom": (60, 0, 83, 60),
    "magnetic-tile": (506, 120, 443, 128),
    "metal-plate-mpdd": (40, 7, 46, 40),
    "neu-det": (1000, 0, 2292, 1000),
    "pill-mvtec": (40, 2, 55, 40),
    "screw-mvtec": (36, 0, 44, 32),
    "tile-mvtec": (24, 0, 24, 23),
    "train-wheel": (280, 0, 674, 280),
    "weld-bead": (30, 0, 75, 30),
    "welding-seam": (240, 85, 479, 69),
    "wood-surface": (30, 1, 99, 30),
    "workpiece-crack": (76, 3, 73, 6),
    "zipper-mvtec": (24, 0, 36, 21),
}

READABLE = sorted(name for name, source in source_table().items() if source.converter is not None)


def found(root: Path, name: str) -> Found:
    return next(entry for entry in find_sources(root) if entry.name == name)


def test_the_table_covers_the_scenes_of_the_benchmark() -> None:
    table = source_table()
    assert {source.super_category for source in table.values()} == SUPER_CATEGORIES
    assert len({source.scene for source in table.values()}) >= 18
    assert set(EXPECTED) == {name for name, source in table.items() if source.tried}
    assert list(table) == sorted(table)
    folders = Counter(source.folder for source in table.values())
    assert max(folders.values()) == 1, folders


@pytest.mark.parametrize("name", sorted(source_table()))
def test_every_source_is_described_in_full(name: str) -> None:
    source = source_table()[name]
    for field in ("scene", "home_page", "citation", "licence", "how_to_obtain", "layout", "label_format"):
        text = getattr(source, field)
        assert text == " ".join(text.split()), field
        assert len(text) > 2, field
    assert source.home_page.startswith(("http://", "https://")) or source.home_page == "not published"
    assert all(quirk == quirk.strip() != "" for quirk in source.quirks)
    assert source.categories
    for category in source.categories:
        assert category == category.lower().strip() and "_" not in category, category
    spellings = Counter(raw.casefold().replace("_", " ").replace("-", " ") for raw in source.names)
    assert max(spellings.values()) == 1, spellings


@pytest.mark.parametrize("path", sorted(Path(module.__file__).with_name("sources").glob("*.yaml")), ids=str)
def test_no_key_is_given_twice(path: Path) -> None:
    """YAML lets the last one win without a word."""

    def construct(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"line {node.start_mark.line + 1}: {keys}"
        return loader.construct_mapping(node, deep=True)

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, construct)
    content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    assert {source["super_category"] for source in content["sources"].values()} == {
        path.stem.replace("_", " ")
    }


@pytest.mark.parametrize("name", sorted(source_table()))
def test_its_names_are_in_the_taxonomy(name: str) -> None:
    source = source_table()[name]
    assert taxonomy().scenes[source.scene] == source.super_category
    for category in source.categories:
        match = taxonomy().find(category, source.scene, source.super_category)
        assert match is not None, category
        assert source.scene in taxonomy().categories[match.category].scenes, (category, match)


@pytest.mark.parametrize("name", READABLE)
def test_a_set_of_its_layout_is_found_and_read(name: str, tmp_path: Path) -> None:
    source = source_table()[name]
    folder = tmp_path / source.folder
    write_set(folder, source)
    entry = found(tmp_path, name)
    assert entry.missing == ()
    assert entry.readable
    assert entry.folder == folder
    assert available_sources(tmp_path) == (name,)

    images = load_source(tmp_path, name, masks=True).images
    assert entry.images_found == len(images)
    read = Counter(item.name for image in images for item in image.annotations)
    assert read == Counter(category for category in source.names.values() if category is not None)
    for item in (item for image in images for item in image.annotations):
        assert item.box_xyxy == pytest.approx(BOX)
    good = list(source.names.values()).count(None) + (
        source.files is not None and source.files.good is not None
    )
    assert sum(not image.annotations for image in images) == good


def test_what_is_missing_is_said_exactly(tmp_path: Path) -> None:
    entry = found(tmp_path, "neu-det")
    assert (entry.images_found, entry.published_images, entry.readable) == (0, 1800, False)
    assert entry.missing == ("the folder neu-det",)

    (tmp_path / "neu-det").mkdir()
    entry = found(tmp_path, "neu-det")
    assert not entry.readable
    assert entry.missing == (
        "images: nothing matches NEU-DET/IMAGES/*.jpg",
        "labels: nothing matches NEU-DET/ANNOTATIONS/*.xml",
    )

    write_set(tmp_path / "neu-det", source_table()["neu-det"])
    (tmp_path / "neu-det/NEU-DET/IMAGES/image_1.jpg").unlink()
    (tmp_path / "neu-det/NEU-DET/ANNOTATIONS/image_3.xml").unlink()
    (tmp_path / "neu-det/NEU-DET/ANNOTATIONS/image_4.xml").unlink()
    entry = found(tmp_path, "neu-det")
    assert (entry.images_found, entry.readable) == (5, True)
    assert entry.missing == (
        "the label file of 2 of 5 images, such as NEU-DET/IMAGES/image_3.jpg",
        "the image of 1 of 4 label files, such as NEU-DET/ANNOTATIONS/image_1.xml",
    )


def test_missing_tables_and_good_images_are_said(tmp_path: Path) -> None:
    write_set(tmp_path / "deeppcb", source_table()["deeppcb"])
    (tmp_path / "deeppcb/PCBData/test.txt").unlink()
    for template in (tmp_path / "deeppcb").rglob("*_temp.jpg"):
        template.unlink()
    entry = found(tmp_path, "deeppcb")
    assert (entry.images_found, entry.readable) == (6, False)
    assert entry.missing == (
        "lists: nothing matches PCBData/t*.txt",
        "good images: nothing matches PCBData/*/*/*_temp.jpg",
    )


def test_labels_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    """In MVTec AD the images of every defect are counted from 000."""
    folder = tmp_path / "pill-mvtec" / "pill"
    write_set(tmp_path / "pill-mvtec", source_table()["pill-mvtec"])
    shutil.copy(folder / "test/color/image_1.png", folder / "test/crack/image_1.png")
    assert found(tmp_path, "pill-mvtec").missing == (
        "the label file of 1 of 8 images, such as pill/test/crack/image_1.png",
    )


def test_what_cannot_be_read_is_listed_and_never_loaded(tmp_path: Path) -> None:
    (tmp_path / "glass-container").mkdir()
    entry = found(tmp_path, "glass-container")
    assert (entry.readable, entry.published_images) == (False, 625)
    assert entry.missing == ("a way to read its labels (not published)",)
    assert available_sources(tmp_path) == ()
    with pytest.raises(RtvpError, match=r"glass-container.*only listed"):
        load_source(tmp_path, "glass-container")


def test_unknown_sources_and_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="got 'nosuch'"):
        load_source(tmp_path, "nosuch")
    with pytest.raises(RtvpError, match=r"neu-det.*check the data folder"):
        load_source(tmp_path, "neu-det")
    assert available_sources(tmp_path) == ()
    assert not any(entry.images_found or entry.readable for entry in find_sources(tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"converter": "nosuch"}, "expected null or one of box_list, coco"),
        ({"converter": None}, "null for both"),
        ({"files": None}, "null for both"),
        ({"super_category": "food"}, "metallurgy"),
        ({"group_rule": "nosuch"}, "stem"),
        ({"names": {}}, "at least 1 item"),
        ({"citation": ""}, "at least 1 character"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_wrong_entry_is_refused(change: dict[str, Any], said: str) -> None:
    entry = {**source_table()["neu-det"].model_dump(), **change}
    with pytest.raises(ValidationError, match=said):
        Source.model_validate(entry)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_real_sets_are_read_as_counted(name: str) -> None:
    root = Path(os.environ.get("RTVP_DATA", "/nonexistent"))
    if name not in available_sources(root):
        pytest.skip(f"RTVP_DATA is unset or has no folder {source_table()[name].folder}")
    conversion = load_source(root, name)
    images = conversion.images
    counted = (
        len(images),
        sum(not image.annotations for image in images),
        sum(len(image.annotations) for image in images),
        len({image.group for image in images}),
    )
    assert counted == EXPECTED[name], conversion.problems
    known = set(source_table()[name].categories)
    assert {item.name for image in images for item in image.annotations} <= known
    train, validation = split_by_group(images)
    assert not {image.group for image in train} & {image.group for image in validation}
    assert 0.15 <= len(validation) / len(images) <= 0.27
    shown: Counter[str] = Counter(name for image in train for name in {a.name for a in image.annotations})
    assert set(shown) == {item.name for image in images for item in image.annotations}


def test_all_real_sets_are_found() -> None:
    root = Path(os.environ.get("RTVP_DATA", "/nonexistent"))
    if not root.is_dir():
        pytest.skip("needs the folder of the public data sets: set RTVP_DATA")
    entries = {entry.name: entry for entry in find_sources(root)}
    assert {name for name, entry in entries.items() if entry.readable} == set(EXPECTED)
    assert set(available_sources(root)) == set(EXPECTED)
    for name, (images, *_) in EXPECTED.items():
        assert entries[name].images_found >= images, name
        assert not any("nothing matches" in text for text in entries[name].missing), name
