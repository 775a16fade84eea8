from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from rtvp.errors import RtvpError
from rtvp.models.text_encoder import EmbeddingCache, embed_prompts, make_text_encoder
from rtvp.models.text_encoder.clip import ClipText
from rtvp.types import Prompt

WIDTH = 24
TEXTS = ["scratch", "Oil stain", "", "scratch " * 100]


@pytest.fixture
def copy(tiny_clip: Path, tmp_path: Path) -> Path:
    for path in tiny_clip.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_same_embeddings_as_transformers(tiny_clip: Path) -> None:
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    model = CLIPTextModelWithProjection.from_pretrained(tiny_clip).eval()
    tokens = CLIPTokenizer.from_pretrained(tiny_clip)(
        TEXTS, padding=True, truncation=True, max_length=77, return_tensors="pt"
    )
    with torch.no_grad():
        expected = F.normalize(model(**tokens).text_embeds, dim=-1)
    encoder = make_text_encoder(f"clip:{tiny_clip}")
    assert encoder.width == WIDTH
    embeddings = encoder.encode(TEXTS)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, expected, atol=1e-6)
    np.testing.assert_allclose(encoder.encode(TEXTS[:1]), embeddings[:1], atol=1e-5)
    assert encoder.encode([]).shape == (0, WIDTH)


def test_half_precision_files_are_computed_in_full(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    halves = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
    full = ClipText(str(copy)).encode(TEXTS)
    save_file(halves, copy / "model.safetensors", {"format": "pt"})
    embeddings = ClipText(str(copy)).encode(TEXTS)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, full, atol=5e-3)


def test_version_follows_the_weights(copy: Path) -> None:
    before = ClipText(str(copy)).version
    assert ClipText(str(copy)).version == before
    weights = load_file(copy / "model.safetensors")
    weights["text_projection.weight"] *= 1.01
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert ClipText(str(copy)).version != before


def test_cached_prompts_need_no_weights(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = EmbeddingCache(tmp_path / "cache")
    prompts = (Prompt("scratch", ("groove",)), Prompt("stain"))
    first = embed_prompts(prompts, ClipText(str(copy)), cache)
    monkeypatch.setattr("transformers.CLIPTextModelWithProjection", None)
    assert np.array_equal(embed_prompts(prompts, ClipText(str(copy)), cache), first)


def test_loading_says_nothing(tiny_clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ClipText(str(tiny_clip)).encode(["scratch"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (["config.json"], r"lacks config\.json$"),
        (["vocab.json"], r"lacks vocab\.json$"),
        (["vocab.json", "merges.txt"], r"lacks vocab\.json, merges\.txt$"),
        (["model.safetensors"], r"lacks model\.safetensors$"),
    ],
)
def test_an_incomplete_folder_is_told_at_once(copy: Path, lost: list[str], told: str) -> None:
    for name in lost:
        (copy / name).unlink()
    with pytest.raises(RtvpError, match=told):
        ClipText(str(copy))


def test_a_pickle_is_refused_with_the_way_out(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(RtvpError, match=r"lacks model\.safetensors; convert it: .*save_pretrained"):
        ClipText(str(copy))


def test_a_missing_weight_is_told_not_invented(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(RtvpError, match=r"the weights lack text_projection\.weight"):
        ClipText(str(copy)).encode(["scratch"])


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.json"])
def test_damaged_files_are_told_in_one_line(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes()[:500])
    with pytest.raises(RtvpError, match="cannot load it") as told:
        ClipText(str(copy)).encode(["scratch"])
    assert "\n" not in str(told.value)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match="no such folder"):
        ClipText(str(tmp_path / "absent"))


def test_offline_a_hub_name_is_sought_in_the_cache_alone(
    tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(httpx.Client, "send", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("RTVP_OFFLINE", "1")
    with pytest.raises(RtvpError, match=r"clip:maker/tiny: .* RTVP is offline"):
        ClipText("maker/tiny").encode(["scratch"])

    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--maker--tiny" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for path in tiny_clip.iterdir():
        (snapshot / path.name).write_bytes(path.read_bytes())
    (tmp_path / "models--maker--tiny" / "refs").mkdir()
    (tmp_path / "models--maker--tiny" / "refs" / "main").write_text(commit)
    encoder = ClipText("maker/tiny")
    assert encoder.version == commit[:16]
    assert np.array_equal(encoder.encode(TEXTS), ClipText(str(tiny_clip)).encode(TEXTS))
