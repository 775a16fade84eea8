"""Exported models, run by ONNX Runtime or OpenVINO in the place of the PyTorch detector."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtvp.errors import RtvpError, UnreadableModelError
from rtvp.models.exported import METADATA_KEY, ExportFacts
from rtvp.models.text_encoder import TextEncoder, VocabularyEncoder, make_text_encoder
from rtvp.types import Floats, Predictions

Arrays: TypeAlias = "Mapping[str, NDArray[np.float32]]"
Run: TypeAlias = Callable[[Arrays], list[NDArray[np.float32]]]


class ExportedNetwork:
    """A `Network` that another runtime than PyTorch runs; nothing here loads PyTorch.

    Args:
        run: inputs by name to outputs in the order of ``facts.output_names``, none of which may change later.
        facts: of the file.
    """

    device = "cpu"

    def __init__(self, run: Run, facts: ExportFacts) -> None:
        self.run, self.facts = run, facts

    def __call__(self, images: NDArray[np.uint8], text: Floats) -> Predictions:
        """See `Network`; of a model with a vocabulary, ``text`` is of a `VocabularyEncoder`.

        Raises:
            RtvpError: the runtime failed; says why.
        """
        inputs = {"images": images.astype(np.float32)}
        if not self.facts.vocabulary:
            inputs["text"] = text
        try:
            boxes, logits, *levels = self.run(inputs)
            presence = levels.pop(0) if self.facts.config.presence else None
        except Exception as error:  # the runtimes raise nearly anything
            raise RtvpError(f"model {self.facts.name}: the runtime failed ({_one_line(error)})") from error
        if self.facts.vocabulary:
            asked = text.argmax(axis=1)
            logits, presence = logits[:, :, asked], None if presence is None else presence[:, asked]
        half = len(levels) // 2
        return Predictions(boxes, logits, tuple(levels[:half]), tuple(levels[half:]), presence)


def open_onnx(path: Path) -> ExportedNetwork:
    """An exported ``.onnx``, run by ONNX Runtime on the CPU; see `threads`.

    Raises:
        RtvpError: onnxruntime is not installed, or it is no file of `rtvp export`.
    """
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.log_severity_level = 3  # errors
    # It plans the memory of each shape anew and keeps it, 50 MB each: pictures have many shapes.
    options.enable_mem_pattern = False
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UnreadableModelError(f"{path} is not a readable ONNX model ({_one_line(error)})") from error
    facts = ExportFacts.from_text(session.get_modelmeta().custom_metadata_map.get(METADATA_KEY), str(path))

    def run(inputs: Arrays) -> list[NDArray[np.float32]]:
        return list(session.run(list(facts.output_names), dict(inputs)))

    return ExportedNetwork(run, facts)


def open_openvino(path: Path, half: bool = False) -> ExportedNetwork:
    """An exported ``.xml`` (with its ``.bin``) or ``.onnx``, run by OpenVINO on the CPU; see `threads`.

    Args:
        path: of the file.
        half: in bfloat16, which is OpenVINO's own default where the CPU has it; else float32, as PyTorch.

    Raises:
        RtvpError: openvino is not installed, or it is no file of `rtvp export`.
    """
    core = _core_of(import_openvino())
    try:
        model = core.read_model(str(path))
    except Exception as error:
        raise UnreadableModelError(
            f"{path} is not a model that OpenVINO can read ({_one_line(error)})"
        ) from error
    # What a reader of ONNX finds in the metadata it files under "framework".
    key = METADATA_KEY if path.suffix.lower() == ".xml" else ["framework", METADATA_KEY]
    text = model.get_rt_info(key).astype(str) if model.has_rt_info(key) else None
    facts = ExportFacts.from_text(text, str(path))
    if facts.precision == "int8" and path.suffix.lower() != ".xml":
        raise RtvpError(f"{path}: its 8-bit integers are for ONNX Runtime: export with --format openvino")
    if half:
        facts = facts.model_copy(update={"precision": "bfloat16"})
    hint = "bf16" if half else "f32"
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads()}
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(inputs: Arrays) -> list[NDArray[np.float32]]:
        # Outputs are copied: the next call would overwrite them.
        found = request.infer(dict(inputs), share_inputs=True, share_outputs=False)
        return [found[name] for name in facts.output_names]

    return ExportedNetwork(run, facts)


RUNTIMES: dict[str, Callable[[Path], ExportedNetwork]] = {
    "onnx": open_onnx,
    "openvino": open_openvino,
    "openvino-bf16": partial(open_openvino, half=True),
}
RUNTIMES_OF_SUFFIX = {  # the first is the default
    ".onnx": ("onnx", "openvino", "openvino-bf16"),
    ".xml": ("openvino", "openvino-bf16"),
}


def is_exported(path: Path) -> bool:
    """Whether ``path`` is named as an exported model is, and not as a checkpoint."""
    return path.suffix.lower() in RUNTIMES_OF_SUFFIX


def open_exported(path: Path, runtime: str | None = None) -> ExportedNetwork:
    """An exported file, ready to run.

    Args:
        path: what `rtvp export` wrote.
        runtime: one of ``RUNTIMES``; the one that fits the file if None.

    Raises:
        RtvpError: no such file or runtime, one that cannot run this kind of file or is not installed, or a
            file that `rtvp export` did not write.
    """
    if not path.is_file():
        raise RtvpError(f"no exported model at {path}: expected a file written by `rtvp export`")
    fitting = RUNTIMES_OF_SUFFIX.get(path.suffix.lower(), ())
    wanted = runtime or next(iter(fitting), "")
    if wanted not in fitting:
        raise RtvpError(f"{path}: expected the runtime {' or '.join(fitting) or 'torch'}, got {wanted!r:.80}")
    return RUNTIMES[wanted](path)


def threads() -> int:
    """How many a runtime takes: what ``OMP_NUM_THREADS`` says, as PyTorch does; else 0, its own choice."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() else 0


def encoder_of(facts: ExportFacts) -> TextEncoder:
    """What makes the text that an exported file takes.

    Raises:
        RtvpError: its text encoder is missing.
    """
    return (
        VocabularyEncoder(facts.prompts) if facts.vocabulary else make_text_encoder(facts.config.text_encoder)
    )


def import_onnxruntime() -> Any:
    """The module, with its reports to its maker switched off: it would send some from its first import.

    Raises:
        RtvpError: it is not installed.
    """
    # Both names it has had; whoever wants to report sets the variable to 0.
    for variable in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):
        os.environ.setdefault(variable, "1")
    return _import("onnxruntime")


def import_openvino() -> Any:
    """The module, with its reports to its maker switched off: it would send one at every import.

    Raises:
        RtvpError: it is not installed.
    """
    # OpenVINO does without the package that reports where that cannot be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return _import("openvino")


@cache
def _core_of(openvino: Any) -> Any:
    """One for the whole process, never let go.

    OpenVINO's CPU plugin gives the thread that first compiles a model a signal stack, and unmaps it together
    with itself, in whichever thread that happens. From then on the first signal that Python has a handler
    for, such as the end of a worker process, would kill the process.
    """
    return openvino.Core()


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RtvpError(f"{name} is not installed: pip install {name}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
