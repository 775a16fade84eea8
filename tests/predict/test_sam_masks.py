"""Masks from Mobile-SAM's decoder, with random weights in the layout of the official file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rtvp.predict.sam_masks as sam_masks
from rtvp.errors import RtvpError
from rtvp.models import weights
from rtvp.models.image_encoder import TinyViT
from rtvp.models.segment_anything import BoxSegmenter
from rtvp.models.torch_network import TorchNetwork
from rtvp.predict import Detector
from rtvp.predict.masks import Embedded, View, Window, make_masks
from rtvp.predict.sam_masks import SamMasks, best_points, embeddings
from rtvp.predict.surroundings import SurroundingsMasks
from rtvp.types import DetectorOutput, Letterbox


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("sam") / "mobile_sam.pt"
    encoder = {f"image_encoder.{name}": value for name, value in TinyViT().state_dict().items()}
    torch.save(encoder | BoxSegmenter().state_dict(), path)
    return path


@pytest.fixture
def sam(official: Path, monkeypatch: pytest.MonkeyPatch) -> SamMasks:
    monkeypatch.setattr(sam_masks, "SIDE", 128)  # an eighth of the real one
    return SamMasks(official)


@pytest.fixture
def fetched(official: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file where `rtvp weights fetch mobile_sam` puts it."""
    content = official.read_bytes()
    known = replace(
        weights.KNOWN_WEIGHTS["mobile_sam"],
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    monkeypatch.setitem(weights.KNOWN_WEIGHTS, "mobile_sam", known)
    monkeypatch.setenv("RTVP_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mobile_sam.pt").write_bytes(content)
    return tmp_path / "home" / "mobile_sam.pt"


def picture(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


BOXES = np.array([[10, 20, 90, 70], [0, 0, 200, 100], [199.5, 99.5, 200, 100]], np.float32)


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_masks_are_the_decoders_inside_the_boxes(
    sam: SamMasks, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(sam_masks, "BATCH", batch)
    image = picture(200, 100)
    masks = list(sam(View(image, BOXES)))
    with torch.inference_mode():
        embedded, placement = sam.embed(image)
        assert (placement.scale, embedded.shape) == (0.64, (1, 256, 4, 8))
        logits = sam.segmenter(embedded, torch.from_numpy(BOXES) * placement.scale)
    # The picture fills the input, so that the whole answer covers the whole image.
    whole = F.interpolate(logits[:, None], size=(100, 200), mode="bilinear")[:, 0].numpy() > 0
    for index, (window, mask) in enumerate(zip(View(image, BOXES).windows(), masks, strict=True)):
        assert mask.shape == (window.bottom - window.top, window.right - window.left)
        assert (mask == whole[index][window.slices]).mean() > 0.999
    assert 0.02 < masks[1].mean() < 0.98


def test_logits_are_read_at_the_middle_of_each_pixel() -> None:
    """Logits that are their own positions tell where they were read: of a plane interpolation is exact."""
    y, x = np.mgrid[:16, :24].astype(np.float32)
    window = Window(10, 4, 60, 40)
    across = sam_masks._inside(x, window, scale=1.5)
    down = sam_masks._inside(y, window, scale=1.5)
    columns, rows = np.meshgrid(np.arange(10, 60) + 0.5, np.arange(4, 40) + 0.5)
    np.testing.assert_allclose(across, (columns * 1.5 / 4 - 0.5).clip(0, 23), atol=1e-4)
    np.testing.assert_allclose(down, (rows * 1.5 / 4 - 0.5).clip(0, 15), atol=1e-4)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 200), (300, 2)])
def test_any_picture_gets_its_masks(sam: SamMasks, width: int, height: int) -> None:
    view = View(picture(width, height), np.array([[0, 0, width, height]], np.float32))
    (mask,) = sam(view)
    assert mask.shape == (height, width)
    assert len(make_masks(sam, view)) == 1


def test_without_boxes_the_picture_is_not_even_looked_at(
    sam: SamMasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SamMasks, "embed", lambda *_: pytest.fail("the picture was embedded"))
    assert list(sam(View(picture(9, 9), BOXES[:0]))) == []


def test_the_best_sampled_point_of_each_box() -> None:
    heat = np.zeros((100, 200), np.float32)
    heat[30, 40], heat[60, 70], heat[99, 199] = 0.4, 0.9, 0.2
    windows = [Window(10, 20, 90, 70), Window(10, 20, 60, 50), Window(100, 0, 150, 50)]
    assert best_points(heat, windows) == [(70, 60), (40, 30), None]
    assert best_points(None, windows) == [None, None, None]


def test_a_box_is_answered_alike_with_a_point_in_another(sam: SamMasks) -> None:
    """One of three boxes has a point: it alone is answered otherwise, and the order is kept."""
    image, heat = picture(200, 100), np.zeros((100, 200), np.float32)
    boxes = np.array([[100, 50, 190, 99], [10, 20, 90, 70], [100, 0, 190, 40]], np.float32)
    heat[30, 40] = 1
    without, helped = (list(sam(View(image, boxes, each))) for each in (None, heat))
    assert [(a != b).any() for a, b in zip(without, helped, strict=True)] == [False, True, False]


def test_a_given_embedding_takes_the_place_of_our_own(sam: SamMasks, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(200, 100)
    expected = list(sam(View(image, BOXES)))
    embedded = sam.embed(image)
    monkeypatch.setattr(SamMasks, "embed", lambda *_: pytest.fail("the picture was embedded again"))
    for ours, theirs in zip(expected, sam(View(image, BOXES, None, embedded)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    other = Embedded(torch.randn_like(embedded.picture), Letterbox(200, 100, 0.64))
    assert any((a != b).any() for a, b in zip(expected, sam(View(image, BOXES, None, other)), strict=True))


# ---- in a detector


class NetworkWith(nn.Module):
    """The colour network behind an image encoder that runs and is not listened to."""

    def __init__(self, colours: nn.Module, encoder: nn.Module) -> None:
        super().__init__()
        self.colours, self.image_encoder = colours, encoder

    def forward(self, images: Tensor, text: Tensor) -> DetectorOutput:
        self.image_encoder(images)
        answer: DetectorOutput = self.colours(images, text)
        return answer


def test_only_a_frozen_mobile_sam_encoder_is_listened_to() -> None:
    images = torch.rand(2, 3, 64, 96) * 255
    frozen = nn.Module()
    frozen.image_encoder = TinyViT().freeze()
    with embeddings(TorchNetwork(frozen)) as seen:
        (expected,) = frozen.image_encoder(images)
    frozen.image_encoder(images)  # nobody listens any more
    assert len(seen) == 1
    torch.testing.assert_close(seen[0], expected)
    with embeddings(TorchNetwork(nn.Conv2d(3, 4, 1))) as seen:
        pass
    assert seen == []
    frozen.image_encoder = TinyViT()
    with embeddings(TorchNetwork(frozen)) as seen:
        frozen.image_encoder(images)
    assert seen == []


@pytest.mark.parametrize("own", [True, False])
def test_a_detector_with_the_same_encoder_runs_it_once(
    colour_detector: Detector,
    red_square: np.ndarray,
    sam: SamMasks,
    monkeypatch: pytest.MonkeyPatch,
    own: bool,
) -> None:
    encoder = sam._encoder if own else nn.Identity()
    colour_detector.network = TorchNetwork(NetworkWith(colour_detector.network.module, encoder))
    embedded: list[int] = []
    embed = SamMasks.embed
    monkeypatch.setattr(SamMasks, "embed", lambda *given: embedded.append(1) or embed(*given))
    results = list(
        colour_detector.detect_many([red_square, red_square.transpose(1, 0, 2)] * 2, "red", 4, masks=sam)
    )
    assert len(embedded) == (0 if own else 4)
    for result in results:
        assert result.masks is not None
        assert result.masks.shape == (1, result.height, result.width)
    assert results[0].mask_counts == results[2].mask_counts


def test_fetched_weights_are_used(colour_detector: Detector, fetched: Path) -> None:
    maker = colour_detector.mask_maker()
    assert isinstance(maker, SamMasks)
    assert colour_detector.mask_maker() is maker  # read once
    assert colour_detector.mask_maker(False) is None


def test_without_weights_the_picture_is_enough(colour_detector: Detector) -> None:
    assert isinstance(colour_detector.mask_maker(), SurroundingsMasks)


def test_damaged_weights_are_told_of_and_not_passed_over(colour_detector: Detector, fetched: Path) -> None:
    fetched.write_bytes(fetched.read_bytes()[:-1])
    with pytest.raises(RtvpError, match=r"weights mobile_sam: .* bytes, expected"):
        colour_detector.mask_maker()
