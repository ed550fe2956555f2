"""`zkpot chain proof`: the newest certificate of a node's folder, and paths of its ledger."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from consensus.disk.block_files import read_chain
from consensus.disk.certificates import load_certificate
from consensus.errors import LedgerError
from consensus.finality.certificate import Statement
from consensus.finality.ledger import Leaf, Ledger, read_ledger
from consensus.finality.proof import check_proof, make_proof
from consensus.learning.chain import apply
from consensus.wire.ethereum import format_address
from consensus.wire.finality import FinalityCertificate
from consensus.wire.genesis import Genesis
from prover.errors import FieldInvalid

MAX_PROOF_BYTES = 1 << 22
"""More than paths of 1,024 clients take."""


class NoCertificate(LookupError):
    """A folder has no certificate of its blocks; the text says what to do."""


class NoLeaf(LookupError):
    """A client has no leaf in the ledger; the text says why."""


def build_proof(home: Path, genesis: Genesis, client: bytes | None) -> dict[str, Any]:
    """The proof of one client's leaf, or of all, from a folder that a node may be writing to.

    Raises NoCertificate, NoLeaf, LedgerError, OSError. Costs a replay of the blocks that are there.
    """
    certificate = load_certificate(home, genesis)  # first: blocks come before their certificate
    if certificate is None:
        raise NoCertificate(
            "no finality certificate of this chain is there: copy a node's whole folder, or let "
            "the node run until f + 1 validators have sent it their shares"
        )
    ledger = _replay(home, genesis, certificate)
    return make_proof(certificate, ledger, _choose(ledger, client), genesis)


def _replay(home: Path, genesis: Genesis, certificate: FinalityCertificate) -> Ledger:
    """The ledger that a certificate is of; the certificate pins it."""
    chain = read_chain(home, genesis)
    state = chain.start
    for final in chain:
        if state.height == certificate.height:
            break
        state = apply(state, final.block)
    if state.height != certificate.height:
        raise NoCertificate(
            f"the certificate is of block {certificate.height}, and the blocks that are here lead "
            f"to {state.height}: let the node run, or copy a node's whole folder"
        )
    if Statement.of(state) != Statement.read(certificate):
        what = f"block {state.height} is another than the one that is certified"
        raise LedgerError(home, what, "copy blocks*.log and snapshot-*.zks of another node")
    return read_ledger(state)


def _choose(ledger: Ledger, client: bytes | None) -> Iterable[Leaf]:
    if client is None:
        return ledger.leaves
    leaf = ledger.find(client)
    if leaf is None:
        raise NoLeaf(
            f"client {client.hex()} has no leaf: it is not registered, or registered without an "
            "account of its own"
        )
    return (leaf,)


def read_proof(path: Path, genesis: Genesis) -> tuple[FinalityCertificate, tuple[Leaf, ...]]:
    """What `build_proof` gave, from a file, checked. Raises FieldInvalid, OSError."""
    with path.open("rb") as file:
        raw = file.read(MAX_PROOF_BYTES + 1)
    if len(raw) > MAX_PROOF_BYTES:
        raise FieldInvalid(f"is longer than {MAX_PROOF_BYTES} bytes")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise FieldInvalid("is no JSON") from None
    return check_proof(value, genesis)


def report_proof(certificate: FinalityCertificate, leaves: Iterable[Leaf]) -> str:
    """What a proof that holds says, for people."""
    lines = [
        f"valid: block {certificate.height}, {certificate.block_hash.hex()}, is final",
        f"  learning round  {certificate.learning_round}",
        f"  ledger root     {certificate.ledger_root.hex()}",
        f"  total weight    {certificate.total_weight}",
        f"  total rewards   {certificate.total_rewards}",
    ]
    lines += [
        f"  {format_address(leaf.account)} of client {leaf.client_key.hex()}: "
        f"weight {leaf.weight}, rewards {leaf.rewards}"
        for leaf in leaves
    ]
    return "\n".join(lines)
