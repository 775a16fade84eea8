from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rtvp.mmio.fingerprint import ORIENTATIONS, Fingerprint, fingerprint
from rtvp.mmio.near_duplicates import HASH_DISTANCE, NEIGHBOURS, find_near_pairs


def photograph(seed: int, width: int = 240, height: int = 200) -> Image.Image:
    """A smooth random picture with texture."""
    rng = np.random.default_rng(seed)
    layout = Image.fromarray(rng.integers(0, 200, (6, 6), dtype=np.uint8)).resize((width, height))
    texture = Image.fromarray(rng.integers(0, 60, (height // 4, width // 4), dtype=np.uint8))
    pixels = np.asarray(layout, dtype=float) * 0.9 + np.asarray(texture.resize((width, height)))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def prints(folder: Path, *pictures: tuple[Image.Image, dict[str, Any]]) -> list[Fingerprint]:
    found = []
    for picture, options in pictures:
        path = folder / ("a.jpg" if options else "a.png")
        picture.save(path, **options)
        found.append(fingerprint(path))
    return found


@pytest.mark.parametrize("transposition", [None, *Image.Transpose])
def test_a_copy_is_found_in_its_orientation(tmp_path: Path, transposition: Image.Transpose | None) -> None:
    picture = photograph(0)
    copy = picture if transposition is None else picture.transpose(transposition)
    known = prints(tmp_path, (picture, {}), (photograph(1), {}), (copy, {"quality": 75}))
    (pair,), crowded = find_near_pairs(known, 0.8)
    assert (pair.one, pair.other) == (0, 2)
    assert pair.texture > 0.95
    assert pair.mean < 1
    assert crowded == 0
    # Bringing the copy into the named orientation gives the picture back.
    back = {
        "upright": copy,
        "mirrored": copy.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "upside down, mirrored": copy.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        "turned by 180 degrees": copy.transpose(Image.Transpose.ROTATE_180),
        "transposed": copy.transpose(Image.Transpose.TRANSPOSE),
        "turned clockwise": copy.transpose(Image.Transpose.ROTATE_270),
        "turned anticlockwise": copy.transpose(Image.Transpose.ROTATE_90),
        "transposed, turned by 180 degrees": copy.transpose(Image.Transpose.TRANSVERSE),
    }[ORIENTATIONS[pair.orientation]]
    assert np.array_equal(np.asarray(back), np.asarray(picture))


def test_scaled_and_squeezed_copies_are_found(tmp_path: Path) -> None:
    picture = photograph(0, 600, 400)
    known = prints(
        tmp_path,
        (picture, {}),
        (picture.resize((300, 200)), {"quality": 70}),
        (picture.resize((320, 320)), {}),
    )
    pairs, _ = find_near_pairs(known, 0.9)
    assert [(pair.one, pair.other, pair.orientation) for pair in pairs] == [(0, 1, 0), (0, 2, 0), (1, 2, 0)]


def test_another_photograph_of_the_same_scene_is_no_near_duplicate(tmp_path: Path) -> None:
    layout = np.asarray(photograph(0).resize((12, 10)).resize((240, 200)), dtype=float)
    shots = []
    for seed in range(2):
        grain = Image.fromarray(np.random.default_rng(seed).integers(0, 40, (50, 60), dtype=np.uint8))
        pixels = layout * 0.8 + np.asarray(grain.resize((240, 200)))
        shots.append((Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), {}))
    known = prints(tmp_path, *shots)
    assert (known[0].hashes[0] ^ known[1].hashes[0]).bit_count() <= HASH_DISTANCE  # so like is the layout
    assert find_near_pairs(known, 0.8) == ((), 0)


def test_pictures_without_texture_or_in_other_light_are_no_near_duplicates(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 250, 200), (200, 1)).astype(np.uint8)
    assert not find_near_pairs(
        prints(tmp_path, (Image.fromarray(ramp), {}), (Image.fromarray(ramp), {})), 0.8
    )[0]
    dark = photograph(0).point([value // 2 for value in range(256)])
    assert not find_near_pairs(prints(tmp_path, (photograph(0), {}), (dark, {})), 0.8)[0]


def random_prints(count: int, seed: int) -> list[Fingerprint]:
    """Fingerprints of unlike images, not of files."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**63, (count, 8), dtype=np.uint64)
    thumbnails = rng.integers(0, 256, (count, 1), dtype=np.uint8).repeat(1024, axis=1)
    details = rng.integers(0, 256, (count, 256), dtype=np.uint8)
    details[:, 128:] = 255  # all of the texture is known
    return [
        Fingerprint(
            str(i), True, 9, 9, 99, tuple(map(int, row)), thumbnails[i].tobytes(), details[i].tobytes()
        )
        for i, row in enumerate(hashes)
    ]


def flip_bits(number: int, rng: np.random.Generator, count: int) -> int:
    for place in rng.choice(64, count, replace=False).tolist():
        number ^= 1 << place
    return number


@pytest.mark.parametrize("seed", range(5))
def test_the_index_misses_no_pair_within_the_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = random_prints(200, seed)
    expected = set()
    for place in range(100):
        bits = int(rng.integers(0, HASH_DISTANCE + 4))
        orientation = int(rng.integers(0, 4))  # those that leave the texture of symmetric pictures in place
        hashes = list(known[place].hashes)
        copy = [0] * 8
        copy[orientation] = flip_bits(hashes[0], rng, bits)
        detail = np.frombuffer(known[place].detail, np.uint8).copy()
        signs = np.unpackbits(detail[:128]).reshape(32, 32)
        signs ^= (np.arange(32, dtype=np.uint8) % 2) * (orientation & 1)
        signs ^= ((np.arange(32, dtype=np.uint8) % 2) * (orientation >> 1 & 1))[:, None]
        detail[:128] = np.packbits(signs)
        known.append(replace(known[place], hashes=tuple(copy), detail=detail.tobytes()))
        if bits <= HASH_DISTANCE:
            expected.add((place, len(known) - 1, orientation))
    pairs, _ = find_near_pairs(known, 0.99)
    assert {(pair.one, pair.other, pair.orientation) for pair in pairs} == expected


def test_a_dense_crowd_is_bounded_and_told() -> None:
    one = random_prints(1, 0)[0]
    rng = np.random.default_rng(0)
    crowd = []
    for _ in range(300):
        detail = rng.integers(0, 256, 256, dtype=np.uint8)
        detail[128:] = 255
        crowd.append(replace(one, detail=detail.tobytes()))
    pairs, crowded = find_near_pairs(crowd, 0.8)
    assert pairs == ()
    assert crowded == 300 > NEIGHBOURS


def test_few_images_have_no_pairs() -> None:
    assert find_near_pairs([], 0.8) == ((), 0)
    assert find_near_pairs(random_prints(1, 0), 0.8) == ((), 0)


@pytest.mark.slow
def test_the_cost_of_an_image_does_not_grow_with_their_number() -> None:
    costs = []
    for count in (1_000, 100_000):
        known = random_prints(count, 0)
        start = time.process_time()
        assert find_near_pairs(known, 0.8) == ((), 0)
        costs.append((time.process_time() - start) / count)
    assert costs[1] < 3 * costs[0]
