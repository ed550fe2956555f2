"""A proof of the ledger: a certificate and paths to its root, as JSON for callers of contracts.

    {"version", "genesis", "group_key", "certificate", "leaves"}

Hashes, keys and words are hexadecimal with 0x before them, totals and amounts are numbers. Words
are those of the EVM: a point of G1 is x, y; one of G2 the coefficients of u first, x1, x0, y1, y0
(EIP-197). Who reads one needs the genesis alone, and believes nothing in it that does not check.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from consensus.errors import LedgerProofInvalid
from consensus.finality.certificate import find_fault
from consensus.finality.ledger import Leaf, Ledger
from consensus.finality.tree import climb
from consensus.wire.addresses import ADDRESS_BYTES
from consensus.wire.codec import KEY_BYTES
from consensus.wire.ethereum import WORD_BYTES, encode_word, format_address
from consensus.wire.finality import FinalityCertificate
from consensus.wire.genesis import Genesis
from kernels.array import G1Array
from kernels.encoding import Refused, decode_g1, encode_g1
from prover.errors import FieldInvalid

VERSION = 1
MAX_PATH = 16
"""Siblings of a path: more than 1,024 clients need."""
_CERTIFICATE = {
    "height": int,
    "learning_round": int,
    "block_hash": WORD_BYTES,
    "ledger_root": WORD_BYTES,
    "total_weight": int,
    "total_rewards": int,
}
_LEAF = {"client_key": KEY_BYTES, "account": ADDRESS_BYTES, "weight": int, "rewards": int}


def show_group_key(genesis: Genesis) -> list[str]:
    """The validators' common key as four words: x1, x0, y1, y0."""
    (point,) = genesis.beacon_point.to_ints()
    assert point is not None, "a genesis has no key at infinity"
    (x0, x1), (y0, y1) = point
    return [_show(encode_word(n)) for n in (x1, x0, y1, y0)]


def show_signature(signature: bytes) -> list[str]:
    """A point of G1 as two words. FieldInvalid for bytes that are none, and for infinity."""
    points = decode_g1(signature, 1)
    found = None if isinstance(points, Refused) else points.to_ints()[0]
    if found is None:
        raise FieldInvalid("is no point", where="signature")
    return [_show(encode_word(n)) for n in found]


def make_proof(
    certificate: FinalityCertificate, ledger: Ledger, leaves: Iterable[Leaf], genesis: Genesis
) -> dict[str, Any]:
    """The proof of these leaves of the ledger that the certificate is of, as a value of JSON."""
    values = {
        name: _show(value) if isinstance(value := getattr(certificate, name), bytes) else value
        for name in _CERTIFICATE
    }
    return {
        "version": VERSION,
        "genesis": _show(genesis.digest),
        "group_key": show_group_key(genesis),
        "certificate": values | {"signature": show_signature(certificate.signature)},
        "leaves": [
            {
                "client_key": _show(leaf.client_key),
                "account": format_address(leaf.account),
                "weight": leaf.weight,
                "rewards": leaf.rewards,
                "proof": [_show(sibling) for sibling in ledger.prove(leaf)],
            }
            for leaf in leaves
        ],
    }


def check_proof(value: Any, genesis: Genesis) -> tuple[FinalityCertificate, tuple[Leaf, ...]]:
    """The certificate and the leaves of such a value, all of which hold on this chain.

    Raises LedgerProofInvalid for anything else.
    """
    found = _read_object(value, {"version", "genesis", "group_key", "certificate", "leaves"}, "it")
    _require(_read(found["version"], int) == VERSION, f"is not of version {VERSION}")
    _require(found["genesis"] == _show(genesis.digest), "is of another chain")
    _require(found["group_key"] == show_group_key(genesis), "names another group key")
    certificate = _read_certificate(found["certificate"])
    fault = find_fault(certificate, genesis)
    _require(fault is None, f"certificate: {fault}")
    _require(isinstance(found["leaves"], list), "has no list of leaves")
    leaves = tuple(_read_leaf(leaf, certificate.ledger_root) for leaf in found["leaves"])
    return certificate, leaves


def _read_certificate(value: Any) -> FinalityCertificate:
    fields = _read_object(value, {*_CERTIFICATE, "signature"}, "certificate")
    words = fields["signature"]
    _require(isinstance(words, list) and len(words) == 2, "has a signature of other than two words")
    x, y = (int.from_bytes(_read(word, WORD_BYTES), "big") for word in words)
    values = {name: _read(fields[name], kind) for name, kind in _CERTIFICATE.items()}
    try:
        signature = encode_g1(G1Array.from_ints([(x, y)]))
        certificate = FinalityCertificate(**values, signature=signature)
    except (FieldInvalid, ValueError, OverflowError):
        raise LedgerProofInvalid("has a certificate of values that are none") from None
    _require(show_signature_or_none(certificate) == words, "has a signature that is no point")
    return certificate


def show_signature_or_none(certificate: FinalityCertificate) -> list[str] | None:
    """`show_signature` of a certificate whose signature may be no point."""
    try:
        return show_signature(certificate.signature)
    except FieldInvalid:
        return None


def _read_leaf(value: Any, root: bytes) -> Leaf:
    fields = _read_object(value, {*_LEAF, "proof"}, "leaf")
    siblings = fields["proof"]
    _require(isinstance(siblings, list) and len(siblings) <= MAX_PATH, "has a path of no length")
    account = fields["account"]
    values = {name: _read(fields[name], kind) for name, kind in _LEAF.items()}
    leaf = Leaf(**values)
    _require(account == format_address(leaf.account), "has an account that is not as EIP-55 has it")
    path = [_read(sibling, WORD_BYTES) for sibling in siblings]
    name = f"has a leaf that is not under the root: of client {leaf.client_key.hex()}"
    _require(climb(leaf.hash, path) == root, name)
    return leaf


def _show(raw: bytes) -> str:
    return "0x" + raw.hex()


def _read(value: Any, kind: Any) -> Any:
    """A number below 2^128, or so many bytes."""
    if kind is int:
        _require(type(value) is int and 0 <= value < 1 << 128, "has a number that is none")
        return value
    _require(isinstance(value, str) and value.startswith("0x"), "has bytes without 0x")
    try:
        raw = bytes.fromhex(value[2:])
    except ValueError:
        raise LedgerProofInvalid("has bytes that are not hexadecimal") from None
    _require(len(raw) == kind and len(value) == 2 + 2 * kind, f"has other than {kind} bytes")
    return raw


def _read_object(value: Any, names: set[str], what: str) -> dict[str, Any]:
    holds = isinstance(value, dict) and value.keys() == names
    _require(holds, f"{what} is no object with exactly {', '.join(sorted(names))}")
    assert isinstance(value, dict)
    return value


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise LedgerProofInvalid(what)
