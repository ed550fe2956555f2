"""Shares of the latest final blocks, and the newest certificate that they give. Pure.

    add(share) ──> kept, one of each validator and height ──combine──> certificate

A share costs no pairing when it comes: f + 1 of them are added up and their sum is verified, once
for a block; only a sum that fails has its shares tested, and who gave a false one is left out from
then on. So each of f false validators spoils one sum, once, and none can prevent a certificate:
2f + 1 others sign. Were more than f left out, keys would be wrong: from the next block on all count
again.
"""

from __future__ import annotations

from consensus.errors import GenesisInvalid
from consensus.finality.certificate import Statement, combine, is_signed, verify_share
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
        self._shares: dict[int, dict[int, bytes]] = {}
        self._tested: dict[int, dict[int, bool]] = {}
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
        for kept in (self._statements, self._shares, self._tested):
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
        known = self._shares.setdefault(share.height, {})
        if known.setdefault(share.validator, share.share) != share.share:
            return "a second share of its validator"
        return None

    def combine(self) -> FinalityCertificate | None:
        """A newer certificate than the last one, kept from now on; None: shares are missing.

        Raises GenesisInvalid for keys that no dealer deals.
        """
        for height in sorted(self._statements, reverse=True):
            if height <= self.certified:
                break
            found = self._combine(height, self._statements[height])
            if found is not None:
                self.certificate = found
                return found
        return None

    def _combine(self, height: int, statement: Statement) -> FinalityCertificate | None:
        message = statement.encode(self._genesis.digest)
        while (chosen := self._choose(height)) is not None:
            signature = combine(chosen)
            if signature is not None and is_signed(self._genesis, message, signature):
                return statement.certify(signature)
            self._test(height, message, chosen)
        return None

    def _choose(self, height: int) -> dict[int, bytes] | None:
        """f + 1 shares, none of which was found false; None while they are missing."""
        shares, tested = self._shares.get(height, {}), self._tested.get(height, {})
        fit = sorted(v for v in shares if v not in self.liars and tested.get(v, True))
        n_needed = self._genesis.n_faulty + 1
        return {v: shares[v] for v in fit[:n_needed]} if len(fit) >= n_needed else None

    def _test(self, height: int, message: bytes, chosen: dict[int, bytes]) -> None:
        """Of shares whose sum fails one at least is false: f + 1 true ones give the signature.

        Raises GenesisInvalid where the keys are of no one polynomial.
        """
        tested = self._tested.setdefault(height, {})
        for validator, share in chosen.items():
            if validator not in tested:
                tested[validator] = verify_share(self._genesis, validator, message, share)
        false = {validator for validator in chosen if not tested[validator]}
        if not false:
            raise GenesisInvalid("beacon_key", "is not the key that the validators share")
        self.liars |= false
