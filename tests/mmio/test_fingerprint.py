from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rtvp.mmio.fingerprint import ORIENTATIONS, fingerprint, oriented


def noise(seed: int, height: int = 160, width: int = 200) -> NDArray[np.uint8]:
    """A smooth random picture with texture."""
    rng = np.random.default_rng(seed)
    layout = np.asarray(
        Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)).resize((width, height)), dtype=float
    )
    return np.asarray((0.7 * layout + rng.uniform(0, 70, (height, width))).clip(0, 255), dtype=np.uint8)


def test_it_tells_content_size_and_contrast(tmp_path: Path) -> None:
    pixels = np.full((40, 60), 100, np.uint8)
    pixels[10:20, 10:20] = 180
    Image.fromarray(pixels).save(tmp_path / "a.png")
    known = fingerprint(tmp_path / "a.png")
    assert known.readable
    assert known.sha256 == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert (known.width, known.height) == (60, 40)
    assert known.contrast == 80
    assert fingerprint(tmp_path / "a.png", sha256="known").sha256 == "known"


def test_the_thumbnail_is_the_picture_in_small(tmp_path: Path) -> None:
    pixels = np.zeros((64, 128), np.uint8)
    pixels[:32, 64:] = 200  # the upper right quarter
    Image.fromarray(pixels).save(tmp_path / "a.png")
    small = np.frombuffer(fingerprint(tmp_path / "a.png").thumbnail, np.uint8).reshape(32, 32)
    assert small[:14, 18:].min() == 200
    assert small[18:].max() == small[:, :14].max() == 0


@pytest.mark.parametrize("orientation", range(8))
def test_the_hash_of_a_turned_picture_is_among_those_of_the_original(
    tmp_path: Path, orientation: int
) -> None:
    pixels = noise(1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(np.ascontiguousarray(oriented(pixels, orientation))).save(tmp_path / "b.png")
    original, turned = fingerprint(tmp_path / "a.png"), fingerprint(tmp_path / "b.png")
    assert (original.hashes[orientation] ^ turned.hashes[0]).bit_count() <= 1
    assert len(set(original.hashes)) == len(ORIENTATIONS) == 8


def test_other_pictures_have_other_hashes(tmp_path: Path) -> None:
    for seed in range(6):
        Image.fromarray(noise(seed)).save(tmp_path / f"{seed}.png")
    hashes = [fingerprint(tmp_path / f"{seed}.png").hashes for seed in range(6)]
    nearest = min(
        (one[0] ^ turned).bit_count()
        for i, one in enumerate(hashes)
        for other in hashes[:i]
        for turned in other
    )
    assert nearest > 8


def test_the_names_of_the_orientations_are_true() -> None:
    pixels = np.arange(6).reshape(2, 3)
    turns = {
        "upright": pixels,
        "mirrored": np.fliplr(pixels),
        "upside down, mirrored": np.flipud(pixels),
        "turned by 180 degrees": np.rot90(pixels, 2),
        "transposed": pixels.T,
        "turned clockwise": np.rot90(pixels, -1),
        "turned anticlockwise": np.rot90(pixels),
        "transposed, turned by 180 degrees": np.rot90(pixels.T, 2),
    }
    assert tuple(turns) == ORIENTATIONS
    for place, expected in enumerate(turns.values()):
        assert np.array_equal(oriented(pixels, place), expected)


def test_a_camera_held_upright_gives_an_upright_fingerprint(tmp_path: Path) -> None:
    shown = Image.fromarray(noise(3))
    shown.save(tmp_path / "shown.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise when shown
    shown.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "held.png", exif=exif)
    held, expected = fingerprint(tmp_path / "held.png"), fingerprint(tmp_path / "shown.png")
    assert (held.width, held.height) == (200, 160)
    assert held.hashes == expected.hashes
    assert held.thumbnail == expected.thumbnail


@pytest.mark.parametrize("cut", [0, 10, 3000])
def test_what_does_not_decode_to_its_end_is_unreadable(tmp_path: Path, cut: int) -> None:
    Image.fromarray(noise(2, 600, 600)).save(tmp_path / "a.jpg", quality=90)
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[:cut] if cut <= 10 else content[:-cut])
    known = fingerprint(tmp_path / "a.jpg")
    assert not known.readable
    assert known.hashes == ()
    assert known.sha256


def test_deep_grey_and_transparency_are_seen_as_shown(tmp_path: Path) -> None:
    pixels = noise(4)
    Image.fromarray(pixels).save(tmp_path / "plain.png")
    Image.fromarray(pixels.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(pixels.astype(np.float32) / 255).save(tmp_path / "float.tiff")
    plain = fingerprint(tmp_path / "plain.png")
    for name in ("deep.png", "float.tiff"):
        other = fingerprint(tmp_path / name)
        assert (other.hashes[0] ^ plain.hashes[0]).bit_count() <= 2
        assert abs(other.contrast - plain.contrast) <= 1
    hidden = np.dstack([pixels, pixels, pixels, np.zeros_like(pixels)])
    Image.fromarray(hidden).save(tmp_path / "hidden.png")
    assert fingerprint(tmp_path / "hidden.png").contrast == 0
