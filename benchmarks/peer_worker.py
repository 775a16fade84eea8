"""One contestant of benchmarks/peers.py, in a process and perhaps a virtual environment of its own.

    python peer_worker.py CONTESTANT PICTURE SIDE PROMPTS THREADS FOLDER

Answers on standard output, a line of JSON each: once when the first boxes are there, then for each line of
standard input, which names what to do: ``whole`` (file to boxes) or ``network`` (alone); ``end`` tells the
memory.
Weights of others are random: the time hardly depends on them. Their text embeddings are given, as ours are.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

PROMPTS = ("scratch", "dent", "crack", "hole", "stain", "rust", "chip", "bubble", "burr", "missing part")
WORDS = PROMPTS * 10
BATCH = 4  # pictures of a training step


class Ready(NamedTuple):
    """A contestant that can be timed; one of its ways may be missing."""

    whole: Callable[[], object] | None
    network: Callable[[], object]
    module: Any = None  # of PyTorch, to count parameters and operations of


class Task(NamedTuple):
    """What every contestant is given."""

    picture: str
    side: int
    prompts: int
    threads: int
    folder: Path  # for exported files


def rtvp_by(runtime: str) -> Callable[[Task], Ready]:
    """The shipped model, as `rtvp detect --runtime` runs it."""

    def make(task: Task) -> Ready:
        import rtvp

        return _ready_rtvp(rtvp.load(size=task.side, runtime=runtime), task)

    return make


def rtvp_mobile_sam(task: Task) -> Ready:
    """The paper's encoder; random weights."""
    import torch

    from rtvp.config import DetectorConfig
    from rtvp.models.build import build_detector
    from rtvp.models.fold import fold_batch_norms
    from rtvp.models.text_encoder import make_text_encoder
    from rtvp.models.torch_network import TorchNetwork
    from rtvp.predict import Detector

    config = DetectorConfig.model_validate({"image_encoder": {"name": "mobile_sam"}})
    module = build_detector(config).eval()
    fold_batch_norms(module)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = TorchNetwork(module)
    detector = Detector(network, config, make_text_encoder(config.text_encoder), size=task.side)
    return _ready_rtvp(detector, task)


def _ready_rtvp(detector: Any, task: Task) -> Ready:
    import numpy as np

    prompts = list(WORDS[: task.prompts])
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (1, 3, task.side, task.side), np.uint8)
    text = random.standard_normal((task.prompts, detector.config.text_width)).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    return Ready(
        lambda: detector.detect(task.picture, prompts),
        lambda: detector.network(images, text),
        getattr(detector.network, "module", None),
    )


def ultralytics(kind: str, file: str) -> Callable[[Task], Ready]:
    """YOLO-World or YOLOE by ultralytics, PyTorch."""

    def make(task: Task) -> Ready:
        import torch

        model = _ultralytics_model(kind, file, task)
        images = torch.rand(1, 3, task.side, task.side)
        return Ready(
            lambda: model.predict(task.picture, imgsz=task.side, device="cpu", verbose=False),
            lambda: model.model(images),
            model.model,
        )

    return make


def _ultralytics_model(kind: str, file: str, task: Task) -> Any:
    import torch
    import ultralytics as package  # type: ignore[import-not-found]

    text = torch.nn.functional.normalize(torch.randn(1, task.prompts, 512), dim=-1)
    names = list(WORDS[: task.prompts])
    model = getattr(package, kind)(file)
    if kind == "YOLOE":
        model.set_classes(names, text)
    else:
        model.model.txt_feats = text
        model.model.model[-1].nc = task.prompts
        model.model.names = dict(enumerate(names))
    model.model.eval()
    return model


def exported_ultralytics(way: str) -> Callable[[Task], Ready]:
    """YOLO-World exported by ultralytics, its network alone: ``onnx``, or OpenVINO in ``f32`` or ``bf16``."""

    def make(task: Task) -> Ready:
        import numpy as np

        path = task.folder / f"yolo-world-{task.side}-{task.prompts}.onnx"
        if not path.is_file():
            model = _ultralytics_model("YOLOWorld", "yolov8s-worldv2.yaml", task)
            Path(model.export(format="onnx", imgsz=task.side, device="cpu", verbose=False)).replace(path)
        images = np.random.default_rng(0).random((1, 3, task.side, task.side), np.float32)
        if way == "onnx":
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = task.threads
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            name = session.get_inputs()[0].name
            return Ready(None, lambda: session.run(None, {name: images}))
        import openvino

        settings = {"INFERENCE_PRECISION_HINT": way, "INFERENCE_NUM_THREADS": task.threads}
        request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
        return Ready(None, lambda: request.infer([images]))

    return make


def grounding_dino(task: Task) -> Ready:
    """Grounding DINO-T at its own input size; the picture is resized without its processor."""
    import torch
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    model: Any = GroundingDinoForObjectDetection(GroundingDinoConfig())
    model.eval()
    # Each prompt as three tokens and a full stop, which is what splits them.
    ids = torch.tensor([[101, *[t for _ in range(task.prompts) for t in (11969, 11969, 11969, 1012)], 102]])
    texts = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return _ready_transformers(model, task, 800, texts)


def owlv2(task: Task) -> Ready:
    """OWLv2-base, patches of 16 px, at its own input size."""
    import torch
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    model: Any = Owlv2ForObjectDetection(Owlv2Config(vision_config={"image_size": 960, "patch_size": 16}))
    model.eval()
    ids = torch.randint(1, 49000, (task.prompts, 16))
    ids[:, 5] = 49407
    return _ready_transformers(model, task, 960, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})


def _ready_transformers(model: Any, task: Task, side: int, texts: dict[str, Any]) -> Ready:
    import numpy as np
    import torch
    from PIL import Image

    images = torch.rand(1, 3, side, side)

    def whole() -> object:
        picture = Image.open(task.picture).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
        output = model(pixel_values=pixels, **texts)
        return output.logits.sigmoid().amax(dim=-1), output.pred_boxes

    return Ready(whole, lambda: model(pixel_values=images, **texts), model)


def rtvp_training(task: Task) -> Ready:
    """One step of RTVP's training: the detector on its frozen encoder, and the expert beside it."""
    import torch

    from rtvp.config import StageConfig
    from rtvp.train.optim import make_optimizer
    from rtvp.types import Batch, Prompt, Target
    from train import CPU, Arm, make_step

    words = WORDS[: task.prompts]
    step = make_step(Arm(CPU, None, task.side, BATCH), words).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(step, StageConfig(steps=1))
    boxes, labels = _random_boxes(task)
    targets = tuple(
        Target(boxes * task.side, torch.nn.functional.one_hot(labels, task.prompts).bool())
        for _ in range(BATCH)
    )
    images = torch.randint(0, 256, (BATCH, 3, task.side, task.side), dtype=torch.uint8)
    everywhere = torch.ones(BATCH, task.prompts, dtype=torch.bool)
    batch = Batch(images, targets, tuple(map(Prompt, words)), everywhere, words)
    text = torch.nn.functional.normalize(torch.randn(task.prompts, CPU.text_width), dim=-1)

    def losses() -> Any:
        return torch.stack(list(step(batch, text, 0).values())).sum()

    return Ready(None, lambda: _one_step(losses, step, optimizer), step)


def ultralytics_training(task: Task) -> Ready:
    """One step of YOLO-World-S' training by ultralytics' own loss."""
    import torch
    from ultralytics.cfg import get_cfg  # type: ignore[import-not-found]

    model = _ultralytics_model("YOLOWorld", "yolov8s-worldv2.yaml", task).model.train()
    model.args = get_cfg()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    boxes, labels = _random_boxes(task)
    sides = boxes[:, 2:] - boxes[:, :2]
    batch = {
        "img": torch.rand(BATCH, 3, task.side, task.side),
        "txt_feats": model.txt_feats.expand(BATCH, -1, -1),
        "bboxes": torch.cat([boxes[:, :2] + sides / 2, sides], dim=1).repeat(BATCH, 1),
        "cls": labels.repeat(BATCH)[:, None].float(),
        "batch_idx": torch.arange(BATCH).repeat_interleave(len(boxes)).float(),
    }
    return Ready(None, lambda: _one_step(lambda: model.loss(batch)[0].sum(), model, optimizer), model)


def _random_boxes(task: Task) -> tuple[Any, Any]:
    """Five boxes, xyxy as shares of the sides, and what they show."""
    import torch

    corners = torch.rand(5, 2) * 0.6
    return torch.cat([corners, corners + 0.1 + 0.3 * torch.rand(5, 2)], dim=1), torch.randint(
        task.prompts, (5,)
    )


def _one_step(losses: Callable[[], Any], module: Any, optimizer: Any) -> None:
    import torch

    losses().backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 10.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


CONTESTANTS: dict[str, Callable[[Task], Ready]] = {
    "rtvp": rtvp_by("onnx"),  # what `rtvp detect` takes unless told
    "rtvp, torch": rtvp_by("torch"),
    "rtvp, torch bf16": rtvp_by("torch-bf16"),
    "rtvp, openvino": rtvp_by("openvino"),
    "rtvp, openvino bf16": rtvp_by("openvino-bf16"),
    "rtvp with Mobile-SAM": rtvp_mobile_sam,
    "YOLO-World-S": ultralytics("YOLOWorld", "yolov8s-worldv2.yaml"),
    "YOLO-World-S, onnx": exported_ultralytics("onnx"),
    "YOLO-World-S, openvino": exported_ultralytics("f32"),
    "YOLO-World-S, openvino bf16": exported_ultralytics("bf16"),
    "YOLOE-S": ultralytics("YOLOE", "yoloe-v8s.yaml"),
    "Grounding DINO-T": grounding_dino,
    "OWLv2-base": owlv2,
    "rtvp, training step": rtvp_training,
    "YOLO-World-S, training step": ultralytics_training,
}

WITHOUT_TORCH = ("rtvp", "rtvp, openvino", "rtvp, openvino bf16")


def main() -> None:
    """Build, detect once, then answer until told to end."""
    name, picture, side, prompts, threads, folder = sys.argv[1:]
    task = Task(picture, int(side), int(prompts), int(threads), Path(folder))
    with nullcontext() if name in WITHOUT_TORCH else _torch(task.threads, "training" not in name):
        ready = CONTESTANTS[name](task)
        (ready.whole or ready.network)()
        facts: dict[str, Any] = {"whole": ready.whole is not None}
        if name not in WITHOUT_TORCH:
            facts["torch"] = version("torch")
        _answer(facts | ({} if ready.module is None else _size(ready)))
        ways = {"whole": ready.whole, "network": ready.network}
        for line in sys.stdin:
            if line.strip() == "end":
                break
            start = time.perf_counter()
            way = ways[line.strip()]
            assert way is not None
            way()
            _answer({"seconds": time.perf_counter() - start})
    _answer({"peak_mib": _peak_mib()})


@contextmanager
def _torch(threads: int, inference: bool) -> Iterator[None]:
    """PyTorch set up for the contestants that compute with it."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with torch.inference_mode(inference):
        yield


def _peak_mib() -> float:
    """The most memory that this very program held: on Linux `resource` begins with the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _size(ready: Ready) -> dict[str, float]:
    from torch.utils.flop_counter import FlopCounterMode

    parameters = sum(parameter.numel() for parameter in ready.module.parameters())
    counted = {"parameters_million": parameters / 1e6}
    with suppress(Exception), FlopCounterMode(display=False) as counter:  # not every operation is known to it
        ready.network()
        counted["gflop"] = counter.get_total_flops() / 1e9
    return counted


def _answer(content: dict[str, Any]) -> None:
    print("@" + json.dumps(content), flush=True)  # a package may print lines of its own


if __name__ == "__main__":
    main()
