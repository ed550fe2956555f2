"""What `tests/vectors/ledger_v1.json` holds, made from seeds; a test compares.

`python -m tests.support.ledger_vectors` writes the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from consensus.finality.certificate import TAG, Statement, sign_share
from consensus.finality.ledger import read_ledger
from consensus.finality.proof import make_proof, show_group_key, show_signature
from consensus.learning import beacon
from consensus.learning.binding import compute_digest, describe_typed_data
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.ethereum import format_address
from kernels.array import G1Array
from kernels.encoding import encode_g1
from kernels.hash_to_curve import hash_to_g1
from tests.support.finality import make_certificate, make_share
from tests.support.learning import Lab, deal_beacon

PATH = Path(__file__).resolve().parent.parent / "vectors" / "ledger_v1.json"
STATES = ((Phase.COMMIT, 0), (Phase.COMMIT, 1), (Phase.DONE, 1))
"""After registration, after the first round, after the last."""


def make_lab() -> Lab:
    """Five clients, of whom the first four are bound."""
    return Lab(n_clients=5, n_bound=4)


def list_states(lab: Lab) -> list[ChainState]:
    return [lab.reach(phase, learning_round=number) for phase, number in STATES]


def _describe(lab: Lab, state: ChainState) -> dict[str, Any]:
    statement, ledger = Statement.of(state), read_ledger(state)
    message, certificate = statement.encode(lab.genesis.digest), make_certificate(lab, state)
    point = encode_g1(G1Array.from_ints([hash_to_g1(message, TAG)]))
    return {
        "message": message.hex(),
        "hash_to_g1": show_signature(point),
        "shares": [make_share(lab, i, state).share.hex() for i in range(lab.n_validators)],
        "share_message": make_share(lab, 1, state).encode().hex(),
        "certificate": certificate.encode().hex(),
        "proof": make_proof(certificate, ledger, ledger.leaves, lab.genesis),
    }


def _list_refused(lab: Lab, state: ChainState) -> list[dict[str, Any]]:
    """Signatures that are none of the last certificate's values."""
    message, secrets = Statement.of(state).encode(lab.genesis.digest), deal_beacon(4).secrets
    valid = make_certificate(lab, state)
    earlier = lab.reach(Phase.COMMIT, learning_round=1)
    other = sign_all(Statement.of(state).encode(bytes(32)))
    under_beacon = beacon.combine({i: beacon.sign_share(secrets[i], message) for i in (0, 1)})
    negated = valid.signature[:-1] + bytes([valid.signature[-1] ^ 0x80])
    cases = {
        "of one validator alone": make_share(lab, 1, state).share,
        "hashed under the tag of the beacon": under_beacon,
        "of an earlier block": make_certificate(lab, earlier).signature,
        "of another chain": other,
        "the negated point": negated,
    }
    return [{"why": why, "signature": show_signature(raw)} for why, raw in cases.items()]


def sign_all(message: bytes) -> bytes:
    """The group's signature of any message."""
    secrets = deal_beacon(4).secrets
    return beacon.combine({i: sign_share(secrets[i], message) for i in (0, 1)})


def _describe_binding(lab: Lab) -> dict[str, Any]:
    tx = lab.register(0)
    return {
        "typed_data": describe_typed_data(tx.client_key, lab.genesis.digest),
        "digest": compute_digest(tx.client_key, lab.genesis.digest).hex(),
        "address": format_address(tx.address),
        "signature": tx.address_signature.hex(),
        "register": tx.encode().hex(),
    }


def make() -> dict[str, Any]:
    """The whole file as a value."""
    lab = make_lab()
    states = list_states(lab)
    return {
        "genesis": lab.genesis.encode().decode("ascii"),
        "genesis_digest": lab.genesis.digest.hex(),
        "tag": TAG.decode("ascii"),
        "group_key": show_group_key(lab.genesis),
        "blocks": [_describe(lab, state) for state in states],
        "refused": _list_refused(lab, states[-1]),
        "binding": _describe_binding(lab),
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=1) + "\n", "ascii")
