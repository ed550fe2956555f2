"""The newest finality certificate of a node, in its folder, and proofs of the ledger from there.

    HOME/finality.cert   `consensus.wire.finality.FinalityCertificate`, replaced with each new one

It is public and may be lost: a running node makes the next one from shares of its peers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from consensus.disk.block_files import ADVICE, read_chain
from consensus.errors import CertificateMissing, LeafMissing, LedgerError, LedgerProofInvalid
from consensus.finality.certificate import Statement, find_fault
from consensus.finality.ledger import Leaf, Ledger, read_ledger
from consensus.finality.proof import check_proof, make_proof
from consensus.learning.chain import apply
from consensus.learning.chain_state import ChainState
from consensus.wire.finality import FinalityCertificate
from consensus.wire.genesis import Genesis
from kernels.files import write_whole
from prover.errors import FormatError

CERTIFICATE = "finality.cert"
MAX_PROOF_BYTES = 1 << 22
"""More than paths of 1,024 clients take."""


def save_certificate(home: Path, certificate: FinalityCertificate) -> None:
    """Into the folder, whole, though it may not have reached the disk yet. Raises OSError."""
    write_whole(home / CERTIFICATE, [certificate.encode()], is_cache=True)


def load_certificate(home: Path, genesis: Genesis) -> FinalityCertificate | None:
    """What `save_certificate` wrote; None where nothing is, or what does not hold on this chain.

    Raises OSError. Costs one pairing.
    """
    path = home / CERTIFICATE
    try:
        with path.open("rb") as file:
            certificate = FinalityCertificate.decode(file.read(FinalityCertificate.MAX_BYTES + 1))
    except (FileNotFoundError, FormatError):
        return None
    return certificate if find_fault(certificate, genesis) is None else None


# -- proofs of the ledger --------------------------------------------------------------------------


def build_proof(home: Path, genesis: Genesis, client: bytes | None) -> dict[str, Any]:
    """The proof of one client's leaf, or of all, from a folder that a node may be writing to.

    Raises CertificateMissing, LeafMissing, LedgerError, OSError. Costs a replay of the blocks that
    are there.
    """
    certificate = load_certificate(home, genesis)  # first: blocks come before their certificate
    if certificate is None:
        raise CertificateMissing(
            home,
            "no finality certificate of this chain is there",
            "let the node run until f + 1 validators have sent it shares, or copy a whole folder",
        )
    state = _replay(home, genesis, certificate)
    ledger = read_ledger(state)
    return make_proof(certificate, ledger, _choose(ledger, state, client), genesis)


def _replay(home: Path, genesis: Genesis, certificate: FinalityCertificate) -> ChainState:
    """The state that a certificate is of, which pins its ledger."""
    chain = read_chain(home, genesis)
    state = chain.start
    for final in chain:
        if state.height == certificate.height:
            break
        state = apply(state, final.block)
    if state.height != certificate.height:
        raise CertificateMissing(
            home,
            f"the certificate is of block {certificate.height}, and blocks that are here lead to "
            f"{state.height}",
            "let the node run, or copy a whole folder",
        )
    if Statement.of(state) != Statement.read(certificate):
        what = f"block {state.height} is another than the one that is certified"
        raise LedgerError(home, what, ADVICE)
    return state


def _choose(ledger: Ledger, state: ChainState, client: bytes | None) -> Iterable[Leaf]:
    if client is None:
        return ledger.leaves
    leaf = ledger.find(client)
    if leaf is None:
        raise LeafMissing(client, height=state.height, is_registered=client in state.clients)
    return (leaf,)


def read_proof(path: Path, genesis: Genesis) -> tuple[FinalityCertificate, tuple[Leaf, ...]]:
    """What `build_proof` gave, from a file, checked. Raises LedgerProofInvalid, OSError."""
    with path.open("rb") as file:
        raw = file.read(MAX_PROOF_BYTES + 1)
    if len(raw) > MAX_PROOF_BYTES:
        raise LedgerProofInvalid(f"is longer than {MAX_PROOF_BYTES} bytes", where=path.name)
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise LedgerProofInvalid("is no JSON", where=path.name) from None
    return check_proof(value, genesis)
