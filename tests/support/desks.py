"""A desk of a node, with a judge that says what it is told in place of the verifier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import structlog
from structlog.testing import LogCapture

from consensus.learning.chain import apply
from consensus.learning.chain_state import ChainState, Phase
from consensus.node.desk import Desk
from consensus.node.metrics import NodeMetrics
from consensus.wire.messages import Block
from consensus.wire.outcomes import Aggregate
from consensus.wire.transactions import Transaction
from tests.support.learning import Lab
from tests.support.memory_blobs import MemoryBlobs

LAB = Lab()


class Judge:
    """Stands for the verifier: finds what it is told to, and notes what it is asked.

    absent : blobs that are not here; `lost` are gone once a block is checked
    """

    def __init__(self) -> None:
        self.faults: dict[bytes, str] = {}
        self.error: Exception | None = None
        self.block_fault: str | None = None
        self.needed: tuple[bytes, ...] = ()
        self.absent: set[bytes] = set()
        self.lost: set[bytes] = set()
        self.batches: list[list[Transaction]] = []
        self.looked_for: list[bytes] = []

    def judge(self, chain: ChainState, transactions: Sequence[Transaction]) -> list[str | None]:
        self.batches.append(list(transactions))
        if self.error is not None:
            raise self.error
        return [self.faults.get(tx.digest) for tx in transactions]

    def check(self, chain: ChainState, block: Block) -> str | None:
        self.absent |= self.lost
        return self.block_fault

    def list_needed_blobs(self, chain: ChainState, block: Block) -> tuple[bytes, ...]:
        return self.needed

    def find_missing_blobs(self, digests: Iterable[bytes]) -> tuple[bytes, ...]:
        found = list(digests)
        self.looked_for += found
        return tuple(digest for digest in found if digest in self.absent)

    def build_aggregate(self, chain: ChainState) -> Aggregate:
        return LAB.aggregate(chain)


class Office:
    """A desk, with all that it talks to."""

    def __init__(self) -> None:
        self.judge, self.blobs = Judge(), MemoryBlobs()
        self.metrics, self.log = NodeMetrics(), LogCapture()
        self.desk = Desk(
            LAB.genesis,
            cast(Any, self.judge),
            self.blobs,
            metrics=self.metrics,
            log=structlog.wrap_logger(None, processors=[self.log]),
        )

    def add(self, chain: ChainState, *transactions: Any) -> None:
        for tx in transactions:
            assert self.desk.add_transaction(chain, tx) is None

    def hold(self, chain: ChainState, *transactions: Any) -> list[Any]:
        """Adds and judges them; the valid ones."""
        self.add(chain, *transactions)
        return cast(list[Any], self.desk.judge_pending(chain))

    def draft(self, chain: ChainState, **options: Any) -> Block:
        found = self.desk.draft(chain, proposer=0, certificate=LAB.certify_head(chain), **options)
        assert found is not None
        return found

    def list_wanted(self, chain: ChainState) -> list[bytes]:
        return list(self.desk.list_wanted(chain))

    def measure(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"zkpot_node_{name}", labels)


def reach(phase: Phase, learning_round: int = 0) -> ChainState:
    return LAB.reach(phase, learning_round=learning_round)


def extend(office: Office, chain: ChainState, *transactions: Transaction) -> ChainState:
    """The chain after a block with these, which the desk is told of."""
    after = apply(chain, LAB.block(chain, transactions))
    office.desk.move_on(chain, after)
    return after
