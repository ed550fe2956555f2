"""The ledger: what is on disk after a crash at any byte, what damage is, one process per folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from consensus.disk.block_files import BLOCKS, read_finals
from consensus.disk.ledger import VOTES, Ledger
from consensus.disk.records import scan_unbuffered
from consensus.errors import LedgerError
from consensus.learning.chain import apply, start
from consensus.wire.messages import NIL, FinalBlock, Proposal, Step, Vote
from tests.support.certificates import certify
from tests.support.learning import Lab

LAB = Lab()
GENESIS = LAB.genesis


def make_vote(height: int, *, step: Step = Step.PREVOTE, validator: int = 0) -> Vote:
    vote = Vote(step=step, height=height, round=0, block_hash=NIL, validator=validator)
    return LAB.sign(vote, LAB.validators[validator])


def make_finals(n: int) -> list[FinalBlock]:
    state, finals = start(LAB.genesis), []
    for _ in range(n):
        block = LAB.block(state)
        finals.append(certify(LAB, block))
        state = apply(state, block)
    return finals


FINALS = make_finals(3)


def fill(home: Path) -> None:
    """Two final blocks, two votes for the third."""
    ledger = Ledger(home, GENESIS)
    for final in FINALS[:2]:
        ledger.record_vote(make_vote(final.block.height))
        ledger.append(final)
    ledger.record_vote(make_vote(3))
    ledger.record_vote(make_vote(3, step=Step.PRECOMMIT))
    ledger.close()


def find_last(path: Path) -> int:
    """Where the last record of a log begins."""
    places = scan_unbuffered(path, "")
    return places.begin(len(places) - 1)


def read(home: Path) -> tuple[int, int, int]:
    """(height, own votes, torn bytes) of a ledger that is opened and closed."""
    ledger = Ledger(home, GENESIS)
    try:
        return ledger.height, len(ledger.own_votes), ledger.n_torn
    finally:
        ledger.close()


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    fill(tmp_path)
    ledger = Ledger(tmp_path, GENESIS)
    assert ledger.list_finals() == FINALS[:2]
    assert ledger.own_votes == (make_vote(3), make_vote(3, step=Step.PRECOMMIT))
    assert [ledger.get(i) for i in (0, 1, 2, 3)] == [None, *FINALS[:2], None]
    assert ledger.list_finals(2, 5) == FINALS[1:2]
    ledger.append(FINALS[2])
    ledger.close()
    assert read(tmp_path) == (3, 0, 0)
    assert list(read_finals(tmp_path, GENESIS)) == FINALS


def test_grounds_are_written_before_their_vote(tmp_path: Path) -> None:
    proposal = LAB.sign(
        Proposal(height=1, round=0, valid_round=0, block=FINALS[0].block, validator=0),
        LAB.validators[0],
    )
    prevotes = tuple(make_vote(1, validator=i) for i in range(3))
    precommit = make_vote(1, step=Step.PRECOMMIT)
    ledger = Ledger(tmp_path, GENESIS)
    ledger.record_vote(precommit, (proposal, *prevotes))
    ledger.close()
    ledger = Ledger(tmp_path, GENESIS)
    assert ledger.own_votes == (proposal, *prevotes, precommit)
    ledger.close()


@pytest.mark.parametrize("name", [BLOCKS, VOTES])
@pytest.mark.parametrize("with_zeros", [False, True], ids=["cut", "zeros"])
def test_the_last_record_torn_at_every_byte(tmp_path: Path, name: str, with_zeros: bool) -> None:
    """With zeros: the file had its length, and some of its pages had never been written."""
    fill(tmp_path)
    path = tmp_path / name
    raw, last = path.read_bytes(), find_last(path)
    whole = read(tmp_path)
    lost = (1, 2) if name == BLOCKS else (2, 1)
    for cut in range(last, len(raw)):
        path.write_bytes(raw[:cut] + bytes(len(raw) - cut) * with_zeros)
        if with_zeros and path.read_bytes() == raw:
            continue  # the record ends in zeros of its own
        n_torn = path.stat().st_size - last
        assert read(tmp_path) == (*lost, n_torn), cut
        assert path.stat().st_size == last, "what is torn is cut off"
        assert read(tmp_path) == (*lost, 0), "and said once"
    path.write_bytes(raw)
    assert read(tmp_path) == whole


@pytest.mark.parametrize("name", [BLOCKS, VOTES])
def test_a_record_that_a_torn_one_made_room_for_is_kept(tmp_path: Path, name: str) -> None:
    fill(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-1])
    ledger = Ledger(tmp_path, GENESIS)
    if name == BLOCKS:
        ledger.append(FINALS[1])
    else:
        ledger.record_vote(make_vote(3, step=Step.PRECOMMIT))
    ledger.close()
    assert read(tmp_path) == ((2, 0, 0) if name == BLOCKS else (2, 2, 0))


@pytest.mark.parametrize("name", [BLOCKS, VOTES])
def test_any_flipped_byte_before_the_last_record_is_refused(tmp_path: Path, name: str) -> None:
    """Its length too: it must not be taken for a record that was not written to its end."""
    fill(tmp_path)
    path = tmp_path / name
    raw, last = path.read_bytes(), find_last(path)
    for at in range(last):
        for mask in (0x01, 0x80):
            path.write_bytes(raw[:at] + bytes((raw[at] ^ mask,)) + raw[at + 1 :])
            with pytest.raises(LedgerError, match="damaged") as refused:
                Ledger(tmp_path, GENESIS)
            assert refused.value.next_step
            assert path.stat().st_size == len(raw), "damage is left as it is"
    path.write_bytes(raw)
    assert read(tmp_path) == (2, 2, 0)


def test_any_flipped_byte_in_the_last_head_is_refused(tmp_path: Path) -> None:
    """But for the payload's checksum, which looks the same when the payload is wrong."""
    fill(tmp_path)
    path = tmp_path / VOTES
    raw, last = path.read_bytes(), find_last(path)
    for at in range(last, last + 8):
        path.write_bytes(raw[:at] + bytes((raw[at] ^ 0x10,)) + raw[at + 1 :])
        with pytest.raises(LedgerError):
            Ledger(tmp_path, GENESIS)


def test_records_in_another_order_are_no_chain(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / BLOCKS
    raw, last = path.read_bytes(), find_last(path)
    path.write_bytes(raw[last:] + raw[:last])
    for read_it in (Ledger, read_finals):
        with pytest.raises(LedgerError, match="begins with block 2, and no snapshot"):
            read_it(tmp_path, GENESIS)
    path.write_bytes(raw + raw[last:])
    for read_it in (Ledger, read_finals):
        with pytest.raises(LedgerError, match="record of block 3 holds something else"):
            read_it(tmp_path, GENESIS)


def test_a_block_of_another_parent_is_no_successor(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, GENESIS)
    ledger.append(FINALS[0])
    block = LAB.block(start(LAB.genesis), height=2, parent=bytes(32))
    ledger.append(certify(LAB, block))
    ledger.close()
    with pytest.raises(LedgerError, match="block 2 does not follow block 1"):
        Ledger(tmp_path, GENESIS)


def test_what_is_no_vote_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / VOTES).write_bytes((tmp_path / BLOCKS).read_bytes())
    with pytest.raises(LedgerError, match="record 0 is no vote"):
        Ledger(tmp_path, GENESIS)


def test_heights_come_one_after_the_other(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, GENESIS)
    with pytest.raises(ValueError, match="block 2 after height 0"):
        ledger.append(FINALS[1])
    ledger.append(FINALS[0])
    with pytest.raises(ValueError, match="block 1 after height 1"):
        ledger.append(FINALS[0])
    ledger.close()


# -- one process per folder ------------------------------------------------------------------------


def test_a_folder_is_one_nodes(tmp_path: Path) -> None:
    first = Ledger(tmp_path, GENESIS)
    with pytest.raises(LedgerError, match="another node uses this folder"):
        Ledger(tmp_path, GENESIS)
    first.close()
    Ledger(tmp_path, GENESIS).close()


def test_a_folder_is_one_processs(tmp_path: Path) -> None:
    """A child holds it until it is killed; nothing is left to clean up then."""
    hold = (
        "import sys; from pathlib import Path; from consensus.disk.ledger import lock_home; "
        "held = lock_home(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LedgerError, match="another node uses this folder"):
            Ledger(tmp_path, GENESIS)
        process.kill()
    Ledger(tmp_path, GENESIS).close()


def test_a_folder_in_use_can_be_read(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, GENESIS)
    ledger.append(FINALS[0])
    with (tmp_path / BLOCKS).open("ab") as stream:
        stream.write(b"\x10\x00")  # the next record is on its way
    assert list(read_finals(tmp_path, GENESIS)) == FINALS[:1]
    assert list(read_finals(tmp_path / "elsewhere", GENESIS)) == []
    ledger.close()


# -- disks that fail -------------------------------------------------------------------------------


class FullDisk:
    """A file that takes so many bytes more."""

    def __init__(self, stream: object, room: int) -> None:
        self._stream, self._room = stream, room

    def write(self, raw: bytes) -> int:
        taken = raw[: self._room]
        self._room -= len(taken)
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        n: int = self._stream.write(taken)  # type: ignore[attr-defined]
        return n

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@pytest.mark.parametrize("room", [0, 1, 11, 12, 100])
def test_a_full_disk_takes_nothing(tmp_path: Path, room: int) -> None:
    fill(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in (BLOCKS, VOTES)}
    ledger = Ledger(tmp_path, GENESIS)
    votes, blocks = ledger._votes._stream, ledger._files._log._stream
    ledger._votes._stream = FullDisk(votes, room)  # type: ignore[assignment]
    ledger._files._log._stream = FullDisk(blocks, room)  # type: ignore[assignment]
    with pytest.raises(OSError, match=r"disk took a part|No space left"):
        ledger.record_vote(make_vote(3))
    with pytest.raises(OSError, match=r"disk took a part|No space left"):
        ledger.append(FINALS[2])
    assert ledger.height == 2
    assert {name: (tmp_path / name).read_bytes() for name in (BLOCKS, VOTES)} == before
    ledger._votes._stream, ledger._files._log._stream = votes, blocks  # there is room again
    ledger.append(FINALS[2])
    ledger.close()
    assert read(tmp_path) == (3, 0, 0)


def test_what_does_not_reach_the_disk_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    ledger = Ledger(tmp_path, GENESIS)

    def fail(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        ledger.record_vote(make_vote(3, step=Step.PRECOMMIT, validator=1))
    monkeypatch.undo()
    ledger.close()
    assert read(tmp_path) == (2, 2, 0)


def test_a_vote_is_synchronized_before_it_may_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a new log's name as well: a folder that forgets the file forgets the votes."""
    synchronized: list[str] = []
    real = os.fsync

    def note(handle: int) -> None:
        synchronized.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fsync", note)
    ledger = Ledger(tmp_path, GENESIS)
    assert synchronized == [str(tmp_path)] * 3, "blocks, votes, models"
    ledger.record_vote(make_vote(1))
    assert synchronized[3:] == [str(tmp_path / VOTES)]
    ledger.append(FINALS[0])
    assert synchronized[4:] == [str(tmp_path / BLOCKS), str(tmp_path / VOTES)]
    ledger.close()
