"""What goes into `consensus.agreement.state.step` and what comes out of it; the rules it asks for.

The shell (`consensus.node.node`, or the simulator of the tests) turns bytes, timers and checks into
events, and carries effects out in their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from consensus.agreement.votes import n_faulty, quorum
from consensus.wire.messages import Block, Evidence, FinalBlock, Proposal, Receipt, Step, Vote
from consensus.wire.transactions import SentTransaction

ConsensusMessage = Proposal | Vote | Receipt


class Chain(Protocol):
    """What `step` reads of a `ChainState`; the rest is for the rules."""

    @property
    def height(self) -> int: ...

    @property
    def head(self) -> bytes: ...

    @property
    def learning_round(self) -> int: ...

    @property
    def phase(self) -> str: ...


class Rules(Protocol):
    """The meaning of blocks: `consensus.learning.rules.ChainRules`, or a toy in tests. Pure."""

    def apply(self, chain: Any, block: Block) -> Any:
        """The chain after a final block."""

    def proposers(self, chain: Any) -> tuple[int, ...]:
        """Who may propose the next height; round r takes entry r mod n."""

    def takes(self, chain: Any, tx: SentTransaction) -> bool:
        """Whether the next block may hold it, by its kind, its round and its client."""

    def awaits(self, chain: Any, client_key: bytes) -> bool:
        """Whether the next block may hold a transaction of this client."""

    def is_full(self, chain: Any, block: Block) -> bool:
        """Whether the block may have no room for one more transaction."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Who this node is. validator : its index, None for an observer that never votes"""

    n_validators: int
    validator: int | None
    rules: Rules

    @cached_property
    def quorum(self) -> int:
        return quorum(self.n_validators)

    @cached_property
    def support(self) -> int:
        """f + 1 validators: at least one of them is correct."""
        return n_faulty(self.n_validators) + 1


# -- events ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The process runs: once, first, after `start` or `restore`."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message that `authentication.authenticate` has passed, of others or one's own, signed."""

    message: ConsensusMessage


@dataclass(frozen=True, slots=True)
class TimeoutFired:
    """What `Schedule` asked for. Late ones do nothing."""

    step: Step
    height: int
    round: int


@dataclass(frozen=True, slots=True)
class BlockBuilt:
    """The block that `Build` asked for."""

    height: int
    round: int
    block: Block


@dataclass(frozen=True, slots=True)
class BlockChecked:
    """The verdict that `Check` asked for. fault : None if the block is valid after the chain's head

    leaves_out : what it could hold and this node has; then the block is refused while it is new
    "Not now" (a blob is missing) is no verdict: the shell tries again.
    """

    height: int
    block_hash: bytes
    fault: str | None
    leaves_out: bool = False


@dataclass(frozen=True, slots=True)
class FinalReceived:
    """A block whose certificate `authentication.authenticate` has passed."""

    final: FinalBlock


@dataclass(frozen=True, slots=True)
class Held:
    """A pending transaction that is valid after the chain's head: verified, with all its blobs."""

    transaction: SentTransaction


Event = Started | Received | TimeoutFired | BlockBuilt | BlockChecked | FinalReceived | Held

# -- effects ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Sign it, send it to everyone, and give it back as `Received`.

    Before it leaves, `grounds` and the signed message must be in the log, synchronized with the
    disk (no need for a Receipt). grounds : for a precommit, the proposal and prevotes that bind us
    """

    message: ConsensusMessage
    grounds: tuple[ConsensusMessage, ...] = ()


@dataclass(frozen=True, slots=True)
class Relay:
    """Send these to everyone as they are: signed, by whomever."""

    messages: tuple[ConsensusMessage, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Let `TimeoutFired` come after the timeout of this step, which grows with the round.

    The timeout of PROPOSE must exceed the time that a proposer waits for something to propose.
    """

    step: Step
    height: int
    round: int


@dataclass(frozen=True, slots=True)
class Build:
    """Make a block for this height and round: `BlockBuilt`, as soon as there is one."""

    height: int
    round: int


@dataclass(frozen=True, slots=True)
class Check:
    """Check this block of the height under way: `BlockChecked`."""

    block: Block
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class Finalize:
    """This block is final: into the ledger, on disk, before any effect that follows."""

    final: FinalBlock


@dataclass(frozen=True, slots=True)
class Fetch:
    """Others are beyond this height: ask them for its FinalBlock. May come often."""

    height: int


@dataclass(frozen=True, slots=True)
class Accuse:
    """Two votes of one validator contradict each other: put it into a block."""

    evidence: Evidence


Effect = Send | Relay | Schedule | Build | Check | Finalize | Fetch | Accuse
