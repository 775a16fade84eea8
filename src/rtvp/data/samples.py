"""Generated sample pictures on disk, with their labels: something to try the command on without any data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from rtvp.data.synthetic import DEFECT_NAMES, generate

GOOD_EVERY = 4  # one picture in four shows a part without defects


def write_samples(folder: Path, count: int, size: int = 640, seed: int = 0) -> Path:
    """Write ``count`` generated pictures to ``folder``/images, labels to ``folder``/instances.json (COCO).

    The labels name only the defects that occur, so that ``rtvp detect --coco`` is prompted with those.

    Args:
        folder: made if need be; files of the same names are replaced.
        count: number of pictures.
        size: side of a picture, px.
        seed: of the first picture; picture i has seed ``seed + i``.

    Returns:
        The label file.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    samples = [generate(seed + i, size, size, good=i % GOOD_EVERY == GOOD_EVERY - 1) for i in range(count)]
    shown = sorted({defect.name for sample in samples for defect in sample.defects}, key=DEFECT_NAMES.index)
    category = {name: number for number, name in enumerate(shown, start=1)}
    for number, sample in enumerate(samples, start=1):
        name = f"{number:03d}_{sample.surface.replace(' ', '_')}.png"
        temporary = folder / "images" / f".{name}.part"
        Image.fromarray(sample.image).save(temporary, format="PNG")
        temporary.replace(folder / "images" / name)
        images.append({"id": number, "file_name": name, "width": size, "height": size})
        for defect in sample.defects:
            x1, y1, x2, y2 = defect.box_xyxy
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category[defect.name],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": int(defect.mask.sum()),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for name, number in category.items()]
    content: dict[str, Any] = {"images": images, "annotations": annotations, "categories": categories}
    path = folder / "instances.json"
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(path)
    return path
