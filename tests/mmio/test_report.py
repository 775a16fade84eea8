from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from report_data import ITEMS, SCENE_OF, SMALL, SUPER_CATEGORY_OF, TAXONOMY, make_item

from rtvp.errors import RtvpError
from rtvp.mmio.page import PagePlot, PageSheet, report_page
from rtvp.mmio.plots import PLOTS
from rtvp.mmio.report import write_report
from rtvp.mmio.schema import Item
from rtvp.mmio.splits import Split
from rtvp.mmio.statistics import statistics

VOID = {"meta", "img", "source", "br", "link", "input"}
HOSTILE = "<script>alert('x')</script>\" onload=\"alert(1)"


class Page(HTMLParser):
    """Checks that tags are closed in order; gathers what a test asks about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & {*self._open}:
            self.tables[-1][-1][-1] += data


def all_with(page: Page, tag: str) -> list[dict[str, str | None]]:
    return [attributes for name, attributes in page.tags if name == tag]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sets")
    for item in ITEMS:
        path = root / item.source / item.file_name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (item.width, item.height), (90, 120, 150)).save(path)
    (root / "plates" / "b.png").write_text("broken")
    return {source: root / source for source in SCENE_OF}


def make_page(items: tuple[Item, ...] = ITEMS, title: str = "MMIO", splits: tuple[Split, ...] = ()) -> Page:
    stats = statistics(items, SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY, splits)
    sheets = [
        PageSheet(
            "metal plates", b"jpeg", 40, 30, ("scratch (plates/a.png)", HOSTILE), ("plates/b.png: cut",)
        ),
        PageSheet(HOSTILE, None, 10, 10, (), ()),
    ]
    return Page(report_page(title, stats, {name: PagePlot(b"light", b"dark") for name in PLOTS}, sheets))


def test_the_paper_and_the_build_stand_side_by_side() -> None:
    split = Split(
        "zero-shot/category",
        {item.key: "test" if item.source == "shirts" else "train" for item in ITEMS},
        seen=("dent", "scratch"),
        unseen=("hole",),
    )
    page = make_page(splits=(split,))
    table_1, beside = page.tables[:2]
    assert table_1[-2] == ["MMIO-80K (paper)", "100", "21,836", "18", "Text, Image"]
    assert table_1[-1] == ["This build", "3", "6", "2", "Text, Image"]
    assert len(table_1) == 1 + 7 + 1
    rows = {row[0]: row[1:] for row in beside}
    assert rows["Categories"] == ["100", "3", "3%"]
    assert rows["Images with defects"] == ["21,836", "5", "0%"]
    assert rows["Good images"] == ["not stated", "1", ""]
    assert rows["Small boxes"][1] == "62%"
    assert rows["Images of seen categories (zero-shot by category)"][:2] == ["18,811", "3"]
    assert rows["Images of unseen categories (likewise)"][:2] == ["3,025", "2"]
    assert "Categories without a box, of 3: 1" in page.text
    assert page.tables[-1][1] == ["zero-shot/category", "4", "2", "0", "5", "3", "2", "1", "2", "2"]


def test_tables_show_every_scene_and_category() -> None:
    tables = make_page().tables
    supers, scenes, categories = tables[2:5]
    assert supers[1] == ["metallurgy", "1", "2", "4", "1", "5", "2", "40%", "40%", "20%"]
    assert scenes[2][:7] == ["garments", "textiles", "1", "2", "0", "3", "2"]
    assert categories[1][:5] == ["scratch", "metallurgy, textiles", "metal plates 4, garments 1", "5", "4"]
    assert [row[0] for row in categories[1:]] == ["scratch", "hole", "dent"]
    assert len(tables) == 5  # no table of splits where there is none


def test_the_page_needs_no_network_and_runs_nothing() -> None:
    page = make_page()
    policies = [
        tag["content"] for tag in all_with(page, "meta") if tag.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "srcset"}:
                assert value is not None and value.startswith("data:image/")
            if name == "href":
                assert value is not None and value.startswith("#")


def test_pictures_are_inside_with_a_text_for_each_and_a_dark_version() -> None:
    page = make_page()
    images = all_with(page, "img")
    assert len(images) == len(PLOTS) + 1
    for image in images:
        assert image["alt"]
    dark = [source["srcset"] for source in all_with(page, "source")]
    assert dark == [f"data:image/svg+xml;base64,{base64.b64encode(b'dark').decode()}"] * len(PLOTS)
    assert images[-1]["src"] == f"data:image/jpeg;base64,{base64.b64encode(b'jpeg').decode()}"
    assert all_with(page, "html") == [{"lang": "en"}]


def test_every_link_and_label_leads_somewhere() -> None:
    page = make_page()
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for _, attributes in page.tags:
        for name in ("href", "aria-labelledby"):
            if name in attributes:
                assert (attributes[name] or "").removeprefix("#") in ids


def test_names_are_escaped() -> None:
    items = (make_item("plates", "a.png", (HOSTILE, SMALL)), make_item("plates", "b.png", ("a&amp;b", SMALL)))
    page = make_page(items, title=HOSTILE)
    assert page.text.count(HOSTILE) >= 4  # title, heading, table, list of what is shown
    assert "a&amp;b" in page.text
    assert not all_with(page, "script")


def test_a_benchmark_without_images_has_a_page() -> None:
    page = make_page(())
    assert page.tables[0][-1] == ["This build", "0", "0", "0", "Text, Image"]


def test_a_report_is_written_whole(tmp_path: Path, folders: dict[str, Path]) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install 'rtvp[mmio]'")
    report = write_report(tmp_path / "out", ITEMS, folders, SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY)
    assert report.skipped == ("plates/b.png: expected an image, got other content",)
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    plots = {f"plots/{name}.{kind}" for name in PLOTS for kind in ("png", "svg")}
    sheets = {"contact_sheets/garments.jpg", "contact_sheets/metal-plates.jpg"}
    assert found == {"stats.json", "index.html"} | plots | sheets
    assert {path.relative_to(tmp_path / "out").as_posix() for path in report.files} == found
    assert report.files[-1].name == "index.html"
    stats = json.loads((tmp_path / "out" / "stats.json").read_text(encoding="utf-8"))
    assert stats == report.statistics
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    jpegs = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    files = [(tmp_path / "out" / name).read_bytes() for name in sorted(sheets)]
    assert [base64.b64decode(jpeg) for jpeg in jpegs] == files
    with Image.open(io.BytesIO(files[0])) as image:
        assert image.format == "JPEG" and f'width="{image.width}" height="{image.height}"' in page
    assert "plates/b.png: expected an image" in page


def test_scenes_of_one_file_name_do_not_meet(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install 'rtvp[mmio]'")
    monkeypatch.setattr("rtvp.mmio.report.render_plot", lambda *args: b"")
    scenes = {"plates": "Steel / sheets", "strip": "steel: sheets", "shirts": "布"}
    write_report(tmp_path, ITEMS, folders, scenes, SUPER_CATEGORY_OF, TAXONOMY)
    names = sorted(path.name for path in (tmp_path / "contact_sheets").iterdir())
    assert names == ["scene.jpg", "steel-sheets-2.jpg", "steel-sheets.jpg"]


def test_nothing_is_written_where_something_is_missing(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(RtvpError, match="expected the scene of every source"):
        pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install 'rtvp[mmio]'")
        write_report(out, ITEMS, folders, {}, SUPER_CATEGORY_OF, TAXONOMY)
    with pytest.raises(RtvpError, match="expected the folder of every source"):
        write_report(out, ITEMS, {}, SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RtvpError, match="pip install"):
        write_report(out, ITEMS, folders, SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY)
    assert not out.exists()


SCRIPT = """
import hashlib, sys
from pathlib import Path
from report_data import ITEMS, SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY
from rtvp.mmio.report import write_report
root, out = map(Path, sys.argv[1:3])
items = ITEMS if sys.argv[3] == "1" else reversed(ITEMS)
folders = {source: root / source for source in SCENE_OF}
report = write_report(out, items, folders, SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY)
print(hashlib.sha256(b"".join(path.read_bytes() for path in report.files)).hexdigest())
"""


@pytest.mark.slow
def test_a_report_is_the_same_whatever_the_hash_seed_and_order(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install 'rtvp[mmio]'")
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    digests = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folders["plates"].parent), str(tmp_path / seed), seed],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1 and len(digests.pop().strip()) == 64
