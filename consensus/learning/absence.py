"""Models that nobody has any more: a learning round ends without them, and only then.

A validator prevotes a block only when it has read every blob that the block needs, and keeps it on
its own disk (`content.blobs.KeptBlobs`). So when an `Update` is final, 2f + 1 validators had its
model, at least f + 1 of them correct, and everyone can ask them for it
(`consensus.node.downloads`). Disks die all the same. The aggregate of a round may therefore leave
clients out, by these rules:

1. Whether a block is valid does not depend on what a node has: its entries are some of those due,
   in their order and with their weights, and its model is their mean (`chain.find_fault`,
   `verifier.check`). A node that lacks a model which the block needs has no verdict yet, and asks.
2. A node that has a model which a new block leaves out prevotes nil, in every round. A block with a
   polka it takes like any other (`state._prevote`).
3. Who proposes does it with everything before round PATIENT_ROUNDS, or not at all: it asks others
   for what it lacks. From then on it leaves that out.

Why it holds. Agreement: nothing but prevotes changes, and those were free already. Nobody is left
out whose model f + 1 correct validators have: they prevote nil, so at most n - (f + 1) = 2f prevote
for the block and it gets no polka. By the first paragraph this is so unless correct disks have lost
it. The round ends: when the network works, either some correct validator has the model, and then
all have it soon, propose with it and accept it; or none has, and then every correct proposer of a
later round leaves it out, every correct validator can check that block, and none refuses it. In
between, nodes that are locked or see a polka follow it, since rule 2 is for new blocks only; a
polka for a block with the model says that f + 1 correct ones have it, from whom it can be had.
"""

from __future__ import annotations

from collections.abc import Callable

from consensus.learning.chain import list_entries
from consensus.learning.chain_state import ChainState
from consensus.wire.messages import Block

PATIENT_ROUNDS = 2
"""Rule 3 is a courtesy: who has a model that most have lost is asked for it in these rounds."""

IsHere = Callable[[bytes], bool]
"""Whether the blob of this digest is here."""


def list_absent(state: ChainState, is_here: IsHere) -> tuple[bytes, ...]:
    """Clients who opened a proven model in this round that is not here, by key."""
    return tuple(client for client in sorted(state.updates) if not is_here(state.updates[client]))


def leaves_out(state: ChainState, block: Block, is_here: IsHere) -> bool:
    """Whether an aggregate that is valid does without a model that is here."""
    for aggregate in block.aggregate:
        chosen = {entry.client_key for entry in aggregate.entries}
        left = (e.client_key for e in list_entries(state) if e.client_key not in chosen)
        return any(is_here(state.updates[client]) for client in left)
    return False
