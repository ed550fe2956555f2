"""What a node keeps on disk, and what of it binds the node: final blocks, and its own votes.

    HOME/blocks*.log         final blocks (`consensus.disk.block_files`)
    HOME/snapshot-*.zks      the state now and then (`consensus.disk.snapshots`)
    HOME/models.log          which blobs blocks name (`consensus.disk.retention`)
    HOME/votes.log           own votes and proposals of the height under way with their grounds,
                             each synchronized before it leaves; emptied when the height is final
    HOME/validator.signed    the last place that was signed (`consensus.disk.place`)
    HOME/lock                held while a process uses the folder: two would sign different votes

At start the newest snapshot is loaded, and the blocks behind it are replayed: each follows the one
before, the first the genesis, and names the state that the replay gives; 2f + 1 validators signed
the last. In memory are the state, a few recent blocks, and 8 bytes for each block on disk.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO

from consensus.agreement.authentication import authenticate
from consensus.agreement.events import ConsensusMessage
from consensus.disk.block_files import ADVICE, BLOCKS, BlockFiles, check_parent
from consensus.disk.records import Log
from consensus.disk.retention import KEEP_BLOCKS, ModelIndex, find_floor, list_spent
from consensus.disk.snapshots import SPAN, Snapshot, drop_snapshots, find_snapshots, save_snapshot
from consensus.errors import LedgerError
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState
from consensus.wire.genesis import Genesis
from consensus.wire.messages import Block, FinalBlock, Proposal, QuorumCertificate, Vote

VOTES, LOCK = "votes.log", "lock"
N_RECENT = 64
"""Blocks that stay in memory: what peers that lag ask for."""
_VOTES_ADVICE = "`zkpot chain abstain` sits out the height under way, and begins a new one"


class Ledger:
    """The folder of one node, `home`, for one process. state : after the last block"""

    def __init__(
        self,
        home: Path,
        genesis: Genesis,
        *,
        keep_blocks: int | None = KEEP_BLOCKS,
        span: int = SPAN,
        snapshot: Snapshot | None = None,
    ) -> None:
        """Raises LedgerError, OSError.

        keep_blocks : how many at least are kept; None keeps everything
        span        : blocks from one snapshot to the next
        snapshot    : to begin with, should it be beyond all that is here
        """
        self.home, self._genesis = home, genesis
        self._keep_blocks, self._span = keep_blocks, span
        self._recent: dict[int, FinalBlock] = {}
        with ExitStack() as opened:
            opened.enter_context(closing(lock_home(home)))
            self._files = opened.enter_context(closing(BlockFiles(home)))
            if snapshot is not None:
                self._refuse_gap(snapshot)
                save_snapshot(home, snapshot)
            self._votes = opened.enter_context(closing(Log(home / VOTES, _VOTES_ADVICE)))
            self._models = opened.enter_context(closing(ModelIndex(home)))
            self.own_votes = _decode_votes(self._votes)
            self.n_torn = self._files.n_torn + self._votes.n_torn
            self.state: ChainState = self._resume()
            self._opened = opened.pop_all()  # nothing was wrong: it stays open

    # -- beginning

    def _resume(self) -> ChainState:
        """The state after the last block, from the newest snapshot that holds."""
        files = self._files
        for snapshot in find_snapshots(self.home, self._genesis, newest_first=True):
            if snapshot.height >= files.height:
                return self._begin_with(snapshot)
            if snapshot.height + 1 >= files.first:
                return self._replay(snapshot.state)
        if files.height >= files.first > 1:
            what = f"it begins with block {files.first}, and no snapshot leads there"
            raise LedgerError(self.home, what, ADVICE)
        return self._replay(start(self._genesis))

    def jump(self, snapshot: Snapshot) -> None:
        """Goes on with a snapshot that is beyond all blocks here, which are let go.

        Raises LedgerError for an archive, which would have a gap; OSError.
        """
        self._refuse_gap(snapshot)
        save_snapshot(self.home, snapshot)  # a crash from here on is gone on from at start
        self.state = self._begin_with(snapshot)
        self._votes.clear()
        self.own_votes = ()

    def _refuse_gap(self, snapshot: Snapshot) -> None:
        files = self._files
        n_missing = snapshot.height - files.height
        if self._keep_blocks is None and files.height >= files.first and n_missing > 0:
            raise LedgerError(
                self.home,
                f"an archive that ends with block {files.height} cannot go on with block "
                f"{snapshot.height + 1} of a snapshot",
                "let an archive send what is missing, or name a new folder",
            )

    def _begin_with(self, snapshot: Snapshot) -> ChainState:
        """A snapshot from elsewhere, beyond all blocks that are here."""
        self._refuse_gap(snapshot)
        files = self._files
        last = files.read(files.height) if files.height >= files.first else None
        if last is None or last.block.hash != snapshot.state.head:
            files.restart(snapshot.height + 1)
            self._recent.clear()
        self._add(snapshot.final)
        return apply(snapshot.state, snapshot.final.block)

    def _replay(self, state: ChainState) -> ChainState:
        """Blocks that this node wrote, or that somebody copied: that the last one is final.

        It names all before it, so one certificate is enough. Raises LedgerError, OSError.
        """
        path, final = self.home / BLOCKS, None
        for height in range(state.height + 1, self._files.height + 1):
            final = self._files.read(height)
            check_parent(final, state.head, self._genesis, path)
            if final.block.state_root != state.digest:
                raise LedgerError(path, f"block {height} names another state", ADVICE)
            state = apply(state, final.block)
            self._remember(final)
        fault = None if final is None else authenticate(final, self._genesis)
        if fault is not None:
            raise LedgerError(path, f"block {state.height} is not final: {fault}", ADVICE)
        return state

    # -- blocks

    @property
    def height(self) -> int:
        """Height of the last final block."""
        return self._files.height

    @property
    def first(self) -> int:
        """The lowest height that is here, or the next one to come."""
        return self._files.first

    def get(self, height: int) -> FinalBlock | None:
        """The final block of a height; None where it is not here. Raises LedgerError, OSError."""
        if not self.first <= height <= self.height:
            return None
        return self._recent.get(height) or self._files.read(height)

    def list_finals(self, first: int = 1, limit: int | None = None) -> list[FinalBlock]:
        """Final blocks from a height on, of those that are here. Raises LedgerError, OSError."""
        begin = max(first, self.first)
        end = self.height if limit is None else min(self.height, first - 1 + limit)
        found = (self.get(height) for height in range(begin, end + 1))
        return [final for final in found if final is not None]

    def iter_newest(self) -> Iterator[Block]:
        """Blocks from the last one down, as far as they are here, read one by one."""
        for height in range(self.height, self.first - 1, -1):
            final = self.get(height)
            assert final is not None
            yield final.block

    def list_recent(self) -> Sequence[FinalBlock]:
        """The last blocks, as many as stay in memory."""
        return list(self._recent.values())

    @property
    def last_certificate(self) -> QuorumCertificate | None:
        """Certificate of the last block; None before the first."""
        final = self.get(self.height)
        return None if final is None else final.certificate

    def find_snapshot(self) -> Snapshot | None:
        """The newest of the folder: where a peer begins that lacks what is let go."""
        return next(find_snapshots(self.home, self._genesis, newest_first=True), None)

    def append(self, final: FinalBlock) -> tuple[bytes, ...]:
        """The next final block; the votes of its height are done with. Raises OSError.

        Returns digests of blobs that nobody reads any more.
        """
        if final.block.height != self.height + 1:
            raise ValueError(f"block {final.block.height} after height {self.height}")
        before = self.state
        self._add(final)
        self.state = apply(before, final.block)
        self._votes.clear()
        spent = () if self._keep_blocks is None else list_spent(before, self.state)
        if not before.height or before.height % self._span:
            return spent
        save_snapshot(self.home, Snapshot(before, final))
        return (*spent, *self._let_go())

    def _add(self, final: FinalBlock) -> None:
        if self.height >= self.first and self.height % self._span == 0:
            self._files.seal()
        self._models.record(final.block)
        self._files.append(final)
        self._remember(final)

    def _remember(self, final: FinalBlock) -> None:
        self._recent[final.block.height] = final
        if len(self._recent) > N_RECENT:
            del self._recent[next(iter(self._recent))]

    def _let_go(self) -> tuple[bytes, ...]:
        floor = find_floor(
            self.home, self._genesis, height=self.height, keep_blocks=self._keep_blocks
        )
        if not floor:
            return ()
        self._files.drop_below(floor + 1)
        drop_snapshots(self.home, floor)
        return self._models.forget(floor, self.state)

    # -- votes

    def record_vote(
        self, message: Vote | Proposal, grounds: Sequence[ConsensusMessage] = ()
    ) -> None:
        """Writes down a message before it leaves. Raises OSError: then it must not leave."""
        for part in (*grounds, message):
            self._votes.append(part.encode())

    def refuse_votes(self, what: str) -> LedgerError:
        """The error for a log of votes that are not of this chain."""
        return LedgerError(self.home / VOTES, f"a vote is none: {what}", _VOTES_ADVICE)

    def close(self) -> None:
        self._opened.close()


def lock_home(home: Path) -> BinaryIO:
    """The folder for one process, until the file is closed. Raises LedgerError, OSError."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = (home / LOCK).open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise LedgerError(
            home, "another node uses this folder", "stop it, or name another folder"
        ) from None
    return file


def _decode_votes(log: Log) -> tuple[Vote | Proposal, ...]:
    found: list[Vote | Proposal] = []
    for index in range(len(log)):
        payload = log.read(index)
        message = Vote.decode(payload) or Proposal.decode(payload)
        if message is None:
            raise LedgerError(log.path, f"record {index} is no vote", _VOTES_ADVICE)
        found.append(message)
    return tuple(found)
