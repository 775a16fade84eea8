from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from build_sets import photograph
from PIL import Image

from rtvp.errors import RtvpError
from rtvp.files import sha256_of
from rtvp.mmio import pack as pack_module
from rtvp.mmio.coco_file import write_coco_file
from rtvp.mmio.pack import pack
from rtvp.mmio.schema import Annotation, Item

Packed = dict[str, tuple[str, bytes, dict[str, Any]]]  # key -> extension, image, labels


def read_shards(out: Path) -> Packed:
    """What a reader of WebDataset sees: members of one tar that share a name up to the first dot."""
    packed: Packed = {}
    names: list[str] = []
    for path in sorted(out.glob("*.tar")):
        samples: dict[str, dict[str, bytes]] = {}
        with tarfile.open(path) as tar:
            for member in tar:
                stem, _, extension = member.name.partition(".")
                content = tar.extractfile(member)
                assert content is not None
                samples.setdefault(stem, {})[extension] = content.read()
        names += samples
        for files in samples.values():
            labels = json.loads(files.pop("json"))
            ((extension, image),) = files.items()
            packed[f"{labels['source']}/{labels['file_name']}"] = (extension, image, labels)
    assert names == sorted(set(names))
    return packed


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """A small and a large image of each of two sets, one of which the table of sources knows."""
    items = []
    for source, folder in (("neu-det", "neu-det"), ("mine", "mine")):
        for number, size in enumerate([(120, 80), (400, 200)]):
            path = tmp_path / "data" / folder / "images" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            photograph(number, size).save(path, quality=90)
            boxes = (
                Annotation("crack", (10.0, 20.0, 30.0, 60.0)),
                Annotation("dent", (0.0, 0.0, *map(float, size))),
            )
            items.append(
                Item(
                    source,
                    f"images/{number}.jpg",
                    *size,
                    sha256_of(path),
                    f"{source}/g",
                    boxes[: number + 1],
                )
            )
    write_coco_file(tmp_path / "all.json", items, ["dent", "crack"], prefix_source=True)
    return tmp_path / "all.json"


def test_small_images_are_packed_as_they_are_and_large_ones_reduced(
    annotations: Path, tmp_path: Path
) -> None:
    index = pack(annotations, tmp_path / "data", tmp_path / "out", max_side=200)
    packed = read_shards(tmp_path / "out")
    assert len(packed) == index.images == 4
    assert index.boxes == 6
    extension, image, labels = packed["neu-det/images/0.jpg"]
    assert (extension, image) == ("jpg", (tmp_path / "data/neu-det/images/0.jpg").read_bytes())
    assert labels == {
        "source": "neu-det",
        "file_name": "images/0.jpg",
        "sha256": hashlib.sha256(image).hexdigest(),
        "group": "neu-det/g",
        "width": 120,
        "height": 80,
        "original_width": 120,
        "original_height": 80,
        "annotations": [{"category": "crack", "category_id": 2, "bbox": [10.0, 20.0, 20.0, 40.0]}],
    }
    _, image, labels = packed["mine/images/1.jpg"]
    reduced = Image.open(io.BytesIO(image))
    assert reduced.size == (labels["width"], labels["height"]) == (200, 100)
    assert [box["bbox"] for box in labels["annotations"]] == [
        [5.0, 10.0, 10.0, 20.0],
        [0.0, 0.0, 200.0, 100.0],
    ]
    expected = Image.open(tmp_path / "data/mine/images/1.jpg").resize((200, 100), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(reduced, int) - np.asarray(expected, int)).mean() < 2


def test_other_kinds_of_pictures_become_jpegs_as_they_are_shown(tmp_path: Path) -> None:
    pixels = np.asarray(photograph(0))
    folder = tmp_path / "data"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph(0).transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=exif)
    photograph(0).save(folder / "a.bmp")
    Image.fromarray(pixels.astype(np.uint16) * 257).save(folder / "deep.tif")
    photograph(0).convert("P").save(folder / "palette.png")
    names = ["turned.png", "a.bmp", "deep.tif", "palette.png"]
    write_coco_file(
        tmp_path / "all.json",
        [Item("", name, 120, 80, "", name, ()) for name in names],
        [],
        prefix_source=False,
    )
    pack(tmp_path / "all.json", folder, tmp_path / "out")
    for key, (extension, image, _) in read_shards(tmp_path / "out").items():
        assert extension == ("png" if key == "/palette.png" else "jpg")
        shown = np.asarray(Image.open(io.BytesIO(image)).convert("L"), int)
        assert np.abs(shown - pixels).mean() < 2


def test_shards_keep_to_their_size_and_the_index_tells_of_them(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    folder, items = tmp_path / "data", []
    folder.mkdir()
    for number in range(10):
        pixels = noise.integers(0, 256, (360, 350, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")  # 380 kB: two fit into 1 MiB
        items.append(Item("", f"{number}.png", 350, 360, "", "g", ()))
    write_coco_file(tmp_path / "all.json", items, [])
    index = pack(tmp_path / "all.json", folder, tmp_path / "out", shard_mb=1)
    assert [shard.samples for shard in index.shards] == [2] * 5
    assert json.loads((tmp_path / "out" / "index.json").read_text()) == index.model_dump()
    assert index.complete
    for shard in index.shards:
        path = tmp_path / "out" / shard.file
        assert path.stat().st_size == shard.bytes <= (1 << 20) + tarfile.RECORDSIZE
        assert sha256_of(path) == shard.sha256
    assert len(read_shards(tmp_path / "out")) == 10
    # One that is larger than a shard may be gets one of its own.
    Image.fromarray(noise.integers(0, 256, (700, 700, 3), dtype=np.uint8)).save(folder / "large.png")
    items.append(Item("", "large.png", 700, 700, "", "g", ()))
    write_coco_file(tmp_path / "all.json", items, [])
    index = pack(tmp_path / "all.json", folder, tmp_path / "large", shard_mb=1, max_side=700)
    assert [shard.samples for shard in index.shards if shard.bytes > (1 << 20) + tarfile.RECORDSIZE] == [1]


class Stopped(BaseException):
    pass


def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(
    annotations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_module, "_BATCH", 1)
    monkeypatch.setattr(pack_module._Sample, "size", 1 << 19)  # two samples a shard
    expected = pack(annotations, tmp_path / "data", tmp_path / "whole", shard_mb=1)
    assert len(expected.shards) == 2
    encode, done = pack_module._encode, []

    def stop_at_fourth(item: Item, **options: Any) -> Any:
        if len(done) == 3:
            raise Stopped
        done.append(item.key)
        return encode(item, **options)

    out = tmp_path / "out"
    monkeypatch.setattr(pack_module, "_encode", stop_at_fourth)
    with pytest.raises(Stopped):
        pack(annotations, tmp_path / "data", out, shard_mb=1)
    assert sorted(path.name for path in out.iterdir()) == ["index.json", "shard-000000.tar"]
    assert not json.loads((out / "index.json").read_text())["complete"]
    (out / "shard-000001.tar.99.part").write_bytes(b"left by a kill")
    done.clear()
    resumed = pack(annotations, tmp_path / "data", out, shard_mb=1, jobs=2)
    assert len(done) == 2
    assert resumed == expected
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()
    }
    # Run again, nothing is left to do; a damaged shard is made again.
    done.clear()
    pack(annotations, tmp_path / "data", out, shard_mb=1)
    assert done == []
    (out / "shard-000001.tar").write_bytes(b"damaged")
    assert pack(annotations, tmp_path / "data", out, shard_mb=1) == expected
    assert len(done) == 2


def test_other_options_replace_the_shards(annotations: Path, tmp_path: Path) -> None:
    first = pack(annotations, tmp_path / "data", tmp_path / "out")
    second = pack(annotations, tmp_path / "data", tmp_path / "out", max_side=100)
    assert first.key != second.key
    assert {labels["width"] for _, _, labels in read_shards(tmp_path / "out").values()} == {100}


def test_what_cannot_be_packed_is_said(annotations: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    image = data / "mine" / "images" / "0.jpg"
    content = image.read_bytes()
    image.unlink()
    with pytest.raises(RtvpError, match=r"mine/images/0\.jpg: expected its image at"):
        pack(annotations, data, out)
    image.write_bytes(content + b"more")
    with pytest.raises(RtvpError, match="expected the image that was labelled"):
        pack(annotations, data, out)
    image.write_bytes(content)
    with pytest.raises(RtvpError, match="from 1, got 0"):
        pack(annotations, data, out, max_side=0)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(RtvpError, match="holds other files"):
        pack(annotations, data, other)
    (other / "index.json").write_text("{}")
    with pytest.raises(RtvpError, match="expected the index of an earlier run"):
        pack(annotations, data, other)
    assert not out.exists() or not list(out.iterdir())


def test_an_image_that_is_cut_short_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    photograph(0).save(tmp_path / "data" / "a.png")
    content = (tmp_path / "data" / "a.png").read_bytes()
    (tmp_path / "data" / "a.png").write_bytes(content[: len(content) // 2])
    write_coco_file(tmp_path / "all.json", [Item("", "a.png", 120, 80, "", "g", ())], [])
    with pytest.raises(RtvpError, match=r"a\.png: expected a whole image"):
        pack(tmp_path / "all.json", tmp_path / "data", tmp_path / "out")
