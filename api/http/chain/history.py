"""The chain as the API shows it: every final block that a follower has verified, and what it did.

Blocks come in order from one thread; readers are many. Of a block a view is kept, not its bytes,
and only of the last blocks and of each client's last rounds: nodes have the rest.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from threading import Condition

from api.http.chain.schemas import (
    BlockList,
    BlockView,
    ClientList,
    ClientView,
    EntryView,
    LeaderView,
    RoundView,
    TrainingView,
    TransactionView,
)
from consensus.learning.chain import proposers, start
from consensus.learning.chain_state import ChainState
from consensus.learning.steps import PHASES
from consensus.wire.genesis import Genesis, Task
from consensus.wire.messages import Block, FinalBlock
from consensus.wire.outcomes import Aggregate
from consensus.wire.transactions import (
    Commit,
    Contribution,
    Proof,
    Refusal,
    Register,
    RoundStep,
    Transaction,
)
from prover.wire.envelope import Envelope

KEEP_BLOCKS = 4096
KEEP_ROUNDS = 256


class ChainHistory:
    """Views of a chain. `append` takes blocks that are verified; it checks nothing.

    keep_blocks : how many of the last blocks are shown; keep_rounds : of a client's trail
    """

    def __init__(
        self, genesis: Genesis, *, keep_blocks: int = KEEP_BLOCKS, keep_rounds: int = KEEP_ROUNDS
    ) -> None:
        self.genesis = genesis
        self._n_samples = genesis.task.n_samples
        self._training = view_training(genesis.task)
        self._state = start(genesis)
        self._blocks: deque[BlockView] = deque(maxlen=keep_blocks)
        self._keep_rounds = keep_rounds
        self._clients: dict[str, ClientView] = {}
        self._changed = Condition()

    def append(self, final: FinalBlock, after: ChainState) -> None:
        """The next final block, and the chain's state after it."""
        with self._changed:
            before, self._state = self._state, after
            self._blocks.append(view_block(final, before, after))
            for tx in final.block.transactions:
                self._record(tx, final.block.height, before.learning_round)
            self._record_aggregate(final.block)
            self._changed.notify_all()

    def restart(self, state: ChainState) -> None:
        """Goes on from a later state; nobody has the blocks before it any more.

        Clients are known from the state, but not when they registered, nor their rounds before.
        """
        with self._changed:
            self._state = state
            self._blocks.clear()
            for client, validator in state.clients.items():
                view = ClientView(
                    client_key=client.hex(),
                    validator=validator,
                    registered_at=None,
                    governance_weight=0,
                    rounds=[],
                )
                self._clients.setdefault(client.hex(), view)

    @property
    def height(self) -> int:
        """Height of the last block."""
        return self._state.height

    @property
    def first(self) -> int:
        """The lowest height that is shown, or the next one to come."""
        return self._state.height + 1 - len(self._blocks)

    def wait(self, height: int, timeout_s: float) -> int:
        """The height, once it is more than the given one or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.height > height, timeout_s)
            return self.height

    def list_blocks(self, *, limit: int, before: int | None) -> BlockList:
        """Newest first, below height `before`."""
        with self._changed:
            top = self.height if before is None else min(self.height, before - 1)
            end = max(0, top + 1 - self.first)
            found = list(islice(self._blocks, max(0, end - limit), end))[::-1]
            more = bool(found) and found[-1].height > self.first
            return BlockList(
                height=self.height, blocks=found, next=found[-1].height if more else None
            )

    def get_block(self, height: int) -> BlockView | None:
        """None for one that is not shown: still to come, or too long ago."""
        with self._changed:
            return self._blocks[height - self.first] if self._shows(height) else None

    def _shows(self, height: int) -> bool:
        return self.first <= height <= self.height

    def get_client(self, client_key: str) -> ClientView | None:
        with self._changed:
            found = self._clients.get(client_key)
            return None if found is None else self._weigh(found)

    def list_clients(self) -> ClientList:
        """The clients, in the order of their registration."""
        with self._changed:
            return ClientList(clients=[self._weigh(client) for client in self._clients.values()])

    def view_leader(self) -> LeaderView:
        with self._changed:
            state = self._state
        return LeaderView(
            height=state.height,
            learning_round=state.learning_round,
            phase=state.phase.value,
            client_key=None if state.leader is None else state.leader.hex(),
            validator=proposers(state)[0],
            ranking=[client.hex() for client in state.ranking],
            training=self._training,
        )

    def _record(self, tx: Transaction, height: int, learning_round: int) -> None:
        key = tx.client_key.hex()
        if isinstance(tx, Register):
            self._clients[key] = ClientView(
                client_key=key,
                validator=tx.validator,
                registered_at=height,
                governance_weight=0,
                rounds=[],
            )
        elif isinstance(tx, Commit):
            self._change(key, learning_round, committed_at=height)
        elif isinstance(tx, Refusal):
            self._change(key, learning_round, refused_at=height)
        elif isinstance(tx, Proof):
            claimed = _read_claim(tx)
            steps = None if self._training is None else self._training.proven_steps
            self._change(
                key,
                learning_round,
                proven_at=height,
                claimed_correct=claimed,
                proven_steps=steps,
            )
        elif tx.step == RoundStep.MASK:
            self._change(key, learning_round, masked_at=height)
        elif tx.step == RoundStep.UNMASK:
            self._change(key, learning_round, unmasked_at=height)

    def _record_aggregate(self, block: Block) -> None:
        for aggregate in block.aggregate:
            for exclusion in aggregate.excluded:
                key = exclusion.client_key.hex()
                self._change(key, aggregate.learning_round, excluded_for=exclusion.cheat.value)
            for entry in aggregate.entries:
                self._change(
                    entry.client_key.hex(), aggregate.learning_round, entered_at=block.height
                )

    def _change(self, key: str, learning_round: int, **values: int | str | None) -> None:
        """Sets fields of a client's round; answers that were given keep theirs."""
        client = self._clients[key]
        rounds = {view.learning_round: view for view in client.rounds}
        old = rounds.get(learning_round) or RoundView(
            learning_round=learning_round,
            n_samples=self._n_samples,
            n_steps=None if self._training is None else self._training.n_steps,
        )
        rounds[learning_round] = old.model_copy(update=values)
        kept = list(rounds.values())[-self._keep_rounds :]
        self._clients[key] = client.model_copy(update={"rounds": kept})

    def _weigh(self, client: ClientView) -> ClientView:
        weight = self._state.weights.get(bytes.fromhex(client.client_key), 0)
        return client.model_copy(update={"governance_weight": weight})


def view_training(task: Task) -> TrainingView | None:
    """What the API says of the training that a task asks for."""
    if task.training is None:
        return None
    terms = task.training.make_terms(task.architecture)
    return TrainingView(
        n_steps=terms.n_steps,
        proven_steps=terms.n_drawn,
        batch_size=terms.recipe.batch_size,
        recipe=terms.recipe.digest.hex(),
    )


def view_block(final: FinalBlock, before: ChainState, after: ChainState) -> BlockView:
    """What the API says of a block, by the states before and after it."""
    block, training = final.block, before.genesis.task.training
    ended = any(aggregate.ends_round for aggregate in block.aggregate)
    return BlockView(
        height=block.height,
        hash=block.hash.hex(),
        parent=block.parent.hex(),
        proposer=block.proposer,
        round=final.certificate.round,
        voters=[vote.validator for vote in final.certificate.votes],
        learning_round=before.learning_round,
        phase=after.phase.value,
        leader=None if after.leader is None else after.leader.hex(),
        beacon=block.beacon.hex(),
        global_model=after.global_model.hex() if ended else None,
        outcome=next((_describe_outcome(aggregate) for aggregate in block.aggregate), None),
        entries=[
            EntryView(client_key=entry.client_key.hex(), proven=entry.proven)
            for aggregate in block.aggregate
            for entry in aggregate.entries
        ],
        transactions=[
            _view_transaction(tx, None if training is None else training.n_drawn)
            for tx in block.transactions
        ],
        evidence_against=[evidence.first.validator for evidence in block.evidence],
        n_bytes=len(block.encode()),
    )


def _describe_outcome(aggregate: Aggregate) -> str:
    """One word, and why there is no model."""
    words = (aggregate.ending, *aggregate.reason)
    return ": ".join(word.value for word in words)


def _view_transaction(tx: Transaction, n_drawn: int | None) -> TransactionView:
    """n_drawn : steps that an accepted proof is of"""
    return TransactionView(
        kind=type(tx).__name__.lower(),
        digest=tx.digest.hex(),
        client_key=tx.client_key.hex(),
        learning_round=None if isinstance(tx, Register) else tx.learning_round,
        claimed_correct=_read_claim(tx) if isinstance(tx, Proof | Refusal) else None,
        d_w=tx.d_w.hex() if isinstance(tx, Commit) else None,
        proven_steps=n_drawn if isinstance(tx, Proof) else None,
        step=PHASES[tx.step].value if isinstance(tx, Contribution) else None,
    )


def _read_claim(tx: Proof | Refusal) -> int | None:
    envelope = Envelope.decode(tx.proof.envelope if isinstance(tx, Refusal) else tx.envelope)
    return None if envelope is None else envelope.statement.claimed_correct
