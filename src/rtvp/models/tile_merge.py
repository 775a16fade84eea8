"""What was found in overlapping tiles of an image, and in the image as a whole, made one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtvp.models.postprocess import Indices, Mask, keep_best, suppress
from rtvp.types import Detections, Floats

BORDER_SHARE = 0.015  # of a tile's side: a box that comes this near to a border inside the image is cut by it
SEEN_WHOLE = 0.7  # share of a cut box that lies in a box seen whole: the same defect
WITNESS = 0.5  # a box seen whole stands for cut ones that score up to twice as much
SAME_IN_ZONE = 0.5  # IoU of two cut boxes in the zone that both tiles see: the same defect
INSIDE = 0.75  # share of a box inside another of a tile or the whole: the same defect, unless far smaller
FAR_SMALLER = 0.25  # area of one box over that of the other
MAX_CANDIDATES = 2000  # per image
MAX_PIECES = 500


def merge_tiles(
    whole: Detections,
    parts: Sequence[Detections],
    windows_xyxy: Indices,
    shape: tuple[int, int],
    iou_threshold: float = 0.5,
    max_detections: int = 300,
) -> Detections:
    """One detection a defect, be it found in one tile, in several, in the whole image, or in pieces.

    1. Boxes that no border cuts compete as in any suppression, across tiles and whole. A box of one view
       inside one of another view counts as the same, unless it is far smaller.
    2. A cut box inside an uncut one of its name is the same defect, seen worse: it goes.
    3. Cut boxes of two tiles that agree in the zone which both see are pieces of one defect: they are joined,
       over any number of tiles, and take the best of their scores.

    Args:
        whole: found in the image as a whole.
        parts: found in each of T tiles. All boxes are in pixels of the image.
        windows_xyxy: [T, 4] the tiles, px.
        shape: height and width of the image, px.
        iou_threshold: of two boxes of one name that overlap more than this, the lower score goes.
        max_detections: at most this many are kept.
    """
    found = _Found.gather(whole, parts, windows_xyxy, shape).best(MAX_CANDIDATES)
    uncut = found.take(~found.cut)
    uncut = uncut.take(_compete(uncut, iou_threshold))
    pieces = found.take(found.cut).best(MAX_PIECES)
    pieces = pieces.take(~_seen_whole(pieces, uncut))
    merged = _Found.concatenate(uncut, _joined(pieces, windows_xyxy)).best(MAX_CANDIDATES)
    kept = suppress(merged.boxes, merged.labels, iou_threshold)[:max_detections]
    return Detections(merged.boxes[kept], merged.scores[kept], merged.labels[kept])


class _Found:
    """N boxes: scores, names, where they were seen (-1: in the whole), and whether a border cuts them."""

    def __init__(self, boxes: Floats, scores: Floats, labels: Indices, views: Indices, cut: Mask) -> None:
        self.boxes, self.scores, self.labels, self.views, self.cut = boxes, scores, labels, views, cut

    @classmethod
    def gather(
        cls, whole: Detections, parts: Sequence[Detections], windows: Indices, shape: tuple[int, int]
    ) -> _Found:
        height, width = shape
        edges = np.array([0, 0, width, height])
        every = [_Found._of(whole, -1, np.zeros(len(whole.scores), np.bool_))]
        for view, (part, window) in enumerate(zip(parts, windows, strict=True)):
            inner = window != edges  # borders of the tile that are none of the image
            margin = BORDER_SHARE * np.tile(window[2:] - window[:2], 2)
            cut = ((np.abs(part.boxes_xyxy - window) <= margin) & inner).any(axis=1)
            every.append(_Found._of(part, view, cut))
        return cls.concatenate(*every)

    @classmethod
    def _of(cls, found: Detections, view: int, cut: Mask) -> _Found:
        return cls(found.boxes_xyxy, found.scores, found.labels, np.full_like(found.labels, view), cut)

    @classmethod
    def concatenate(cls, *every: _Found) -> _Found:
        fields = ("boxes", "scores", "labels", "views", "cut")
        return cls(*(np.concatenate([getattr(found, name) for found in every]) for name in fields))

    def take(self, chosen: Mask | Indices) -> _Found:
        """Those that a mask or indices choose."""
        return _Found(
            self.boxes[chosen], self.scores[chosen], self.labels[chosen], self.views[chosen], self.cut[chosen]
        )

    def best(self, count: int) -> _Found:
        """At most ``count``, best score first."""
        return self.take(np.argsort(-self.scores, kind="stable")[:count])


def _compete(found: _Found, iou_threshold: float) -> Indices:
    """Indices of those that no better one stands for; ``found`` is best first."""
    shared = _areas(_common(found.boxes[:, None], found.boxes))
    areas = _areas(found.boxes)
    smaller, larger = np.minimum(areas[:, None], areas), np.maximum(areas[:, None], areas)
    overlap = shared > iou_threshold * (areas[:, None] + areas - shared)
    alike = smaller > FAR_SMALLER * larger
    inside = (shared > INSIDE * smaller) & alike & (found.views[:, None] != found.views)
    return keep_best((overlap | inside) & (found.labels[:, None] == found.labels))


def _seen_whole(pieces: _Found, uncut: _Found) -> Mask:
    """Which pieces lie in an uncut box of their name that is sure enough to stand for them: [P]."""
    shared = _areas(_common(pieces.boxes[:, None], uncut.boxes))
    inside = shared >= SEEN_WHOLE * _areas(pieces.boxes)[:, None]
    sure = uncut.scores >= WITNESS * pieces.scores[:, None]
    for_each: Mask = (inside & sure & (pieces.labels[:, None] == uncut.labels)).any(axis=1)
    return for_each


def _joined(pieces: _Found, windows: Indices) -> _Found:
    """Pieces of one defect as one box."""
    if not len(pieces.scores):
        return pieces
    views = windows[pieces.views].astype(np.float32)  # [P, 4]
    zones = _common(views[:, None], views)  # [P, P, 4]: what the tiles of both see
    mine, theirs = _common(pieces.boxes[:, None], zones), _common(pieces.boxes, zones)
    shared = _areas(_common(mine, theirs))
    union = _areas(mine) + _areas(theirs) - shared
    same = (shared > SAME_IN_ZONE * union) & (pieces.labels[:, None] == pieces.labels)
    same &= pieces.views[:, None] != pieces.views
    groups = _connected(same)
    boxes, scores = pieces.boxes.copy(), pieces.scores.copy()
    firsts = np.flatnonzero(groups == np.arange(len(groups)))
    for first in firsts:
        members = groups == first
        boxes[first, :2] = pieces.boxes[members, :2].min(axis=0)
        boxes[first, 2:] = pieces.boxes[members, 2:].max(axis=0)
        scores[first] = pieces.scores[members].max()
    return _Found(boxes, scores, pieces.labels, pieces.views, pieces.cut).take(firsts)


def _connected(same: Mask) -> Indices:
    """The lowest index of each one's connected component: [P, P], symmetric -> [P]."""
    count = len(same)
    linked = same | np.eye(count, dtype=np.bool_)
    groups = np.arange(count)
    while True:
        lower = np.where(linked, groups, count).min(axis=1)
        if np.array_equal(lower, groups):
            return groups
        groups = lower


def _common(first: Floats, second: Floats) -> Floats:
    """Intersection of boxes that broadcast, [..., 4] xyxy; turned inside out where there is none."""
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    return np.concatenate([low, high], axis=-1)


def _areas(boxes: Floats) -> Floats:
    """[..., 4] -> [...]; 0 for boxes turned inside out."""
    return np.asarray(np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(axis=-1))
