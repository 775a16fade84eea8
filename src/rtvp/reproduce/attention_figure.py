"""Figure 5: what the prompts make the network attend to, and what it and others find, on real images."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rtvp.data.images import content_size, read_image
from rtvp.data.labelled import LabelledSet
from rtvp.errors import RtvpError
from rtvp.evaluate.image_level import auroc
from rtvp.files import replacing
from rtvp.measure import NamedDetector
from rtvp.mmio.plot_style import LIGHT, PALETTE, bare, new_figure, settings
from rtvp.mmio.schema import ImageRecord
from rtvp.predict import Detector
from rtvp.reproduce.look import Look, RGBArray, coverage, look, rtvp_network
from rtvp.reproduce.results import write_json
from rtvp.terminal import make_progress
from rtvp.types import Prompt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL = 1.9  # side, inches
CAPTION = 0.18  # height of the line below it, in panels
HEADING = 0.4  # inches
PNG_DPI = 130
DRAWN_SIDE = 480  # px of the longest side: more does not show in a panel
MAP_OPACITY = 0.6
MOST_BOXES = 15  # detections drawn in a panel

NamedBox = tuple[str, NDArray[np.float32], str]  # name, box in px of the image, caption


@dataclass(frozen=True, slots=True)
class Shown:
    """A detector whose detections get a column.

    Attributes:
        title: of the column.
        detector: ours, a baseline or a peer.
        threshold: score that a detection has to exceed to be drawn; each detector has its own.
    """

    title: str
    detector: NamedDetector
    threshold: float


@dataclass(frozen=True, slots=True)
class AttentionMap:
    """A map over one image.

    Attributes:
        values: [h, w] float32, the cells that the image covers, at least in part.
        cell: side of a cell in pixels of the image.
        auroc: how likely a point inside the labelled boxes has a higher value than one outside. 0.5 is
            chance; below it the map turns away from them; NaN where the boxes cover everything.
    """

    values: NDArray[np.float32]
    cell: float
    auroc: float


def attention_maps(
    detector: Detector, image: RGBArray, prompts: Sequence[Prompt], boxes_xyxy: NDArray[np.float32]
) -> dict[str, AttentionMap]:
    """What an RTVP detector attends to in one image, map by map, finest level first.

    Args:
        detector: with visual prompt, text-visual interaction or both; what it lacks is left out.
        image: [H, W, 3] uint8 RGB.
        prompts: what it is asked for; text-visual attention depends on it.
        boxes_xyxy: [N, 4] labelled boxes, px of the image.
    """
    seen = look(detector, image, prompts)
    strides = rtvp_network(detector).strides
    maps: dict[str, tuple[Tensor, int]] = {}
    if seen.scores:
        maps["visual prompt: score M (Eq. 4)"] = (_best_of_levels(seen.scores), strides[0])
    for stride, level in zip(strides, seen.attention, strict=False):  # no attention at all, or one a level
        maps[f"text-visual attention (Eq. 7), stride {stride}"] = (level, stride)
    boxes = torch.from_numpy(boxes_xyxy) * seen.letterbox.scale
    return {title: _over_image(level, stride, seen, boxes) for title, (level, stride) in maps.items()}


def choose_examples(
    sets: Sequence[LabelledSet], count: int, seed: int = 0
) -> tuple[tuple[LabelledSet, ImageRecord], ...]:
    """Defective images drawn by the seed, one of each set before a second of any; sorted by set.

    Raises:
        RtvpError: no image with a labelled box.
    """
    shuffled = []
    for index in np.random.default_rng(seed).permutation(len(sets)):
        labelled = sets[index]
        records = [record for record in labelled.images if record.annotations]
        # The set is part of the seed: its images do not hang on the other sets.
        order = np.random.default_rng([seed, zlib.crc32(labelled.name.encode())]).permutation(len(records))
        shuffled.append([(labelled, records[i]) for i in order])
    rounds = [example for turn in zip_longest(*shuffled) for example in turn if example is not None]
    if not rounds:
        raise RtvpError("attention figure: expected images with labelled boxes, got none")
    return tuple(sorted(rounds[:count], key=lambda example: (example[0].name, example[1].path)))


def attention_figure(
    ours: Detector,
    shown: Sequence[Shown],
    sets: Sequence[LabelledSet],
    out: Path,
    count: int = 6,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Draw Figure 5: a row an image: its labels, the maps of ours, the detections of everyone.

    Every image is asked for the vocabulary of its set.

    Args:
        ours: whose attention is drawn.
        shown: whose detections are drawn, ours too if it is to be among them.
        sets: the labelled images, of the test side.
        out: the PNG; the AUROC of the maps goes beside it, with the suffix .json.
        count: number of images.
        seed: of their choice.

    Returns:
        A row an image: ``source``, ``image``, ``names`` and ``auroc`` of each map.

    Raises:
        RtvpError: matplotlib is not installed, no image with boxes, or a file cannot be written.
    """
    examples = choose_examples(sets, count, seed)
    rows = []
    with make_progress() as progress:
        for labelled, record in progress.track(examples, description="attention maps"):
            rows.append(_Row.of(ours, shown, labelled, record))
    with replacing(out) as temporary:
        _draw(rows, temporary)
    content = [
        {
            "source": row.source,
            "image": row.record.path.name,
            "names": sorted({annotation.name for annotation in row.record.annotations}),
            "auroc": {t: None if math.isnan(m.auroc) else m.auroc for t, m in row.maps.items()},
        }
        for row in rows
    ]
    write_json(out.with_suffix(".json"), content)
    return content


@dataclass(frozen=True, slots=True)
class _Row:
    source: str
    record: ImageRecord
    picture: RGBArray  # small
    maps: Mapping[str, AttentionMap]
    found: Mapping[str, list[NamedBox]]  # title of a column -> what is drawn in it

    @classmethod
    def of(cls, ours: Detector, shown: Sequence[Shown], labelled: LabelledSet, record: ImageRecord) -> _Row:
        image = read_image(record.path)
        prompts = [Prompt(name) for name in sorted(labelled.vocabulary)]
        boxes = np.array([annotation.box_xyxy for annotation in record.annotations], dtype=np.float32)
        found = {"labels": [(a.name, box, a.name) for a, box in zip(record.annotations, boxes, strict=True)]}
        for each in shown:
            found[each.title] = _detected(each, image, prompts)
        maps = attention_maps(ours, image, prompts, boxes)
        scale = min(1.0, DRAWN_SIDE / max(image.shape))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return cls(labelled.name, record, np.asarray(small, dtype=np.uint8), maps, found)


def _detected(shown: Shown, image: RGBArray, prompts: Sequence[Prompt]) -> list[NamedBox]:
    (found,) = shown.detector.detect([image], prompts)
    above = int((found.scores > shown.threshold).sum())
    columns = (found.labels.tolist(), found.scores.tolist(), found.boxes_xyxy)
    best = list(zip(*columns, strict=True))[: min(above, MOST_BOXES)]
    return [(prompts[label].name, box, f"{prompts[label].name} {score:.2f}") for label, score, box in best]


def _best_of_levels(levels: Sequence[Tensor]) -> Tensor:
    """The highest value of all levels on the grid of the finest."""
    size = levels[0].shape
    same = [F.interpolate(level[None, None].float(), size=size, mode="bilinear")[0, 0] for level in levels]
    return torch.stack(same).amax(dim=0)


def _over_image(level: Tensor, stride: int, seen: Look, boxes_xyxy: Tensor) -> AttentionMap:
    """Cut to the image; ``boxes_xyxy`` in px of the input."""
    width, height = content_size(seen.letterbox)
    columns, rows = -(-width // stride), -(-height // stride)
    values = level[:rows, :columns].float().cpu().numpy()
    inside = coverage(boxes_xyxy, stride, rows, columns).amax(dim=0).numpy().ravel().astype(float)
    whole = torch.tensor([[0.0, 0.0, width, height]])
    shown = coverage(whole, stride, rows, columns)[0].numpy().ravel()  # cells at the rim are padding in part
    ranked = auroc(values.ravel().astype(float), inside, (shown - inside).clip(min=0))
    return AttentionMap(values, stride / seen.letterbox.scale, ranked)


def _draw(rows: Sequence[_Row], path: Path) -> None:
    first = rows[0]
    titles = ["labels", *first.maps, *(title for title in first.found if title != "labels")]
    with settings(LIGHT) as left_out:
        heights = [min(1.0, row.record.height / row.record.width) + CAPTION for row in rows]
        figure = new_figure(PANEL * len(titles), PANEL * sum(heights) + HEADING)
        panels = figure.subplots(len(rows), len(titles), squeeze=False, height_ratios=heights)
        for axes, title in zip(panels[0], titles, strict=True):
            axes.set_title(title.replace(", ", ",\n").replace(": ", ":\n").replace(" (", "\n("), fontsize=8)
        for row, line in zip(rows, panels, strict=True):
            names = sorted({name for boxes in row.found.values() for name, _, _ in boxes})
            colours = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(names)}
            for axes, title in zip(line, titles, strict=True):
                _draw_picture(axes, row)
                if title in row.maps:
                    _draw_map(axes, row.maps[title])
                else:
                    _draw_boxes(axes, row.found[title], colours)
            line[0].set_ylabel(row.source, fontsize=7)
        figure.savefig(path, format="png", dpi=PNG_DPI, metadata=left_out["png"])


def _draw_picture(axes: Axes, row: _Row) -> None:
    width, height = row.record.width, row.record.height
    axes.imshow(row.picture, extent=(0, width, height, 0))
    axes.set_anchor("N")
    bare(axes)
    axes.set_yticks([])


def _draw_map(axes: Axes, shown: AttentionMap) -> None:
    limits = axes.get_xlim(), axes.get_ylim()
    rows, columns = shown.values.shape
    extent = (0, columns * shown.cell, rows * shown.cell, 0)
    axes.imshow(shown.values, extent=extent, cmap="viridis", alpha=MAP_OPACITY, interpolation="bilinear")
    axes.set_xlim(limits[0])  # the last cells reach over the rim
    axes.set_ylim(limits[1])
    low, high = float(shown.values.min()), float(shown.values.max())
    axes.set_xlabel(f"{low:.2f} to {high:.2f}, AUROC {shown.auroc:.2f}", fontsize=6.5)


def _draw_boxes(axes: Axes, boxes: Sequence[NamedBox], colours: Mapping[str, str]) -> None:
    from matplotlib.patches import Rectangle

    top = 0.08 * axes.get_ylim()[0]
    for name, (x1, y1, x2, y2), caption in reversed(boxes):  # the best on top
        colour = colours[name]
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=1.2))
        axes.annotate(
            caption,
            (x1, y1),
            va="bottom" if y1 > top else "top",  # inside where there is no room above
            fontsize=5,
            color="white",
            clip_on=True,
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
        )
    axes.set_xlabel(f"{len(boxes)} {'box' if len(boxes) == 1 else 'boxes'}", fontsize=6.5)
