"""What a fine-tuning run learns, what it repeats of what it knew, and what it is measured on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from PIL import Image
from pydantic import Field, field_validator

from rtvp.config import LossWeights, StageConfig, StrictModel
from rtvp.data.dataset import Sample, SampleSettings, SampleSource, TrainingSamples
from rtvp.data.labelled import LabelledSet, digest_of, read_coco_set, read_sources
from rtvp.data.synthetic import DEFECT_NAMES, generate
from rtvp.errors import RtvpError
from rtvp.files import find_below, sha256_of
from rtvp.mmio.coco_file import read_coco_file, to_items
from rtvp.mmio.schema import Annotation, ImageRecord, Item, clip_box, shorter_side
from rtvp.mmio.sources import available_sources, source_table
from rtvp.mmio.splits import bundle, closed_split, shuffled
from rtvp.terminal import make_progress

SMALLEST_BOX = 1.0  # px, shorter side inside the image
FIRST_UNDRAWN_SEED = 2**31  # training draws the seeds of generated pictures below it
RETENTION_NAME = "generated pictures"


class Recipe(StrictModel):
    """How to fine-tune; ``finetune.yaml`` says why."""

    precision: Literal["32-true", "bf16-mixed"]
    validation_share: float = Field(gt=0, lt=1)
    least_held_out: int = Field(ge=1)
    replay_share: float = Field(ge=0, lt=1)
    generated_share: float = Field(ge=0, le=1)
    replay_images: int = Field(ge=1)
    retention_images: int = Field(ge=1)
    scale_range: tuple[float, float]
    turn_share: float = Field(ge=0, le=1)
    tile_share: float = Field(ge=0, le=1)
    describe_share: float = Field(ge=0, le=1)
    max_negatives: int = Field(ge=0)
    losses: LossWeights
    training: StageConfig
    checkpoint_every: int = Field(ge=1)

    @field_validator("scale_range", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class CocoFolder:
    """A COCO file and the folder that its file names are relative to; None: its own, or ``images`` in it."""

    file: Path
    images: Path | None = None


@dataclass(frozen=True, slots=True)
class FinetuneData:
    """The images of a fine-tuning run.

    Attributes:
        train: the user's, learnt from.
        measured: the user's, that the new AP is of: in no group with a training image, or all of them.
        held_out: whether ``measured`` was held out. If not, the AP is of the training images.
        replay: parts of the sets that the checkpoint was trained on before.
        retention: labelled images that are not trained on; None: generated ones.
        digest: SHA-256 of images and labels.
    """

    train: LabelledSet
    measured: LabelledSet
    held_out: bool
    replay: tuple[LabelledSet, ...]
    retention: LabelledSet | None
    digest: str


def read_finetune_data(
    own: CocoFolder,
    recipe: Recipe,
    seed: int,
    known_sets: Iterable[str] = (),
    replay: Path | None = None,
    retention: CocoFolder | None = None,
) -> FinetuneData:
    """Read and split the user's images, and what retention needs.

    Args:
        own: the user's labels.
        recipe: shares and numbers.
        seed: of the split, and of the choice of images to replay.
        known_sets: sets that the checkpoint was trained on. Only these are replayed.
        replay: folder of the public sets; None: generated pictures alone.
        retention: labels to measure retention on.

    Raises:
        RtvpError: a file is no COCO file or has no boxes, an image is missing or in two roles, or none of the
            known sets is below ``replay``.
    """
    labelled, items = _read_own(own)
    kept, kept_items = _read_own(retention) if retention else (None, ())
    if shared := {item.sha256 for item in items} & {item.sha256 for item in kept_items}:
        first = next(item.file_name for item in kept_items if item.sha256 in shared)
        raise RtvpError(
            f"--retention: expected images that are not trained on, got {len(shared)} that --data has, too, "
            f"such as {first}"
        )
    train, measured, held_out = _split(labelled, items, recipe, seed)
    old: tuple[LabelledSet, ...] = ()
    old_items: tuple[Item, ...] = ()
    if replay is not None:
        taken = _Taken([labelled] if kept is None else [labelled, kept], (*items, *kept_items))
        old, old_items = _read_replay(replay, known_sets, recipe, seed, taken)
    roles = (labelled.name, *(each.name for each in old))
    return FinetuneData(
        train, measured, held_out, old, kept, digest_of((*items, *old_items, *kept_items), roles)
    )


def make_samples(data: FinetuneData, recipe: Recipe, stage: StageConfig, seed: int) -> ReplayedSamples:
    """The pictures to train on, the user's and old ones.

    Args:
        data: the images.
        recipe: shares and augmentation.
        stage: length and sizes.
        seed: picture i is a function of (seed, i) and its size.
    """
    own = SampleSettings(
        max_size=max(stage.sizes),
        samples_total=stage.steps * stage.batch_size,
        synthetic_share=0.0,
        scale_range=recipe.scale_range,
        turn_share=recipe.turn_share,
        tile_share=recipe.tile_share,
        seed=seed,
    )
    generated_share = recipe.generated_share if data.replay else 1.0
    old = TrainingSamples(data.replay, replace(own, synthetic_share=generated_share))
    return ReplayedSamples(TrainingSamples([data.train], own), old, recipe.replay_share)


class ReplayedSamples:
    """The user's pictures and, evenly spread among them, a share of old ones.

    Args:
        own: the user's.
        old: what is not to be forgotten.
        share: of the pictures, old.
    """

    def __init__(self, own: TrainingSamples, old: TrainingSamples, share: float) -> None:
        self.own: SampleSource = own
        self.old: SampleSource = old
        self.share = share
        self.all_names = tuple(sorted({*own.all_names, *(old.all_names if share else ())}))

    def sample(self, index: int, size: int) -> Sample:
        """Picture ``index``, [size, size, 3]; of any N in a row, floor(N * share) or one more are old."""
        is_old = int((index + 1) * self.share) > int(index * self.share)
        return (self.old if is_old else self.own).sample(index, size)


@contextmanager
def retention_set(data: FinetuneData, count: int, size: int) -> Iterator[LabelledSet]:
    """What retention is measured on: the user's choice, or ``count`` generated pictures of ``size`` px.

    Generated ones are in a temporary folder, and of seeds that training never draws.
    """
    if data.retention is not None:
        yield data.retention
        return
    with TemporaryDirectory(prefix="rtvp-retention-") as folder:
        yield _generated(Path(folder), count, size)


def _generated(folder: Path, count: int, size: int) -> LabelledSet:
    records = []
    with make_progress() as progress:
        for index in progress.track(range(count), description="pictures to measure retention"):
            sample = generate(FIRST_UNDRAWN_SEED + index, size, size)
            path = folder / f"{index}.png"
            Image.fromarray(sample.image).save(path)
            boxes = tuple(Annotation(defect.name, defect.box_xyxy) for defect in sample.defects)
            records.append(ImageRecord(path, size, size, boxes, str(index)))
    return LabelledSet(RETENTION_NAME, RETENTION_NAME, "", tuple(records), frozenset(DEFECT_NAMES))


def _read_own(source: CocoFolder) -> tuple[LabelledSet, tuple[Item, ...]]:
    """A user's set: names as prompts are written, boxes inside their images, copies of an image in one group.

    Says on stderr what it leaves out.
    """
    folder = source.images or _folder_of(source.file)
    labelled = read_coco_set(source.file, folder)
    records = tuple(replace(record, annotations=_clean(record)) for record in labelled.images)
    boxes, given = (
        sum(len(record.annotations) for record in images) for images in (records, labelled.images)
    )
    if not boxes:
        raise RtvpError(f"{source.file}: expected images with boxes, got none that can be learnt from")
    if given > boxes:
        _warn(f"{source.file}: {given - boxes} boxes without area inside their image are left out")
    shown = frozenset(a.name for record in records for a in record.annotations)
    if empty := sorted({_name(name) for name in labelled.vocabulary} - shown):
        _warn(f"{source.file}: no box of {', '.join(empty)}: left out, nothing can be learnt of it")
    items = to_items(records, labelled.name, folder)
    bundle_of = {item.key: name for name, members in bundle(items).items() for item in members}
    items = tuple(replace(item, group=bundle_of[item.key]) for item in items)
    grouped = tuple(replace(r, group=item.group) for r, item in zip(records, items, strict=True))
    good = sum(not record.annotations for record in records)
    _warn(
        f"{labelled.name}: {len(records)} pictures, {good} of them good; {boxes} boxes of {len(shown)} names"
    )
    return replace(labelled, images=grouped, vocabulary=shown), items


def _folder_of(file: Path) -> Path:
    first = next((item.file_name for item in read_coco_file(file).items), "")
    found = find_below(file.parent, [first, f"images/{first}"])
    return file.parent / "images" if found and found != file.parent / first else file.parent


def _clean(record: ImageRecord) -> tuple[Annotation, ...]:
    clipped = (
        Annotation(_name(a.name), clip_box(a.box_xyxy, record.width, record.height))
        for a in record.annotations
    )
    return tuple(a for a in clipped if shorter_side(a.box_xyxy) >= SMALLEST_BOX)


def _name(name: str) -> str:
    """With blanks for underscores, as `rtvp detect` and `rtvp evaluate` ask for the names of a COCO file."""
    return " ".join(name.replace("_", " ").split()) or name


def _split(
    labelled: LabelledSet, items: tuple[Item, ...], recipe: Recipe, seed: int
) -> tuple[LabelledSet, LabelledSet, bool]:
    """Training images, images to measure, and whether these are held out."""
    sides = closed_split(items, test_share=recipe.validation_share, seed=seed).sides
    train, kept = (
        replace(
            labelled,
            images=tuple(r for r, i in zip(labelled.images, items, strict=True) if sides[i.key] == side),
        )
        for side in ("train", "test")
    )
    defective = sum(bool(record.annotations) for record in kept.images)
    if defective < recipe.least_held_out or not train.images:
        _warn(
            f"{labelled.name}: too few pictures to hold some out: all are trained on, and the new AP is of "
            "pictures that were learnt by heart"
        )
        return labelled, labelled, False
    return train, kept, True


def _read_replay(
    root: Path, known_sets: Iterable[str], recipe: Recipe, seed: int, taken: _Taken
) -> tuple[tuple[LabelledSet, ...], tuple[Item, ...]]:
    """Some images of each known set below ``root``, but of none that holds one of the user's images."""
    known = sorted(known_sets)
    names = [name for name in available_sources(root) if name in known]
    sets: list[LabelledSet] = []
    items: list[Item] = []
    for labelled in read_sources(root, names):
        if any(record.path in taken for record in labelled.images):
            _warn(f"{labelled.name}: holds pictures of --data or --retention, so nothing of it is replayed")
            continue
        folder = root / source_table()[labelled.name].folder
        chosen = _choose(labelled, folder, recipe.replay_images, seed)
        sets.append(chosen)
        items += to_items(chosen.images, chosen.name, folder)
    if not sets:
        told = ", ".join(known) or "it does not name any"
        raise RtvpError(
            f"--replay: expected a folder with sets that the checkpoint was trained on ({told}), found none "
            f"in {root}"
        )
    _warn(f"replayed: {sum(len(each.images) for each in sets)} pictures of {len(sets)} sets")
    return tuple(sets), tuple(items)


class _Taken:
    """The content of the user's images; ``path in`` it is quick for a file of another size."""

    def __init__(self, sets: Iterable[LabelledSet], items: Iterable[Item]) -> None:
        self._sizes = {record.path.stat().st_size for labelled in sets for record in labelled.images}
        self._hashes = {item.sha256 for item in items}

    def __contains__(self, path: Path) -> bool:
        return path.stat().st_size in self._sizes and sha256_of(path) in self._hashes


def _choose(labelled: LabelledSet, folder: Path, count: int, seed: int) -> LabelledSet:
    """At most ``count`` of the images in ``folder``, those with defects first."""
    named = {record.path.relative_to(folder).as_posix(): record for record in labelled.images}
    defective_first = sorted(shuffled(named, f"replay/{seed}"), key=lambda name: not named[name].annotations)
    return replace(labelled, images=tuple(named[name] for name in sorted(defective_first[:count])))


def _warn(text: str) -> None:
    print(text, file=sys.stderr)
