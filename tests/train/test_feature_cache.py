from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtvp.data.dataset import Sample, SampleSettings, TrainingSamples
from rtvp.errors import RtvpError
from rtvp.models.image_encoder.base import ImageEncoder
from rtvp.train import feature_cache
from rtvp.train.feature_cache import CachedSamples

SIZE, COUNT = 64, 5
CPU = torch.device("cpu")


class MeanEncoder(ImageEncoder):
    """Maps of stride 16 and 32: mean colours, times a weight."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__((16, 32), (3, 3), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.gain = torch.nn.Parameter(torch.tensor(gain))
        self.pictures = 0

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        self.pictures += len(images)
        return tuple(F.avg_pool2d(images, stride) * self.gain for stride in self.strides)


@pytest.fixture
def samples() -> TrainingSamples:
    return TrainingSamples((), SampleSettings(SIZE, COUNT, synthetic_share=1.0, seed=4))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(feature_cache, "CHUNK", 2)
    yield


def make(
    samples: TrainingSamples,
    encoder: ImageEncoder,
    folder: Path,
    strides: Sequence[int] = (16, 32),
    digest: str = "data",
) -> CachedSamples:
    return CachedSamples(samples, encoder, COUNT, SIZE, strides, folder, digest)


def filled(samples: TrainingSamples, encoder: MeanEncoder, folder: Path) -> CachedSamples:
    cached = make(samples, encoder, folder)
    cached.fill(encoder, CPU, workers=0)
    return cached


def same_labels(one: Sample, other: Sample) -> bool:
    same_boxes = np.array_equal(one.boxes_xyxy, other.boxes_xyxy)
    return same_boxes and one.names == other.names and one.known == other.known


def test_an_epoch_holds_every_sample_once_with_its_own_features(
    samples: TrainingSamples, tmp_path: Path
) -> None:
    encoder = MeanEncoder().freeze()
    cached = filled(samples, encoder, tmp_path)
    plain = [samples.sample(index, SIZE) for index in range(COUNT)]
    pictures = torch.from_numpy(np.stack([own.image for own in plain])).permute(0, 3, 1, 2).float()
    wanted = [maps.detach().numpy() for maps in encoder(pictures)]
    for epoch in (0, 1):
        rows = []
        for position in range(COUNT):
            drawn = cached.sample(epoch * COUNT + position, SIZE)
            assert drawn.features is not None and drawn.image.shape == (SIZE, SIZE, 0)
            assert all(maps.dtype == np.float16 for maps in drawn.features)
            finest, coarsest = (maps.astype(np.float32) for maps in drawn.features)
            row = int(np.abs(wanted[0] - finest).sum(axis=(1, 2, 3)).argmin())
            np.testing.assert_allclose(finest, wanted[0][row], atol=1)  # bfloat16 of up to 255
            np.testing.assert_allclose(coarsest, wanted[1][row], atol=1)
            assert same_labels(drawn, plain[row])
            rows.append(row)
        assert sorted(rows) == list(range(COUNT))


def test_epochs_come_in_different_orders(samples: TrainingSamples, tmp_path: Path) -> None:
    cached = filled(samples, MeanEncoder().freeze(), tmp_path)

    def order(epoch: int) -> list[bytes]:
        return [cached.sample(epoch * COUNT + i, SIZE).features[0].tobytes() for i in range(COUNT)]  # type: ignore[index]

    assert order(0) != order(1) and sorted(order(0)) == sorted(order(1))


def test_a_filled_cache_is_used_again(samples: TrainingSamples, tmp_path: Path) -> None:
    first = filled(samples, MeanEncoder().freeze(), tmp_path)
    encoder = MeanEncoder().freeze()
    again = filled(samples, encoder, tmp_path)
    assert encoder.pictures == 0 and again.folder == first.folder
    for index in range(COUNT):
        one, other = first.sample(index, SIZE), again.sample(index, SIZE)
        assert same_labels(one, other)
        assert all(map(np.array_equal, one.features or (), other.features or ()))


def test_what_the_features_depend_on_decides_the_folder(
    samples: TrainingSamples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_settings = TrainingSamples((), SampleSettings(SIZE, COUNT, synthetic_share=1.0, seed=5))
    folders = {
        make(samples, MeanEncoder().freeze(), tmp_path).folder,
        make(samples, MeanEncoder(gain=2.0).freeze(), tmp_path).folder,
        make(samples, MeanEncoder().freeze(), tmp_path, digest="other").folder,
        make(samples, MeanEncoder().freeze(), tmp_path, strides=(32,)).folder,
        make(other_settings, MeanEncoder().freeze(), tmp_path).folder,
    }
    monkeypatch.setattr("rtvp.data.synthetic.VERSION", 1)
    folders.add(make(samples, MeanEncoder().freeze(), tmp_path).folder)
    assert len(folders) == 6


def test_an_interrupted_filling_goes_on(samples: TrainingSamples, tmp_path: Path) -> None:
    class Stopped(Exception):  # noqa: N818
        pass

    class Interrupted(MeanEncoder):
        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            if self.pictures >= 2:
                raise Stopped
            return super().forward(images)

    with pytest.raises(Stopped):
        filled(samples, Interrupted().freeze(), tmp_path)
    labels = next(tmp_path.glob("*/labels.jsonl"))
    with labels.open("a") as file:
        file.write("[[[1, 2, 3")  # a line that was cut off
    encoder = MeanEncoder().freeze()
    resumed = filled(samples, encoder, tmp_path)
    assert encoder.pictures == COUNT - 2
    whole = filled(samples, MeanEncoder().freeze(), tmp_path / "whole")
    for index in range(COUNT):
        one, other = resumed.sample(index, SIZE), whole.sample(index, SIZE)
        assert same_labels(one, other)
        assert all(map(np.array_equal, one.features or (), other.features or ()))


def test_of_two_runs_at_once_one_fills_the_cache(samples: TrainingSamples, tmp_path: Path) -> None:
    class Slow(MeanEncoder):
        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            sleep(0.05)
            return super().forward(images)

    encoders = [Slow().freeze(), Slow().freeze()]
    with ThreadPoolExecutor(2) as pool:
        caches = list(pool.map(lambda encoder: filled(samples, encoder, tmp_path), encoders))
    assert sorted(encoder.pictures for encoder in encoders) == [0, COUNT]
    whole = filled(samples, MeanEncoder().freeze(), tmp_path / "whole")
    for cached in (*caches, filled(samples, MeanEncoder().freeze(), tmp_path)):
        for index in range(COUNT):
            one, other = cached.sample(index, SIZE), whole.sample(index, SIZE)
            assert same_labels(one, other)
            assert all(map(np.array_equal, one.features or (), other.features or ()))


def test_maps_that_are_not_needed_are_not_kept(samples: TrainingSamples, tmp_path: Path) -> None:
    encoder = MeanEncoder().freeze()
    cached = make(samples, encoder, tmp_path, strides=(32,))
    cached.fill(encoder, CPU, workers=0)
    features = cached.sample(0, SIZE).features
    assert features is not None and [maps.shape for maps in features] == [(3, 0, 0), (3, 2, 2)]
    assert not list(tmp_path.glob("*/stride16.npy"))


def test_of_an_encoder_whose_late_blocks_learn_the_map_before_them_is_kept(
    samples: TrainingSamples, tmp_path: Path
) -> None:
    class Thawed(MeanEncoder):
        def blocks_beyond(self, stride: int) -> Sequence[torch.nn.Module]:
            return (torch.nn.Identity(),)

    encoder = Thawed().freeze().thaw_beyond(16)
    cached = make(samples, encoder, tmp_path, strides=(32,))
    cached.fill(encoder, CPU, workers=0)
    features = cached.sample(0, SIZE).features
    assert features is not None and [maps.shape for maps in features] == [(3, 4, 4), (3, 0, 0)]


def test_an_encoder_that_learns_is_refused(samples: TrainingSamples, tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="cached_samples: expected a frozen image encoder"):
        make(samples, MeanEncoder(), tmp_path)


def test_a_damaged_cache_is_named(samples: TrainingSamples, tmp_path: Path) -> None:
    encoder = MeanEncoder().freeze()
    folder = filled(samples, encoder, tmp_path).folder
    (folder / "stride16.npy").write_bytes(b"nothing")
    with pytest.raises(RtvpError, match=r"stride16.npy: expected cached features .*remove"):
        filled(samples, encoder, tmp_path)
    np.save(folder / "stride16.npy", np.zeros((1, 3, 4, 4), np.float16))
    with pytest.raises(RtvpError, match=r"stride16.npy: expected \(5, 3, 4, 4\) float16"):
        filled(samples, encoder, tmp_path)
    (folder / "stride16.npy").unlink()
    labels = (folder / "labels.jsonl").read_text()
    (folder / "labels.jsonl").write_text(labels + labels)
    with pytest.raises(RtvpError, match=r"10 labels of 5 samples.*: remove"):
        filled(samples, encoder, tmp_path)
    (folder / "labels.jsonl").write_text("[1]\n")
    with pytest.raises(RtvpError, match=r"labels.jsonl: expected the labels of cached features"):
        filled(samples, encoder, tmp_path)


def test_a_map_that_is_gone_is_not_taken_for_zeros(samples: TrainingSamples, tmp_path: Path) -> None:
    encoder = MeanEncoder().freeze()
    cached = filled(samples, encoder, tmp_path)
    (cached.folder / "stride16.npy").unlink()
    with pytest.raises(RtvpError, match=r"stride16.npy: expected cached features .*remove "):
        filled(samples, encoder, tmp_path)


def test_weights_can_learn_and_be_loaded_after_the_filling(samples: TrainingSamples, tmp_path: Path) -> None:
    encoder = MeanEncoder().freeze()
    # On another device a weight is made anew; another type stands for it here.
    encoder.to = lambda _: nn.Module.to(encoder, torch.float64).float()  # type: ignore[method-assign,assignment]
    filled(samples, encoder, tmp_path)
    assert not any(weight.is_inference() for weight in encoder.parameters())
