"""Rewards of a client: what it has earned by learning rounds that ended with a model, ever.

A pure rule over what final blocks say, in whole numbers, so that anyone computes the same from the
ledger. One learning round that ends as MODEL pays `ROUND` units at most:

    ROUND / 4                                         to who leads after it, if it entered the mean
    floor((ROUND - ROUND / 4) * k_i / sum_j k_j)      to each client i that entered the mean

with k the counts that their proofs claim; who leads is paid both. What the floors leave, and the
quarter of a leader that did not enter, is paid to nobody. A round without a model pays nothing.
Rewards only grow: a contract pays what is above that which it has paid before, and what a unit is
worth is its business.

The rule sees claims and not who makes them: one party with two permits earns twice. Who holds the
admission key says how many a party has.
"""

from __future__ import annotations

from collections.abc import Mapping

from consensus.aggregation.outcome import Ending
from consensus.wire.outcomes import Aggregate

ROUND = 1_000_000  # units: a round's reward
OF_LEADER = ROUND // 4


def update_rewards(
    rewards: Mapping[bytes, int], aggregate: Aggregate, *, leader: bytes | None
) -> dict[bytes, int]:
    """Rewards by client key after what a round comes to; clients without any are left out.

    leader : who leads after the block with this aggregate
    """
    after = dict(rewards)
    if aggregate.ending is not Ending.MODEL:
        return after
    total = sum(entry.proven for entry in aggregate.entries)
    for entry in aggregate.entries:
        earned = (ROUND - OF_LEADER) * entry.proven // total if total else 0
        if entry.client_key == leader:
            earned += OF_LEADER
        if earned:
            after[entry.client_key] = after.get(entry.client_key, 0) + earned
    return after
