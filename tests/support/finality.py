"""Shares and certificates of a lab's chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from consensus.finality.certificate import Statement, sign_share
from consensus.learning import beacon
from consensus.learning.chain_state import ChainState
from consensus.wire.finality import FinalityCertificate, FinalityShare
from kernels.array import G2Array
from tests.support.learning import Lab, deal_beacon


def make_share(lab: Lab, validator: int, state: ChainState, **lies: object) -> FinalityShare:
    """What this validator says when the state's last block is final; `lies` are fields."""
    message = Statement.of(state).encode(lab.genesis.digest)
    secret = deal_beacon(lab.n_validators).secrets[validator]
    share = FinalityShare(
        height=state.height, validator=validator, share=sign_share(secret, message)
    )
    return lab.sign(replace(share, **lies), lab.validators[validator])  # type: ignore[arg-type]


def make_certificate(
    lab: Lab, state: ChainState, signers: Sequence[int] | None = None
) -> FinalityCertificate:
    """The certificate of f + 1 validators, or of `signers`."""
    chosen = range(lab.genesis.n_faulty + 1) if signers is None else signers
    signature = beacon.combine({i: make_share(lab, i, state).share for i in chosen})
    return Statement.of(state).certify(signature)


def watch_tests(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Shares that are tested one by one from now on, as bytes; each costs a pairing."""
    tested: list[bytes] = []
    real = beacon.verify_share

    def verify(key: G2Array, message: bytes, share: bytes, *, tag: bytes = beacon.TAG) -> bool:
        tested.append(share)
        return real(key, message, share, tag=tag)

    monkeypatch.setattr(beacon, "verify_share", verify)
    return tested
