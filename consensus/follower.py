"""A light client: final blocks in, state out; nothing is trusted but the genesis.

What 2f + 1 validators signed is final; the rules that need no pairing are checked again. With a
verifier every proof, opening, beacon and aggregate is checked as well (`zkpot chain verify`).
"""

from __future__ import annotations

from consensus.chain import ChainState, apply, find_fault, start
from consensus.genesis import Genesis
from consensus.identity import authenticate
from consensus.messages import FinalBlock
from consensus.verifier import BlockVerifier


class Follower:
    """The chain as far as it was shown."""

    def __init__(self, genesis: Genesis, verifier: BlockVerifier | None = None) -> None:
        self.state: ChainState = start(genesis)
        self._genesis, self._verifier = genesis, verifier

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
