"""How clients learn in a round: from where all start, by the task's recipe or by their own code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

import torch
from torch.nn import Linear, ReLU, Sequential

from consensus.learning.aggregate import GlobalModel, combine
from consensus.wire.genesis import Task
from federated.data import LabeledImages
from federated.errors import NetworkUnsupported, ScalesInvalid
from federated.joining.learners import find_start, learn_by, learn_from_samples
from federated.joining.own_network import normalize
from federated.local import warm_up
from federated.task_scales import TaskScales, dequantize
from prover.model.network import QuantizedModel, is_correct
from tests.support.learning import ARCHITECTURE, make_task, model_of
from tests.support.tiny_circuits import seeded


def ignore(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


def make_samples(seed: int) -> LabeledImages:
    images = np.random.default_rng(seed).integers(0, 256, (500, 6), dtype=np.uint8)
    labels = model_of(0).logits(images).argmax(axis=1).astype(np.uint8)
    return LabeledImages(images=images, labels=labels)


@pytest.fixture(scope="module")
def task() -> Task:
    _, scales = warm_up(make_samples(1), ARCHITECTURE, ignore)
    return make_task(scales=scales.to_lists())


def share(model: QuantizedModel, samples: LabeledImages) -> float:
    return float(np.mean(is_correct(model.logits(samples.images), samples.labels)))


def test_rounds_of_own_samples_get_better(task: Task) -> None:
    learn = learn_from_samples(make_samples(2), task, random_bytes=seeded(1), progress=ignore)
    first = learn(None, 0)
    second = learn(combine([(first, 1)]), 1)
    test = make_samples(3)
    assert first.architecture.digest == task.architecture.digest
    assert 0.5 < share(first, test) < share(second, test)


def test_all_start_alike(task: Task) -> None:
    """From the global model, and where there is none from one network."""
    scales = TaskScales.of_task(task)
    torch.manual_seed(1)
    first = find_start(None, task, scales)
    torch.manual_seed(2)
    again = find_start(None, task, scales)
    assert all(np.array_equal(a, b) for a, b in zip(first.weights, again.weights, strict=True))
    assert (first.mean, first.std) == (scales.mean, scales.std)
    model: GlobalModel = combine([(model_of(0), 1)])
    start = find_start(model, task, scales)
    wanted = dequantize(model, scales)
    assert all(np.array_equal(a, b) for a, b in zip(start.weights, wanted.weights, strict=True))


def test_own_code_trains_an_own_network(task: Task) -> None:
    scales, seen = TaskScales.of_task(task), []
    samples, test = make_samples(2), make_samples(3)
    network = Sequential(Linear(6, 4), ReLU(), Linear(4, 3))

    def fit(trained: torch.nn.Module, learning_round: int) -> None:
        assert trained is network
        seen.append((learning_round, network[0].weight.detach().numpy().copy()))  # type: ignore[operator]
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        x, y = normalize(torch.tensor(samples.images), scales), torch.tensor(samples.labels).long()
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()

    learn = learn_by(network, fit, task)
    assert share(learn(None, 0), test) > 0.7
    learn(combine([(model_of(0), 1)]), 1)
    assert [number for number, _ in seen] == [0, 1]
    starts = [find_start(None, task, scales), dequantize(combine([(model_of(0), 1)]), scales)]
    assert all(np.array_equal(w, s.weights[0]) for (_, w), s in zip(seen, starts, strict=True))


def test_what_no_circuit_proves_is_refused_before_a_round(task: Task) -> None:
    with pytest.raises(NetworkUnsupported):
        learn_by(Linear(6, 3), lambda network, learning_round: None, task)
    with pytest.raises(ScalesInvalid):
        learn_by(Linear(6, 3), lambda network, learning_round: None, replace(task, scales=()))
