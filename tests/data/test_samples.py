import json
from pathlib import Path

import numpy as np
from PIL import Image

from rtvp.data.samples import GOOD_EVERY, write_samples
from rtvp.data.synthetic import generate


def test_writes_the_generated_pictures_and_their_labels(tmp_path: Path) -> None:
    path = write_samples(tmp_path / "made", count=5, size=96, seed=3)
    content = json.loads(path.read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert len(content["images"]) == 5
    for i, image in enumerate(content["images"]):
        sample = generate(3 + i, 96, 96, good=i % GOOD_EVERY == GOOD_EVERY - 1)
        pixels = np.asarray(Image.open(tmp_path / "made" / "images" / image["file_name"]))
        assert np.array_equal(pixels, sample.image)
        labels = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        assert [names[a["category_id"]] for a in labels] == [d.name for d in sample.defects]
        boxes = [(x, y, x + w, y + h) for x, y, w, h in (a["bbox"] for a in labels)]
        assert boxes == [d.box_xyxy for d in sample.defects]


def test_ids_start_at_one_and_no_temporary_file_stays(tmp_path: Path) -> None:
    content = json.loads(write_samples(tmp_path, count=4, size=96).read_text(encoding="utf-8"))
    assert [a["id"] for a in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))
    assert not list(tmp_path.rglob("*.part"))
    good = content["images"][GOOD_EVERY - 1]["id"]
    assert good not in {a["image_id"] for a in content["annotations"]}
