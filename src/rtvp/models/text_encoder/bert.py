"""The network of the MiniLM sentence encoder.

Source: Wang et al., "MiniLM: Deep Self-Attention Distillation", 2020; BERT as in Devlin et al., 2019.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from rtvp.types import Floats

VOCABULARY = 30522
POSITIONS = 512
SEGMENTS = 2
WIDTH = 384
LAYERS = 6
HEADS = 12
HIDDEN = 1536
LAYER_NORM_EPS = 1e-12

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


class SentenceEncoder:
    """Sentences to points on a sphere: the mean over the tokens' states, of unit length.

    Args:
        path: the official ``model.safetensors``.

    Raises:
        OSError, SafetensorError, RuntimeError: the file cannot be read, or holds other weights.
    """

    def __init__(self, path: Path) -> None:
        state = {_rename(key): value for key, value in load_file(path).items() if key not in UNUSED}
        with torch.device("meta"):  # the random initialisation would be thrown away
            network = Bert()
        network.load_state_dict(state, strict=True, assign=True)
        self.network = network.requires_grad_(False).eval()

    def __call__(self, tokens: NDArray[np.int64], mask: NDArray[np.bool_]) -> Floats:
        """Tokens [N, T] and mask [N, T] (False: padding) to [N, 384] float32 of unit L2 norm."""
        kept = torch.from_numpy(mask)
        # No autocast: the result may be cached, so its precision must not depend on who asked first.
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            states: Tensor = self.network(torch.from_numpy(tokens), kept)  # [N, T, D]
            weights = kept.unsqueeze(-1).float()  # [N, T, 1]; [CLS] and [SEP] are never masked
            mean = (states * weights).sum(dim=1) / weights.sum(dim=1)
            return F.normalize(mean, dim=-1).numpy()


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
