"""CLIP as it lies on disk, in transformers' layout: a folder, or a name on the hub.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from rtvp.errors import RtvpError
from rtvp.files import sha256_of
from rtvp.models.weights import is_offline

VERSION_LENGTH = 16  # hex digits
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class ClipFiles:
    """Where a CLIP is, and how its parts are loaded.

    Only safetensors are read. With ``RTVP_OFFLINE`` set, a hub name is looked up in the hub's cache alone.

    Args:
        source: a folder with config.json, the tokenizer and model.safetensors, such as a copy of
            openai/clip-vit-base-patch32, or the name of one on the Hugging Face hub.

    Raises:
        RtvpError: ``source`` is neither, or the folder is incomplete.
    """

    def __init__(self, source: str) -> None:
        self.name = f"clip:{source}"
        self._source = source
        folder = Path(source).expanduser()
        self._folder = folder if folder.is_dir() else None
        if self._folder is not None:
            _check_complete(self._folder)
        elif not HUB_NAME.fullmatch(source):
            raise RtvpError(f"{self.name}: no such folder, nor the name of a model on the hub")

    @cached_property
    def version(self) -> str:
        """Hash of the folder's files, or the commit of the hub's model."""
        if self._folder is not None:
            return _hash_files(self._folder)
        with self.explained():
            utils = import_module("transformers.utils")
            config = Path(utils.cached_file(self._source, "config.json", local_files_only=is_offline()))
        return config.parent.name[:VERSION_LENGTH]  # the hub's cache keeps files under snapshots/COMMIT/

    def load(self, kind: str, **options: Any) -> Any:
        """An object of transformers' class ``kind``, which has no types that hold over its versions.

        Raises:
            RtvpError: the files cannot be had, or are damaged.
        """
        local_only = self._folder is not None or is_offline()
        with self.explained():
            # Imported where it is needed, not above: it takes seconds.
            loader = getattr(import_module("transformers"), kind)
            with _quiet_transformers(bars=not local_only):
                return loader.from_pretrained(
                    self._folder or self._source, local_files_only=local_only, **options
                )

    def load_model(self, kind: str) -> Any:
        """As `load`, a frozen network of class ``kind`` in float32 and eval mode, all its weights there."""
        model, report = self.load(kind, use_safetensors=True, output_loading_info=True)
        # Weights that the class has no place for are fine; a gap would be filled with random numbers.
        if report["missing_keys"]:
            lacking = ", ".join(sorted(report["missing_keys"])[:3])
            raise RtvpError(f"{self.name}: the weights lack {lacking}; expected a complete CLIP")
        # float: the files may be float16, which a CPU computes slowly and coarsely.
        return model.float().requires_grad_(False).eval()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Errors of transformers inside become one `RtvpError` that says what was expected."""
        try:
            yield
        except Exception as error:  # transformers, tokenizers, safetensors and the hub share no narrower base
            reason = " ".join(str(error).split())[:200]
            offline = " RTVP is offline;" if self._folder is None and is_offline() else ""
            raise RtvpError(
                f"{self.name}: cannot load it ({reason});{offline} give a folder with the "
                "config.json, tokenizer and model.safetensors of a CLIP, such as openai/clip-vit-base-patch32"
            ) from error


def _check_complete(folder: Path) -> None:
    # Checked here because transformers fills a missing config.json with defaults, silently.
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not (folder / "tokenizer.json").is_file():
        missing += [name for name in ("vocab.json", "merges.txt") if not (folder / name).is_file()]
    if not any(folder.glob("*.safetensors")):
        missing.append("model.safetensors")
    if missing:
        advice = ""
        if missing == ["model.safetensors"] and (folder / "pytorch_model.bin").is_file():
            advice = "; convert it: transformers.CLIPModel.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        raise RtvpError(f"clip: the folder {folder} lacks {', '.join(missing)}{advice}")


def _hash_files(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in {".json", ".txt", ".safetensors"}:
            digest.update(f"{path.name}\0{sha256_of(path)}\0".encode())
    return digest.hexdigest()[:VERSION_LENGTH]


@contextmanager
def _quiet_transformers(bars: bool) -> Iterator[None]:
    """Without transformers' report on the vision half that was not loaded, and ``bars`` only where asked."""
    logging = import_module("transformers.utils.logging")
    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()
