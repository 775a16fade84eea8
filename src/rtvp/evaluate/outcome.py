"""What an image shows and what was found in it: all that an evaluation needs to know."""

from __future__ import annotations

from dataclasses import dataclass, replace

BoxXyxy = tuple[float, float, float, float]
Truth = tuple[str, BoxXyxy]  # name, box in px
Prediction = tuple[str, float, BoxXyxy]  # name, score, box in px

ANY_NAME = "any"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One image with its labels and its detections. Boxes are xyxy, pixels of the original image.

    Labels are federated, as in LVIS: nobody looked for all names in all images. What is found of a name that
    is not ``annotated`` here is neither right nor wrong, and boxes of such a name need not be found.

    Attributes:
        image: what identifies it, such as its path.
        source: name of the set it belongs to.
        scene: what it shows.
        super_category: of the scene.
        width: of the original, px.
        height: likewise.
        truth: all labelled boxes; an image without any is known to be good.
        predictions: in any order.
        annotated: names of which it is known where they are here and where they are not; of a good image
            therefore all names that were looked for.
        group: images of one group show the same thing; empty where it stands alone.
        areas: of the labelled objects, px; those of the boxes where None.
        crowds: regions full of objects of a name: what is found there is neither right nor wrong.
        not_exhaustive: names of which some boxes are labelled, others may not be: here, what is found of
            them beside the labelled boxes is neither right nor wrong.
    """

    image: str
    source: str
    scene: str
    super_category: str
    width: int
    height: int
    truth: tuple[Truth, ...]
    predictions: tuple[Prediction, ...]
    annotated: frozenset[str]
    group: str = ""
    areas: tuple[float, ...] | None = None
    crowds: tuple[Truth, ...] = ()
    not_exhaustive: frozenset[str] = frozenset()

    @property
    def is_good(self) -> bool:
        """Whether nothing is labelled."""
        return not self.truth and not self.crowds

    def as_one_name(self, one: str = ANY_NAME) -> Outcome:
        """The same with all names merged into ``one``: whether something was found, not what.

        Only names that are annotated here take part. One of them whose labels are not exhaustive makes all
        of them not exhaustive.
        """
        judged = [name in self.annotated for name, _ in self.truth]
        areas, some = self.areas, frozenset({one})
        return replace(
            self,
            truth=tuple((one, box) for (_, box), use in zip(self.truth, judged, strict=True) if use),
            predictions=tuple(
                (one, score, box) for name, score, box in self.predictions if name in self.annotated
            ),
            annotated=some if self.annotated else frozenset(),
            areas=None if areas is None else tuple(a for a, use in zip(areas, judged, strict=True) if use),
            crowds=tuple((one, box) for name, box in self.crowds if name in self.annotated),
            not_exhaustive=some if self.not_exhaustive else frozenset(),
        )
