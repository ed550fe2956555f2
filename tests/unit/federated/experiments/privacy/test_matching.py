"""Search for pictures whose gradient is the one seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from federated.experiments.kinds import Cell, Lab
from federated.experiments.privacy.experiment import EXPERIMENT
from federated.experiments.privacy.matching import Search, build_gradients, match_gradients
from federated.experiments.privacy.rows import GUESSED
from federated.experiments.privacy.scene import Task, flatten_model
from federated.task_scales import TaskScales
from federated.torch_network import TorchNetwork
from federated.train import draw_model
from kernels.backend import get_backend
from prover.model.layers import Linear, Requant
from prover.model.network import Architecture
from prover.model.planes import Conv2d, Window
from prover.model.pooling import Flatten


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """As `federated.train.train` has it: pictures so small cost more on two."""
    torch.set_num_threads(1)


@pytest.fixture
def task() -> Task:
    """A convolution and a linear layer on 8 x 8 pixels of three colours."""
    layers = (
        Conv2d(n_out=8, window=Window(kernel=(3, 3)), inputs=(0,), requant=Requant()),
        Flatten(inputs=(1,)),
        Linear(n_out=4, inputs=(2,)),
    )
    start = draw_model(Architecture.of((3, 8, 8), layers), mean=0.5, std=0.25, seed=1)
    scales = TaskScales(weights=(1e-3, 1.0, 1e-3), mean=0.5, std=0.25)
    return Task(start=start, row=flatten_model(start), scales=scales)


def draw(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, 3, 8, 8, generator=torch.Generator().manual_seed(4)) * 4 - 2


def test_gradients_are_those_of_mean_losses(task: Task) -> None:
    x, y = draw(2, 3), torch.tensor([[0, 1, 2], [3, 3, 1]])
    found = build_gradients(task)(x, y)
    network = TorchNetwork(task.start.architecture, torch.Generator(), mean=0.5, std=0.25)
    network.load(task.start)
    for row, samples, labels in zip(found, x, y, strict=True):
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(samples), labels).backward()
        wanted = torch.cat([p.grad.reshape(-1) for p in network.parameters()])
        assert torch.allclose(row, wanted, atol=1e-6)


def test_search_finds_the_picture_of_a_gradient(task: Task) -> None:
    x, y = draw(2, 1), torch.tensor([[0], [3]])
    gradients = build_gradients(task)
    found = match_gradients(
        gradients(x, y),
        y,
        task,
        gradients,
        Search(n_steps=150, smoothness=0.0),
        torch.Generator().manual_seed(1),
    )
    assert found.abs().max() <= 2.0
    errors = ((found - x) ** 2).mean((1, 2, 3, 4))
    assert (errors < 0.25 * (x**2).mean((1, 2, 3, 4))).all()


def test_a_cell_of_photographs(tmp_path: Path) -> None:
    lab = Lab(
        data_dir=tmp_path,
        scratch=tmp_path,
        backend=get_backend("cpu"),
        progress=lambda what, done, total: None,
    )
    cell = Cell(
        seed=0,
        parameters={
            "part": "matching",
            "architecture": "lenet-small",
            "n_public": 64,
            "n_own": 1,
            "n_targets": 1,
            "n_others": 2,
            "n_steps": 4,
            "learning_rate": 0.1,
            "noises": "0.1",
            "numbers": "3",
            "n_pictures": 1,
        },
    )
    result = EXPERIMENT.run(cell, lab)
    psnr = {name: found["psnr"] for name, found in result["reveals"].items()}
    assert set(psnr) == {"raw", "noised-0.1", "clear", "sum-3", GUESSED}
    assert all(5 < value < 30 for value in psnr.values())
    kept = [found["pictures"] for found in result["reveals"].values()]
    assert len({pairs[0][0] for pairs in kept}) == 1, "all are beside the target's own"
    assert len({pairs[0][1] for pairs in kept}) == len(kept)
