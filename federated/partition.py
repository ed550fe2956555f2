"""Splitting training samples over clients that see different mixtures of classes.

Each class is dealt to the clients in shares of a Dirichlet distribution, the usual model of
non-IID data in federated learning (Hsu, Qi, Brown, arXiv 1909.06335): with a small concentration
a client has most of a few classes and little of the others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kernels.numpy_types import UInt8Array

IndexArray = npt.NDArray[np.int64]


def split_by_label(
    labels: UInt8Array, *, n_clients: int, concentration: float, seed: int, least: int = 1
) -> tuple[IndexArray, ...]:
    """Each client's indices, ascending: disjoint, all samples together, `least` or more each.

    concentration : of the Dirichlet distribution; great values come near equal mixtures
    least         : who was dealt fewer takes from whoever has most
    raises        : ValueError when the samples do not suffice or a number cannot be meant
    """
    if n_clients < 1 or least < 1 or not 0 < concentration < np.inf:
        raise ValueError("clients, least and concentration must be positive")
    if len(labels) < n_clients * least:
        raise ValueError(f"{len(labels)} samples for {n_clients} clients with {least} or more each")
    generator = np.random.default_rng(seed)
    owners = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        where = generator.permutation(np.flatnonzero(labels == label))
        shares = generator.dirichlet(np.full(n_clients, concentration))
        ends = np.rint(np.cumsum(shares)[:-1] * len(where)).astype(np.int64)
        for client, part in enumerate(np.split(where, ends)):
            owners[part] = client
    _even_out(owners, n_clients, least, generator)
    return tuple(np.flatnonzero(owners == client) for client in range(n_clients))


def _even_out(
    owners: IndexArray, n_clients: int, least: int, generator: np.random.Generator
) -> None:
    """Gives each client `least` samples, in place, one recipient after the other."""
    for client in range(n_clients):
        while (lack := least - np.count_nonzero(owners == client)) > 0:
            counts = np.bincount(owners, minlength=n_clients)
            richest = int(counts.argmax())
            n = min(lack, int(counts[richest]) - least)
            owners[generator.permutation(np.flatnonzero(owners == richest))[:n]] = client
