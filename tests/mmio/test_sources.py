from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from rtvp.errors import RtvpError
from rtvp.mmio.sources import available_sources, load_source, source_table
from rtvp.mmio.splits import split_by_group

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
    "car-damaged-parts": (700, 9, 1363, 700),
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


def test_the_table_is_well_formed() -> None:
    table = source_table()
    assert {source.super_category for source in table.values()} == SUPER_CATEGORIES
    for name, source in table.items():
        assert source.categories, name
        for category in source.categories:
            assert category == category.lower().strip() and "_" not in category, (name, category)


@pytest.mark.parametrize("name", sorted(source_table()))
def test_the_options_of_every_source_are_known_to_its_converter(name: str, tmp_path: Path) -> None:
    folder = tmp_path / source_table()[name].folder
    folder.mkdir()
    (folder / "classes.txt").write_text("a\n")
    assert available_sources(tmp_path) == (name,)
    assert load_source(tmp_path, name).images == ()


def test_unknown_sources_and_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="got 'nosuch'"):
        load_source(tmp_path, "nosuch")
    with pytest.raises(RtvpError, match=r"neu-det.*check the data folder"):
        load_source(tmp_path, "neu-det")
    assert available_sources(tmp_path) == ()


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
