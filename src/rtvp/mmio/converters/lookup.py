"""Finds the images that a label file names by paths from somewhere else."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtvp.mmio.collector import IMAGE_SUFFIXES, Collector

_SAMPLE = 200  # entries that are looked at to find their folder


@dataclass(frozen=True, slots=True)
class Base:
    """Where the entries of one label file lead from.

    Attributes:
        folder: what they are relative to.
        dropped: how many leading parts of each entry do not exist here.
    """

    folder: Path
    dropped: int = 0


class ImageLookup:
    """The images of a set by the paths that label files state.

    All entries of one label file are looked up in one folder, so that an image that is missing there is not
    taken from another part of the set, where the same name means another picture.

    Args:
        collector: of the set.
        folder: of the images, below the root; None: found for each label file.
    """

    def __init__(self, collector: Collector, folder: str | None = None) -> None:
        self._collector = collector
        self._folder = None if folder is None else collector.root / folder
        self.files = collector.files(IMAGE_SUFFIXES)
        self._known = {posixpath.normpath(path.as_posix()): path for path in self.files}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for known, path in self._known.items():
            self._by_name[path.name].append(known)

    def at(self, path: Path) -> Path | None:
        """The image that lies at ``path``, which may go up and down; None if there is none."""
        return self._known.get(posixpath.normpath(path.as_posix()))

    def base(self, label: Path, entries: Sequence[str], may_drop: bool = False) -> Base:
        """The folder in which most of the ``entries`` of ``label`` lie.

        Of several that hold as many: the label's own, then one whose name is part of the label's name
        (``instances_train2017.json``, ``train2017``), then the first by name.

        Args:
            label: the label file.
            entries: all image paths it states.
            may_drop: the entries may start with folders of another machine.
        """
        if self._folder is not None:
            return Base(self._folder)
        own = posixpath.normpath(label.parent.as_posix())
        votes: Counter[tuple[str, int]] = Counter()
        for entry in entries[:: max(1, len(entries) // _SAMPLE)]:
            parts = entry.strip().replace("\\", "/").split("/")
            found = {self._split(path, parts) for path in self._by_name.get(parts[-1], ())}
            if posixpath.normpath(posixpath.join(own, *parts)) in self._known:
                found.add((own, 0))
            votes.update((folder, dropped) for folder, dropped in found if may_drop or not dropped)
        if not votes:
            return Base(label.parent)

        def rank(vote: tuple[str, int]) -> tuple[int, bool, bool, int, str]:
            folder, dropped = vote
            named = posixpath.basename(folder).lower() in label.stem.lower()
            return (-votes[vote], folder != own, not named, dropped, folder)

        folder, dropped = min(votes, key=rank)
        return Base(Path(folder), dropped)

    def find(self, base: Base, entry: str, label: Path, line: int | None) -> Path | None:
        """The image that ``entry`` of ``label`` means; None, counted, if there is none.

        Args:
            base: of the label file.
            entry: as stated.
            label: the label file.
            line: where it states it.
        """
        parts = entry.strip().replace("\\", "/").split("/")[base.dropped :]
        path = self._known.get(posixpath.normpath(posixpath.join(base.folder.as_posix(), *parts)))
        if path is None and self._collector.locate(base.folder, "/".join(parts), label, line) is not None:
            self._collector.count("label names a missing image")
        return path

    @staticmethod
    def _split(path: str, parts: Sequence[str]) -> tuple[str, int]:
        """Folder of ``path`` before what it shares with the end of an entry, and how much of that is left."""
        folders = path.split("/")
        shared = 1
        while shared < min(len(parts), len(folders)) and parts[-shared - 1] == folders[-shared - 1]:
            shared += 1
        return "/".join(folders[:-shared]), len(parts) - shared
