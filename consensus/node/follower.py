"""A light client: final blocks in, state out; nothing is trusted but the genesis.

What 2f + 1 validators signed is final; the rules that need no pairing are checked again. With a
verifier every proof, opening, beacon and aggregate is checked as well (`zkpot chain verify`).
"""

from __future__ import annotations

from consensus.agreement.authentication import authenticate
from consensus.learning.chain import apply, find_fault
from consensus.learning.chain import start as begin
from consensus.learning.chain_state import ChainState
from consensus.node.verifier import BlockVerifier
from consensus.wire.genesis import Genesis
from consensus.wire.messages import FinalBlock


class Follower:
    """The chain as far as it was shown. start : a state that a snapshot pins; None: the genesis"""

    def __init__(
        self,
        genesis: Genesis,
        verifier: BlockVerifier | None = None,
        *,
        start: ChainState | None = None,
    ) -> None:
        self.state: ChainState = start or begin(genesis)
        self._genesis, self._verifier = genesis, verifier

    def list_missing(self, final: FinalBlock) -> tuple[bytes, ...]:
        """Digests of blobs that are lacked to take this block; none for one that is faulty anyway.

        2f + 1 validators keep them: ask, and then take the block.
        """
        block = final.block
        if self._verifier is None or block.height != self.state.height + 1:
            return ()
        if authenticate(final, self._genesis) or find_fault(self.state, block):
            return ()
        needed = self._verifier.list_needed_blobs(self.state, block)
        return self._verifier.find_missing_blobs(needed)

    def restart(self, state: ChainState) -> None:
        """Goes on from a state that a snapshot pins."""
        self.state = state

    def take(self, final: FinalBlock) -> str | None:
        """Goes on by one block; or why it does not, and stays where it was."""
        block = final.block
        if block.height != self.state.height + 1:
            return f"height {block.height} after height {self.state.height}"
        fault = authenticate(final, self._genesis)
        if fault is None:
            check = self._verifier.check if self._verifier else find_fault
            fault = check(self.state, block)
        if fault is None:
            self.state = apply(self.state, block)
        return fault
