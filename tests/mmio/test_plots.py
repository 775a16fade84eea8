from __future__ import annotations

import io
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from report_data import ITEMS, SCENE_OF, SMALL, SUPER_CATEGORY_OF, TAXONOMY, make_item

from rtvp.errors import RtvpError
from rtvp.mmio.plot_style import DARK, LIGHT, super_category_colours
from rtvp.mmio.plots import PLOTS, render_plot
from rtvp.mmio.statistics import statistics
from rtvp.mmio.statistics_schema import Statistics


@pytest.fixture(scope="module")
def stats() -> Statistics:
    return statistics(ITEMS, SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY)


@pytest.fixture
def matplotlib_installed() -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib: pip install 'rtvp[mmio]'")


@pytest.mark.usefixtures("matplotlib_installed")
@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_is_drawn_the_same_again(name: str, stats: Statistics) -> None:
    drawn = render_plot(name, stats, "svg")
    assert drawn == render_plot(name, stats, "svg")
    assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert b"<dc:date>" not in drawn
    assert stats == statistics(ITEMS, SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY)


@pytest.mark.usefixtures("matplotlib_installed")
def test_the_heights_of_bars_are_the_counts_and_their_colours_the_shares(stats: Statistics) -> None:
    from matplotlib.colors import to_hex

    axes = PLOTS["categories"].draw(stats, LIGHT).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["scratch", "hole", "dent"]
    tops = {round(bar.get_x() + bar.get_width() / 2): bar.get_y() + bar.get_height() for bar in axes.patches}
    assert [round(tops[x], 6) for x in range(3)] == [5, 2, 1]
    colours = super_category_colours(["textiles", "metallurgy"])
    first, second = axes.patches[:2]
    assert [to_hex(bar.get_facecolor()).upper() for bar in (first, second)] == [
        colours["metallurgy"],
        colours["textiles"],
    ]
    # 4 of the 5 scratches are on metal: four fifths of the drawn height, which is logarithmic.
    low, middle, high = np.log([first.get_y(), second.get_y(), tops[0]])
    assert (middle - low) / (high - low) == pytest.approx(4 / 5)


@pytest.mark.usefixtures("matplotlib_installed")
@pytest.mark.parametrize("name", PLOTS)
def test_a_benchmark_without_images_has_plots_too(name: str) -> None:
    empty = statistics([], {}, {}, TAXONOMY)
    assert render_plot(name, empty, "svg").startswith(b"<?xml")
    assert PLOTS[name].describe(empty).endswith(".")


@pytest.mark.usefixtures("matplotlib_installed")
@pytest.mark.filterwarnings("error")
def test_names_are_drawn_as_they_are() -> None:
    items = [make_item("plates", "a.png", ("$a_b$ & <c>--", SMALL), ("擦花", SMALL))]
    named = statistics(items, SCENE_OF, SUPER_CATEGORY_OF, TAXONOMY)
    axes = PLOTS["categories"].draw(named, LIGHT).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["$a_b$ & <c>--", "擦花"]
    ElementTree.fromstring(render_plot("categories", named, "svg"))


@pytest.mark.usefixtures("matplotlib_installed")
def test_the_users_settings_do_not_matter_and_are_left_alone(stats: Statistics) -> None:
    import matplotlib

    plain = render_plot("scenes", stats, "svg")
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "none"}):
        assert render_plot("scenes", stats, "svg") == plain
        assert matplotlib.rcParams["font.size"] == 30


@pytest.mark.usefixtures("matplotlib_installed")
def test_themes_differ_in_paper_and_ink(stats: Statistics) -> None:
    for theme in (LIGHT, DARK):
        with Image.open(io.BytesIO(render_plot("boxes_per_image", stats, "png", theme))) as image:
            assert image.width >= 600 and not image.text  # no date, no version
            red, green, blue = image.convert("RGB").getpixel((1, 1))
        assert f"#{red:02x}{green:02x}{blue:02x}" == theme.background


def test_descriptions_hold_the_numbers(stats: Statistics) -> None:
    assert "scratch (5) to dent (1)" in PLOTS["categories"].describe(stats)
    assert "62% of the boxes are small" in PLOTS["box_sizes"].describe(stats)
    assert "have none: 1. Those with defects: 5; on average 1.6 boxes" in PLOTS["boxes_per_image"].describe(
        stats
    )
    assert "most images (4) have 100 x 100 px" in PLOTS["image_sizes"].describe(stats)


def test_without_matplotlib_it_is_said_how_to_get_it(
    stats: Statistics, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RtvpError, match=r"pip install 'rtvp\[mmio\]'"):
        render_plot("scenes", stats, "svg")
