from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rtvp.errors import RtvpError
from rtvp.mmio.converters.mask import convert_mask
from rtvp.mmio.rle import decode_counts, parse_counts

Write = Callable[..., Path]
SIZE = (100, 50)


def mask_with(*boxes: tuple[int, int, int, int], value: int = 255) -> NDArray[np.uint8]:
    """[50, 100] mask whose ``boxes`` (xyxy) are filled with ``value``."""
    mask = np.zeros(SIZE[::-1], dtype=np.uint8)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] = value
    return mask


@pytest.mark.parametrize(
    ("image", "mask", "options"),
    [
        ("train/images/a.jpg", "train/masks/a.png", {}),
        ("Set/Train Images/images1/a.png", "Set/Train Images/masks1/a.png", {"images": "**/images*/*"}),
        ("images/a.jpg", "masks/a_mask.png", {"mask_suffix": "_mask"}),
        ("kos01/a.jpg", "kos01/a_label.bmp", {"mask_suffix": "_label", "mask_extension": ".bmp"}),
        ("MT_Crack/Imgs/a.jpg", "MT_Crack/Imgs/a.png", {}),
        (
            "pill/test/bent/a.png",
            "pill/ground_truth/bent/a_mask.png",
            {"images": "**/test/*/*", "folders": ("test", "ground_truth"), "mask_suffix": "_mask"},
        ),
    ],
)
def test_layouts(tmp_path: Path, write_image: Write, image: str, mask: str, options: dict[str, Any]) -> None:
    if Path(image).parent == Path(mask).parent:
        options = {"images": "**/*", "folders": None, **options}
    path = write_image(image)
    write_image(mask, mask_with((10, 5, 30, 25)))
    conversion = convert_mask(tmp_path, category="dent", **options)
    assert [record.path for record in conversion.images] == [path]
    assert [(item.name, item.box_xyxy) for item in conversion.images[0].annotations] == [
        ("dent", (10, 5, 30, 25))
    ]
    assert conversion.problems == {}


def as_rgb(mask: NDArray[np.uint8]) -> Image.Image:
    """A red defect with an antialiased (dark red) edge one pixel wide."""
    edge = np.zeros_like(mask)
    edge[4:26, 9:31] = 90
    red = np.maximum(mask, edge)
    return Image.fromarray(np.dstack([red, np.zeros_like(red), np.zeros_like(red)]))


def as_rgba(mask: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.dstack([mask, mask, mask, np.full_like(mask, 255)]))


def as_palette(mask: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(mask // 255).convert("P")
    image.putpalette([200, 200, 200, 0, 0, 0])  # brightness must come from the index, not the colour
    image.paste(1, (10, 5, 30, 25))
    return image


def as_bits(mask: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(mask).convert("1")


@pytest.mark.parametrize(
    ("make", "threshold"),
    [
        (Image.fromarray, 127),
        (lambda mask: Image.fromarray(mask // 255), 0),
        (as_rgb, 127),
        (as_rgba, 127),
        (as_palette, 0),
        (as_bits, 0),
    ],
)
def test_mask_encodings(
    tmp_path: Path,
    write_image: Write,
    make: Callable[[NDArray[np.uint8]], Image.Image],
    threshold: int,
) -> None:
    write_image("images/a.jpg")
    (tmp_path / "masks").mkdir()
    make(mask_with((10, 5, 30, 25))).save(tmp_path / "masks/a.png")
    conversion = convert_mask(tmp_path, threshold=threshold)
    assert [item.box_xyxy for item in conversion.images[0].annotations] == [(10, 5, 30, 25)]


def test_components_touch_at_corners_and_specks_are_dropped(tmp_path: Path, write_image: Write) -> None:
    write_image("images/a.jpg")
    mask = mask_with((10, 10, 14, 14), (14, 14, 18, 18), (40, 10, 43, 13), (60, 10, 64, 12), (99, 0, 100, 50))
    write_image("masks/a.png", mask)
    conversion = convert_mask(tmp_path)
    boxes = {item.box_xyxy for item in conversion.images[0].annotations}
    assert boxes == {(10, 10, 18, 18), (40, 10, 43, 13), (99, 0, 100, 50)}
    assert conversion.problems == {"mask component under 9 pixels dropped": 1}


def test_a_mask_of_another_size_is_scaled(tmp_path: Path, write_image: Write) -> None:
    write_image("images/a.jpg", size=(200, 100))
    write_image("masks/a.png", mask_with((10, 5, 30, 25)))
    conversion = convert_mask(tmp_path)
    assert [item.box_xyxy for item in conversion.images[0].annotations] == [(20, 10, 60, 50)]
    assert conversion.problems == {"mask scaled to the size of the image": 1}


def test_what_an_empty_mask_means_is_an_option(tmp_path: Path, write_image: Write) -> None:
    for name in ("Uneven", "Free"):
        write_image(f"{name}/images/{name}.jpg")
        write_image(f"{name}/masks/{name}.png", mask_with())
    assert [image.annotations for image in convert_mask(tmp_path).images] == [(), ()]
    strict = convert_mask(tmp_path, empty_mask="skip", good_folders=["Free"])
    assert [image.path.stem for image in strict.images] == ["Free"]
    assert strict.problems == {"image skipped: empty mask": 1}


def test_a_mask_with_nothing_usable_does_not_make_a_good_image(tmp_path: Path, write_image: Write) -> None:
    write_image("images/a.jpg")
    write_image("masks/a.png", mask_with((10, 5, 12, 7)))
    write_image("images/b.jpg")
    write_image("masks/b.png", mask_with((10, 5, 30, 25), value=100))
    conversion = convert_mask(tmp_path)
    assert conversion.images == ()
    assert conversion.problems["image skipped: mask without a usable component"] == 2


def test_good_folders_need_no_mask(tmp_path: Path, write_image: Write) -> None:
    write_image("test/good/000.png")
    write_image("test/bent/000.png")
    write_image("ground_truth/bent/000_mask.png", mask_with((10, 5, 30, 25)))
    conversion = convert_mask(
        tmp_path,
        images="test/*/*",
        folders=("test", "ground_truth"),
        mask_suffix="_mask",
        category_from="folder",
        group_rule="folder_stem",
    )
    assert [(image.group, len(image.annotations)) for image in conversion.images] == [
        ("bent/000", 1),
        ("good/000", 0),
    ]
    assert conversion.problems == {}


@pytest.mark.parametrize(
    ("image", "options", "category"),
    [
        ("MT_Crack/images/exp1_num_3.png", {"category_from": "folder", "folder_level": 2}, "MT_Crack"),
        ("images/rotated_30_thread_side_2.png", {"category_from": "file_name"}, "thread_side"),
        ("images/wringle_2.png", {"category_from": "file_name", "names": {"wringle": "wrinkle"}}, "wrinkle"),
    ],
)
def test_where_the_category_comes_from(
    tmp_path: Path, write_image: Write, image: str, options: dict[str, Any], category: str
) -> None:
    write_image(image)
    write_image(image.replace("images", "masks"), mask_with((10, 5, 30, 25)))
    (record,) = convert_mask(tmp_path, **options).images
    assert [item.name for item in record.annotations] == [category]


def test_faulty_files_are_counted_and_skipped(tmp_path: Path, write_image: Write) -> None:
    for name in ("a_1", "b_1", "nameless"):
        write_image(f"images/{name}.png")
        write_image(f"masks/{name}.png", mask_with((10, 5, 30, 25)))
    (tmp_path / "masks/a_1.png").unlink()
    whole = (tmp_path / "masks/b_1.png").read_bytes()
    (tmp_path / "masks/b_1.png").write_bytes(whole[: len(whole) // 2])
    write_image("masks/orphan_1.png", mask_with())
    conversion = convert_mask(tmp_path, category_from="file_name")
    assert conversion.images == ()
    assert conversion.problems == {
        "image skipped: its name has no class and number": 1,
        "image without mask": 1,
        "mask does not open": 1,
        "mask without image": 1,
    }


def test_unknown_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="mask_sufix"):
        convert_mask(tmp_path, mask_sufix="_mask")


@pytest.mark.parametrize(
    ("image", "masks", "template", "options"),
    [
        (
            "Class1/Train/0576.PNG",
            ["Class1/Train/Label/0576_label.PNG"],
            "{folder}/Label/{stem}_label.PNG",
            {},
        ),
        ("a.png", ["Label/a_label.png"], "{folder}/Label/{stem}_label.png", {}),
        ("Defect_images/a_1.png", ["Mask_images/a_1_mask1.png"], "Mask_images/{stem}_mask*.png", {}),
        ("oil/Oil_0001.jpg", ["ground_truth_1/Oil_0001.png"], "ground_truth_1/{stem}.png", {}),
    ],
)
def test_masks_found_by_a_template(
    tmp_path: Path, write_image: Write, image: str, masks: list[str], template: str, options: dict[str, Any]
) -> None:
    path = write_image(image)
    for mask in masks:
        write_image(mask, mask_with((10, 5, 30, 25)))
    conversion = convert_mask(tmp_path, images="**/*", masks_at=template, **options)
    assert [(item.path, len(item.annotations)) for item in conversion.images] == [(path, 1)]
    assert conversion.problems == {}


def test_several_masks_of_one_image_and_one_folder_per_class(tmp_path: Path, write_image: Write) -> None:
    write_image("images/a.png")
    write_image("images/b.png")
    write_image("masks/cut/a.png", mask_with((10, 5, 30, 25)))
    write_image("masks/hole/a.png", mask_with((50, 5, 60, 25)))
    write_image("masks/hole/b.png", mask_with((0, 0, 9, 9)))
    write_image("masks/hole/orphan.png", mask_with((0, 0, 9, 9)))
    conversion = convert_mask(tmp_path, masks_at="masks/{class}/{stem}.png", names={"cut": "slit"})
    assert [[(a.name, a.box_xyxy) for a in image.annotations] for image in conversion.images] == [
        [("slit", (10, 5, 30, 25)), ("hole", (50, 5, 60, 25))],
        [("hole", (0, 0, 9, 9))],
    ]
    assert conversion.problems == {"mask without image": 1}
    united = convert_mask(tmp_path, masks_at="masks/*/{stem}.png")
    assert [a.name for a in united.images[0].annotations] == ["defect", "defect"]


def test_an_image_without_mask_may_be_good(tmp_path: Path, write_image: Write) -> None:
    write_image("images/a.png")
    assert convert_mask(tmp_path).problems == {"image without mask": 1}
    assert [image.annotations for image in convert_mask(tmp_path, missing_mask="good").images] == [()]


def test_classes_by_pixel_value(tmp_path: Path, write_image: Write) -> None:
    for name in ("grey", "palette", "unnamed"):
        write_image(f"images/{name}.jpg")
    values = mask_with((10, 5, 30, 25), value=1)
    values[30:40, 50:70] = 7  # touches nothing
    values[5:25, 30:40] = 7  # touches the first
    write_image("masks/grey.png", values)
    palette = Image.fromarray(values, mode="P")
    palette.putpalette([9, 9, 9] * 8)
    palette.save(tmp_path / "masks/palette.png")
    write_image("masks/unnamed.png", np.where(values == 7, 8, values))
    conversion = convert_mask(tmp_path, classes={1: "oil", 7: "scratch"})
    expected = [("oil", (10, 5, 30, 25)), ("scratch", (30, 5, 40, 25)), ("scratch", (50, 30, 70, 40))]
    assert [[(a.name, a.box_xyxy) for a in image.annotations] for image in conversion.images] == [
        expected
    ] * 2
    assert conversion.problems == {"image skipped: mask value without a name": 1}
    assert conversion.broken == ("masks/unnamed.png: expected the values 1, 7 and 0, got 8",)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_classes_by_colour_with_blended_edges(tmp_path: Path, write_image: Write, mode: str) -> None:
    write_image("images/a.jpg")
    pixels = np.zeros((50, 100, 3), np.uint8)
    pixels[4:26, 9:31] = (90, 0, 0)  # a third of the red: outside
    pixels[5:25, 10:30] = (200, 0, 0)
    pixels[6:24, 11:29] = (255, 0, 0)
    pixels[6:24, 29:50] = (0, 255, 0)  # touches the red
    (tmp_path / "masks").mkdir()
    image = Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "masks/a.png")
    conversion = convert_mask(tmp_path, classes={"#ff0000": "crack", "#00ff00": "oil"}, masks=True)
    (record,) = conversion.images
    assert [(a.name, a.box_xyxy) for a in record.annotations] == [
        ("crack", (10, 5, 30, 25)),
        ("oil", (29, 6, 50, 24)),
    ]
    assert conversion.problems == {}


@pytest.mark.parametrize("classes", [{1: "oil", "#ff0000": "crack"}, {"red": "crack"}])
def test_contradictory_options_are_named(tmp_path: Path, classes: dict[int | str, str]) -> None:
    with pytest.raises(RtvpError, match="option classes"):
        convert_mask(tmp_path, classes=classes)
    with pytest.raises(RtvpError, match="option masks_at"):
        convert_mask(tmp_path, masks_at="masks/a.png")


def test_faint_masks_have_a_threshold_of_their_own(tmp_path: Path, write_image: Write) -> None:
    write_image("images/a.jpg")
    write_image("masks/a.png", mask_with((10, 5, 30, 25), value=100))
    write_image("images/b.jpg")
    both = np.maximum(mask_with((10, 5, 30, 25)), mask_with((50, 5, 60, 25), value=100))
    write_image("masks/b.png", both)
    conversion = convert_mask(tmp_path, faint_threshold=60)
    assert [[a.box_xyxy for a in image.annotations] for image in conversion.images] == [
        [(10, 5, 30, 25)],
        [(10, 5, 30, 25)],
    ]


def test_masks_are_kept_as_run_lengths_of_each_component(tmp_path: Path, write_image: Write) -> None:
    write_image("images/a.jpg")
    pixels = mask_with((10, 5, 30, 25), (50, 5, 60, 25), (80, 40, 82, 42))
    write_image("masks/a.png", pixels)
    plain, kept = convert_mask(tmp_path).images[0], convert_mask(tmp_path, masks=True).images[0]
    assert [a.box_xyxy for a in plain.annotations] == [a.box_xyxy for a in kept.annotations]
    assert all(a.mask is None for a in plain.annotations)
    united = sum(decode_counts(parse_counts(a.mask, SIZE), SIZE) for a in kept.annotations)
    assert np.array_equal(united, mask_with((10, 5, 30, 25), (50, 5, 60, 25)) // 255)


def test_the_smallest_component_is_an_option(tmp_path: Path, write_image: Write) -> None:
    write_image("images/a.jpg")
    write_image("masks/a.png", mask_with((10, 5, 12, 7)))
    assert len(convert_mask(tmp_path, min_area=4).images[0].annotations) == 1
    assert convert_mask(tmp_path, min_area=5).problems["mask component under 5 pixels dropped"] == 1


def test_the_category_may_come_from_a_pattern(tmp_path: Path, write_image: Write) -> None:
    write_image("images/0001_002_00.png")
    write_image("images/odd.png")
    for name in ("0001_002_00", "odd"):
        write_image(f"masks/{name}.png", mask_with((10, 5, 30, 25)))
    options: dict[str, Any] = {"category_from": "pattern", "category_pattern": r"/\d+_(\d+)_"}
    conversion = convert_mask(tmp_path, names={"002": "broken end"}, **options)
    assert [[a.name for a in image.annotations] for image in conversion.images] == [["broken end"]]
    assert conversion.problems == {"image skipped: its name has no class and number": 1}


def test_a_mask_that_declares_a_gigantic_size_is_not_decoded(tmp_path: Path, write_image: Write) -> None:
    write_image("images/a.jpg")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/a.pgm").write_bytes(b"P5 60000 60000 255\n" + bytes(100))
    (tmp_path / "masks/a.pgm").rename(tmp_path / "masks/a.png")
    conversion = convert_mask(tmp_path)
    assert conversion.problems == {"mask does not open": 1}
    assert conversion.broken[0].startswith("masks/a.png: expected an image of at most 89478485 pixels")
