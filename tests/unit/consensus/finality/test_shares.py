"""The book of shares: f + 1 give a certificate, false ones none, and nothing grows."""

from __future__ import annotations

import pytest

from consensus.finality.certificate import find_fault
from consensus.finality.shares import AHEAD, BEHIND, ShareBook
from consensus.learning.chain_state import Phase
from consensus.wire.finality import FinalityShare
from tests.support.finality import make_certificate, make_share, watch_tests
from tests.support.learning import Lab

LAB = Lab(n_bound=2)
EARLIER = LAB.reach(Phase.COMMIT)
HEAD = LAB.extend(EARLIER)


def make_book() -> ShareBook:
    book = ShareBook(LAB.genesis)
    book.move_on(EARLIER)
    book.move_on(HEAD)
    return book


def test_f_and_one_shares_give_the_certificate() -> None:
    book = make_book()
    assert book.add(make_share(LAB, 0, HEAD)) is None
    assert book.combine() is None
    assert book.add(make_share(LAB, 0, HEAD)) is None  # again
    assert book.combine() is None
    assert book.add(make_share(LAB, 3, HEAD)) is None
    assert book.combine() == book.certificate == make_certificate(LAB, HEAD)
    assert book.certified == HEAD.height
    assert book.combine() is None  # nothing newer


def test_the_last_block_may_have_moved_on() -> None:
    book = make_book()
    for validator in (0, 1):
        assert book.add(make_share(LAB, validator, EARLIER)) is None
    assert book.combine() == make_certificate(LAB, EARLIER)


def test_shares_may_come_before_their_block() -> None:
    book = ShareBook(LAB.genesis)
    book.move_on(EARLIER)
    for validator in (0, 1):
        assert book.add(make_share(LAB, validator, HEAD)) is None
    assert book.combine() is None  # what they are of is not known here
    book.move_on(HEAD)
    assert book.combine() == make_certificate(LAB, HEAD)


def test_false_shares_delay_no_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = watch_tests(monkeypatch)
    book = make_book()
    given = [
        make_share(LAB, 0, EARLIER, height=HEAD.height),  # of another block
        make_share(LAB, 1, HEAD),
        make_share(LAB, 2, HEAD, share=b"\xff" * 32),
    ]
    for share in given:
        assert book.add(share) is None
    assert book.combine() is None
    assert book.liars == {0, 2}
    book.add(make_share(LAB, 3, HEAD))
    found = book.combine()
    assert found is not None
    assert find_fault(found, LAB.genesis) is None
    assert sorted(tested) == sorted(share.share for share in given)  # each once
    assert book.liars == {0, 2}


def test_one_who_lied_spoils_no_other_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a share of it looked at, in whatever order they come."""
    book = make_book()
    book.liars = {0}
    tested = watch_tests(monkeypatch)
    book.add(make_share(LAB, 0, HEAD, share=b"\xff" * 32))
    book.add(make_share(LAB, 1, HEAD))
    assert book.combine() is None
    book.add(make_share(LAB, 2, HEAD))
    assert book.combine() == make_certificate(LAB, HEAD)
    assert tested == []


def test_more_liars_than_can_be_count_again_from_the_next_block_on() -> None:
    """Their keys were wrong, or this node's: they may have been mended."""
    book = make_book()
    book.liars = {0, 1}
    for validator in (0, 1):
        book.add(make_share(LAB, validator, HEAD))
    assert book.combine() is None
    book.move_on(after := LAB.extend(HEAD))
    assert book.liars == set()
    for validator in (0, 1):
        book.add(make_share(LAB, validator, after))
    assert book.combine() == make_certificate(LAB, after)


def test_a_validator_has_one_share_of_a_height() -> None:
    book = make_book()
    assert book.add(make_share(LAB, 0, HEAD)) is None
    assert book.add(make_share(LAB, 0, HEAD, share=bytes(32))) == "a second share of its validator"


def test_shares_far_off_are_not_kept() -> None:
    book = make_book()

    def say(height: int) -> FinalityShare:
        return FinalityShare(height=height, validator=0, share=bytes(32))

    assert book.add(say(HEAD.height + AHEAD)) is None
    assert book.add(say(HEAD.height + AHEAD + 1)) == "a share of a block that is far off"
    for height in range(1, HEAD.height + AHEAD + 100):
        book.add(say(height))
    assert len(book._shares) <= BEHIND + AHEAD
    state = HEAD
    for _ in range(BEHIND + 1):
        state = LAB.extend(state)
        book.move_on(state)
    assert min(book._shares) > HEAD.height
    assert len(book._statements) <= BEHIND


def test_a_book_goes_on_from_its_certificate() -> None:
    book = ShareBook(LAB.genesis, make_certificate(LAB, HEAD))
    book.move_on(HEAD)
    book.add(make_share(LAB, 0, HEAD))
    book.add(make_share(LAB, 1, HEAD))
    assert book.combine() is None
    assert book.certified == HEAD.height
