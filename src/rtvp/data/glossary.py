"""The packaged glossary: defect names and what they look like."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml


@cache
def glossary() -> dict[str, tuple[str, ...]]:
    """Short visual descriptions by lower-case name."""
    content = yaml.safe_load(Path(__file__).with_name("glossary.yaml").read_text(encoding="utf-8"))
    return {name: tuple(texts) for name, texts in content.items()}
