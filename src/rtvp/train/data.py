"""What a run is trained and validated on."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rtvp.config import DataConfig, TrainConfig
from rtvp.data import synthetic
from rtvp.data.generated import GeneratedSamples
from rtvp.data.glossary import synonyms
from rtvp.data.labelled import LabelledSet, read_sources, read_split_sets
from rtvp.errors import RtvpError
from rtvp.files import sha256_of
from rtvp.mmio.categories import Embedder, name_cosines
from rtvp.mmio.names import shared_words
from rtvp.mmio.splits import split_by_group
from rtvp.models.text_encoder import make_text_encoder


@dataclass(frozen=True, slots=True)
class RunData:
    """The images of a run.

    Attributes:
        train: learnt from. Vocabularies hold nothing but names that may be trained on.
        validation: parts of the same sets, in no group with a training image: thresholds come from here.
        held_out: sets that are never trained on, measured at the end.
        excluded: names that must not reach training, not even as texts.
        digest: SHA-256 of the images, labels and parts, and of the version of generated pictures, if any.
    """

    train: tuple[LabelledSet, ...]
    validation: tuple[LabelledSet, ...]
    held_out: tuple[LabelledSet, ...]
    excluded: frozenset[str]
    digest: str

    def names(self, data: DataConfig) -> frozenset[str]:
        """The seen names: those of the sets, and of generated defects where such pictures are mixed in."""
        seen = frozenset[str]().union(*(labelled.vocabulary for labelled in self.train))
        uses_generated = data.synthetic_share or data.painted_share
        return seen | GeneratedSamples(self.excluded).names if uses_generated else seen


def read_run_data(config: TrainConfig, root: Path, benchmark: Path | None = None) -> RunData:
    """Read what ``config.data`` asks for.

    Args:
        config: of the run.
        root: folder that holds the folders of all sets.
        benchmark: a finished build, where ``config.data.split`` names a split of it.

    Raises:
        RtvpError: a source, split or image is missing, or nothing is left to train on.
    """
    data = config.data
    masks = data.cut_paste_share > 0
    excluded: frozenset[str] = frozenset()
    if data.split is None:
        sets = read_sources(root, data.sources, masks=masks)
    else:
        if benchmark is None:
            raise RtvpError(f"data.split {data.split}: expected a build of the benchmark, got no --benchmark")
        split = read_split_sets(benchmark, root, data.split)
        sets, excluded = _choose(split.train, data), frozenset(split.unseen)
        if split.max_cosine is not None:
            excluded |= near_in_meaning(split.unseen, split.max_cosine, make_text_encoder("minilm").encode)
    if leaked := sorted({labelled.name for labelled in sets} & set(data.held_out)):
        raise RtvpError(f"data.held_out: expected sources that are not trained on, got {', '.join(leaked)}")
    train, validation = [], []
    for labelled in sets:
        parts = split_by_group(labelled.images, data.validation_share, data.split_seed)
        learnt, kept = (replace(labelled, images=part) for part in parts)
        train += [learnt] if learnt.images else []
        validation += [kept] if kept.images else []
        print(
            f"{labelled.name}: {len(learnt.images)} to train on, {len(kept.images)} to validate",
            file=sys.stderr,
        )
    if not train:
        raise RtvpError("expected images to train on, got none: check data.sources and data.split")
    held_out = read_sources(root, data.held_out)
    digest = _digest((train, validation, held_out), excluded)
    if data.synthetic_share or data.painted_share:  # a run with other generated pictures is another run
        digest = hashlib.sha256(f"{digest} {synthetic.VERSION}".encode()).hexdigest()
    return RunData(tuple(train), tuple(validation), held_out, excluded, digest)


def near_in_meaning(unseen: Sequence[str], max_cosine: float, embed: Embedder) -> frozenset[str]:
    """Names of generated defects, and synonyms, that give an unseen name away as no seen name may.

    Args:
        unseen: names that the split promises to share no word with anything seen.
        max_cosine: what the cosine of a text and an unseen name has to stay below.
        embed: the text model by which the split was made.
    """
    texts = sorted({*synthetic.DEFECT_NAMES, *(text for own in synonyms().values() for text in own)})
    cosines = name_cosines(texts, unseen, embed)
    return frozenset(
        text
        for text, row in zip(texts, cosines, strict=True)
        if row.max(initial=0.0) >= max_cosine or any(shared_words(text, name) for name in unseen)
    )


def _choose(sets: tuple[LabelledSet, ...], data: DataConfig) -> tuple[LabelledSet, ...]:
    names = {labelled.name for labelled in sets}
    if unknown := sorted(set(data.sources) - names):
        raise RtvpError(
            f"data.sources: expected sets on the training side of {data.split} ({', '.join(sorted(names))}), "
            f"got {', '.join(unknown)}"
        )
    return tuple(labelled for labelled in sets if not data.sources or labelled.name in data.sources)


def _digest(parts: Iterable[Iterable[LabelledSet]], excluded: frozenset[str]) -> str:
    digest = hashlib.sha256("\0".join(sorted(excluded)).encode())
    for number, sets in enumerate(parts):
        for labelled in sets:
            digest.update(f"\n{number} {labelled.name} {sorted(labelled.vocabulary)}".encode())
            for record in labelled.images:
                labels = ";".join(f"{a.name}@{a.box_xyxy}@{a.mask}" for a in record.annotations)
                digest.update(f"\n{record.path.name} {sha256_of(record.path)} {labels}".encode())
    return digest.hexdigest()
