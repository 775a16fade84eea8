"""The README's picture: the first six results of `make demo`, side by side.

python scripts/demo_picture.py demo/found docs/images/demo.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

COLUMNS, ROWS, SIDE = 3, 2, 420


def main() -> None:
    """Read, shrink, tile, write."""
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    pictures = [p for p in sorted(folder.rglob("*.png")) if not p.stem.endswith("_explain")]
    sheet = Image.new("RGB", (COLUMNS * SIDE, ROWS * SIDE), "white")
    for index, path in enumerate(pictures[: COLUMNS * ROWS]):
        with Image.open(path) as picture:
            shown = picture.convert("RGB").resize((SIDE, SIDE))
        sheet.paste(shown, (index % COLUMNS * SIDE, index // COLUMNS * SIDE))
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, quality=85)


if __name__ == "__main__":
    main()
