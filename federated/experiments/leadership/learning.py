"""Rounds of federated averaging in which all clients train at once, and what each one's integer
model gets right: the counts that proofs would be of.

Clients differ in how many samples they have, or in how many of their labels are wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from consensus.learning.aggregate import WEIGHT, combine
from consensus.learning.samples import draw_indices
from federated.accuracy import count_correct
from federated.data import LabeledImages
from federated.float_model import FloatModel
from federated.local import WARM_UP, warm_up
from federated.task_scales import dequantize, quantize_for_task
from kernels.numpy_types import Float32Array, Float64Array, Int64Array, UInt8Array
from prover.model.presets import parse_architecture

NETWORK = "mlp-784-16-10"
N_PASSES, BATCH, RATE, DECAY = 3, 32, 0.1, 1e-3
"""Of a client's training in a round: as many steps of SGD as so many passes over its samples take,
samples of a step, rate, weight decay; about those of FedAvg (McMahan et al., arXiv 1602.05629)."""
N_CLASSES = 10
N_PUBLIC = 256
N_SHARD = 256
"""Samples that a round's claims are about."""
_WARM_UP = replace(WARM_UP, epochs=15, batch_size=32)
"""As long as that of `zkpot demo`: scales that are found too early are too fine."""
Tensors = list[Float32Array]
"""Weights and biases, layer by layer, of one model, or of all clients along a first axis."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Round:
    """What a round comes to.

    beacon : from which its shard is drawn, and by which ties are broken, 32 bytes
    counts : int64[n], correct samples of the shard, of each client's integer model
    global_count : the same of the mean
    """

    beacon: bytes
    counts: Int64Array
    global_count: int


def share_out(n_clients: int, total: int, *, ratio: float) -> Int64Array:
    """How many samples each client has, ascending: each `ratio` times as many as the one before,
    at least 8, at most `total` together."""
    shares = ratio ** np.arange(n_clients)
    sizes: Int64Array = np.maximum(8, np.floor(total * shares / shares.sum())).astype(np.int64)
    return sizes


def play_rounds(
    train: LabeledImages,
    pool: LabeledImages,
    sizes: Int64Array,
    wrong: Float64Array,
    *,
    n_rounds: int,
    seed: int,
) -> Iterator[Round]:
    """Rounds from one warm-up model on, each from the mean of the integer models before.

    train : of which clients get their samples, disjoint, and a public part
    pool  : public test samples, of which every round draws
    sizes : samples of each client, ascending; drawn at random, so that all have one mixture
    wrong : which share of a client's labels is drawn at random, 0 to 1
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(train))
    public = train.take(order[:N_PUBLIC])
    ends = N_PUBLIC + np.cumsum(sizes)
    own = [train.take(order[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    architecture = parse_architecture(NETWORK)
    model, scales = warm_up(
        public, architecture, lambda *_: None, settings=replace(_WARM_UP, seed=seed)
    )
    seen = [
        Seen.of(blur(samples, share, generator), model)
        for samples, share in zip(own, wrong.tolist(), strict=True)
    ]
    for number in range(n_rounds):
        beacon = hashlib.sha256(f"leadership {seed} {number}".encode()).digest()
        shard = pool.take(draw_indices(beacon, len(pool), N_SHARD))
        trained = train_together(model, seen, generator)
        shown = [
            quantize_for_task(_put(model, [t[client] for t in trained]), architecture, scales)
            for client in range(len(seen))
        ]
        mean = combine((one, WEIGHT) for one in shown)
        model = dequantize(mean, scales)
        counts = [count_correct(one, shard) for one in shown]
        yield Round(
            beacon=beacon,
            counts=np.array(counts, dtype=np.int64),
            global_count=count_correct(mean.rounded(), shard),
        )


def blur(samples: LabeledImages, share: float, generator: np.random.Generator) -> LabeledImages:
    """The samples with so many of their labels drawn at random: carelessness, not malice."""
    is_drawn = generator.random(len(samples)) < share
    drawn = generator.integers(0, N_CLASSES, len(samples), dtype=np.uint8)
    return LabeledImages(images=samples.images, labels=np.where(is_drawn, drawn, samples.labels))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """A client's samples as its network sees them: float32[N, d], and labels uint8[N]."""

    x: Float32Array
    labels: UInt8Array

    @classmethod
    def of(cls, samples: LabeledImages, model: FloatModel) -> Self:
        x = (samples.images.astype(np.float32) / 255.0 - model.mean) / model.std
        return cls(x=x.astype(np.float32), labels=samples.labels)


def train_together(
    start: FloatModel, clients: Sequence[Seen], generator: np.random.Generator
) -> Tensors:
    """Each client's tensors after its steps, a first axis for clients.

    start   : of two layers with ReLU between; each step draws a batch of a client's own samples
    clients : by ascending number of samples, so that those that still train are the last ones
    """
    tensors = [np.repeat(t[None], len(clients), axis=0) for t in _take(start)]
    n_steps = [-(-N_PASSES * len(c.labels) // BATCH) for c in clients]
    for step in range(max(n_steps)):
        first = next(i for i, n in enumerate(n_steps) if n > step)
        drawn = [(c, generator.integers(0, len(c.labels), BATCH)) for c in clients[first:]]
        x = np.stack([c.x[chosen] for c, chosen in drawn])
        labels = np.stack([c.labels[chosen] for c, chosen in drawn])
        active = [tensor[first:] for tensor in tensors]
        for tensor, slope in zip(active, compute_slopes(active, x, labels), strict=True):
            tensor -= np.float32(RATE) * (slope + np.float32(DECAY) * tensor)
    return tensors


def compute_slopes(tensors: Tensors, x: Float32Array, labels: UInt8Array) -> Tensors:
    """Derivatives of the mean cross-entropy of each client's batch.

    x : float32[n, B, d]; labels : uint8[n, B]
    """
    w_1, b_1, w_2, b_2 = tensors
    hidden = x @ w_1.transpose(0, 2, 1) + b_1[:, None]
    active = np.maximum(hidden, 0)
    logits = active @ w_2.transpose(0, 2, 1) + b_2[:, None]
    shares = np.exp(logits - logits.max(axis=2, keepdims=True))
    shares /= shares.sum(axis=2, keepdims=True)
    delta = (shares - (labels[:, :, None] == np.arange(shares.shape[2]))) / labels.shape[1]
    back = (delta @ w_2) * (hidden > 0)
    found = [
        back.transpose(0, 2, 1) @ x,
        back.sum(axis=1),
        delta.transpose(0, 2, 1) @ active,
        delta.sum(axis=1),
    ]
    return [slope.astype(np.float32) for slope in found]


def _take(model: FloatModel) -> Tensors:
    return [t for pair in zip(model.weights, model.biases, strict=True) for t in pair]


def _put(like: FloatModel, tensors: Tensors) -> FloatModel:
    return replace(like, weights=tuple(tensors[0::2]), biases=tuple(tensors[1::2]))
