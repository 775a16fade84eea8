"""How the plots look, and how they come out the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from rtvp.errors import RtvpError
from rtvp.mmio.statistics_schema import Band, Histogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers too; yellow is too pale for a white page.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
BAND_COLOURS: Mapping[Band, str] = {"small": "#D55E00", "medium": "#E69F00", "large": "#0072B2"}
GOOD_COLOUR, BOX_COLOUR = "#009E73", "#0072B2"
HASH_SALT = "rtvp"


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of paper and ink."""

    background: str
    ink: str
    quiet: str
    grid: str


LIGHT = Theme(background="#ffffff", ink="#1f2328", quiet="#59636e", grid="#e3e6ea")
DARK = Theme(background="#161b22", ink="#e6edf3", quiet="#9198a1", grid="#2d333b")


def super_category_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name; by their order in the alphabet, so that all pictures agree."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(sorted(names))}


def require_matplotlib() -> None:
    """Make sure that plots can be drawn.

    Raises:
        RtvpError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise RtvpError("plots need matplotlib, which is not installed: pip install 'rtvp[mmio]'") from error


@contextmanager
def settings(theme: Theme) -> Iterator[Mapping[str, dict[str, None]]]:
    """matplotlib's defaults with ours on top, whatever the user's settings; yields metadata to leave out."""
    require_matplotlib()
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "axes.axisbelow": True,
                "axes.edgecolor": theme.quiet,
                "axes.facecolor": theme.background,
                "axes.labelcolor": theme.quiet,
                "axes.spines.right": False,
                "axes.spines.top": False,
                "figure.facecolor": theme.background,
                "font.size": 9,
                "grid.color": theme.grid,
                "legend.frameon": False,
                "svg.hashsalt": HASH_SALT,
                "text.color": theme.ink,
                "text.parse_math": False,  # a category may hold a dollar sign
                "xtick.color": theme.quiet,
                "xtick.labelcolor": theme.ink,
                "ytick.color": theme.quiet,
                "ytick.labelcolor": theme.ink,
            }
        )
        yield {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches."""
    from matplotlib.figure import Figure  # not pyplot: no window, no global list of figures

    return Figure(figsize=(width, height), layout="constrained")


def bare(axes: Axes, *, grid: Literal["x", "y", "both"] | None = None) -> None:
    """No tick marks; without a grid no frame and no numbers below either."""
    axes.tick_params(length=0)
    if grid:
        axes.grid(axis=grid)
    else:
        axes.set_xticks([])
        axes.spines[:].set_visible(False)


def add_legend(figure: Figure, colours: Mapping[str, str], columns: int) -> None:
    """What each colour stands for, above the axes."""
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=1, handleheight=1)


def label_bars(axes: Axes, lengths: Sequence[int], texts: Sequence[str], theme: Theme) -> None:
    """Numbers at the ends of horizontal bars, with room for them."""
    for row, (length, text) in enumerate(zip(lengths, texts, strict=True)):
        axes.annotate(
            text,
            (length, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=theme.quiet,
        )
    axes.set_xlim(0, 1.35 * max(lengths, default=1) or 1)


def bars_between(
    axes: Axes, histogram: Histogram, colours: Sequence[str], ticks: Mapping[float, str], theme: Theme
) -> None:
    """A histogram on a logarithmic axis, from its first to its last filled bin."""
    edges, counts = histogram["edges"], histogram["counts"]
    bare(axes, grid="y")
    axes.set_xscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    widths = [high - low for low, high in pairwise(edges)]
    axes.bar(
        edges[:-1], counts, widths, align="edge", color=colours, edgecolor=theme.background, linewidth=0.6
    )
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.minorticks_off()
    filled = [index for index, count in enumerate(counts) if count] or [0]
    axes.set_xlim(edges[max(0, filled[0] - 1)], edges[min(len(counts), filled[-1] + 2)])
