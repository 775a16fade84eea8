"""What a build tells of itself: what became of every set, and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rtvp.mmio.build_cache import SetRecord
from rtvp.mmio.build_config import BuildConfig
from rtvp.mmio.categories import Matching
from rtvp.mmio.cleaning import Cleaned
from rtvp.mmio.leaks import Leaks
from rtvp.mmio.schema import Item
from rtvp.mmio.sources import Source
from rtvp.mmio.splits import Split


@dataclass(frozen=True, slots=True)
class SetRow:
    """One set of the build.

    Attributes:
        name: of the set.
        scene: what it shows.
        super_category: of the scene.
        licence: as its authors state it.
        published_images: how many there are; None: not known.
        images: that were converted.
        good: of them.
        boxes: of them, by class as the set has it.
        problems: of its label files -> how often they were met and worked around.
        broken: malformed label files, one line each.
        removed: reason -> images that cleaning left out.
        kept_images: that are in the benchmark.
        kept_good: of them.
        kept_boxes: of them, by category.
    """

    name: str
    scene: str
    super_category: str
    licence: str
    published_images: int | None
    images: int
    good: int
    boxes: Mapping[str, int]
    problems: Mapping[str, int]
    broken: Sequence[str]
    removed: Mapping[str, int]
    kept_images: int
    kept_good: int
    kept_boxes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SplitRow:
    """One split of the build; ``digest`` is that of its manifest, ``leaks`` what was found in it."""

    name: str
    train: int
    test: int
    left_out: int
    seen: int
    unseen: int
    digest: str
    leaks: Leaks


@dataclass(frozen=True, slots=True)
class BuildReport:
    """All of it.

    Attributes:
        config: of the build.
        sets: sorted by name.
        absent: sets of the table that were not used -> images published, None: not known.
        cleaned: removals, near-duplicates and notes.
        matching: what became of every class name.
        splits: those that were made.
        not_made: the other splits -> why.
        notes: what a person should know, one line each.
    """

    config: BuildConfig
    sets: tuple[SetRow, ...]
    absent: Mapping[str, int | None]
    cleaned: Cleaned
    matching: Matching
    splits: tuple[SplitRow, ...]
    not_made: Mapping[str, str]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "config": self.config.model_dump(mode="json"),
            "sets": [asdict(row) for row in self.sets],
            "absent_sets": dict(self.absent),
            "removals": [removal._asdict() for removal in self.cleaned.removals],
            "near_duplicates": [near._asdict() for near in self.cleaned.near_duplicates],
            "merges": [merge._asdict() for merge in self.matching.merges],
            "near_names": [names._asdict() for names in self.matching.near_names],
            "unused_reviews": [list(entry) for entry in self.matching.unused_reviews],
            "splits": [_split_json(row) for row in self.splits],
            "splits_not_made": dict(self.not_made),
            "notes": list(self.notes),
        }


def _split_json(row: SplitRow) -> dict[str, Any]:
    counts = {
        key: getattr(row, key) for key in ("name", "train", "test", "left_out", "seen", "unseen", "digest")
    }
    return counts | {"leaks": row.leaks.to_json()}


def set_rows(
    records: Sequence[SetRecord],
    sources: Mapping[str, Source],
    converted: Iterable[Item],
    cleaned: Cleaned,
    kept: Iterable[Item],
) -> tuple[SetRow, ...]:
    """What became of every set.

    Args:
        records: of the sets.
        sources: the table.
        converted: all images, with the classes as the sets have them.
        cleaned: what was left out.
        kept: the images of the benchmark, with its categories.
    """
    before, after = _count(converted), _count(kept)
    removed: dict[str, Counter[str]] = {record.name: Counter() for record in records}
    for removal in cleaned.removals:
        removed[removal.key.partition("/")[0]][removal.reason] += 1
    rows = []
    for record in records:
        source = sources[record.name]
        one, other = (table.get(record.name, _Tally()) for table in (before, after))
        rows.append(
            SetRow(
                record.name,
                source.scene,
                source.super_category,
                source.licence,
                source.published_images,
                one.images,
                one.good,
                dict(sorted(one.boxes.items())),
                dict(sorted(record.problems.items())),
                tuple(record.broken),
                dict(sorted(removed[record.name].items())),
                other.images,
                other.good,
                dict(sorted(other.boxes.items())),
            )
        )
    return tuple(rows)


def split_row(split: Split, digest: str, leaks: Leaks) -> SplitRow:
    """What became of one split."""
    sides = Counter(split.sides.values())
    return SplitRow(
        split.name,
        sides["train"],
        sides["test"],
        len(split.left_out),
        len(split.seen),
        len(split.unseen),
        digest,
        leaks,
    )


def json_lines(content: Mapping[str, Any]) -> str:
    """JSON with every entry of a list or an object of the top level on a line of its own."""
    blocks = []
    for key, value in content.items():
        if isinstance(value, list) and value:
            entries = ",\n".join(f"  {_line(entry)}" for entry in value)
            text = f"[\n{entries}\n ]"
        elif isinstance(value, dict) and value:
            entries = ",\n".join(f"  {_line(name)}: {_line(entry)}" for name, entry in value.items())
            text = f"{{\n{entries}\n }}"
        else:
            text = _line(value)
        blocks.append(f" {_line(key)}: {text}")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class _Tally:
    """Images, good images and boxes of a set."""

    def __init__(self) -> None:
        self.images = 0
        self.good = 0
        self.boxes: Counter[str] = Counter()


def _count(items: Iterable[Item]) -> dict[str, _Tally]:
    tallies: dict[str, _Tally] = {}
    for item in items:
        tally = tallies.setdefault(item.source, _Tally())
        tally.images += 1
        tally.good += not item.annotations
        tally.boxes.update(annotation.name for annotation in item.annotations)
    return tallies
