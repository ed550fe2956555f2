"""Keys on disk, and who may say what."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.agreement.authentication import authenticate
from consensus.disk.identity import KEY_FILE, create_key, get_public_key, load_key, sign
from consensus.errors import IdentityError
from consensus.wire.codec import Message
from consensus.wire.genesis import Genesis
from consensus.wire.messages import (
    BeaconShare,
    Block,
    BlockRequest,
    FinalBlock,
    Proposal,
    QuorumCertificate,
    Receipt,
    Step,
    Vote,
)
from tests.support.learning import Lab

SEED = bytes(range(32))
LAB = Lab()
GENESIS: Genesis = LAB.genesis
BLOCK = Block(
    height=1,
    parent=GENESIS.digest,
    certificate=(),
    proposer=2,
    state_root=bytes(32),
    beacon=b"",
    transactions=(),
    evidence=(),
    aggregate=(),
)


# -- keys ------------------------------------------------------------------------------------------


def test_key_is_for_its_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    key = create_key(home, SEED)
    assert (home / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    assert get_public_key(load_key(home)) == get_public_key(key)


def test_key_is_never_overwritten(tmp_path: Path) -> None:
    home = tmp_path / "home"
    key = create_key(home, SEED)
    with pytest.raises(IdentityError, match="there is a key already"):
        create_key(home, bytes(32))
    assert get_public_key(load_key(home)) == get_public_key(key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    home = tmp_path / "home"
    create_key(home, SEED)
    (home / KEY_FILE).chmod(mode)
    with pytest.raises(IdentityError, match="open to other users"):
        load_key(home)


def test_folder_that_others_may_read_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(IdentityError, match="chmod 700"):
        create_key(tmp_path, SEED)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 65,
        SEED.hex().encode(),
        SEED.hex().upper().encode() + b"\n",
        SEED.hex().encode() + b"\n\n",
        SEED[1:].hex().encode() + b"\n",
        b" " + SEED.hex().encode() + b"\n",
    ],
)
def test_other_content_is_refused_without_repeating_it(tmp_path: Path, content: bytes) -> None:
    home = tmp_path / "home"
    create_key(home, SEED)
    (home / KEY_FILE).write_bytes(content)
    with pytest.raises(IdentityError, match="holds no key") as caught:
        load_key(home)
    assert SEED.hex()[:8] not in str(caught.value)


def test_missing_keys_links_and_pipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="cannot be read"):
        load_key(tmp_path)
    home = tmp_path / "home"
    create_key(home, SEED)
    (tmp_path / "link").symlink_to(home / KEY_FILE)
    with pytest.raises(IdentityError, match="cannot be read"):
        load_key(tmp_path, "link")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(IdentityError, match="is no file"):
        load_key(tmp_path, "pipe")


# -- origin ----------------------------------------------------------------------------------------


def make_vote(validator: int, *, signer: int | None = None, chain: bytes = GENESIS.digest) -> Vote:
    vote = Vote(step=Step.PRECOMMIT, height=1, round=0, block_hash=BLOCK.hash, validator=validator)
    return sign(LAB.validators[validator if signer is None else signer], vote, chain)


def make_certificate(*votes: Vote) -> QuorumCertificate:
    return QuorumCertificate.of(votes)


def test_validators_are_heard() -> None:
    proposal = Proposal(height=1, round=0, valid_round=0, block=BLOCK, validator=2)
    receipt = Receipt(learning_round=0, transaction_digest=bytes(32), validator=3)
    share = BeaconShare(learning_round=0, commit_height=1, validator=2, share=bytes(32))
    messages: list[Message] = [
        make_vote(1),
        sign(LAB.validators[2], share, GENESIS.digest),
        sign(LAB.validators[2], proposal, GENESIS.digest),
        sign(LAB.validators[3], receipt, GENESIS.digest),
        make_certificate(*(make_vote(i) for i in range(3))),
        make_certificate(*(make_vote(i) for i in range(4))),
        FinalBlock(block=BLOCK, certificate=make_certificate(*(make_vote(i) for i in range(3)))),
    ]
    assert [authenticate(m, GENESIS) for m in messages] == [None] * len(messages)


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (make_vote(1, signer=2), "not its validator's"),
        (make_vote(1, chain=b"other-chain"), "not its validator's"),
        (replace(make_vote(1), round=1), "not its validator's"),
        (replace(make_vote(1), step=Step.PREVOTE), "not its validator's"),
        (replace(make_vote(1), validator=4), "no validator"),
        (make_certificate(make_vote(0), make_vote(1)), "2 precommits are no quorum"),
        (
            make_certificate(make_vote(0), make_vote(1), make_vote(2, signer=1)),
            "not its validator's",
        ),
        (
            make_certificate(make_vote(0), make_vote(1), replace(make_vote(2), validator=9)),
            "no validator",
        ),
        (
            FinalBlock(block=BLOCK, certificate=make_certificate(make_vote(0), make_vote(3))),
            "no quorum",
        ),
        (LAB.register(0), "not signed by a validator"),
        (
            BeaconShare(learning_round=0, commit_height=1, validator=0, share=bytes(32)),
            "not its validator's",
        ),
        (BlockRequest(height=1), "not signed by a validator"),
    ],
)
def test_others_are_not(message: Message, fault: str) -> None:
    assert fault in (authenticate(message, GENESIS) or "")
