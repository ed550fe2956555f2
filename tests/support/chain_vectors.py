"""What `tests/vectors/chain_v2.json` holds, made from seeds; a test compares.

`python -m tests.support.chain_vectors` writes the file.
"""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from consensus.aggregation.outcome import Cheat
from consensus.learning import beacon
from consensus.learning.chain import beacon_message
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.codec import Message
from consensus.wire.gossip_messages import SHORT_BYTES, BlobPart, BlobRequest, Holdings
from consensus.wire.messages import (
    BeaconShare,
    BlockRequest,
    Evidence,
    Proposal,
    Receipt,
    Step,
    Vote,
)
from consensus.wire.outcomes import Aggregate, Exclusion
from consensus.wire.transactions import Proof, Refusal
from tests.support.certificates import certify
from tests.support.finality import make_share
from tests.support.learning import (
    Lab,
    deal_beacon,
    make_training,
    proven_lab,
    proven_state,
    public,
)

BLOB = b"a small blob"
PATH = Path(__file__).resolve().parent.parent / "vectors" / "chain_v2.json"


def list_messages() -> list[Message]:
    """One of every kind."""
    lab = proven_lab()
    at_beacon, at_prove, at_elect = map(proven_state, (Phase.BEACON, Phase.PROVE, Phase.ELECT))
    block = lab.block(at_elect)
    final = certify(lab, block)
    votes = [
        lab.sign(
            Vote(step=int(Step.PREVOTE), height=6, round=1, block_hash=h, validator=2),
            lab.validators[2],
        )
        for h in (bytes([1]) * 32, bytes([2]) * 32)
    ]
    proposal = Proposal(height=block.height, round=1, valid_round=1, block=block, validator=3)
    proof = lab.prove(1, at_prove)
    receipt = Receipt(learning_round=0, transaction_digest=proof.digest, validator=1)
    return [
        lab.register(0),
        lab.commit(1),
        proof,
        lab.make_due(1, proven_state(Phase.MASK)),
        Refusal(proof=proof),
        block,
        _make_dispute(at_elect),
        block.aggregate[0].entries[0],
        final.certificate.votes[0],
        Evidence(first=votes[0], second=votes[1]),
        lab.sign(proposal, lab.validators[3]),
        _make_share(lab, at_beacon),
        lab.sign(receipt, lab.validators[1]),
        make_share(lab, 2, at_elect),
        final.certificate,
        final.certificate.precommits[0],
        final,
        BlockRequest(height=7),
        lab.sign(_make_holdings(proof, receipt), lab.validators[3]),
        BlobRequest(digest=sha256(BLOB).digest(), part=0, validator=1),
        lab.sign(
            BlobPart(digest=sha256(BLOB).digest(), part=0, size=len(BLOB), data=BLOB, validator=1),
            lab.validators[1],
        ),
    ]


def _make_share(lab: Lab, state: ChainState) -> BeaconShare:
    """Validator 2's of the beacon that is due."""
    assert state.beacon_height is not None
    share = BeaconShare(
        learning_round=0,
        commit_height=state.beacon_height,
        validator=2,
        share=beacon.sign_share(deal_beacon(4).secrets[2], beacon_message(state)),
    )
    return lab.sign(share, lab.validators[2])


def _make_dispute(state: ChainState) -> Aggregate:
    """One with edges and an exclusion; the block has one with entries."""
    lab = proven_lab()
    excluded = (Exclusion(lab.client(2), Cheat.MASKED),)
    return replace(lab.ask_for_seeds(state, (0, 2), (1, 2)), excluded=excluded)


def _make_holdings(proof: Proof, receipt: Receipt) -> Holdings:
    return Holdings(
        number=5,
        transactions=proof.digest[:SHORT_BYTES],
        receipts=proof.digest[:SHORT_BYTES] + (1 << receipt.validator).to_bytes(32, "little"),
        validator=3,
    )


def list_training_messages() -> list[Message]:
    """Those that say more where a task asks for training, and the beacon that draws orders."""
    lab = Lab(changes={"training": make_training()})
    at_order, at_prove = lab.reach(Phase.ORDER), lab.reach(Phase.PROVE)
    return [
        lab.register(0),
        lab.commit(1),
        lab.prove(1, at_prove),
        _make_share(lab, at_order),
        lab.block(at_order),
    ]


def make_training_part() -> dict[str, Any]:
    """What the file holds of a task that asks for training."""
    lab = Lab(changes={"training": make_training()})
    return {
        "genesis": lab.genesis.encode().decode("ascii"),
        "genesis_digest": lab.genesis.digest.hex(),
        "order_message": beacon_message(lab.reach(Phase.ORDER)).hex(),
        "messages": describe(list_training_messages()),
        "state": lab.reach(Phase.MASK).encode().hex(),
    }


def describe(messages: list[Message]) -> dict[str, dict[str, str]]:
    """Bytes and digest of each, by its class."""
    return {
        type(m).__name__: {"bytes": m.encode().hex(), "digest": m.digest.hex()} for m in messages
    }


def make() -> dict[str, Any]:
    """The whole file as a value."""
    lab, messages = proven_lab(), list_messages()
    model = proven_state(Phase.COMMIT, 1).global_model
    return {
        "genesis": lab.genesis.encode().decode("ascii"),
        "genesis_digest": lab.genesis.digest.hex(),
        "block_hash": lab.block(proven_state(Phase.ELECT)).hash.hex(),
        "signed_by": {
            "Vote": public(lab.validators[0]).hex(),
            "Proposal": public(lab.validators[3]).hex(),
            "Receipt": public(lab.validators[1]).hex(),
            "FinalityShare": public(lab.validators[2]).hex(),
            "Commit": lab.client(1).hex(),
            "Holdings": public(lab.validators[3]).hex(),
            "BlobPart": public(lab.validators[1]).hex(),
        },
        "messages": describe(messages),
        "training": make_training_part(),
        "files": {
            "pool": lab.pool.encode().hex(),
            "global_model": lab.blobs.get(model).hex(),
        },
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=1) + "\n", "ascii")
