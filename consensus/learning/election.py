"""Who leads: the order of proposers, a pure function of final state.

Clients are ranked by proven accuracy; the best one's home validator proposes first, and whoever
stays silent is passed over after a timeout, and from then on before it, until it is heard again.
The beacon breaks ties, so nobody can choose a key that wins them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Annotated

from consensus.wire.codec import ValidatorIndex
from prover.wire.kinds import Count, Number
from prover.wire.records import Record

_TIE_DOMAIN = b"zkpot tie v1\x00"
_LG_LONGEST_WAIT = 10  # heights


def rank_clients(accuracies: Mapping[bytes, Fraction], beacon: bytes) -> tuple[bytes, ...]:
    """Client keys by proven accuracy k/N_real, best first; ties by H(beacon | client key).

    The whole learning round is ranked, not the last block of proofs alone: a late proof of a weak
    model must not unseat a strong one.
    """

    def order(client: bytes) -> tuple[Fraction, bytes]:
        tie = hashlib.sha256(_TIE_DOMAIN + beacon + client).digest()
        return -accuracies[client], tie

    return tuple(sorted(accuracies, key=order))


@dataclass(frozen=True, slots=True)
class Lapse(Record):
    """The lapse of a validator that missed its turn and has made no final block since.

    n_missed : turns
    back_at  : the height at which it takes its place again, if it has been heard by then
    is_heard : 1 when a later certificate holds a precommit of it, else 0
    """

    validator: ValidatorIndex
    n_missed: Count
    back_at: Count
    is_heard: Annotated[int, Number(0, 1)]


def note_turns(
    lapses: Iterable[Lapse],
    *,
    height: int,
    number: int,
    order: Sequence[int],
    maker: int,
    heard: Collection[int],
) -> tuple[Lapse, ...]:
    """The lapses after the next block shows how a height was decided. A pure function of final
    blocks.

    number : round of the certificate; order : of proposers of that height
    maker  : of its block; heard : whose precommits are in the certificate
    Whoever had a turn before that round has missed it, but for the maker: its block may have taken
    more than one round.
    """
    known = {lapse.validator: lapse for lapse in lapses}
    known.pop(maker, None)
    missed = set(order[:number]) - {maker}
    for validator in known.keys() & set(heard):
        known[validator] = replace(known[validator], is_heard=1)
    for validator in missed:
        before = known.get(validator)
        n_missed = 1 if before is None else before.n_missed + 1
        wait = 1 << min(n_missed - 1, _LG_LONGEST_WAIT)
        known[validator] = Lapse(validator, n_missed, height + 2 + wait, 0)
    return tuple(known[validator] for validator in sorted(known))


def order_proposers(
    leaders: Sequence[int],
    *,
    n_validators: int,
    height: int,
    lapses: Sequence[Lapse] = (),
    offenders: Collection[int] = (),
) -> tuple[int, ...]:
    """Validators in the order in which they may propose at `height`, round by round, in a circle.

    leaders   : home validators of the ranked clients, best first; the first occurrence counts
    lapses    : of who missed a turn; they come last until they are heard and their wait is over,
                which doubles with every turn missed, so that f of them cost few rounds in all
    offenders : contradicted themselves and propose no more; unless all did
    The others follow by (index - height) mod n, so that without leaders they take turns.
    """
    ranks = {leader: rank for rank, leader in enumerate(dict.fromkeys(leaders))}
    late = {lapse.validator for lapse in lapses if not lapse.is_heard or height < lapse.back_at}
    barred = set(offenders) if len(set(offenders)) < n_validators else set()

    def place(index: int) -> tuple[bool, int, int]:
        return index in late, ranks.get(index, n_validators), (index - height) % n_validators

    return tuple(sorted((i for i in range(n_validators) if i not in barred), key=place))
