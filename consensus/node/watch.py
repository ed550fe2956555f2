"""Following a chain over the streams, for whoever votes on nothing: clients and the service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from consensus.agreement.authentication import authenticate, decode_signed
from consensus.content.interface import Blobs
from consensus.disk.blob_limits import make_limit
from consensus.learning.chain_state import ChainState
from consensus.node.catch_up import CatchUp
from consensus.node.downloads import Downloads
from consensus.node.follower import Follower
from consensus.node.stream import BLOBS, FINAL, TRANSACTIONS, VOTES, Transport
from consensus.node.verifier import BlockVerifier
from consensus.wire.genesis import Genesis
from consensus.wire.gossip_messages import BlobPart, HeldState
from consensus.wire.messages import BlockRequest, FinalBlock
from consensus.wire.transactions import Transaction

ASK_S = 0.5
"""How often it asks again for the blocks that it lacks."""


class Watch:
    """A light client that is fed by the streams; what 2f + 1 validators did not sign is dropped.

    start     : the state from which blocks came one by one: of the genesis, or of a snapshot, where
                nobody sends the blocks before any more
    transport : reads the stream `final`
    verifier  : when given, proofs and openings are checked too; validators are asked for the blobs
                of a block that are not in `blobs` yet, and the block waits for them
    blobs     : the verifier's, needed with it; where `look_for` looks and what it finds is put
    """

    def __init__(
        self,
        genesis: Genesis,
        transport: Transport,
        *,
        verifier: BlockVerifier | None = None,
        blobs: Blobs | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._genesis, self._blobs = genesis, blobs
        self._follower = Follower(genesis, verifier)
        self._catch_up = CatchUp(genesis)
        self.start = self._follower.state
        self._transport, self._clock = transport, clock
        self._downloads = Downloads(genesis.n_validators, None, make_limit(genesis.task))
        self._waiting: FinalBlock | None = None
        self._needed: tuple[bytes, ...] = ()
        self._wanted: dict[bytes, None] = {}
        self._asked_at = float("-inf")
        self.n_refused = 0

    @property
    def state(self) -> ChainState:
        """The state after the last final block that was shown."""
        return self._follower.state

    def poll(self, wait_ms: int) -> list[tuple[FinalBlock, ChainState]]:
        """Blocks that have become final, each with the state after it. Raises RedisError."""
        self._ask()
        self._ask_for_blobs()
        found = []
        for final in self._read(wait_ms):
            if final.block.height <= self.state.height:
                continue
            if final.block.height > self.state.height + 1:
                self._transport.forget(final.encode())  # it is asked for again when its turn comes
                self._catch_up.expect(final, self.state.height)
            elif self._lacks_blobs(final):
                self._waiting = final
            elif self._follower.take(final) is None:
                found.append((final, self.state))
            else:
                self.n_refused += 1
        return found

    def _read(self, wait_ms: int) -> Iterator[FinalBlock]:
        """What has come and is signed, and after it the block that had to wait."""
        for incoming in self._transport.read(wait_ms):
            if incoming.stream == BLOBS:
                self._take_part(incoming.raw)
                continue
            if incoming.stream != FINAL:
                continue
            held = HeldState.decode(incoming.raw)
            final = self._jump(held) if held is not None else self._decode(incoming.raw)
            if held is not None:
                self._transport.forget(incoming.raw)  # the block that names it may still come
            if final is not None:
                yield final
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            yield waiting

    def _decode(self, raw: bytes) -> FinalBlock | None:
        """A later block than the last one, which 2f + 1 validators signed."""
        certificate = FinalBlock.read_certificate(raw)
        if certificate is None or certificate.height <= self.state.height:
            return None
        if authenticate(certificate, self._genesis) is not None:
            self.n_refused += 1
            return None
        return FinalBlock.decode(raw)

    def look_for(self, digests: Iterable[bytes]) -> None:
        """Asks validators for those of these blobs that are not in `blobs`, from poll to poll until
        they are. They take the place of those that were looked for before.
        """
        blobs = self._blobs
        known = (d for d in digests if blobs is None or blobs.read_part(d, 0, 1) is None)
        self._wanted = dict.fromkeys(known)

    def _lacks_blobs(self, final: FinalBlock) -> bool:
        """Whether the block has to wait; then what it needs is asked for, again and again."""
        self._needed = self._follower.list_missing(final)
        self._ask_for_blobs()
        return bool(self._needed)

    def _ask_for_blobs(self) -> None:
        missing = (*self._needed, *self._wanted)
        requests = self._downloads.want(missing, self._clock())
        if missing:
            self._transport.listen(BLOBS)
        else:
            self._transport.ignore(BLOBS)
        for request in requests:
            self._transport.send(VOTES, request.encode())

    def _take_part(self, raw: bytes) -> None:
        part = decode_signed(BlobPart, raw, self._genesis)
        if part is None:
            return
        request, blob = self._downloads.take(part, self._clock())
        if request is not None:
            self._transport.send(VOTES, request.encode())
        if blob is not None and self._blobs is not None:
            self._wanted.pop(self._blobs.put(blob), None)

    def _jump(self, held: HeldState) -> FinalBlock | None:
        """The first block after a state that takes the place of blocks that nobody has."""
        snapshot = self._catch_up.take(held, self.state.height)
        if snapshot is None:
            return None
        self._follower.restart(snapshot.state)
        self.start, self._waiting, self._needed = snapshot.state, None, ()
        return snapshot.final

    def send(self, tx: Transaction) -> None:
        """Sends to all validators. It may be lost: send it again until a final block holds it."""
        self._transport.send(TRANSACTIONS, tx.encode())

    def _ask(self) -> None:
        """For the next block, which may have been final for long."""
        now = self._clock()
        if now - self._asked_at < ASK_S:
            return
        self._asked_at = now
        self._transport.mind_rewrites()
        self._transport.send(VOTES, BlockRequest(height=self.state.height + 1).encode())
