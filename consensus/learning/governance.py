"""Weight of a client in votes about the task: a decaying sum of what it contributed.

A pure rule over what final blocks say, in whole numbers, so that anyone, a contract included,
computes the same from the ledger. With k the claim of a client that
entered the global model of a round, out of n samples:

    weight <- floor(weight * 7/8) + floor(10^6 * k / n)        once per learning round

A claim of all samples in every round tends to 8 * 10^6. Who stops contributing loses half in about
five rounds; who never did has zero. The rule sees proven accuracy only: it rewards neither stake
nor the number of attempts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consensus.wire.outcomes import Aggregate

UNIT = 1_000_000  # parts per million: a perfect claim
KEPT, OF = 7, 8  # what a round leaves of the weight before it


def update_weights(
    weights: Mapping[bytes, int], aggregate: Aggregate, *, n_samples: int
) -> dict[bytes, int]:
    """Weights by client key after a round; clients of weight zero are left out."""
    after = {client: weight * KEPT // OF for client, weight in weights.items()}
    for entry in aggregate.entries:
        earned = UNIT * entry.proven // n_samples
        after[entry.client_key] = after.get(entry.client_key, 0) + earned
    return {client: weight for client, weight in after.items() if weight}


def compute_weights(aggregates: Iterable[Aggregate], *, n_samples: int) -> dict[bytes, int]:
    """Weights by client key after all the rounds that ended, in their order."""
    weights: dict[bytes, int] = {}
    for aggregate in aggregates:
        weights = update_weights(weights, aggregate, n_samples=n_samples)
    return weights
