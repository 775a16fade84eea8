"""Which category of the taxonomy each raw class name means: by people, by name, by text and by image."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rtvp.errors import RtvpError
from rtvp.files import replacing
from rtvp.mmio.names import plain
from rtvp.mmio.review import Review, review_line, review_lines
from rtvp.mmio.taxonomy import Category, Taxonomy

Embedder = Callable[[Sequence[str]], NDArray[np.float32]]  # N texts -> [N, width], rows of unit L2 norm

THRESHOLD = 0.8  # of the paper, for a match by likeness
NEAR_COSINE = 0.7  # from here on, two names are listed as near each other

_LISTED = 3  # categories that are named beside a match
_DECIMALS = 4  # of scores: what is left must not depend on how texts are batched


class RawName(NamedTuple):
    """A class name as one set writes it.

    Attributes:
        source: name of the set.
        name: the class.
        scene: what the set shows; "" if not known.
        super_category: likewise.
    """

    source: str
    name: str
    scene: str = ""
    super_category: str = ""


class ImageTextScorer(Protocol):
    """A model that tells which text an image shows, such as CLIP."""

    def __call__(self, crops: Sequence[NDArray[np.uint8]], texts: Sequence[str]) -> NDArray[np.float32]:
        """Score every text for every crop.

        Args:
            crops: RGB images, [H, W, 3] each, of any size.
            texts: what they may show; exactly one of them, as far as the scorer is concerned.

        Returns:
            [crops, texts], 0 to 1: how sure it is of each. For CLIP that is the softmax over the texts of
            its scaled cosines; the bare cosines of an image and a text stay far below any useful threshold.
        """


Crops = Callable[[RawName], Sequence[NDArray[np.uint8]]]  # some RGB cut-outs of defects of a raw class

DecidedBy = Literal["review", "exact", "synonym", "text", "image", "unmatched"]


class Merge(NamedTuple):
    """What became of one raw class name.

    Attributes:
        source: name of the set.
        raw: the class as the set writes it.
        category: canonical name; the raw one where it stays as it is.
        score: 1 if exact; else the cosine of the texts or the mean score of the crops that it was decided
            by, or the best that was not enough. None where no model was asked.
        decided_by: what decided.
        near: the categories that came nearest by text, best first.
    """

    source: str
    raw: str
    category: str
    score: float | None
    decided_by: DecidedBy
    near: tuple[tuple[str, float], ...] = ()


class NearNames(NamedTuple):
    """Two names that are easily mistaken for each other."""

    one: str
    other: str
    cosine: float


@dataclass(frozen=True)
class Matching:
    """The outcome for all raw names.

    Attributes:
        category_of: (source, raw name) -> category.
        merges: one a raw name, sorted.
        near_names: distinct categories that came out and whose names lie near each other, nearest first.
        unused_reviews: entries of the review that met no name, as (source or "", name).
        review: what people had decided.
    """

    category_of: Mapping[tuple[str, str], str]
    merges: tuple[Merge, ...]
    near_names: tuple[NearNames, ...]
    unused_reviews: tuple[tuple[str, str], ...]
    review: Review


def match(
    names: Iterable[RawName],
    taxonomy: Taxonomy,
    embed: Embedder | None,
    *,
    image_text: ImageTextScorer | None = None,
    crops: Crops | None = None,
    review: Review | None = None,
    threshold: float = THRESHOLD,
) -> Matching:
    """Find the category of every raw name.

    In this order: what people decided; the category of that name; one that it is a synonym of; one with a
    name or synonym whose text lies nearest, from ``threshold`` on; one that the crops of the class show,
    from ``threshold`` on. A name that none of these decides stays as it is. Likeness, of texts or images,
    only counts within the super-category of the set, and never joins two classes of one set: its authors
    held them apart.

    Args:
        names: in any order; the result does not depend on it.
        taxonomy: the categories.
        embed: the text model; None: only people and names decide.
        image_text: the image-text model, if there is one.
        crops: what it is shown; needed with ``image_text``.
        review: what people decided.
        threshold: from 0 to 1.

    Raises:
        RtvpError: ``threshold`` is out of range, ``image_text`` came without ``crops``, or a model returns
            arrays of another shape than it should.
    """
    if not 0 <= threshold <= 1:
        raise RtvpError(f"expected a threshold between 0 and 1, got {threshold}")
    if image_text is not None and crops is None:
        raise RtvpError("expected crops to show to the image-text model, got none: pass both or neither")
    raws = sorted({(raw.source, raw.name): raw for raw in sorted(names)}.values())
    review = review or Review()
    certain = {raw: found for raw in raws if (found := _certain(raw, taxonomy, review))}
    open_raws = [raw for raw in raws if raw not in certain]
    held: dict[str, set[str]] = defaultdict(set)  # source -> categories that its names have taken
    for raw, (category, _) in certain.items():
        held[raw.source].add(category)

    texts = _Texts(embed, _texts_needed(certain, open_raws, taxonomy) if embed else ())
    by_text = {raw: texts.rank(raw, taxonomy) for raw in open_raws}
    likely = _take(by_text, held, threshold)
    by_image: dict[RawName, list[tuple[str, float]]] = {}
    if image_text is not None and crops is not None:
        asked = [raw for raw in open_raws if raw not in likely]
        by_image = {raw: _rank_by_image(raw, taxonomy, image_text, crops) for raw in asked}
    shown = _take(by_image, held, threshold)

    merges = []
    for raw in raws:
        near = tuple(by_text.get(raw, ())[:_LISTED])
        if raw in certain:
            category, decided = certain[raw]
            kept = category not in taxonomy.categories  # by people, as it is: there is nothing to compare
            score = None if kept else 1.0 if decided == "exact" else texts.cosine(raw.name, category)
            merges.append(Merge(raw.source, raw.name, category, score, decided))
        elif raw in likely:
            merges.append(Merge(raw.source, raw.name, *likely[raw], "text", near))
        elif raw in shown:
            merges.append(Merge(raw.source, raw.name, *shown[raw], "image", near))
        else:
            best = max((score for _, score in (*near, *by_image.get(raw, ()))), default=None)
            merges.append(Merge(raw.source, raw.name, raw.name, best, "unmatched", near))
    used = {review.entry_for(raw.source, raw.name) for raw in raws}
    return Matching(
        {(merge.source, merge.raw): merge.category for merge in merges},
        tuple(merges),
        near_names(sorted({merge.category for merge in merges}), embed) if embed else (),
        tuple(entry for entry in review.entries() if entry not in used),
        review,
    )


def near_names(names: Sequence[str], embed: Embedder, limit: float = NEAR_COSINE) -> tuple[NearNames, ...]:
    """All pairs of ``names`` whose texts have a cosine of ``limit`` or more, nearest first."""
    cosines = name_cosines(names, names, embed)
    pairs = (
        NearNames(names[i], names[j], float(cosines[i, j]))
        for i, j in zip(*np.nonzero(np.triu(cosines >= limit, 1)), strict=True)
    )
    return tuple(sorted(pairs, key=lambda pair: (-pair.cosine, pair)))


def name_cosines(rows: Sequence[str], columns: Sequence[str], embed: Embedder) -> NDArray[np.float64]:
    """Cosines of the texts of two lists of names, [rows, columns], rounded to four decimals."""
    texts = sorted({plain(name) for name in (*rows, *columns)})
    if not texts:
        return np.zeros((0, 0))
    vectors = _embed(embed, texts)
    place = {text: index for index, text in enumerate(texts)}
    left, right = ([place[plain(name)] for name in names] for names in (rows, columns))
    product = vectors[left] @ vectors[right].T
    rounded: NDArray[np.float64] = np.round(product, _DECIMALS)
    return rounded


def write_review(path: Path, matching: Matching) -> None:
    """Write a review file to go on with: people's decisions as they stand, the machine's as comments.

    Taking the ``#`` from a line and setting its category makes it a person's decision.

    Raises:
        RtvpError: the file cannot be written.
    """
    open_reviews: dict[str, list[str]] = defaultdict(list)
    for merge in matching.merges:
        if merge.decided_by in ("exact", "review"):
            continue
        chosen = None if merge.decided_by == "unmatched" else merge.category
        likes = ", ".join(f"{name} {score:.2f}" for name, score in merge.near)
        reason = merge.decided_by if merge.score is None else f"{merge.decided_by} {merge.score:.2f}"
        reason += f"; near: {likes}" if likes else ""
        open_reviews[merge.source].append(f"#   {review_line(merge.raw, chosen)}  # {reason}")
    lines = [
        '# Decisions on category names, "raw name: category" for all sets or below the name of one set;',
        "# null keeps a name as it is. They stand over those of the machine, which follow as comments.",
        *review_lines(matching.review),
    ]
    for source, entries in sorted(open_reviews.items()):
        lines += ["#", f"# {json.dumps(source, ensure_ascii=False)}:", *entries]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _certain(raw: RawName, taxonomy: Taxonomy, review: Review) -> tuple[str, DecidedBy] | None:
    entry = review.entry_for(raw.source, raw.name)
    if entry:
        # Not a name of the taxonomy: the person said that this is something else.
        apart = raw.name if raw.name not in taxonomy.categories else f"{raw.name} ({raw.source})"
        return review.decision(entry) or apart, "review"
    found = taxonomy.find(raw.name, raw.scene, raw.super_category)
    return (found.category, "exact" if found.exact else "synonym") if found else None


def _candidates(raw: RawName, taxonomy: Taxonomy) -> list[Category]:
    """The categories that likeness may find for a name: all, or those of its super-category if known."""
    known = raw.super_category in taxonomy.super_categories
    return [
        category
        for name, category in taxonomy.categories.items()
        if not known or raw.super_category in taxonomy.super_categories_of(name)
    ]


def _take(
    ranked: Mapping[RawName, Sequence[tuple[str, float]]], held: dict[str, set[str]], threshold: float
) -> dict[RawName, tuple[str, float]]:
    """Each name's best category, surest first, if it is sure enough and no other name of the set holds it."""
    best = [(-rank[0][1], raw, rank[0][0]) for raw, rank in ranked.items() if rank]
    taken = {}
    for score, raw, category in sorted(best):
        if -score >= threshold and category not in held[raw.source]:
            held[raw.source].add(category)
            taken[raw] = category, -score
    return taken


def _rank_by_image(
    raw: RawName, taxonomy: Taxonomy, scorer: ImageTextScorer, crops: Crops
) -> list[tuple[str, float]]:
    pictures = crops(raw)
    candidates = _candidates(raw, taxonomy)
    if not pictures:
        return []
    scores = scorer(pictures, [f"{category.name}: {category.description}" for category in candidates])
    if scores.shape != (len(pictures), len(candidates)):
        expected = (len(pictures), len(candidates))
        raise RtvpError(f"image-text model: expected scores of shape {expected}, got {scores.shape}")
    means = np.round(scores.astype(np.float64).mean(axis=0), _DECIMALS)
    pairs = ((category.name, float(mean)) for category, mean in zip(candidates, means, strict=True))
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def _texts_needed(
    certain: Mapping[RawName, tuple[str, DecidedBy]], open_raws: Sequence[RawName], taxonomy: Taxonomy
) -> set[str]:
    """What must be embedded: the whole taxonomy only if a name is left to be matched against it."""
    needed = {raw.name for raw in open_raws}
    for raw, (category, decided) in certain.items():
        if decided != "exact" and category in taxonomy.categories:
            needed |= {raw.name, category}
    if open_raws:
        needed |= {text for category in taxonomy.categories.values() for text in category.terms}
    return needed


def _embed(embed: Embedder, texts: Sequence[str]) -> NDArray[np.float64]:
    vectors = embed(texts)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise RtvpError(f"text model: expected {len(texts)} rows, got an array of shape {vectors.shape}")
    return vectors.astype(np.float64)


class _Texts:
    """Names whose embeddings are known."""

    def __init__(self, embed: Embedder | None, names: Iterable[str]) -> None:
        texts = sorted({plain(name) for name in names})
        self._vectors = dict(zip(texts, _embed(embed, texts), strict=True)) if embed and texts else {}

    def cosine(self, one: str, other: str) -> float | None:
        """Of two names; None if one of them was not embedded."""
        a, b = self._vectors.get(plain(one)), self._vectors.get(plain(other))
        return None if a is None or b is None else round(float(a @ b), _DECIMALS)

    def rank(self, raw: RawName, taxonomy: Taxonomy) -> list[tuple[str, float]]:
        """Categories with the cosine of their nearest name or synonym, best first; empty without a model."""
        if not self._vectors:
            return []
        scores = []
        for category in _candidates(raw, taxonomy):
            terms = np.stack([self._vectors[plain(text)] for text in category.terms])
            best = float((terms @ self._vectors[plain(raw.name)]).max())
            scores.append((category.name, round(best, _DECIMALS)))
        return sorted(scores, key=lambda pair: (-pair[1], pair[0]))
