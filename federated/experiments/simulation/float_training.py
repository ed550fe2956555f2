"""Training of all clients of a round, in floats: each as if it were alone.

Networks of linear layers train side by side, as one product of stacked matrices a layer. Those with
convolutions train one client after the other: stacked, they are convolutions in groups, which take
longer on a processor (1.6 times, for ten clients of lenet-small).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.func import functional_call, vmap
from torch.nn import functional

from federated.data import LabeledImages
from federated.experiments.simulation.batches import LocalTraining
from federated.experiments.simulation.interface import Setting
from federated.experiments.simulation.vectors import join_tensors, split_vectors
from federated.torch_network import TorchNetwork
from kernels.numpy_types import Float32Array, Int64Array

Parameters = dict[str, torch.Tensor]


def train_all(
    setting: Setting,
    start: Float32Array,
    samples: Sequence[LabeledImages],
    batches: Int64Array,
    training: LocalTraining,
) -> Float32Array:
    """float32[n, P]: where each client's training leads from float32[P].

    samples : of each client; batches : int64[n, steps, batch_size], indices of its own samples
    """
    torch.set_num_threads(1)
    network = _build_network(setting)
    if setting.architecture.is_mlp:
        return _train_stacked(network, start, samples, batches, training)
    parts = [
        _train_stacked(network, start, [own], batches[i : i + 1], training)
        for i, own in enumerate(samples)
    ]
    return np.concatenate(parts)


def count_correct_floats(
    setting: Setting, vectors: Float32Array, samples: LabeledImages
) -> Int64Array:
    """How many samples each model float32[n, P] gets right: int64[n]."""
    torch.set_num_threads(1)
    network = _build_network(setting)
    seen = network.normalize(torch.from_numpy(np.array(samples.images)))
    labels = torch.from_numpy(samples.labels.astype(np.int64))
    counts = []
    with torch.no_grad():
        for vector in vectors:
            own = _name_tensors(network, vector)
            hits = [
                int((functional_call(network, own, (x,)).argmax(dim=1) == y).sum())
                for x, y in zip(seen.split(_AT_ONCE), labels.split(_AT_ONCE), strict=True)
            ]
            counts.append(sum(hits))
    return np.array(counts, dtype=np.int64)


_AT_ONCE = 256


def _build_network(setting: Setting) -> TorchNetwork:
    """The network, whose own parameters are never read."""
    scales = setting.scales
    generator = torch.Generator().manual_seed(0)
    return TorchNetwork(setting.architecture, generator, mean=scales.mean, std=scales.std)


def _name_tensors(network: TorchNetwork, vectors: Float32Array) -> Parameters:
    """Copies of the tensors of vectors [..., P], by the names that the network has for them."""
    tensors = split_vectors(network.architecture, vectors)
    return {
        f"tensors.{index}.{kind}": torch.from_numpy(tensors[2 * int(index) + place].copy())
        for index in network.tensors
        for place, kind in enumerate(("weight", "bias"))
    }


def _join(network: TorchNetwork, parameters: Parameters, n: int) -> Float32Array:
    """Inverse of `_name_tensors` for [n, P]."""
    found = []
    for index in range(len(network.architecture.layers)):
        for kind in ("weight", "bias"):
            tensor = parameters.get(f"tensors.{index}.{kind}")
            empty = np.zeros((n, 0), dtype=np.float32)
            found.append(empty if tensor is None else tensor.detach().numpy())
    return join_tensors(found)


def _train_stacked(
    network: TorchNetwork,
    start: Float32Array,
    samples: Sequence[LabeledImages],
    batches: Int64Array,
    training: LocalTraining,
) -> Float32Array:
    n = len(samples)
    parameters = _name_tensors(network, np.broadcast_to(start, (n, len(start))))
    for tensor in parameters.values():
        tensor.requires_grad_()
    optimizer = torch.optim.AdamW(
        parameters.values(),
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=training.steps)
    for step in range(training.steps):
        x, y = _gather(network, samples, batches[:, step])
        optimizer.zero_grad()
        logits = _forward(network, parameters, x)
        # A mean for each client, so that its gradients are what they were if it were alone.
        loss = functional.cross_entropy(logits, y.flatten(), reduction="sum") / y.shape[1]
        loss.backward()
        optimizer.step()
        schedule.step()
    return _join(network, parameters, n)


def _forward(network: TorchNetwork, parameters: Parameters, x: torch.Tensor) -> torch.Tensor:
    """Logits [n B, classes] of samples [n, B, ...], each client's by its own parameters."""
    if len(x) == 1:
        own = {name: tensor[0] for name, tensor in parameters.items()}
        logits: torch.Tensor = functional_call(network, own, (x[0],))
        return logits
    run = vmap(lambda own, seen: functional_call(network, own, (seen,)))
    stacked: torch.Tensor = run(parameters, x)
    return stacked.flatten(0, 1)


def _gather(
    network: TorchNetwork, samples: Sequence[LabeledImages], indices: Int64Array
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalized samples [n, B, *input_shape] and labels [n, B] of indices [n, B]."""
    images = np.stack([own.images[i] for own, i in zip(samples, indices, strict=True)])
    labels = np.stack([own.labels[i] for own, i in zip(samples, indices, strict=True)])
    n, size = indices.shape
    seen = network.normalize(torch.from_numpy(images.reshape(n * size, -1)))
    y = torch.from_numpy(labels.astype(np.int64))
    return seen.reshape(n, size, *seen.shape[1:]), y
