"""What a check of label files finds, and how it is reported to people and to machines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning"]

# Every kind of finding, in the order of the report. Errors break training or falsify an evaluation.
KINDS: Mapping[str, Severity] = {
    "file does not parse": "error",
    "malformed entry": "error",
    "id given twice": "error",
    "annotation id 0": "error",
    "unknown image": "error",
    "unknown class": "error",
    "class listed twice": "error",
    "number is not finite": "error",
    "box without area": "error",
    "box out of the image": "error",
    "duplicate box": "error",
    "image listed twice": "error",
    "missing image": "error",
    "unreadable image": "error",
    "wrong size": "error",
    "changed image": "error",
    "image in two files": "error",
    "ids from 0": "warning",
    "box of two classes": "warning",
    "thin box": "warning",
    "class without boxes": "warning",
    "class with few boxes": "warning",
    "field missing": "warning",
    "wrong area": "warning",
    "two images of one content": "warning",
    "images not checked": "warning",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        severity: of its kind.
        kind: one of :data:`KINDS`.
        where: file, and line or name of the entry.
        detail: what was expected and what came.
    """

    severity: Severity
    kind: str
    where: str
    detail: str


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """What a label file holds.

    Attributes:
        path: of the file.
        images: how many it lists.
        boxes: likewise.
        categories: likewise.
        images_opened: how many images were looked for on disk.
    """

    path: str
    images: int
    boxes: int
    categories: int
    images_opened: int


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check.

    Attributes:
        findings: by kind in the order of :data:`KINDS`, then as met; of each kind only the first ones.
        counts: kind -> how often it was met, in the same order.
        files: what was checked.
    """

    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    files: tuple[CheckedFile, ...]

    @property
    def errors(self) -> int:
        """Number of errors."""
        return sum(count for kind, count in self.counts.items() if KINDS[kind] == "error")

    @property
    def warnings(self) -> int:
        """Number of warnings."""
        return sum(count for kind, count in self.counts.items() if KINDS[kind] == "warning")

    def to_json(self) -> str:
        """The whole report, for machines."""
        content = {
            "errors": self.errors,
            "warnings": self.warnings,
            "counts": dict(self.counts),
            "files": [asdict(file) for file in self.files],
            "findings": [asdict(finding) for finding in self.findings],
        }
        return json.dumps(content, indent=1) + "\n"

    def to_text(self, examples: int = 5) -> str:
        """For people: each kind once with its number, and under it the first ``examples``."""
        lines = [
            f"{file.path}: {file.images} images ({file.images_opened} looked for), {file.boxes} boxes, "
            f"{file.categories} classes"
            for file in self.files
        ]
        for kind, count in self.counts.items():
            lines.append(f"{KINDS[kind]}: {kind} ({count})")
            shown = [finding for finding in self.findings if finding.kind == kind][:examples]
            lines += [f"  {finding.where}: {finding.detail}" for finding in shown]
            if count > len(shown):
                lines.append(f"  and {count - len(shown)} more")
        lines.append(f"{self.errors} errors, {self.warnings} warnings")
        return "\n".join(lines) + "\n"


class Findings:
    """Gathers findings, so that a file full of faults needs little memory.

    Args:
        limit: how many of a kind are kept; the others are only counted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: Counter[str] = Counter()
        self._kept: dict[str, list[Finding]] = {kind: [] for kind in KINDS}

    def add(self, kind: str, where: str, detail: str) -> None:
        """Note one finding of a kind out of :data:`KINDS`."""
        self._counts[kind] += 1
        kept = self._kept[kind]
        if len(kept) < self._limit:
            kept.append(Finding(KINDS[kind], kind, where, detail))

    def report(self, files: tuple[CheckedFile, ...]) -> Report:
        """Everything gathered about ``files``."""
        findings = tuple(finding for kept in self._kept.values() for finding in kept)
        counts = {kind: self._counts[kind] for kind in KINDS if self._counts[kind]}
        return Report(findings, counts, files)
