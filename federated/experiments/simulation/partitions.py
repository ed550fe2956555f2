"""How samples lie with clients: alike, by shares of a Dirichlet distribution, or few classes each.

iid            all of one mixture
dirichlet-X    `federated.partition`, with the concentration X
shards         sorted by label and cut into two pieces for each client: about two classes each
               (McMahan et al., arXiv 1602.05629, section 3)
"""

from __future__ import annotations

import numpy as np

from federated.partition import IndexArray, split_by_label
from kernels.numpy_types import UInt8Array

DIRICHLET = "dirichlet-"
PARTITIONS = ("iid", "dirichlet-0.5", "dirichlet-0.1", "shards")
PIECES = 2
LEAST = 8
"""Samples that each client has at least."""


def split_samples(
    labels: UInt8Array, partition: str, *, n_clients: int, seed: int
) -> tuple[IndexArray, ...]:
    """Each client's indices, ascending: disjoint, all samples together.

    Raises ValueError for a partition that is none of these.
    """
    generator = np.random.default_rng(seed)
    if partition == "iid":
        return _cut(generator.permutation(len(labels)), n_clients, 1, generator)
    if partition == "shards":
        order = generator.permutation(len(labels))
        by_label = order[np.argsort(labels[order], kind="stable")]
        return _cut(by_label, n_clients, PIECES, generator)
    if partition not in PARTITIONS:
        raise ValueError(f"a partition is one of {', '.join(PARTITIONS)}")
    concentration = float(partition.removeprefix(DIRICHLET))
    return split_by_label(
        labels, n_clients=n_clients, concentration=concentration, seed=seed, least=LEAST
    )


def _cut(
    order: IndexArray, n_clients: int, n_pieces: int, generator: np.random.Generator
) -> tuple[IndexArray, ...]:
    """So many pieces of an order for each client, drawn."""
    pieces = np.array_split(order, n_clients * n_pieces)
    drawn = generator.permutation(len(pieces)).reshape(n_clients, n_pieces)
    return tuple(np.sort(np.concatenate([pieces[i] for i in own])) for own in drawn)
