from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from build_sets import photograph, write_fabric, write_workpiece, yolo_line
from numpy.typing import NDArray
from PIL import Image

from rtvp.config import load_config
from rtvp.errors import RtvpError
from rtvp.mmio import build_cache
from rtvp.mmio.build import Build, build
from rtvp.mmio.build_config import BuildConfig, CleaningConfig
from rtvp.mmio.coco_file import read_coco_file


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of no meaning, nearly at right angles to each other."""
    rows = []
    for text in texts:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        row = np.random.default_rng(seed).normal(size=256)
        rows.append(row / np.linalg.norm(row))
    return np.array(rows, dtype=np.float32)


def run(root: Path, out: Path, jobs: int = 1, **config: object) -> Build:
    return build(root, out, BuildConfig(**config), jobs=jobs, embed=embed)


def files(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".cache" not in path.parts
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sets; among the workpieces a flipped copy, a blank one and one that is cut short."""
    root = tmp_path / "data"
    images = write_workpiece(root)
    write_fabric(root)
    photograph(0).transpose(0).save(images / "part0_flipped.jpg", quality=90)
    (images / "part0_flipped.txt").write_text(yolo_line(0, (60, 10, 100, 40)))
    photograph(0).point([90] * 256).save(images / "blank.jpg")
    (images / "blank.txt").write_text("")
    whole = (images / "part1.jpg").read_bytes()
    (images / "cut.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (images / "cut.txt").write_text(yolo_line(0))
    return root


def test_a_build_leaves_every_set_the_benchmark_its_splits_and_the_reasons(
    root: Path, tmp_path: Path
) -> None:
    built = run(root, tmp_path / "out")
    prefix = "datasets/WorkpieceCrack2/train/images"
    converted = read_coco_file(tmp_path / "out" / "sources" / "workpiece-crack.json")
    assert len(converted.items) == 9
    assert all((root / "workpiece-crack" / item.file_name).is_file() for item in converted.items)
    assert {removal.key: removal.reason for removal in built.report.cleaned.removals} == {
        f"workpiece-crack/{prefix}/blank.jpg": "blank",
        f"workpiece-crack/{prefix}/cut.jpg": "unreadable",
        f"workpiece-crack/{prefix}/part0_flipped.jpg": "near duplicate",
    }
    fabric, workpiece = built.report.sets
    assert (workpiece.name, workpiece.images, workpiece.good, workpiece.boxes) == (
        "workpiece-crack",
        9,
        2,
        {"crack": 7},
    )
    assert (workpiece.kept_images, workpiece.kept_good, workpiece.kept_boxes) == (6, 1, {"crack": 5})
    assert workpiece.removed == {"blank": 1, "near duplicate": 1, "unreadable": 1}
    assert fabric.boxes == {"cut": 3, "hole": 3}

    everything = read_coco_file(tmp_path / "out" / "annotations" / "all.json")
    assert len(everything.items) == 12
    for split in built.report.splits:
        sides = {
            side: read_coco_file(
                tmp_path / "out" / "annotations" / f"{split.name.translate(NAMES)}_{side}.json"
            )
            for side in ("train", "test")
        }
        assert (len(sides["train"].items), len(sides["test"].items)) == (split.train, split.test)
        assert {side.categories for side in sides.values()} == {everything.categories}
        assert split.leaks.ok
    assert [split.name for split in built.report.splits] == [
        "closed",
        "zero-shot/category",
        "zero-shot/scene",
        "zero-shot/meaning",
    ]


NAMES = str.maketrans("/-", "__")


def test_the_manifest_proves_every_file_and_tells_of_every_image(root: Path, tmp_path: Path) -> None:
    built = run(root, tmp_path / "out")
    written = files(tmp_path / "out")
    manifest = json.loads(written.pop("manifest.json"))
    assert manifest["files"] == {name: hashlib.sha256(data).hexdigest() for name, data in written.items()}
    assert manifest["digest"] == built.digest
    assert hashlib.sha256(json.dumps(manifest["files"], sort_keys=True).encode()).hexdigest() == built.digest
    assert BuildConfig.model_validate(manifest["config"]) == BuildConfig()
    assert len(manifest["images"]) == 12
    for row in manifest["images"]:
        image = root / row["source"] / row["file_name"]
        assert row["sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
        assert row["splits"]["closed"] in {"train", "test"}
    assert json.loads(written["report.json"])["removals"][0]["reason"] == "blank"
    assert json.loads(written["stats.json"])["totals"]["images"] == 12


def test_the_same_input_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    first = run(root, tmp_path / "one")
    root.rename(tmp_path / "moved")
    assert run(tmp_path / "moved", tmp_path / "two", jobs=2).digest == first.digest
    assert run(tmp_path / "moved", tmp_path / "one").digest == first.digest
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert str(tmp_path).encode() not in b"".join(files(tmp_path / "one").values())


def test_other_settings_give_another_digest(root: Path, tmp_path: Path) -> None:
    digests = {
        run(root, tmp_path / "out", **config).digest
        for config in ({}, {"seed": 1}, {"cleaning": CleaningConfig(near_duplicates=False)})
    }
    assert len(digests) == 3


def test_what_has_not_changed_is_not_done_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    convert, look = build_cache.load_source, build_cache.fingerprint
    monkeypatch.setattr(build_cache, "load_source", lambda *a, **k: done.append(a[1]) or convert(*a, **k))
    monkeypatch.setattr(build_cache, "fingerprint", lambda *a: done.append(a[0].name) or look(*a))
    first = run(root, tmp_path / "out")
    assert len(done) == 2 + 15
    done.clear()
    assert run(root, tmp_path / "out").digest == first.digest
    assert done == []
    label = root / "fabric-hole" / "data" / "train" / "labels" / "cloth0.txt"
    label.write_text(yolo_line(2))
    second = run(root, tmp_path / "out")
    assert done == ["fabric-hole"]
    assert second.digest != first.digest
    # A damaged cache or output is made again.
    for path in [
        *(tmp_path / "out" / ".cache").rglob("*.npz"),
        tmp_path / "out" / "sources" / "fabric-hole.json",
    ]:
        path.write_bytes(path.read_bytes()[:-20])
    assert run(root, tmp_path / "out").digest == second.digest


def kill_at(write: int, root: Path, out: Path) -> bool:
    """Run a build that is killed just before it ends a file; False if it wrote fewer and ended well."""
    child = os.fork()
    if child == 0:
        replace, left = Path.replace, [write]

        def count_down(self: Path, target: Path) -> Path:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return replace(self, target)

        Path.replace = count_down  # type: ignore[method-assign]
        try:
            run(root, out)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks processes")
def test_a_killed_build_goes_on_from_there(root: Path, tmp_path: Path) -> None:
    expected = run(root, tmp_path / "whole")
    for write in range(100):
        out = tmp_path / f"killed_at_{write}"
        if not kill_at(write, root, out):
            break
        assert not (out / "manifest.json").exists()
        assert run(root, out).digest == expected.digest
        assert files(out) == files(tmp_path / "whole")
        assert not list(out.rglob("*.part"))
    # Each set has a file, a record and a chunk; then the benchmark, three files a split and four others.
    assert write == 3 * 2 + 1 + 3 * 4 + 4


def test_files_of_sets_and_splits_that_are_gone_go_too(root: Path, tmp_path: Path) -> None:
    run(root, tmp_path / "out")
    built = run(root, tmp_path / "out", sources=("workpiece-crack",))
    names = set(files(tmp_path / "out"))
    assert "sources/fabric-hole.json" not in names
    assert not any(name.startswith(("annotations/zero_shot", "splits/zero_shot")) for name in names)
    assert set(built.report.not_made) == {"zero-shot/category", "zero-shot/scene", "zero-shot/meaning"}
    assert len(list((tmp_path / "out" / ".cache").rglob("*.*"))) == 2


def test_people_decide_on_names_and_a_box_of_two_names_counts_once(root: Path, tmp_path: Path) -> None:
    label = root / "fabric-hole" / "data" / "train" / "labels" / "cloth0.txt"
    label.write_text(yolo_line(1) + yolo_line(2))
    (tmp_path / "review.yaml").write_text("fabric-hole:\n  cut: hole\n")
    built = build(root, tmp_path / "out", BuildConfig(), review=tmp_path / "review.yaml")
    assert built.report.sets[0].kept_boxes == {"hole": 6}
    assert "fabric-hole: 1 box(es) had two classes of one category, and count once" in built.report.notes
    assert built.report.not_made["zero-shot/meaning"] == "it needs a text model"
    assert '"cut": "hole"' in (tmp_path / "out" / "review.yaml").read_text()


def test_masks_are_kept_if_wanted(root: Path, tmp_path: Path) -> None:
    folder = root / "kolektorsdd" / "kos01"
    folder.mkdir(parents=True)
    photograph(7).save(folder / "Part0.jpg")
    mask = np.zeros((80, 120), np.uint8)
    mask[10:40, 20:60] = 255
    Image.fromarray(mask).save(folder / "Part0_label.bmp")
    for keep in (True, False):
        out = tmp_path / f"{keep}"
        run(root, out, keep_masks=keep, sources=("kolektorsdd", "fabric-hole"))
        for name in ("sources/kolektorsdd.json", "annotations/all.json"):
            (item,) = [item for item in read_coco_file(out / name).items if item.source == "kolektorsdd"]
            (annotation,) = item.annotations
            assert annotation.box_xyxy == (20, 10, 60, 40)
            assert (annotation.mask is not None) == keep


def test_progress_is_told_to_its_end(root: Path, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    build(root, tmp_path / "out", BuildConfig(), progress=lambda *step: steps.append(step))
    assert list(dict.fromkeys(step for step, _, _ in steps)) == [
        "convert", "fingerprint", "clean", "match", "split", "write",
    ]  # fmt: skip
    assert ("convert", 2, 2) in steps
    assert ("fingerprint", 2, 2) in steps
    assert steps[-1] == ("write", 1, 1)


@pytest.mark.parametrize(
    ("prepare", "config", "message"),
    [
        ("out/notes.txt", {}, "holds other files"),
        (None, {"sources": ("no-such-set",)}, "got 'no-such-set'"),
        (None, {"sources": ("neu-det",)}, "source neu-det: it cannot be read"),
    ],
)
def test_what_cannot_be_built_is_said_before_anything_is_written(
    root: Path, tmp_path: Path, prepare: str | None, config: dict[str, object], message: str
) -> None:
    if prepare:
        (tmp_path / prepare).parent.mkdir()
        (tmp_path / prepare).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RtvpError, match=message):
        run(root, tmp_path / "out", **config)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_root_and_an_output_inside_a_set_are_errors(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RtvpError, match="at least one known set"):
        run(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(RtvpError, match="lies in that of fabric-hole"):
        run(root, root / "fabric-hole" / "out")
    with pytest.raises(RtvpError, match="1 job or more"):
        run(root, tmp_path / "out", jobs=0)


def test_the_configuration_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "build.yaml"
    path.write_text("seed: 3\nsources: [neu-det]\ncleaning: {keep: ['a/*'], blank_contrast: null}\n")
    config = load_config(path, BuildConfig)
    assert config.sources == ("neu-det",)
    assert config.cleaning.keep == ("a/*",)
    for text in (
        "sources: []",
        "seeds: 3",
        "cleaning: {contradictions: all}",
        "splits: {unseen_scenes: 1.0}",
    ):
        path.write_text(text)
        with pytest.raises(RtvpError, match=str(path)):
            load_config(path, BuildConfig)


@pytest.fixture
def real_data() -> Iterator[Path]:
    if "RTVP_DATA" not in os.environ:
        pytest.skip("RTVP_DATA is not set: no real data")
    yield Path(os.environ["RTVP_DATA"])


def test_real_sets_are_built_the_same_with_any_number_of_jobs(real_data: Path, tmp_path: Path) -> None:
    chosen = {"sources": ("gear-fault", "screw-mvtec", "kolektorsdd")}
    one, two = run(real_data, tmp_path / "one", **chosen), run(real_data, tmp_path / "two", jobs=2, **chosen)
    assert one.digest == two.digest
    removed = {removal.key for removal in one.report.cleaned.removals}
    assert "kolektorsdd/kos26/Part5.jpg" in removed  # the bytes of kos01/Part5.jpg
    assert len(removed) < 10
    assert all(split.leaks.ok for split in one.report.splits)
