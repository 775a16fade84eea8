"""Features of a frozen encoder, or of its frozen part, computed once and kept on disk.

They are those of a fixed number of augmented pictures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from rtvp.data import synthetic
from rtvp.data.dataset import Sample, TrainingSamples
from rtvp.errors import RtvpError
from rtvp.models.image_encoder.base import ImageEncoder
from rtvp.terminal import make_progress
from rtvp.train.loop import end_with_parent

FORMAT = "rtvp-features-2"
LARGEST = 65504.0  # of float16
CHUNK = 16  # pictures encoded together, and at most lost when the filling is killed

Labels = tuple[NDArray[np.float32], tuple[frozenset[str], ...], frozenset[str] | None]


class CachedSamples:
    """A pool of samples whose pictures are replaced by the maps that a frozen encoder makes of them.

    Where the late blocks of the encoder learn, the maps before them are kept, and `ImageEncoder.finish` makes
    the others of them.

    It stands where `TrainingSamples` stands. Every sample of the pool is drawn once an epoch, in an order
    that is a function of (seed, epoch). Maps are float16 in memory-mapped files, so that what does not fit
    into memory stays on disk; the folder's name is a digest of all that they depend on.

    Args:
        samples: where the pictures come from; the pool is its first ``count`` samples.
        encoder: frozen, all but the blocks beyond a stride at most.
        count: samples in the pool.
        size: side of the pictures, px.
        strides: of the maps that are needed; other maps of the encoder, and those that learn, are kept empty.
        folder: caches lie below it.
        data_digest: of the labelled images.

    Raises:
        RtvpError: the whole encoder learns, or a cache is damaged.
    """

    def __init__(
        self,
        samples: TrainingSamples,
        encoder: ImageEncoder,
        count: int,
        size: int,
        strides: Collection[int],
        folder: Path,
        data_digest: str,
    ) -> None:
        if not encoder.fixed_strides:
            raise RtvpError(
                "cached_samples: expected a frozen image encoder, whose features do not change, got one that "
                "learns: freeze it, or set cached_samples to null"
            )
        self.samples, self.count, self.size = samples, count, size
        self.seed = samples.settings.seed
        kept = [own for own in encoder.fixed_strides if own in strides or own == encoder.learns_beyond]
        self.shapes = {
            stride: (count, channels, *([size // stride if stride in kept else 0] * 2))
            for stride, channels in zip(encoder.strides, encoder.channels, strict=True)
        }
        self.folder = folder / self._key(encoder, data_digest)[:16]
        self._labels: list[Labels] = []
        self._maps: list[NDArray[np.float16]] = []

    def sample(self, index: int, size: int) -> Sample:
        """Sample ``index`` of a run: an empty picture, and features [C, S/s, S/s] float16 a stride."""
        epoch, position = divmod(index, self.count)
        row = int(np.random.default_rng((self.seed, epoch)).permutation(self.count)[position])
        boxes, names, known = self._labels[row]
        empty = np.zeros((size, size, 0), np.uint8)
        return Sample(empty, boxes, names, known, tuple(maps[row] for maps in self._maps))

    def fill(self, encoder: ImageEncoder, device: torch.device, workers: int = 1) -> None:
        """Compute what is missing; killed, the next call goes on. Afterwards samples can be drawn.

        Of several runs that need the same cache one fills it, and the others wait.
        """
        # Not in inference mode, in which weights that move could never learn or be loaded again.
        encoder.to(device)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock"):
            self._fill(encoder, device, workers)

    @torch.inference_mode()
    def _fill(self, encoder: ImageEncoder, device: torch.device, workers: int) -> None:
        done = self._read_labels()
        self._maps = [self._open(stride, done) for stride in self.shapes]
        if done < self.count:
            rest = _Rows(self.samples, range(done, self.count), self.size)
            loader = DataLoader(
                rest, CHUNK, num_workers=workers, collate_fn=list, worker_init_fn=end_with_parent
            )
            with make_progress() as progress:
                task = progress.add_task("features", total=self.count, completed=done)
                for chunk in loader:
                    self._write(done, chunk, encoder, device)
                    done += len(chunk)
                    progress.update(task, completed=done)

    def _key(self, encoder: ImageEncoder, data_digest: str) -> str:
        made = f"{FORMAT}\0{synthetic.VERSION}\0{data_digest}\0{self.samples.settings!r}"
        digest = hashlib.sha256(made.encode())
        digest.update(f"\0{sorted(self.samples.excluded)}\0{self.shapes}\0{self.size}".encode())
        for name, tensor in encoder.state_dict().items():
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _open(self, stride: int, done: int) -> NDArray[np.float16]:
        path, shape = self.folder / f"stride{stride}.npy", self.shapes[stride]
        if 0 in shape:
            return np.zeros(shape, np.float16)
        try:
            if not path.is_file() and not done:
                np.lib.format.open_memmap(path, "w+", np.float16, shape).flush()
            maps: NDArray[np.float16] = np.load(path, mmap_mode="r+", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise RtvpError(f"{path}: expected cached features ({error}): remove {self.folder}") from error
        if maps.shape != shape or maps.dtype != np.float16:
            raise RtvpError(f"{path}: expected {shape} float16, got {maps.shape} {maps.dtype}: remove it")
        return maps

    def _write(
        self, first: int, chunk: Sequence[Sample], encoder: ImageEncoder, device: torch.device
    ) -> None:
        pictures = torch.from_numpy(np.stack([sample.image for sample in chunk])).permute(0, 3, 1, 2)
        with torch.autocast(device.type, torch.bfloat16):
            features = encoder(pictures.to(device).float().contiguous(memory_format=torch.channels_last))
        for maps, feature in zip(self._maps, features, strict=True):
            if maps.size:
                maps[first : first + len(chunk)] = (
                    feature.float().clamp(-LARGEST, LARGEST).half().cpu().numpy()
                )
                maps.flush()  # type: ignore[attr-defined]
        labels: list[Labels] = [(sample.boxes_xyxy, sample.names, sample.known) for sample in chunk]
        with self._labels_path.open("a", encoding="utf-8") as file:
            file.writelines(f"{_to_line(own)}\n" for own in labels)
        self._labels += labels

    @property
    def _labels_path(self) -> Path:
        return self.folder / "labels.jsonl"

    def _read_labels(self) -> int:
        """Number of samples that are complete: labels are written after the features they belong to."""
        if not self._labels_path.is_file():
            return 0
        try:
            text = self._labels_path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]  # the last line may have been cut off
            self._labels = [_from_line(line) for line in whole.splitlines()]
            if len(self._labels) > self.count:
                raise ValueError(f"{len(self._labels)} labels of {self.count} samples")
            if whole != text:
                self._labels_path.write_text(whole, encoding="utf-8")
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise RtvpError(
                f"{self._labels_path}: expected the labels of cached features ({error}): remove {self.folder}"
            ) from error
        return len(self._labels)


def _to_line(labels: Labels) -> str:
    boxes, names, known = labels
    content = [boxes.tolist(), [sorted(own) for own in names], None if known is None else sorted(known)]
    return json.dumps(content)


def _from_line(line: str) -> Labels:
    boxes, names, known = json.loads(line)
    return (
        np.array(boxes, np.float32).reshape(-1, 4),
        tuple(frozenset(own) for own in names),
        None if known is None else frozenset(known),
    )


class _Rows(Dataset[Sample]):
    """The samples of some rows, for workers."""

    def __init__(self, samples: TrainingSamples, rows: range, size: int) -> None:
        self.samples, self.rows, self.size = samples, rows, size

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Sample:
        return self.samples.sample(self.rows[position], self.size)
