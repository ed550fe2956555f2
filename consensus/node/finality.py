"""A node's part in certificates of final blocks: its own share, those of others, the newest one.

A share is made of the state after the last block that is final here and on this disk, and of
nothing earlier: the caller hands that state over. It is said once, and again to who asks for the
next block, which a node does as long as it lacks something; ever more rarely. After a restart the
same share is made again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consensus.disk.certificates import load_certificate, save_certificate
from consensus.disk.identity import Identity, sign
from consensus.disk.ledger import Ledger
from consensus.finality.certificate import Statement, sign_share
from consensus.finality.shares import ShareBook
from consensus.learning.chain_state import ChainState
from consensus.node.metrics import NodeMetrics
from consensus.node.repetition import FIRST_PAUSE_S, Repetition
from consensus.wire.finality import FinalityShare
from consensus.wire.genesis import Genesis


class Finality:
    """The certificates of one node. say(share) : tells all peers; observers say nothing"""

    def __init__(
        self,
        genesis: Genesis,
        identity: Identity,
        *,
        ledger: Ledger,
        say: Callable[[FinalityShare], None],
        metrics: NodeMetrics,
        log: Any,
    ) -> None:
        """Raises OSError."""
        self._genesis, self._identity, self._home = genesis, identity, ledger.home
        self._say, self._metrics, self._log = say, metrics, log
        self._book = ShareBook(genesis, load_certificate(ledger.home, genesis))
        self._metrics.certified.set(self._book.certified)
        self._height = 0
        self._own: FinalityShare | None = None
        self._again = Repetition(0.0)

    def lacks(self, chain: ChainState) -> bool:
        """Whether the last block has no certificate here yet."""
        return self._book.certified < chain.height

    def add(self, share: FinalityShare) -> str | None:
        """Why a share, signed by its validator, counts for nothing; None: it may."""
        return self._book.add(share)

    def turn(self, chain: ChainState, now: float) -> None:
        """What follows from new blocks and shares. chain : after the last final block, on disk

        Raises OSError.
        """
        if chain.height != self._height:
            self._height = chain.height
            self._begin_height(chain, now)
        known = set(self._book.liars)
        certificate = self._book.combine()
        for validator in sorted(self._book.liars - known):
            self._log.warning("share of finality is false", validator=validator)
        if certificate is not None:
            save_certificate(self._home, certificate)
            self._metrics.certified.set(certificate.height)

    def _begin_height(self, chain: ChainState, now: float) -> None:
        self._book.move_on(chain)
        self._again.begin_again(now + FIRST_PAUSE_S)
        self._own = self._make_share(chain)
        if self._own is not None:
            self._book.add(self._own)
            self._say(self._own)

    def _make_share(self, chain: ChainState) -> FinalityShare | None:
        who = self._identity
        if who.index is None or who.key is None or who.beacon_secret is None:
            return None
        message = Statement.of(chain).encode(self._genesis.digest)
        share = FinalityShare(
            height=chain.height,
            validator=who.index,
            share=sign_share(who.beacon_secret, message),
        )
        return sign(who.key, share, self._genesis.digest)

    def answer(self, height: int, now: float) -> None:
        """Says the own share again, rarely, to who asks for blocks from this height on."""
        is_at_head = height == self._height + 1
        if is_at_head and self._own is not None and self._again.take_turn(now):
            self._say(self._own)
