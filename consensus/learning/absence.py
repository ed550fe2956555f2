"""Blobs that nobody has any more: a learning round ends without a model, and only then.

A validator prevotes a block only when it has read every blob that the block needs, and keeps it on
its own disk (`content.blobs.KeptBlobs`). So when a `Proof` or a `Contribution` is final, 2f + 1
validators had its blob, at least f + 1 of them correct, and everyone can ask them for it
(`consensus.node.downloads`). Disks die all the same. The outcome of a round may therefore be
NONE(LOST), which names a blob, by these rules:

1. Whether a block is valid does not depend on what a node has: what is lost is some blob of this
   round (`outcome.find_outcome_fault`); any other outcome is the one that all blobs give
   (`verifier.check`). A node that lacks one which the block needs has no verdict yet, and asks.
2. A node that has the blob which a new block calls lost prevotes nil, in every round. A block with
   a polka it takes like any other (`state._prevote`).
3. Who proposes does it with everything before round PATIENT_ROUNDS, or not at all: it asks others
   for what it lacks. From then on it calls lost what it lacks.

Why it holds. Agreement: nothing but prevotes changes, and those were free already. No round is lost
for a blob that f + 1 correct validators have: they prevote nil, so at most n - (f + 1) = 2f prevote
for the block and it gets no polka. By the first paragraph this is so unless correct disks have lost
it. The round ends: when the network works, either some correct validator has the blob, and then
all have it soon, propose with it and accept it; or none has, and then every correct proposer of a
later round calls one lost that none of them has, every correct validator can check that block, and
none refuses it. In between, nodes that are locked or see a polka follow it, since rule 2 is for new
blocks only; a polka for a block with all blobs says that f + 1 correct ones have them, from whom
they can be had.
"""

from __future__ import annotations

from collections.abc import Callable

from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.steps import list_round_blobs
from consensus.wire.messages import Block

PATIENT_ROUNDS = 2
"""Rule 3 is a courtesy: who has a blob that most have lost is asked for it in these rounds."""

IsHere = Callable[[bytes], bool]
"""Whether the blob of this digest is here."""


def find_lost(state: ChainState, is_here: IsHere) -> bytes | None:
    """A blob that the sum of this round needs and that is not here; None: all are, or no sum is
    due.
    """
    if state.closed in (Phase.PROVE, Phase.MASK):
        return None  # too few: that is seen without any blob
    return next((digest for digest in list_round_blobs(state) if not is_here(digest)), None)


def calls_lost(block: Block, is_here: IsHere) -> bool:
    """Whether an aggregate that is valid calls a blob lost that is here."""
    return any(is_here(digest) for aggregate in block.aggregate for digest in aggregate.lost)
