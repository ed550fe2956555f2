"""Who leads: the order of proposers, a pure function of final state.

Clients are ranked by proven accuracy; the best one's home validator proposes first, and whoever
stays silent is passed over after a timeout. The beacon breaks ties, so nobody can choose a key that
wins them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction

_TIE_DOMAIN = b"zkpot tie v1\x00"


def rank_clients(accuracies: Mapping[bytes, Fraction], beacon: bytes) -> tuple[bytes, ...]:
    """Client keys by proven accuracy k/N_real, best first; ties by H(beacon | client key).

    The whole learning round is ranked, not the last block of proofs alone: a late proof of a weak
    model must not unseat a strong one.
    """

    def order(client: bytes) -> tuple[Fraction, bytes]:
        tie = hashlib.sha256(_TIE_DOMAIN + beacon + client).digest()
        return -accuracies[client], tie

    return tuple(sorted(accuracies, key=order))


def order_proposers(leaders: Sequence[int], *, n_validators: int, height: int) -> tuple[int, ...]:
    """All validators in the order in which they may propose at `height`; round r takes r mod n.

    leaders : home validators of the ranked clients, best first; the first occurrence counts
    The others follow by (index - height) mod n, so that without leaders they take turns.
    """
    first = dict.fromkeys(leaders)
    rest = sorted(
        (i for i in range(n_validators) if i not in first),
        key=lambda i: (i - height) % n_validators,
    )
    return (*first, *rest)
