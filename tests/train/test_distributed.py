"""Training in two processes must be training in one; a run that is killed must go on where it was."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_step import NAMES, make_batch, make_small_step, make_text
from torch import Tensor, distributed, multiprocessing, nn

from rtvp.config import MaskingConfig, TrainConfig
from rtvp.losses.processes import mean_over_processes
from rtvp.train.distributed import GlobalBatchNorm2d, make_fabric, synchronise_norms, union_over_processes
from rtvp.types import Batch, Target

SCRIPT = Path(__file__).with_name("run_small.py")
FIGURES = ("step", "seconds", "images_per_second", "data", "forward", "backward", "rest")


def make_network() -> nn.Sequential:
    """Two normalisations, one with statistics that are not fresh; a part that occurs twice."""
    torch.manual_seed(0)
    shared = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    network = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3, eps=1e-3), shared, nn.SiLU(), shared)
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    network[0].running_mean.fill_(2.0)
    return network


def make_images() -> Tensor:
    return 5 + 3 * torch.randn(4, 3, 6, 7, generator=torch.Generator().manual_seed(1))


def test_alone_nothing_changes() -> None:
    plain, synchronised = make_network(), make_network()
    synchronise_norms(synchronised)
    assert [type(m) for m in synchronised.modules()].count(GlobalBatchNorm2d) == 2
    assert synchronised[1] is synchronised[3]
    assert torch.equal(plain(make_images()), synchronised(make_images()))
    before, after = plain.state_dict(), synchronised.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(plain.eval()(make_images()), synchronised.eval()(make_images()))
    value = torch.ones(2)
    assert mean_over_processes(value) is value
    assert union_over_processes(frozenset("ab")) == {"a", "b"}


def test_frozen_parts_stay_frozen() -> None:
    network = make_network()
    network[1].requires_grad_(False).eval()
    synchronise_norms(network)
    assert not network[1][1].training and network[0].training
    assert not any(parameter.requires_grad for parameter in network[1].parameters())


def test_without_torchrun_there_is_one_process() -> None:
    fabric = make_fabric(TrainConfig.model_validate({"data": {"sources": ["a"]}, "training": {"steps": 1}}))
    assert (fabric.world_size, fabric.global_rank, fabric.device.type) == (1, 0, "cpu")


def share(batch: Batch, rank: int, world: int) -> Batch:
    """What one of the processes gets."""
    mine = slice(rank, None, world)
    return batch._replace(
        images=batch.images[mine], targets=batch.targets[mine], annotated=batch.annotated[mine]
    )


def four_pictures() -> Batch:
    """Each process gets two; in the second one's, nothing is wrong."""
    batch = make_batch()
    pictures, (first, second) = batch.images, batch.targets
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, len(NAMES), dtype=torch.bool))
    images = torch.stack([pictures[0], pictures[0].flip(0), pictures[1], pictures[1].flip(1)])
    return batch._replace(
        images=images,
        targets=(first, nothing, second, nothing),
        annotated=batch.annotated[[0, 0, 1, 0]],
    )


def after_a_step(rank: int, world: int) -> dict[str, Tensor]:
    """Losses, gradients and statistics of the whole objective for one process's share of a batch."""
    step = make_small_step(masking=MaskingConfig(share=0.5))
    if world > 1:
        synchronise_norms(step)
    terms = step(share(four_pictures(), rank, world), make_text(), 0)
    torch.stack(list(terms.values())).sum().backward()
    found = {f"loss.{name}": mean_over_processes(value.detach()) for name, value in terms.items()}
    found |= {f"gradient.{name}": mean_over_processes(p.grad) for name, p in step.named_parameters()}
    return found | {f"state.{name}": value for name, value in step.state_dict().items()}


def in_process(rank: int, folder: Path) -> None:
    distributed.init_process_group("gloo", f"file://{folder / 'meet'}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    found = after_a_step(rank, 2)
    names = union_over_processes(frozenset({"crack", f"dent {rank}"}))
    found |= {f"name.{name}": torch.ones(1) for name in names}
    save_file({name: value.contiguous() for name, value in found.items()}, folder / str(rank))
    distributed.destroy_process_group()


@pytest.mark.slow
def test_losses_and_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    multiprocessing.spawn(in_process, (tmp_path,), nprocs=2)
    whole = after_a_step(0, 1)
    assert {"loss.expert", "loss.reconstruction", "loss.prompt_box"} <= set(whole)
    names = {"name.crack", "name.dent 0", "name.dent 1"}
    for rank in range(2):
        found = load_file(tmp_path / str(rank))
        assert set(found) == set(whole) | names
        for name, value in whole.items():
            size = float(value.float().abs().max())
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4 * size, msg=name)


Run = Callable[..., int]


@pytest.fixture
def run() -> Run:
    """Runs the script in a folder, in one process or several; gives its exit code."""

    def start(folder: Path, processes: int = 1, kill_at: int = -1) -> int:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        arguments = [*(launcher if processes > 1 else []), str(SCRIPT), str(folder), str(kill_at)]
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=400)
        if kill_at < 0 and done.returncode:
            raise AssertionError(done.stderr)
        return done.returncode

    return start


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in one process."""
    folder = tmp_path_factory.mktemp("unbroken")
    subprocess.run([sys.executable, SCRIPT, folder], check=True, capture_output=True)
    return folder


def assert_same_run(folder: Path, expected: Path, tolerance: float) -> None:
    """Curves and, at the end, weights; the optimiser moves a weight by about 5e-5 a step."""
    curves = []
    for each in (folder, expected):
        with (each / "small.csv").open(newline="", encoding="utf-8") as file:
            curves.append(list(csv.DictReader(file)))
    assert [row["step"] for row in curves[0]] == [row["step"] for row in curves[1]]
    assert {"expert", "reconstruction", "prompt_box"} <= set(curves[0][0])
    for mine, theirs in zip(*curves, strict=True):
        for term in set(theirs) - set(FIGURES):
            assert bool(mine[term]) == bool(theirs[term]), "the adaptation ends in the same step"
            if mine[term]:
                assert float(mine[term]) == pytest.approx(float(theirs[term]), rel=tolerance, abs=1e-6), term
    weights, others = (load_file(each / "small.state.safetensors") for each in (folder, expected))
    assert weights.keys() == others.keys()
    for name in weights:
        if name.startswith(("module.", "average.")):
            torch.testing.assert_close(weights[name], others[name], rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.slow
def test_two_processes_walk_the_curve_of_one(run: Run, unbroken: Path, tmp_path: Path) -> None:
    """Losses, masks, batch statistics, names, the end of the adaptation: all of the whole batch."""
    run(tmp_path, processes=2)
    assert_same_run(tmp_path, unbroken, 1e-4)
    assert not list(tmp_path.glob("*.part"))
    assert len(list((tmp_path / "tensorboard" / "small").iterdir())) == 1, "the first process alone writes"


@pytest.mark.slow
@pytest.mark.parametrize(("kill_at", "processes"), [(1, 1), (3, 1), (5, 1), (3, 2)])
def test_a_killed_run_goes_on_to_the_same_end(
    run: Run, unbroken: Path, tmp_path: Path, kill_at: int, processes: int
) -> None:
    """`kill -9` in a step before, between and after states; what two processes began, one can end."""
    code = run(tmp_path, processes, kill_at)
    assert code == -signal.SIGKILL if processes == 1 else code
    assert (tmp_path / "small.state.safetensors").exists() == (kill_at >= 2)
    run(tmp_path)
    assert_same_run(tmp_path, unbroken, 0 if processes == 1 else 1e-4)
