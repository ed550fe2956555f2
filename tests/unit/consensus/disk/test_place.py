"""The last signed place: it never goes back, and is on disk before anything leaves."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.disk.place import PLACE_FILE, Place, SignedPlace, give_up
from consensus.errors import IdentityError
from consensus.learning.chain import start
from consensus.wire.messages import NIL, Proposal, Step, Vote
from tests.support.certificates import certify
from tests.support.learning import Lab

LAB = Lab()
GENESIS = LAB.genesis.digest
KEY = LAB.genesis.validators[0].key
BLOCK = b"\x07" * 32
FIRST = LAB.block(start(LAB.genesis))


def make_vote(
    height: int, round_: int = 0, step: Step = Step.PREVOTE, block_hash: bytes = NIL
) -> Vote:
    return Vote(step=int(step), height=height, round=round_, block_hash=block_hash, validator=0)


@pytest.fixture
def place(tmp_path: Path) -> SignedPlace:
    return SignedPlace.create(tmp_path, GENESIS, KEY)


def load(home: Path) -> SignedPlace:
    return SignedPlace.load(home, GENESIS, KEY)


# -- order -----------------------------------------------------------------------------------------


def test_what_was_signed_is_there_after_a_restart(place: SignedPlace, tmp_path: Path) -> None:
    vote = make_vote(3, 1, Step.PRECOMMIT, BLOCK)
    place.advance(vote)
    again = load(tmp_path)
    assert again.place == Place(3, 1, 2)
    assert again.allows(vote)
    assert again.allows(replace(vote, signature=b"\x01" * 64)), "it is the same, whoever signed it"
    assert not again.allows(replace(vote, block_hash=NIL))


def test_nothing_is_signed_at_or_before_the_place(place: SignedPlace) -> None:
    """Every order of two places: proposal, prevote, precommit of a round, rounds, heights."""
    proposal = Proposal(height=1, round=1, valid_round=0, block=FIRST, validator=0)
    steps = [
        make_vote(1, 0, Step.PREVOTE),
        make_vote(1, 0, Step.PRECOMMIT),
        proposal,
        make_vote(1, 1, Step.PREVOTE),
        make_vote(1, 1, Step.PRECOMMIT, BLOCK),
        make_vote(2, 0, Step.PREVOTE),
    ]
    for i, message in enumerate(steps):
        place.advance(message)
        assert [place.allows(other) for other in steps] == [j >= i for j in range(len(steps))]
        for earlier in steps[:i]:
            with pytest.raises(ValueError, match="this place is passed"):
                place.advance(earlier)


def test_another_block_is_not_proposed_in_the_same_round(place: SignedPlace) -> None:
    proposal = Proposal(height=1, round=1, valid_round=0, block=FIRST, validator=0)
    place.advance(proposal)
    assert place.allows(proposal)
    assert not place.allows(replace(proposal, block=replace(FIRST, state_root=bytes(32))))
    assert not place.allows(replace(proposal, valid_round=1))


def test_a_height_that_is_given_up_is_silent_whole(place: SignedPlace, tmp_path: Path) -> None:
    place.advance(make_vote(4, 2))
    place.give_up(4)
    assert not load(tmp_path).allows(make_vote(4, 2))
    assert not place.allows(make_vote(4, 1 << 40, Step.PRECOMMIT))
    assert place.allows(make_vote(5))
    place.give_up(3)
    assert place.place == Place.end_of(4), "never back"


def test_an_unknown_own_message_ends_its_height(place: SignedPlace) -> None:
    place.advance(make_vote(4, 2))
    assert not place.notice(make_vote(4, 1, Step.PRECOMMIT, BLOCK))
    assert not place.notice(make_vote(4, 2))
    assert place.notice(make_vote(4, 2, Step.PRECOMMIT))
    assert place.place == Place.end_of(4)
    assert place.notice(make_vote(9))
    assert place.place == Place.end_of(9)


# -- the disk --------------------------------------------------------------------------------------


def test_the_place_is_synchronized_whole(
    place: SignedPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes, then the name: a crash leaves the old one or the new one."""
    happened: list[str] = []
    fsync, rename = os.fsync, os.replace

    def note_sync(handle: int) -> None:
        happened.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        fsync(handle)

    def note_rename(source: Path, target: Path) -> None:
        happened.append(f"{Path(source).name} > {Path(target).name}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    place.advance(make_vote(1))
    partial, renamed, folder = happened
    assert partial.endswith(".partial")
    assert (renamed, folder) == (f"{partial} > {PLACE_FILE}", tmp_path.name)
    assert (tmp_path / PLACE_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_old_place(
    place: SignedPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    place.advance(make_vote(1))

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        place.advance(make_vote(2))
    monkeypatch.undo()
    assert place.place == load(tmp_path).place == Place(1, 0, 1)
    place.advance(make_vote(2))


def test_it_is_made_once_and_must_be_there(place: SignedPlace, tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="is there already"):
        SignedPlace.create(tmp_path, GENESIS, KEY)
    (tmp_path / PLACE_FILE).unlink()
    with pytest.raises(IdentityError, match="do not take it from a copy"):
        load(tmp_path)


@pytest.mark.parametrize(("genesis", "key"), [(bytes(32), KEY), (GENESIS, bytes(32))])
def test_of_another_chain_or_key_it_is_none(
    place: SignedPlace, tmp_path: Path, genesis: bytes, key: bytes
) -> None:
    with pytest.raises(IdentityError, match="another genesis or another key"):
        SignedPlace.load(tmp_path, genesis, key)
    with pytest.raises(IdentityError, match="another genesis or another key"):
        give_up(tmp_path, genesis, key, 5)


def test_any_other_content_is_refused(place: SignedPlace, tmp_path: Path) -> None:
    place.advance(make_vote(3, 1, Step.PRECOMMIT, BLOCK))
    path = tmp_path / PLACE_FILE
    raw = path.read_bytes()
    value = json.loads(raw)
    others = [raw[:n] for n in range(len(raw))] + [raw + b" ", b"[]\n", b"[" * 5000, b"\xff"]
    for name, wrong in (
        ("height", -1), ("height", 1.0), ("height", True), ("round", 1 << 63), ("step", "1"),
        ("version", 2), ("signed", "ab"), ("genesis", ""), ("validator", None),
    ):  # fmt: skip
        changed = json.dumps({**value, name: wrong}, sort_keys=True, separators=(",", ":"))
        others.append(changed.encode() + b"\n")
    for other in others:
        path.write_bytes(other)
        with pytest.raises(IdentityError, match="is damaged"):
            load(tmp_path)


def test_a_link_is_not_followed(place: SignedPlace, tmp_path: Path) -> None:
    (tmp_path / PLACE_FILE).rename(tmp_path / "elsewhere")
    (tmp_path / PLACE_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IdentityError, match="cannot be read"):
        load(tmp_path)


# -- beginning -------------------------------------------------------------------------------------


def resume(place: SignedPlace, height: int, *own_votes: Vote, certified: int = 0) -> None:
    finals = [certify(LAB, FIRST)][:certified]
    place.resume(height=height, validator=0, own_votes=own_votes, recent=finals)


def test_a_start_with_all_that_was_signed(place: SignedPlace) -> None:
    resume(place, 0)
    vote = make_vote(1, 0, Step.PREVOTE)
    place.advance(vote)
    resume(place, 0, vote)
    resume(place, 1)  # the height is final: nothing binds
    resume(place, 5)
    later = make_vote(1, 0, Step.PRECOMMIT)
    resume(place, 0, vote, later)  # a crash between the log and this file
    assert place.place == Place(1, 0, 2)


@pytest.mark.parametrize(
    ("height", "known"),
    [
        (2, []),  # the log is gone
        (2, [make_vote(3, 0, Step.PREVOTE)]),  # cut short, or an older copy
        (2, [make_vote(3, 1, Step.PRECOMMIT, BLOCK)]),  # of another history
        (2, [make_vote(2, 9)]),
        (1, [make_vote(3, 1, Step.PRECOMMIT)]),  # blocks are gone: the log will be emptied
        (0, []),
    ],
)
def test_a_start_without_something_that_was_signed(
    place: SignedPlace, height: int, known: list[Vote]
) -> None:
    place.advance(make_vote(3, 1, Step.PRECOMMIT))
    with pytest.raises(IdentityError, match="the votes are not here") as refused:
        resume(place, height, *known)
    assert "abstain" in refused.value.next_step
    place.give_up(3)
    resume(place, height, *known)  # nothing will be signed there


def test_a_place_behind_an_own_vote_in_a_block_is_a_copy(place: SignedPlace) -> None:
    with pytest.raises(IdentityError, match="older than a vote at height 1"):
        resume(place, 1, certified=1)
    place.advance(make_vote(1, 0, Step.PRECOMMIT))
    resume(place, 1, certified=1)


def test_a_lost_place_is_made_anew_behind_what_may_have_been_signed(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="cannot be read"):
        give_up(tmp_path, GENESIS, KEY, None)
    assert give_up(tmp_path, GENESIS, KEY, 12) == 12
    assert not load(tmp_path).allows(make_vote(12, 5, Step.PRECOMMIT))
    assert load(tmp_path).allows(make_vote(13))
    (tmp_path / PLACE_FILE).write_bytes(b"damaged")
    with pytest.raises(IdentityError, match="is damaged"):
        give_up(tmp_path, GENESIS, KEY, None)
    assert give_up(tmp_path, GENESIS, KEY, 14) == 14
    assert give_up(tmp_path, GENESIS, KEY, None) == 14
