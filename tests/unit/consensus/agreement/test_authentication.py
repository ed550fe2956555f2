"""Bytes of others: those of a validator are told from all others before they are decoded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consensus.agreement.authentication import authenticate, decode_message, decode_signed
from consensus.learning.chain import start
from consensus.node.stream import BLOBS, FINAL, VOTES, Incoming
from consensus.node.watch import Watch
from consensus.wire import signatures
from consensus.wire.codec import Message, Signed
from consensus.wire.finality import FinalityShare
from consensus.wire.gossip_messages import BlobPart, BlobRequest, Holdings
from consensus.wire.messages import (
    BeaconShare,
    Block,
    FinalBlock,
    Proposal,
    QuorumCertificate,
    Receipt,
    Vote,
)
from consensus.wire.transactions import Proof
from prover.wire import records
from prover.wire.records import encode_fields
from tests.support import chain_vectors
from tests.support.certificates import certify
from tests.support.learning import proven_lab, public
from tests.support.solo import LAB, Part, Solo, hear, measure

KINDS: tuple[type[Any], ...] = (Vote, Proposal, Receipt, Holdings, BeaconShare, BlobPart)
SAMPLES = {type(m): m for m in chain_vectors.list_messages() if isinstance(m, KINDS)}
GENESIS = proven_lab().genesis
N_LONG, LONG_BYTES = 970, 1900


def alter(raw: bytes) -> list[bytes]:
    """With a bit of one byte changed (a hundred of them, and all at the end), cut, or longer."""
    at = {*range(0, len(raw), max(1, len(raw) // 97)), *range(max(0, len(raw) - 80), len(raw))}
    changed = [raw[:i] + bytes((raw[i] ^ 1,)) + raw[i + 1 :] for i in sorted(at)]
    return [*changed, raw[:-1], raw[:1], b"", raw + b"\x00"]


def make_long_block(**changes: Any) -> Block:
    """1.9 MB of transactions, of whom is not looked at."""
    texts = (i.to_bytes(2, "little") + bytes(LONG_BYTES - 2) for i in range(N_LONG))
    sent = tuple(
        Proof(client_key=bytes(32), learning_round=0, envelope=t, deal=bytes(32)) for t in texts
    )
    return replace(LAB.block(start(LAB.genesis), []), transactions=sent, **changes)


def make_proposal(block: Block) -> Proposal:
    return Proposal(height=1, round=0, valid_round=0, block=block, validator=block.proposer)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The fields of each record that was decoded so far, at any depth."""
    found: list[Any] = []
    read = records._read
    monkeypatch.setattr(records, "_read", lambda *x: found.append(x[0]) or read(*x))
    return found


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The messages whose signature was computed so far; none is remembered at first."""
    found: list[bytes] = []
    verify = signatures._verify
    monkeypatch.setattr(signatures, "_remembered", {})
    monkeypatch.setattr(signatures, "_verify", lambda *x: found.append(x[2]) or verify(*x))
    return found


# -- the same answer as of the decoded message -----------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_validator_signed_is_decoded(kind: type[Signed]) -> None:
    message = SAMPLES[kind]
    assert decode_signed(kind, message.encode(), GENESIS) == message
    assert decode_signed(kind, message.encode(), LAB.genesis) is None, "another chain"
    made = kind.make_sign_bytes(message.encode(), GENESIS.digest)
    assert made == message.sign_bytes(GENESIS.digest)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_altered_is_nobodys(kind: type[Signed]) -> None:
    """With and without decoding, whatever is altered: a field, its length, or who has signed."""
    n_decodable = 0
    for raw in alter(SAMPLES[kind].encode()):
        message = kind.decode(raw)
        n_decodable += message is not None
        assert message is None or authenticate(message, GENESIS) is not None
        assert decode_signed(kind, raw, GENESIS) is None
    assert n_decodable > 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_another_validator_signed_is_not_decoded(kind: type[Signed]) -> None:
    lab, message = proven_lab(), SAMPLES[kind]
    own = message.validator  # type: ignore[attr-defined]
    signed = [lab.sign(message, key) for key in lab.validators]
    accepted = [decode_signed(kind, m.encode(), GENESIS) is not None for m in signed]
    assert accepted == [index == own for index in range(lab.n_validators)]
    beyond = replace(message, validator=lab.n_validators)  # type: ignore[call-arg, type-var]
    if kind is not Proposal:  # whose validator is its block's
        assert decode_signed(kind, lab.sign(beyond, lab.validators[0]).encode(), GENESIS) is None


def test_a_signed_number_of_another_length_is_no_message() -> None:
    """Its own validator signed it: it is decoded, and refused."""
    lab, vote = proven_lab(), SAMPLES[Vote]
    fields = Vote.split(vote.encode())
    assert fields is not None
    fields["height"] += b"\x00"
    unsigned = Vote.HEADER + encode_fields(fields.values())
    message = Vote.make_sign_bytes(unsigned, GENESIS.digest)
    signature = lab.validators[0].sign(message)
    raw = unsigned[: -len(signature)] + signature
    assert signatures.is_valid(public(lab.validators[0]), signature, message)
    assert decode_signed(Vote, raw, GENESIS) is None


def test_nodes_hear_eight_kinds() -> None:
    """A part of a blob and a final block have streams of their own; clients sign the others."""
    heard = {
        type(m)
        for m in chain_vectors.list_messages()
        if decode_message(m.encode(), GENESIS) is not None
    }
    unsigned = {type(m) for m in chain_vectors.list_messages() if type(m).__name__ in UNSIGNED}
    assert heard == {Vote, Proposal, Receipt, Holdings, BeaconShare, FinalityShare} | unsigned
    assert len(unsigned) == 2
    assert decode_message(b"", GENESIS) is None
    request = BlobRequest(digest=bytes(32), part=0, validator=1)
    assert decode_message(request.encode(), GENESIS) == request


UNSIGNED = ("BlockRequest", "BlobRequest")

# -- final blocks ----------------------------------------------------------------------------------


def test_a_certificate_is_read_of_its_own_block_only() -> None:
    final = next(m for m in chain_vectors.list_messages() if isinstance(m, FinalBlock))
    raw = final.encode()
    assert FinalBlock.read_certificate(raw) == final.certificate
    for other in alter(raw):
        found, decodable = FinalBlock.read_certificate(other), FinalBlock.decode(other)
        assert decodable is None or found == decodable.certificate
        assert found is None or found.block_hash == final.block.hash


# -- megabytes of anybody --------------------------------------------------------------------------


def make_false_final(certificate: QuorumCertificate, block: Block) -> bytes:
    """A block with the certificate of another one."""
    return FinalBlock.HEADER + encode_fields((block.encode(), certificate.encode()))


@pytest.fixture
def solo(tmp_path: Path) -> Any:
    made = Solo(tmp_path)
    yield made
    made.close()


def test_forged_megabytes_are_refused_undecoded(
    solo: Solo, decoded: list[Any], verified: list[bytes]
) -> None:
    """A proposal was decoded and encoded again first: 4 MB/s of anybody kept all nodes busy."""
    node = solo.begin()
    block = make_long_block()
    forged = replace(make_proposal(block), signature=b"\x01" * 64).encode()
    assert len(forged) > 1_800_000
    del decoded[:]
    hear(node, VOTES, forged)
    assert decoded == []
    final = certify(LAB, LAB.block(start(LAB.genesis), []))
    hear(node, FINAL, make_false_final(final.certificate, block))
    n_certificate = len(decoded)
    assert n_certificate < 100, "its certificate only, which is for another block"
    hear(node, FINAL, certify(LAB, block, signers=(0, 1)).encode())
    assert len(decoded) < 2 * n_certificate
    for name in (VOTES, FINAL):
        assert measure(node, "refused_messages_total", stream=name) == (1 if name == VOTES else 2)


def test_what_is_valid_is_verified_once(solo: Solo, verified: list[bytes]) -> None:
    """A vote, then the same one in a certificate."""
    node = solo.begin()
    final = certify(LAB, LAB.block(start(LAB.genesis), []))
    assert verified == []
    proposal = make_proposal(final.block)
    signed = LAB.sign(proposal, LAB.validators[proposal.validator])
    hear(node, VOTES, signed, final.certificate.votes[0])
    assert authenticate(signed, LAB.genesis) is None
    assert authenticate(final.certificate.votes[0], LAB.genesis) is None
    assert len(verified) == 2


def test_a_light_client_decodes_what_is_signed_only(decoded: list[Any]) -> None:
    block = make_long_block()
    few = certify(LAB, block, signers=(0, 1)).encode()
    old = certify(LAB, LAB.block(start(LAB.genesis), [])).encode()
    part = BlobPart(digest=bytes(32), part=0, size=4, data=b"data", validator=1)
    heard = [Incoming(FINAL, few), Incoming(BLOBS, part.encode())]
    watch = Watch(LAB.genesis, Part(read=heard), clock=lambda: 0.0)  # type: ignore[arg-type]
    del decoded[:]
    assert watch.poll(0) == []
    assert watch.n_refused == 1
    assert len(decoded) < 40, "the certificate of two"
    heard[:] = [Incoming(FINAL, old)]
    assert [final.encode() for final, _ in watch.poll(0)] == [old]
    assert _is_decoded(Block, decoded)
    del decoded[:]
    assert watch.poll(0) == []
    assert watch.n_refused == 1
    assert not _is_decoded(Block, decoded), "it has it"


def _is_decoded(kind: type[Message], decoded: list[Any]) -> bool:
    return any(found is kind._cells for found in decoded)
