"""Figure 4: regions of unseen classes as the head gets them, prompted in several ways, on one plane each."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rtvp.data.images import read_image
from rtvp.data.labelled import LabelledSet
from rtvp.errors import RtvpError
from rtvp.evaluate.evaluation import evaluate
from rtvp.evaluate.outcome import Outcome
from rtvp.files import replacing
from rtvp.measure import outcome_of
from rtvp.mmio.plot_style import LIGHT, PALETTE, add_legend, bare, new_figure, settings
from rtvp.mmio.schema import Annotation, ImageRecord
from rtvp.predict import Detector
from rtvp.reproduce.fgvp import RegionFinder, blur_outside
from rtvp.reproduce.look import Look, coverage, look, rtvp_network
from rtvp.reproduce.results import write_json
from rtvp.terminal import make_progress
from rtvp.types import Prompt

PERPLEXITY = 30  # of t-SNE, less where there are few regions
PNG_DPI = 150


@dataclass(frozen=True, slots=True)
class PromptedDetector:
    """A detector and how its visual prompt comes about.

    Attributes:
        title: what the figure calls it.
        detector: an RTVP detector, any of its parts off.
        regions: fine-grained visual prompting: the picture is blurred outside of what this finds in it.
        boxes_as_prompt: the labelled boxes stand for the refined visual prompt. An oracle: where the defects
            are is told, what they are is asked.
    """

    title: str
    detector: Detector
    regions: RegionFinder | None = None
    boxes_as_prompt: bool = False


@dataclass(frozen=True, slots=True)
class Region:
    """A labelled box of one of the shown names, in an image of a set."""

    labelled: LabelledSet
    record: ImageRecord
    annotation: Annotation


@dataclass(frozen=True, slots=True)
class Embedding:
    """What one prompted detector makes of N regions.

    Attributes:
        title: of the prompted detector.
        points: [N, 2] their features on the plane of t-SNE.
        figures: ``silhouette``: of the features, by name, in [-1, 1]; 1 is tight and far apart.
            ``silhouette_plane``: of the points, which is what the eye sees; t-SNE draws clusters tighter
            than they are. ``AP``, ``AP50``: of the detections in the images of the regions.
    """

    title: str
    points: NDArray[np.float32]
    figures: dict[str, float]


def most_frequent(sets: Sequence[LabelledSet], names: Sequence[str], count: int = 4) -> tuple[str, ...]:
    """Those ``count`` of ``names`` that have the most boxes in ``sets``, in the order of the alphabet."""
    boxes = Counter(a.name for labelled in sets for record in labelled.images for a in record.annotations)
    ranked = sorted((name for name in names if boxes[name]), key=lambda name: (-boxes[name], name))
    return tuple(sorted(ranked[:count]))


def choose_regions(
    sets: Sequence[LabelledSet], names: Sequence[str], most: int, seed: int = 0
) -> tuple[Region, ...]:
    """At most ``most`` boxes of each name, drawn by the seed, image by image.

    Raises:
        RtvpError: fewer than two names, more than there are colours, or a name with fewer than two boxes.
    """
    if not 2 <= len(names) <= len(PALETTE):
        raise RtvpError(f"embedding figure: expected 2 to {len(PALETTE)} names, got {len(names)}")
    chosen: list[Region] = []
    for name in names:
        regions = [
            Region(labelled, record, annotation)
            for labelled in sets
            for record in labelled.images
            for annotation in record.annotations
            if annotation.name == name
        ]
        if len(regions) < 2:
            raise RtvpError(f"embedding figure: expected 2 boxes of {name!r} or more, got {len(regions)}")
        # The name is part of the seed: the regions of a name do not hang on the other names.
        order = np.random.default_rng([seed, zlib.crc32(name.encode())]).permutation(len(regions))
        chosen += [regions[index] for index in order[:most]]
    return tuple(sorted(chosen, key=lambda region: (region.labelled.name, region.record.path)))


def embed(
    prompted: PromptedDetector, regions: Sequence[Region], names: Sequence[str], seed: int = 0
) -> Embedding:
    """Features of regions before the head, and how well the detector finds them.

    Every image is asked for all of ``names``, also for those that its set does not know: were it asked for
    its own alone, text-visual interaction would tell the sets apart for a reason that no picture holds.

    Args:
        prompted: the detector.
        regions: at least two of each name; those of one image together.
        names: what is asked for.
        seed: of t-SNE.
    """
    prompts = [Prompt(name) for name in names]
    outcomes: list[Outcome] = []
    features: list[Tensor] = []
    by_image: dict[Path, list[Region]] = {}
    for region in regions:
        by_image.setdefault(region.record.path, []).append(region)
    with make_progress() as progress:
        for own in progress.track(by_image.values(), description=prompted.title):
            record = own[0].record
            seen = _look_prompted(prompted, record, prompts)
            boxes = torch.tensor([region.annotation.box_xyxy for region in own]) * seen.letterbox.scale
            features.append(pool(seen.features, rtvp_network(prompted.detector).head_strides, boxes))
            outcomes.append(outcome_of(own[0].labelled, own[0].record, seen.detections, prompts))
    matrix = torch.cat(features).numpy()
    labels = [region.annotation.name for own in by_image.values() for region in own]
    points = _on_plane(matrix, seed)
    measured = evaluate(outcomes).figures
    return Embedding(
        prompted.title,
        points,
        {
            "silhouette": _silhouette(matrix, labels),
            "silhouette_plane": _silhouette(points, labels),
            "AP": float(measured["AP"]),
            "AP50": float(measured["AP50"]),
        },
    )


def pool(levels: Sequence[Tensor], strides: Sequence[int], boxes_xyxy: Tensor) -> Tensor:
    """Region features: per level the mean over the box, each cell weighted by how much of it the box covers.

    Args:
        levels: [C, H/s, W/s] each.
        strides: of the levels, px.
        boxes_xyxy: [N, 4] px of the input, not empty.

    Returns:
        [N, levels * C] float32: every level of unit length, so that none speaks louder than the others.
    """
    pooled = []
    for level, stride in zip(levels, strides, strict=True):
        weight = coverage(boxes_xyxy, stride, *level.shape[1:])  # [N, H, W]
        total = torch.einsum("nhw,chw->nc", weight, level.float().cpu())
        pooled.append(F.normalize(total, dim=1))  # the length goes: a sum has the direction of the mean
    return torch.cat(pooled, dim=1)


def embedding_figure(
    arms: Sequence[PromptedDetector],
    sets: Sequence[LabelledSet],
    names: Sequence[str],
    out: Path,
    most: int = 60,
    seed: int = 0,
) -> tuple[Embedding, ...]:
    """Draw Figure 4: the same regions under each arm, in a plane of t-SNE each.

    Args:
        arms: one panel each.
        sets: the labelled images, of the test side.
        names: unseen names, a colour each; see `most_frequent`.
        out: the PNG; the points and figures go beside it, with the suffix .json.
        most: regions of a name.
        seed: of the choice and of t-SNE.

    Raises:
        RtvpError: scikit-learn or matplotlib is not installed, too few boxes, or a file cannot be written.
    """
    regions = choose_regions(sets, names, most, seed)
    embeddings = tuple(embed(arm, regions, names, seed) for arm in arms)
    with replacing(out) as temporary:
        _draw(embeddings, regions, names, temporary)
    write_json(out.with_suffix(".json"), _content(embeddings, regions, names, seed))
    return embeddings


def _look_prompted(prompted: PromptedDetector, record: ImageRecord, prompts: Sequence[Prompt]) -> Look:
    image = read_image(record.path)
    if prompted.regions is not None:
        image = blur_outside(image, prompted.regions(image))
    asked = {prompt.name for prompt in prompts}
    boxes = np.array([a.box_xyxy for a in record.annotations if a.name in asked], dtype=np.float32)
    return look(prompted.detector, image, prompts, boxes if prompted.boxes_as_prompt else None)


def _on_plane(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise RtvpError("t-SNE needs scikit-learn: pip install 'rtvp[reproduce]'") from error

    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    plane = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)
    return np.asarray(plane, dtype=np.float32)


def _silhouette(points: NDArray[np.float32], labels: Sequence[str]) -> float:
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(points, labels))


def _content(
    embeddings: Sequence[Embedding], regions: Sequence[Region], names: Sequence[str], seed: int
) -> dict[str, Any]:
    return {
        "names": list(names),
        "seed": seed,
        "regions": [
            {
                "source": region.labelled.name,
                "image": region.record.path.name,
                "name": region.annotation.name,
                "box_xyxy": list(region.annotation.box_xyxy),
            }
            for region in regions
        ],
        "arms": [
            {"title": each.title, "figures": each.figures, "points": np.round(each.points, 3).tolist()}
            for each in embeddings
        ],
    }


def _draw(
    embeddings: Sequence[Embedding], regions: Sequence[Region], names: Sequence[str], path: Path
) -> None:
    colours = dict(zip(names, PALETTE, strict=False))
    with settings(LIGHT) as left_out:
        figure = new_figure(3.1 * len(embeddings), 3.7)
        panels = figure.subplots(1, len(embeddings), squeeze=False)[0]
        add_legend(figure, colours, len(colours))
        for axes, each in zip(panels, embeddings, strict=True):
            shown = [colours[region.annotation.name] for region in regions]
            axes.scatter(*each.points.T, s=14, c=shown, alpha=0.75, linewidths=0)
            axes.set_title(each.title, fontsize=10)
            numbers = each.figures
            axes.set_xlabel(f"silhouette {numbers['silhouette']:.2f}, AP {100 * numbers['AP']:.1f}")
            axes.set_aspect("equal", adjustable="datalim")
            bare(axes)
            axes.set_yticks([])
        figure.savefig(path, format="png", dpi=PNG_DPI, metadata=left_out["png"])
