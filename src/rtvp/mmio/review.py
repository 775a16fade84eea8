"""What people have decided about category names: a YAML file that stands over every machine's match.

irregular hole: hole      # in all sets
my-set:
  spot: stain             # in this set only
  line: null              # stays a category of its own
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from rtvp.errors import RtvpError
from rtvp.mmio.names import term

Decisions = Mapping[str, str | None]  # `term` of a raw name -> category, None: stays as it is

_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True)
class Review:
    """People's decisions; names count in any way of writing them.

    Attributes:
        everywhere: what holds for all sets.
        by_source: what holds for one set, and goes before the former.
    """

    everywhere: Decisions = field(default_factory=dict)
    by_source: Mapping[str, Decisions] = field(default_factory=dict)

    def entry_for(self, source: str, raw: str) -> tuple[str, str] | None:
        """Which entry decides on the name ``raw`` of the set ``source``: its set ("" for all) and its key."""
        key = term(raw)
        if key in self.by_source.get(source, {}):
            return source, key
        return ("", key) if key in self.everywhere else None

    def decision(self, entry: tuple[str, str]) -> str | None:
        """What an entry says: a category, or None for a name that stays as it is."""
        source, key = entry
        return self.by_source[source][key] if source else self.everywhere[key]

    def entries(self) -> tuple[tuple[str, str], ...]:
        """All entries, sorted."""
        scoped = ((source, key) for source, decisions in self.by_source.items() for key in decisions)
        return tuple(sorted([*(("", key) for key in self.everywhere), *scoped]))


def read_review(path: Path, categories: Collection[str]) -> Review:
    """Read a review file.

    Args:
        path: the file; one with nothing but comments decides nothing.
        categories: the canonical names that may be decided for.

    Raises:
        RtvpError: the file is missing or no YAML, holds something else than names, decides for a category
            that does not exist, or decides twice.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise RtvpError(f"cannot read the review file {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RtvpError(f"{path} is not a YAML file: {' '.join(str(error).split())}") from error
    everywhere: dict[str, str | None] = {}
    by_source: dict[str, dict[str, str | None]] = {}
    for name, value, line in _members(root, path):
        if not isinstance(value, yaml.MappingNode):
            _decide(everywhere, name, value, f"{path}:{line}", categories)
        elif name in by_source:
            raise RtvpError(f"{path}:{line}: expected each set once, got {name!r} again: join the two")
        else:
            decisions = by_source.setdefault(name, {})
            for raw, chosen, inner in _members(value, path):
                _decide(decisions, raw, chosen, f"{path}:{inner}", categories)
    return Review(everywhere, by_source)


def _members(node: yaml.Node | None, path: Path) -> Iterator[tuple[str, yaml.Node, int]]:
    """Keys as they are written (``no`` and ``1`` are names here), values, and their lines."""
    if node is None or node.tag == _NULL:
        return
    if not isinstance(node, yaml.MappingNode):
        raise RtvpError(f"{path}:{node.start_mark.line + 1}: expected lines of the form 'raw name: category'")
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise RtvpError(f"{path}:{key.start_mark.line + 1}: expected a name before the colon")
        yield key.value, value, key.start_mark.line + 1


def _decide(
    decisions: dict[str, str | None], raw: str, chosen: yaml.Node, where: str, categories: Collection[str]
) -> None:
    if term(raw) in decisions:
        raise RtvpError(f"{where}: expected one decision for each name, got another for {raw!r}: remove one")
    if not isinstance(chosen, yaml.ScalarNode):
        raise RtvpError(f"{where}: expected a category or null for {raw!r}, got a list or a mapping")
    if chosen.tag == _NULL:
        decisions[term(raw)] = None
        return
    if chosen.value not in categories:
        near = difflib.get_close_matches(chosen.value, sorted(categories), n=1)
        hint = f": did you mean {near[0]!r}?" if near else ": write one of the taxonomy's names, or null"
        raise RtvpError(f"{where}: expected a category of the taxonomy, got {chosen.value!r}{hint}")
    decisions[term(raw)] = chosen.value


def review_lines(review: Review) -> tuple[str, ...]:
    """The decisions as lines of a review file; reading them gives ``review`` back."""
    lines = [review_line(key, chosen) for key, chosen in sorted(review.everywhere.items())]
    for source, decisions in sorted(review.by_source.items()):
        lines.append(f"{_quote(source)}:")
        lines += [f"  {review_line(key, chosen)}" for key, chosen in sorted(decisions.items())]
    return tuple(lines)


def review_line(raw: str, chosen: str | None) -> str:
    """One decision as a line of a review file."""
    return f"{_quote(raw)}: {_quote(chosen)}"


def _quote(text: str | None) -> str:
    return json.dumps(text, ensure_ascii=False)
