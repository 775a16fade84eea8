"""Other people's detectors answer the same questions, and prompts get the scores of their own words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_peers import MAX_TEXT, write_grounding_dino, write_owl

from rtvp.errors import RtvpError
from rtvp.reproduce.peers import Peer, load_peer
from rtvp.types import Detections, Prompt

PROMPTS = [Prompt("crack"), Prompt("oil stain", ("dark smear",)), Prompt("scratch")]
WRITERS: dict[str, Callable[[Path, str], Path]] = {
    "grounding-dino": write_grounding_dino,
    "mm-grounding-dino": write_grounding_dino,
    "owlv2": write_owl,
    "owlvit": write_owl,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("peers")
    return {kind: write(root / kind, kind) for kind, write in WRITERS.items()}


@pytest.fixture(scope="module")
def peers(folders: dict[str, Path]) -> dict[str, Peer]:
    return {kind: load_peer(str(folder)) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 255, shape, dtype=np.uint8) for shape in ((60, 90, 3), (80, 50, 3))]


def same(first: Detections, second: Detections) -> None:
    np.testing.assert_allclose(first.boxes_xyxy, second.boxes_xyxy, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(first.scores, second.scores, rtol=1e-5)
    assert first.labels.tolist() == second.labels.tolist()


@pytest.mark.parametrize("kind", WRITERS)
def test_every_family_detects(peers: dict[str, Peer], images: list[np.ndarray], kind: str) -> None:
    peer = peers[kind]
    assert peer.name == kind
    found = peer.detect(images, PROMPTS)
    for image, each in zip(images, found, strict=True):
        height, width = image.shape[:2]
        assert len(each.scores) > 3
        assert each.boxes_xyxy.dtype == each.scores.dtype == np.float32
        assert (each.boxes_xyxy[:, 2:] > each.boxes_xyxy[:, :2]).all()
        assert (each.boxes_xyxy >= 0).all()
        assert (each.boxes_xyxy <= [width, height, width, height]).all()
        assert (np.diff(each.scores) <= 0).all()
        assert set(each.labels.tolist()) == {0, 1, 2}
    same(peer.detect(images[1:], PROMPTS)[0], found[1])  # whatever images are beside it


@pytest.mark.parametrize("kind", ["owlv2", "owlvit"])
def test_the_best_prompt_of_a_box_is_the_librarys(
    peers: dict[str, Peer], images: list[np.ndarray], kind: str
) -> None:
    """Their own postprocessing gives each box its best text; ours has that pair, among the others."""
    peer, image = peers[kind], images[0]
    names = ["crack", "scratch"]
    inputs = peer.processor(
        text=[names], images=[image], return_tensors="pt", padding="max_length", truncation=True
    )
    with torch.inference_mode():
        output = peer.model(**inputs)
    sizes = [image.shape[:2]]
    (theirs,) = peer.processor.post_process_grounded_object_detection(
        output, threshold=0.001, target_sizes=sizes
    )
    (ours,) = peer.detect([image], [Prompt(name) for name in names])
    limit = torch.tensor([90.0, 60.0, 90.0, 60.0])
    wanted = sorted(
        (round(float(s), 4), int(k), *np.round(torch.minimum(b.clamp(min=0), limit).tolist(), 1))
        for s, k, b in zip(theirs["scores"], theirs["labels"], theirs["boxes"], strict=True)
    )
    got = {
        (round(float(s), 4), int(k), *np.round(b.tolist(), 1))
        for s, k, b in zip(ours.scores, ours.labels, ours.boxes_xyxy, strict=True)
    }
    inside = [pair for pair in wanted if pair[4] > pair[2] and pair[5] > pair[3]]
    assert inside
    assert set(inside) <= got


def test_a_further_text_can_only_raise_a_score(peers: dict[str, Peer], images: list[np.ndarray]) -> None:
    peer = peers["owlv2"]
    (alone,) = peer.detect(images[:1], [Prompt("oil stain")])
    (other,) = peer.detect(images[:1], [Prompt("dark smear")])
    (both,) = peer.detect(images[:1], [Prompt("oil stain", ("dark smear",))])
    assert float(both.scores[0]) == pytest.approx(max(float(alone.scores[0]), float(other.scores[0])))


def scripted(peer: Peer, hot: dict[str, float]) -> Peer:
    """``peer`` with a model that gives its one box the probability ``hot[token]`` at each token, else 0."""

    def answer(input_ids: torch.Tensor, **_: torch.Tensor) -> SimpleNamespace:
        tokens = peer.processor.tokenizer.convert_ids_to_tokens(input_ids[0].tolist())
        probabilities = torch.tensor([hot.get(token, 0.0) for token in tokens])
        padded = torch.nn.functional.pad(probabilities, (0, MAX_TEXT - len(tokens)))
        box = torch.tensor([[[0.5, 0.5, 0.2, 0.4]]])
        return SimpleNamespace(logits=padded.logit()[None, None], pred_boxes=box, input_ids=input_ids)

    class Model(torch.nn.Module):
        config = peer.model.config

        def forward(self, **inputs: torch.Tensor) -> SimpleNamespace:
            return answer(**{k: v for k, v in inputs.items() if k not in ("pixel_values", "pixel_mask")})

    return Peer(Model(), peer.processor, "scripted")


def test_a_prompt_has_the_mean_of_its_own_tokens(peers: dict[str, Peer], images: list[np.ndarray]) -> None:
    """``crack`` and ``crack tip`` share a word; ``scratch`` is two tokens; capitals and stops are nothing."""
    hot = {
        "crack": 0.8,
        "tip": 0.4,
        "scr": 0.5,
        "##atch": 0.1,
        "dark": 0.9,
        "smear": 0.9,
        "oil": 0.2,
        ".": 1.0,
    }
    peer = scripted(peers["grounding-dino"], hot)
    prompts = [Prompt("Crack"), Prompt("crack tip"), Prompt("scratch."), Prompt("oil", ("dark? smear",))]
    (found,) = peer.detect(images[:1], prompts)
    scores = dict(zip(found.labels.tolist(), found.scores.tolist(), strict=True))
    assert scores == pytest.approx({0: 0.8, 1: 0.6, 2: 0.3, 3: 0.9})
    np.testing.assert_allclose(found.boxes_xyxy, [[36, 18, 54, 42]] * 4, rtol=1e-5)


def test_prompts_that_do_not_fit_are_asked_one_after_the_other(
    peers: dict[str, Peer], images: list[np.ndarray]
) -> None:
    hot = {
        "crack": 0.8,
        "tip": 0.4,
        "bolt": 0.6,
        "3": 0.2,
        "oil": 0.3,
        "stain": 0.5,
        "smear": 0.7,
        "dark": 0.1,
    }
    peer = scripted(peers["grounding-dino"], hot)
    names = ["crack tip", "bolt 3", "oil stain", "dark smear", "crack", "stain", "bolt", "tip", "3", "oil"]
    prompts = [Prompt(name) for name in names]  # 25 tokens with their stops; a caption has 14
    assert [len(q.prompts) for q in peer.family.ask(peer.model, peer.processor, prompts)] == [5, 5]
    (found,) = peer.detect(images[:1], prompts)
    scores = dict(zip(found.labels.tolist(), found.scores.tolist(), strict=True))
    expected = [np.mean([hot[word] for word in name.split()]) for name in names]
    assert [scores[index] for index in range(len(names))] == pytest.approx(expected)
    long = Prompt("crack " * 40)  # is cut
    (cut,) = peer.detect(images[:1], [long, Prompt("tip")])
    assert dict(zip(cut.labels.tolist(), cut.scores.tolist(), strict=True)) == pytest.approx({0: 0.8, 1: 0.4})


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors", "processor_config.json"])
def test_a_folder_that_lacks_a_file(folders: dict[str, Path], tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "incomplete"
    shutil.copytree(folders["grounding-dino"], folder)
    (folder / lost).unlink()
    with pytest.raises(RtvpError, match=r"incomplete: expected config\.json, model\.safetensors") as caught:
        load_peer(str(folder))
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_words_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "wordless"
    shutil.copytree(folders["grounding-dino"], folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(RtvpError, match="wordless: expected a tokenizer of 1040 entries, got 5"):
        load_peer(str(folder))


def test_weights_that_are_missing_are_not_made_up(folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "cut"
    shutil.copytree(folders["owlv2"], folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("class_head.dense0.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RtvpError, match=r"cut: 1 weights are missing, first class_head\.dense0\.weight"):
        load_peer(str(folder))


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(RtvpError, match=r"expected a model of type grounding-dino, .*, got 'bert'"):
        load_peer(str(tmp_path / "bert"))


def test_nothing_is_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(RtvpError, match=r"nobody/nothing: .* in the hub's cache; download it first"):
        load_peer("nobody/nothing")
