"""Shares of the latest final blocks, and the newest certificate that they give. Pure.

    add(share) ──> kept, one of each validator and height ──combine──> certificate

A share costs no pairing when it comes (`consensus.learning.beacon.ShareSet`), and who gave a false
one is left out from then on. So each of f false validators spoils one sum, once, and none can
prevent a certificate: 2f + 1 others sign. Were more than f left out, keys would be wrong: from the
next block on all count again.
"""

from __future__ import annotations

from consensus.finality.certificate import TAG, Statement
from consensus.learning.beacon import ShareSet
from consensus.learning.chain_state import ChainState
from consensus.wire.finality import FinalityCertificate, FinalityShare
from consensus.wire.genesis import Genesis

BEHIND = 8
"""Heights up to the last block whose shares count: in a busy chain some come after the next one."""
AHEAD = 8
"""Heights beyond it of which shares are kept: others may be ahead by so many."""


class ShareBook:
    """What one node has of shares. Its memory: BEHIND + AHEAD shares of each validator.

    certificate : the newest one, if any is known
    liars       : who gave a false share, and is left out
    """

    def __init__(self, genesis: Genesis, certificate: FinalityCertificate | None = None) -> None:
        self._genesis, self.certificate = genesis, certificate
        self._height = 0
        self._statements: dict[int, Statement] = {}
        self._shares: dict[int, ShareSet] = {}
        self.liars: set[int] = set()

    @property
    def certified(self) -> int:
        """Height of the newest certificate; 0 without one."""
        return 0 if self.certificate is None else self.certificate.height

    def move_on(self, state: ChainState) -> None:
        """The state after a block that is final here; shares of its height count from now on."""
        self._height = state.height
        if len(self.liars) > self._genesis.n_faulty:
            self.liars.clear()
        self._statements[state.height] = Statement.of(state)
        for kept in (self._statements, self._shares):
            for height in [h for h in kept if not self._is_near(h)]:
                del kept[height]

    def _is_near(self, height: int) -> bool:
        first = max(self._height - BEHIND, self.certified)
        return first < height <= self._height + AHEAD

    def add(self, share: FinalityShare) -> str | None:
        """Why a share counts for nothing; None: it may, or it is known. share : signed by its
        validator"""
        if not self._is_near(share.height):
            return None if share.height <= self._height else "a share of a block that is far off"
        if share.height not in self._shares:
            self._shares[share.height] = ShareSet(self._genesis, tag=TAG)
        is_kept = self._shares[share.height].add(share.validator, share.share)
        return None if is_kept else "a second share of its validator"

    def combine(self) -> FinalityCertificate | None:
        """A newer certificate than the last one, kept from now on; None: shares are missing."""
        for height in sorted(self._statements, reverse=True):
            if height <= self.certified:
                break
            found = self._combine(height, self._statements[height])
            if found is not None:
                self.certificate = found
                return found
        return None

    def _combine(self, height: int, statement: Statement) -> FinalityCertificate | None:
        shares = self._shares.get(height)
        if shares is None:
            return None
        signature = shares.combine(statement.encode(self._genesis.digest), self.liars)
        return None if signature is None else statement.certify(signature)
