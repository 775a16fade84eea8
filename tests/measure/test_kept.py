from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rtvp.errors import RtvpError
from rtvp.measure.kept import KeptDetections
from rtvp.types import Detections, Prompt

SETTINGS = {"model": "counting", "weights": "ab12"}
A, B, C = (np.full((4, 5, 3), value, np.uint8) for value in (1, 2, 3))
NAMES = (Prompt("scratch"), Prompt("hole", ("pit",)))


class Counting:
    """Finds one box an image, from its values; remembers how many it was asked about."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: list[int] = []

    def detect(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Prompt]) -> list[Detections]:
        self.asked.append(len(images))
        return [
            Detections(
                np.array([[0.1, 1 / 3, 2.0, float(image[0, 0, 0])]], np.float32),
                np.array([0.7 / len(prompts)], np.float32),
                np.array([len(prompts) - 1]),
            )
            for image in images
        ]


def same(one: Sequence[Detections], other: Sequence[Detections]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.boxes_xyxy, b.boxes_xyxy)
        and np.array_equal(a.scores, b.scores)
        and np.array_equal(a.labels, b.labels)
        for a, b in zip(one, other, strict=True)
    )


def test_what_is_looked_up_is_what_was_found_to_the_last_digit(tmp_path: Path) -> None:
    expected = Counting().detect([A, B], NAMES)
    with KeptDetections(Counting(), tmp_path / "new" / "kept.jsonl", SETTINGS) as kept:
        assert kept.name == "counting"
        assert same(kept.detect([A, B], NAMES), expected)
    again = Counting()
    with KeptDetections(again, tmp_path / "new" / "kept.jsonl", SETTINGS) as kept:
        found = kept.detect([B, A], NAMES)
    assert again.asked == []
    assert same(found, expected[::-1]) and found[0].labels.dtype == np.int64


def test_only_what_is_not_known_is_asked(tmp_path: Path) -> None:
    detector = Counting()
    with KeptDetections(detector, tmp_path / "kept.jsonl", SETTINGS) as kept:
        kept.detect([A], NAMES)
        assert same(kept.detect([C, A, B], NAMES), Counting().detect([C, A, B], NAMES))
    assert detector.asked == [1, 2]


def test_other_prompts_shapes_and_texts_are_other_questions(tmp_path: Path) -> None:
    detector = Counting()
    with KeptDetections(detector, tmp_path / "kept.jsonl", SETTINGS) as kept:
        for image, prompts in ((A, NAMES), (A, NAMES[:1]), (A.reshape(5, 4, 3), NAMES), (A, NAMES[::-1])):
            kept.detect([image], prompts)
        kept.detect([A], (NAMES[0], Prompt("hole")))
    assert detector.asked == [1] * 5


def test_nothing_found_is_kept_too(tmp_path: Path) -> None:
    class Silent(Counting):
        def detect(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[Prompt]) -> list[Detections]:
            self.asked.append(len(images))
            none = np.zeros(0, np.float32)
            return [Detections(none.reshape(0, 4), none, none.astype(np.int64)) for _ in images]

    detector = Silent()
    with KeptDetections(detector, tmp_path / "kept.jsonl", SETTINGS) as kept:
        (first,), (second,) = kept.detect([A], NAMES), kept.detect([A], NAMES)
    assert detector.asked == [1]
    assert first.boxes_xyxy.shape == second.boxes_xyxy.shape == (0, 4)


def test_a_file_that_was_cut_short_anywhere_goes_on(tmp_path: Path) -> None:
    path, expected = tmp_path / "kept.jsonl", Counting().detect([A, B], NAMES)
    with KeptDetections(Counting(), path, SETTINGS) as kept:
        kept.detect([A, B], NAMES)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with KeptDetections(Counting(), path, SETTINGS) as kept:
            assert same(kept.detect([A, B], NAMES), expected)
        assert path.read_bytes() == whole


def test_detections_of_another_model_are_refused_and_stay(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    with KeptDetections(Counting(), path, SETTINGS) as kept:
        kept.detect([A], NAMES)
    before = path.read_bytes()
    with pytest.raises(RtvpError, match=r"this model with these settings, got those of .*ab12.*choose"):
        KeptDetections(Counting(), path, {**SETTINGS, "weights": "cd34"})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", ["a note", "a note\n", "[1]\n", '{"format": "other"}\n', json.dumps({"a": 1}) + "\n"]
)
def test_a_file_that_is_something_else_is_refused_and_stays(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_text(content)
    with pytest.raises(RtvpError, match=r"kept.jsonl: expected detections .* got a file that holds none"):
        KeptDetections(Counting(), path, SETTINGS)
    assert path.read_text() == content


@pytest.mark.parametrize("entry", ["{", "[1, 2, 3]", "7"])
def test_a_damaged_entry_is_said(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "kept.jsonl"
    with KeptDetections(Counting(), path, SETTINGS):
        pass
    path.write_text(f"{path.read_text()}{entry}\n")
    with pytest.raises(RtvpError, match=r"kept.jsonl: damaged .*remove it"):
        KeptDetections(Counting(), path, SETTINGS)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="cannot keep detections in"):
        KeptDetections(Counting(), tmp_path, SETTINGS)
