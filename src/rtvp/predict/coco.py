"""Detection over the images and category names of a COCO file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from rtvp.config import StrictModel, parse_config
from rtvp.errors import RtvpError
from rtvp.predict.result import Result
from rtvp.types import Prompt

SCORE_FLOOR = 0.001  # results are written down to it, so that the evaluation sees the whole curve
MAX_RESULTS = 300  # an image


class CocoImage(StrictModel):
    """One image of a COCO file."""

    model_config = ConfigDict(extra="ignore")

    id: int
    file_name: str = Field(min_length=1)


class CocoCategory(StrictModel):
    """One category of a COCO file."""

    model_config = ConfigDict(extra="ignore")

    id: int
    name: str = Field(pattern=r"\w")


class CocoFile(StrictModel):
    """What detection needs of a COCO file; its annotations are not read."""

    model_config = ConfigDict(extra="ignore")

    images: list[CocoImage] = Field(min_length=1)
    categories: list[CocoCategory] = Field(min_length=1)

    def prompts(self) -> list[Prompt]:
        """The category names as a person would write them, in the order of the file, each once."""
        return [Prompt(name) for name in self._ids_by_name()]

    def results(self, image: CocoImage, result: Result) -> Iterator[dict[str, Any]]:
        """COCO results of one image, best first: this file's ids, bbox as x, y, width, height in px, and the
        mask as run lengths where there are masks.

        Args:
            image: which image.
            result: what was found in it, looking for `prompts`.
        """
        ids = list(self._ids_by_name().values())
        found = zip(
            result.boxes_xyxy.tolist(), result.label_indices.tolist(), result.scores.tolist(), strict=True
        )
        entries = (
            (number, category, box, score)
            for number, (box, index, score) in enumerate(found)
            for category in ids[index]
        )
        for _, (number, category, box, score) in zip(range(MAX_RESULTS), entries, strict=False):
            x1, y1, x2, y2 = (round(edge, 2) for edge in box)
            bbox = [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
            entry = {"image_id": image.id, "category_id": category, "bbox": bbox, "score": round(score, 6)}
            mask = {} if result.mask_counts is None else {"segmentation": result.segmentation(number)}
            yield entry | mask

    def _ids_by_name(self) -> dict[str, list[int]]:
        ids: dict[str, list[int]] = {}
        for category in self.categories:
            ids.setdefault(" ".join(category.name.replace("_", " ").split()), []).append(category.id)
        return ids


def read_coco_file(path: Path) -> CocoFile:
    """Read and check a COCO file.

    Raises:
        RtvpError: it cannot be read, is not JSON, lacks images or categories, or uses an id twice.
    """
    try:
        if not path.is_file():  # also keeps pipes and devices from being waited for
            problem = "it is a folder" if path.is_dir() else "no such file"
            raise RtvpError(f"cannot read the COCO file {path}: {problem}")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise RtvpError(f"cannot read the COCO file {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise RtvpError(f"{path} is not a JSON file: {' '.join(str(error).split())}") from error
    coco = parse_config(content, CocoFile, where=str(path))
    for kind, ids in (
        ("images", [i.id for i in coco.images]),
        ("categories", [c.id for c in coco.categories]),
    ):
        number, count = Counter(ids).most_common(1)[0]
        if count > 1:
            raise RtvpError(f"{path}: {kind}: expected each id once, got {number} {count} times")
    return coco
