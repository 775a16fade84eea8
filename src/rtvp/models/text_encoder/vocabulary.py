"""The prompts of a model that was exported for them alone, in place of a text encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtvp.errors import RtvpError
from rtvp.types import Floats, Prompt


class VocabularyEncoder:
    """Texts to rows of the identity: each says which of the model's own prompts is meant.

    Such a model holds the embeddings of its prompts, so that neither tokenizer nor text encoder is needed.

    Args:
        prompts: of the model, in the order of its logits.

    Raises:
        RtvpError: no prompts, or one text in two of them: it could not say which is meant.
    """

    name = "vocabulary"
    version = "1"

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self.prompts = tuple(prompts)
        self._column: dict[str, int] = {}
        for column, prompt in enumerate(self.prompts):
            for text in prompt.all_texts:
                if self._column.setdefault(text, column) != column:
                    raise RtvpError(f"vocabulary: expected each text in one prompt, got {text!r:.80} in two")
        if not self._column:
            raise RtvpError("vocabulary: expected at least one prompt such as 'scratch', got none")

    @property
    def width(self) -> int:
        """Number of prompts V."""
        return len(self.prompts)

    def encode(self, texts: Sequence[str]) -> Floats:
        """N texts to [N, V] float32, one 1 a row.

        Raises:
            RtvpError: a text of none of the prompts.
        """
        for text in texts:
            if text not in self._column:
                known = ", ".join(prompt.name for prompt in self.prompts)
                raise RtvpError(
                    f"this model was exported for the prompts {known} alone, got {text!r:.80}: ask for "
                    "those, or export without --vocabulary"
                )
        return np.eye(self.width, dtype=np.float32)[[self._column[text] for text in texts]]
