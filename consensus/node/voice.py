"""What a node says, and says again: to everyone, over a transport that may lose it.

Its votes, its share of the beacon and a request for the next block are repeated while nothing
changes, ever more rarely; what waits for a block is sent to who shows to lack it (`gossip`), and
certificates have rules of their own (`finality`). When the chain is done and its last block has a
certificate, it only answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from redis.exceptions import RedisError

from consensus.agreement.memory import State, list_repeats
from consensus.content.interface import Blobs
from consensus.disk.blob_limits import make_limit
from consensus.disk.identity import Identity, sign
from consensus.disk.ledger import Ledger
from consensus.errors import LedgerError
from consensus.learning import beacon
from consensus.learning.chain import beacon_message
from consensus.learning.chain_state import ChainState, Phase
from consensus.node.answers import Answers
from consensus.node.downloads import Downloads
from consensus.node.finality import Finality
from consensus.node.gossip import Gossip, list_held
from consensus.node.metrics import NodeMetrics
from consensus.node.repetition import FIRST_PAUSE_S, Repetition
from consensus.node.stream import BLOBS, FINAL, TRANSACTIONS, VOTES, Transport
from consensus.wire.codec import Message, Signed
from consensus.wire.finality import FinalityShare
from consensus.wire.genesis import Genesis
from consensus.wire.gossip_messages import BlobPart, BlobRequest, Holdings
from consensus.wire.messages import BeaconShare, BlockRequest, FinalBlock, Receipt
from consensus.wire.transactions import SentTransaction

FETCH_PAUSE_S = 0.2
WATCH_PAUSE_S = 1.0
"""How often a node looks whether the streams were rewritten."""

S = TypeVar("S", bound=Signed)
Waiting = Iterable[tuple[bytes, SentTransaction]]


class Voice:
    """The voice of one node."""

    def __init__(
        self,
        genesis: Genesis,
        identity: Identity,
        *,
        ledger: Ledger,
        blobs: Blobs,
        transport: Transport,
        metrics: NodeMetrics,
        log: Any,
        clock: Callable[[], float],
    ) -> None:
        self._genesis, self._identity, self._transport = genesis, identity, transport
        self._log, self._clock = log, clock
        self._answers = Answers(ledger, blobs, identity.index)
        self._downloads = Downloads(genesis.n_validators, identity.index, make_limit(genesis.task))
        has_peers = genesis.n_validators > 1
        self._gossip = (
            Gossip(identity.index, genesis.n_validators)
            if identity.index is not None and has_peers
            else None
        )
        self._finality = Finality(
            genesis,
            identity,
            ledger=ledger,
            say=lambda share: self.say(VOTES, share),
            metrics=metrics,
            log=log,
        )
        self._again, self._announce_again = Repetition(clock()), Repetition(clock())
        self._place: tuple[int, ...] | None = None
        self._fetched_at = self._watched_at = float("-inf")

    # -- once

    def sign(self, message: S) -> S:
        """Signs a message as this validator's."""
        assert self._identity.key is not None  # an observer says nothing of its own
        return sign(self._identity.key, message, self._genesis.digest)

    def say(self, stream: str, *messages: Message) -> None:
        """Sends; what a transport loses that is down is said again when it is up."""
        for message in messages:
            try:
                self._transport.send(stream, message.encode())
            except RedisError as error:
                self._log.warning("message not sent", error=type(error).__name__)
                self.begin_again(after_s=FIRST_PAUSE_S)

    def say_final(self, final: FinalBlock, before: ChainState, after: ChainState) -> None:
        """A block has become final here; with the share of the beacon that is due now."""
        self.say(FINAL, final)
        self._share_beacon(after)
        if after.phase is not before.phase:  # what came too early was not taken
            self._announce_again.begin_again(self._clock() + FIRST_PAUSE_S)

    def fetch(self, height: int) -> None:
        """Asks for the final blocks from this height on."""
        now = self._clock()
        if now - self._fetched_at >= FETCH_PAUSE_S:
            self._fetched_at = now
            self.say(VOTES, BlockRequest(height=height))

    def _share_beacon(self, chain: ChainState) -> None:
        secret, index = self._identity.beacon_secret, self._identity.index
        height = chain.beacon_height
        if height is None or secret is None or index is None:
            return
        share = BeaconShare(
            learning_round=chain.learning_round,
            commit_height=height,
            validator=index,
            share=beacon.sign_share(secret, beacon_message(chain)),
        )
        self.say(VOTES, self.sign(share))

    def note(self, message: SentTransaction | Receipt) -> None:
        """It has come, and all peers have most likely read it too."""
        if self._gossip is None:
            return
        if isinstance(message, Receipt):
            self._gossip.note_receipt(message, self._clock())
        else:
            self._gossip.note_transaction(message.digest, self._clock())

    def take_share(self, share: FinalityShare) -> bool:
        """Whether a share of a certificate may count. share : signed by its validator"""
        return self._finality.add(share) is None

    # -- answers

    def answer(self, request: BlockRequest) -> None:
        """Final blocks, to whoever asks; to who has them all, the share of the last one."""
        self._finality.answer(request.height, self._clock())
        try:
            self.say(FINAL, *self._answers.list_finals(request, self._clock()))
        except LedgerError as error:  # an old block is damaged: others have it
            self._log.error("cannot answer", what=error.what, next_step=error.next_step)

    def answer_blob(self, request: BlobRequest) -> None:
        """A part of a blob that this validator keeps."""
        part = self._answers.find_part(request, self._clock())
        if part is not None:
            self.say(BLOBS, self.sign(part))

    def answer_holdings(self, holdings: Holdings, state: State, waiting: Waiting) -> None:
        """What a peer lacks that has shown what it has, if this node is the one to answer."""
        if self._gossip is None or state.chain.phase is Phase.DONE:
            return
        held = list_held(waiting, state)
        transactions, receipts = self._gossip.list_lacking(holdings, held, self._clock())
        self.say(TRANSACTIONS, *transactions)
        self.say(VOTES, *receipts)

    # -- blobs

    def want_blobs(self, digests: Iterable[bytes]) -> None:
        """Asks peers for these, all that are lacked. Raises RedisError."""
        requests = self._downloads.want(digests, self._clock())
        if self._downloads.is_idle:
            self._transport.ignore(BLOBS)
        else:
            self._transport.listen(BLOBS)
        self.say(VOTES, *requests)

    def hurry_blobs(self) -> None:
        """A block has come that may name what is lacked: who made it has that, and is among peers.

        The pauses have grown, if a client was long in bringing it.
        """
        self._downloads.hurry(self._clock())

    def take_part(self, part: BlobPart) -> bytes | None:
        """A blob whose last part this was. part : signed by the validator that it names"""
        request, raw = self._downloads.take(part, self._clock())
        if request is not None:
            self.say(VOTES, request)
        return raw

    # -- again

    def get_due_time(self, chain: ChainState) -> float:
        """When `repeat` has something to do, as far as is known."""
        if chain.phase is Phase.DONE:
            return self._again.due_at if self._finality.lacks(chain) else float("inf")
        return min(self._again.due_at, self._announce_again.due_at)

    def repeat(self, state: State, list_waiting: Callable[[], Waiting]) -> None:
        """What peers may have missed, and requests for what this node may lack. Raises OSError."""
        now = self._clock()
        self._finality.turn(state.chain, now)
        if state.chain.phase is Phase.DONE:
            if self._finality.lacks(state.chain) and self._again.take_turn(now):
                self.say(VOTES, BlockRequest(height=state.height))
            return
        place = (state.height, state.round, state.step)
        if self._place not in (None, place):
            self._again.begin_again(now + FIRST_PAUSE_S)
        self._place = place
        if self._again.take_turn(now):
            self._share_beacon(state.chain)
            own = (m for m in list_repeats(state) if not isinstance(m, Receipt))
            self.say(VOTES, *own, BlockRequest(height=state.height))
        if self._gossip is not None and self._announce_again.take_turn(now):
            held = list_held(list_waiting(), state)
            self.say(VOTES, self.sign(self._gossip.announce(held)))

    def begin_again(self, *, after_s: float = 0.0) -> None:
        """Messages may be lost: what matters is said again soon."""
        for again in (self._again, self._announce_again):
            again.begin_again(self._clock() + after_s)

    def watch_streams(self) -> None:
        """Reads streams anew that were rewritten. Raises RedisError."""
        now = self._clock()
        if now - self._watched_at < WATCH_PAUSE_S:
            return
        self._watched_at = now
        if self._transport.mind_rewrites():
            self._log.warning("streams were rewritten; read again from their beginning")
            self.begin_again()
