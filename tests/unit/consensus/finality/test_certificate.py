"""Certificates and their messages: the committed vectors; what is no certificate of a chain."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from consensus.finality.certificate import TAG, Statement, find_fault, sign_share
from consensus.learning import beacon
from consensus.learning.chain import start
from consensus.wire.finality import FinalityCertificate
from prover.errors import FormatError
from tests.support.finality import make_certificate
from tests.support.learning import Lab, deal_beacon
from tests.support.ledger_vectors import PATH, list_states, make, make_lab

VECTORS = json.loads(PATH.read_text())
LAB = make_lab()
STATES = list_states(LAB)
HEAD = STATES[-1]
MESSAGE = Statement.of(HEAD).encode(LAB.genesis.digest)


def test_vectors_are_those_of_their_seeds() -> None:
    assert make() == VECTORS


def test_the_message_is_fixed_and_big_endian() -> None:
    said = Statement.of(HEAD)
    assert len(MESSAGE) == 161
    assert MESSAGE[:17] == b"zkpot finality v1"
    assert MESSAGE[17:49] == LAB.genesis.digest
    assert int.from_bytes(MESSAGE[49:57], "big") == HEAD.height
    assert int.from_bytes(MESSAGE[57:65], "big") == HEAD.learning_round
    assert MESSAGE[65:97] == HEAD.head
    assert MESSAGE[97:129] == said.ledger_root
    assert int.from_bytes(MESSAGE[129:145], "big") == said.total_weight > 0
    assert int.from_bytes(MESSAGE[145:], "big") == said.total_rewards > 0


def test_before_the_first_block_there_is_nothing_to_say() -> None:
    with pytest.raises(ValueError, match="no block is final"):
        Statement.of(start(LAB.genesis))


def test_any_validators_make_the_same_certificate() -> None:
    certificates = {make_certificate(LAB, HEAD, signers) for signers in ((0, 1), (2, 3), (0, 1, 3))}
    (certificate,) = certificates
    assert find_fault(certificate, LAB.genesis) is None
    assert FinalityCertificate.decode(certificate.encode()) == certificate
    assert Statement.read(certificate) == Statement.of(HEAD)


@pytest.mark.parametrize(
    "lie",
    [
        {"height": HEAD.height + 1},
        {"learning_round": 0},
        {"block_hash": bytes(32)},
        {"ledger_root": bytes(32)},
        {"total_weight": 0},
        {"total_rewards": 1},
        {"signature": bytes(31) + b"\x40"},
        {"signature": b"\xff" * 32},
    ],
)
def test_no_other_values_are_certified(lie: dict[str, Any]) -> None:
    assert find_fault(replace(make_certificate(LAB, HEAD), **lie), LAB.genesis) is not None


def test_a_certificate_is_of_one_chain() -> None:
    other = Lab(n_clients=4)  # of the same validators and their keys
    assert find_fault(make_certificate(LAB, HEAD), other.genesis) is not None


def test_f_shares_make_no_certificate() -> None:
    certificate = make_certificate(LAB, HEAD, (1,))
    assert find_fault(certificate, LAB.genesis) is not None


def test_no_share_of_a_beacon_is_one_of_finality() -> None:
    secret = deal_beacon(4).secrets[1]
    assert TAG != beacon.TAG
    key, other = LAB.genesis.share_points[1:2], LAB.genesis.share_points[2:3]
    share = sign_share(secret, MESSAGE)
    assert beacon.verify_share(key, MESSAGE, share, tag=TAG)
    assert not beacon.verify_share(key, MESSAGE, beacon.sign_share(secret, MESSAGE), tag=TAG)
    assert not beacon.verify_share(other, MESSAGE, share, tag=TAG)
    assert not beacon.verify_share(key, MESSAGE, share)


@pytest.mark.parametrize("raw", [b"", b"zkpotfin\x02\x00", bytes(300)])
def test_other_bytes_are_no_certificate(raw: bytes) -> None:
    with pytest.raises(FormatError, match="finality certificate"):
        FinalityCertificate.decode(raw)
