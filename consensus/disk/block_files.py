"""The final blocks of a node on disk, in files of so many; only places of records stay in memory.

    HOME/blocks-FIRST.log   a span of blocks from height FIRST on, done with
    HOME/blocks.log         the blocks since, each synchronized before the next height begins

Blocks are public. Every reader checks that they follow one another from the genesis on, or from a
snapshot, and whoever goes by them that 2f + 1 validators signed (`consensus.disk.ledger` the last
of them, which names the others; `consensus.node.follower` each): so they may be copied from any
node, or deleted and asked for again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from consensus.disk.records import Log, Places, read_record, scan, scan_unbuffered
from consensus.disk.snapshots import find_snapshots
from consensus.errors import LedgerError
from consensus.learning.chain import start
from consensus.learning.chain_state import ChainState
from consensus.wire.genesis import Genesis
from consensus.wire.messages import FinalBlock
from kernels.files import sync_folder

BLOCKS = "blocks.log"
ADVICE = (
    "delete blocks*.log, and peers send them again, or copy blocks*.log and snapshot-*.zks "
    "of another node; never copy validator.signed or votes.log"
)
_PREFIX, _SUFFIX = "blocks-", ".log"


class _Held:
    """A file that stays open as long as anyone may read it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


@dataclass(slots=True)
class BlockFile:
    """A file of blocks that is only read.

    first : height of its first block
    held  : open, where the name may come to mean another file
    """

    path: Path
    first: int
    places: Places
    held: _Held | None = None

    @property
    def height(self) -> int:
        """Height of its last block."""
        return self.first - 1 + len(self.places)

    def read(self, height: int) -> bytes:
        """The bytes of a block. Raises LedgerError, OSError."""
        index = height - self.first
        if self.held is not None:
            return read_record(self.held.descriptor, self.places, index, self.path, ADVICE)
        try:
            with self.path.open("rb") as file:
                return read_record(file.fileno(), self.places, index, self.path, ADVICE)
        except FileNotFoundError:
            what = "its node has let it go meanwhile, or somebody deleted it"
            raise LedgerError(self.path, what, "read the folder again") from None


def list_sealed(home: Path) -> list[BlockFile]:
    """The folder's files of a span, one after the other, their records checked.

    Raises LedgerError, OSError.
    """
    found = []
    for path in sorted(home.glob(f"{_PREFIX}*{_SUFFIX}")):
        digits = path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
        if not (len(digits) == 12 and digits.isascii() and digits.isdigit()):
            continue
        places = scan_unbuffered(path, ADVICE)
        if places.n_torn:
            raise LedgerError(path, "its last record is cut short", ADVICE)
        found.append(BlockFile(path, int(digits), places))
    for before, after in pairwise(found):
        if after.first != before.height + 1:
            what = f"blocks {before.height + 1} to {after.first - 1} are missing before it"
            raise LedgerError(after.path, what, ADVICE)
    return found


def decode_block(raw: bytes, height: int, path: Path) -> FinalBlock:
    """The final block that a record should hold. Raises LedgerError."""
    final = FinalBlock.decode(raw)
    if final is None or final.block.height != height:
        raise LedgerError(path, f"the record of block {height} holds something else", ADVICE)
    return final


def check_parent(final: FinalBlock, parent: bytes, genesis: Genesis, path: Path) -> None:
    """Raises LedgerError unless the block follows this one, or the genesis."""
    height, named = final.block.height, final.block.parent
    if height == 1 and named != genesis.digest:
        raise LedgerError(
            path,
            f"block 1 is of the chain with genesis {named.hex()}, not {genesis.digest.hex()}",
            "name the genesis that this folder was made with, or another folder",
        )
    if named != parent:
        raise LedgerError(path, f"block {height} does not follow block {height - 1}", ADVICE)


def _find_first(raw: bytes, path: Path) -> int:
    final = FinalBlock.decode(raw)
    if final is None:
        raise LedgerError(path, "its first record is no block", ADVICE)
    return final.block.height


class BlockFiles:
    """The blocks of one folder, for their one writer."""

    def __init__(self, home: Path) -> None:
        """Cuts a torn record off. Raises LedgerError, OSError."""
        self._home = home
        self._sealed = list_sealed(home)
        self._log = Log(home / BLOCKS, ADVICE)
        try:
            self._log_first = self._find_log_first()
        except BaseException:
            self._log.close()
            raise

    def _find_log_first(self) -> int:
        after = self._sealed[-1].height + 1 if self._sealed else 1
        if not len(self._log):
            return after
        first = _find_first(self._log.read(0), self._log.path)
        if self._sealed and first != after:
            raise LedgerError(self._log.path, f"it begins with block {first}, not {after}", ADVICE)
        return first

    @property
    def n_torn(self) -> int:
        """Bytes of a torn record that were cut off."""
        return self._log.n_torn

    @property
    def first(self) -> int:
        """The lowest height that is here, or the next one to come."""
        return self._sealed[0].first if self._sealed else self._log_first

    @property
    def height(self) -> int:
        """The highest that is here; `first` - 1 when there is none."""
        return self._log_first - 1 + len(self._log)

    def read(self, height: int) -> FinalBlock:
        """The block of a height that is here. Raises LedgerError, OSError."""
        if height >= self._log_first:
            path, raw = self._log.path, self._log.read(height - self._log_first)
        else:
            one = next(s for s in self._sealed if s.first <= height <= s.height)
            path, raw = one.path, one.read(height)
        return decode_block(raw, height, path)

    def append(self, final: FinalBlock) -> None:
        """The next block; returns when it is on disk. Raises OSError, and nothing is added."""
        self._log.append(final.encode())

    def seal(self) -> None:
        """Begins a new file. Raises OSError."""
        height, places = self.height, self._log.places
        path = self._home / f"{_PREFIX}{self._log_first:012d}{_SUFFIX}"
        self._log.close()
        os.replace(self._log.path, path)
        self._log = Log(self._log.path, ADVICE)  # synchronizes the folder as well
        self._sealed.append(BlockFile(path, self._log_first, places))
        self._log_first = height + 1

    def drop_below(self, height: int) -> None:
        """Deletes files whose blocks are all below. Raises OSError."""
        while self._sealed and self._sealed[0].height < height:
            self._sealed[0].path.unlink(missing_ok=True)
            del self._sealed[0]

    def restart(self, first: int) -> None:
        """Deletes everything; the next block is of this height. Raises OSError."""
        for one in self._sealed:  # the lowest first: a crash leaves blocks that follow each other
            one.path.unlink(missing_ok=True)
        self._sealed.clear()
        self._log.clear()
        sync_folder(self._home)
        self._log_first = first

    def close(self) -> None:
        self._log.close()


# -- reading what a node may be writing to ---------------------------------------------------------


@dataclass(slots=True)
class StoredChain:
    """The blocks of a folder, or of one file, as far as they were there when it was read.

    start  : the state before the first block that is told: of the genesis, or of a snapshot
    height : of the last block; that of `start` when there is none
    """

    start: ChainState
    height: int
    _files: list[BlockFile]

    @property
    def is_whole(self) -> bool:
        """Whether it begins at the genesis."""
        return self.start.height == 0

    def __len__(self) -> int:
        return self.height - self.start.height

    def __iter__(self) -> Iterator[FinalBlock]:
        """Raises LedgerError where a block does not follow the one before, OSError."""
        parent = self.start.head
        for one in self._files:
            for height in range(max(one.first, self.start.height + 1), one.height + 1):
                final = decode_block(one.read(height), height, one.path)
                check_parent(final, parent, self.start.genesis, one.path)
                parent = final.block.hash
                yield final


def read_chain(home: Path, genesis: Genesis) -> StoredChain:
    """What is in a folder that a node may be writing to, or in one file of blocks.

    It begins at the genesis, or at the first snapshot that all later blocks are here of.
    Raises LedgerError, OSError. Costs one reading of the files, and no memory for blocks.
    """
    folder = home if home.is_dir() else home.parent
    files = _list_files(home)
    if not files or files[0].first == 1:
        height = files[-1].height if files else 0
        return StoredChain(start(genesis), height, files)
    first, height = files[0].first, files[-1].height
    for snapshot in find_snapshots(folder, genesis, newest_first=False):
        if first <= snapshot.height + 1 <= height:
            return StoredChain(snapshot.state, height, files)
    raise LedgerError(home, f"it begins with block {first}, and no snapshot leads there", ADVICE)


def _list_files(home: Path) -> list[BlockFile]:
    """The last file is opened first: should its node give it another name meanwhile, it counts
    under that one."""
    last = home / BLOCKS if home.is_dir() else home
    held = _Held(last) if last.exists() else None
    sealed = list_sealed(home) if home.is_dir() else []
    if held is None:
        return sealed
    with os.fdopen(os.dup(held.descriptor), "rb") as file:
        places = scan(file, last, ADVICE)
    after = sealed[-1].height + 1 if sealed else 1
    if not places:
        return sealed
    raw = read_record(held.descriptor, places, 0, last, ADVICE)
    first = _find_first(raw, last)
    if sealed and first < after:
        return sealed
    if sealed and first != after:
        raise LedgerError(last, f"it begins with block {first}, not {after}", ADVICE)
    return [*sealed, BlockFile(last, first, places, held)]


def read_finals(home: Path, genesis: Genesis) -> list[FinalBlock]:
    """All blocks of a short chain. Raises LedgerError, OSError."""
    return list(read_chain(home, genesis))
