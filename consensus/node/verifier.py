"""What a validator checks about a block beyond `chain.find_fault`: pairings, blobs, sums.

    ORDER, BEACON
             the threshold signature
    REGISTER, COMMIT
             what clients show of their training before it is proven
             (`consensus.node.training_desk`)
    PROVE    every proof, as one batch; the margin over the global model on the same samples; bounds
             around it (`consensus.node.norm_desk`); training; that what is refused does not verify;
             the form of each deal
    MASK, UNMASK, ATTEST, REVEAL
             each payload, as far as it can be judged alone (`consensus.node.aggregation_desk`)
    ELECT    the outcome, computed again

Verdicts are kept by transaction digest: what was checked while it was pending costs nothing in a
block. Nothing here imports the proving half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from consensus.content.interface import Blobs
from consensus.disk.task_keys import load_task_key
from consensus.errors import BlobUnavailable, PoolInvalid
from consensus.learning import beacon
from consensus.learning.admission import find_admission_fault, find_statement_fault
from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain import beacon_message, find_fault
from consensus.learning.chain_state import NO_MODEL, ChainState, Phase
from consensus.learning.samples import SamplePool
from consensus.learning.steps import list_blobs
from consensus.node.aggregation_desk import AggregationDesk
from consensus.node.norm_desk import NormDesk
from consensus.node.training_desk import TrainingDesk
from consensus.wire.genesis import Genesis
from consensus.wire.messages import Block
from consensus.wire.outcomes import Aggregate
from consensus.wire.transactions import (
    Commit,
    Contribution,
    Proof,
    Refusal,
    Register,
    Transaction,
)
from prover.circuit.public_inputs import ShardInputs
from prover.errors import ShapeMismatch
from prover.groth16.verify import verify_batch
from prover.keys.halves import VerifyingKey
from prover.model.network import is_correct
from prover.randomness import RandomBytes
from prover.wire.envelope import Envelope
from prover.wire.verdict import Verdict

MAX_REMEMBERED = 4096
T = TypeVar("T")


class _Memory(Generic[T]):
    """Values by the digests of what they depend on beside the genesis; the oldest make room."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: dict[bytes, T] = {}

    def get(self, name: bytes) -> T | None:
        return self._values.get(name)

    def put(self, name: bytes, value: T) -> T:
        self._values[name] = value
        if len(self._values) > self._size:
            del self._values[next(iter(self._values))]
        return value


class BlockVerifier:
    """Checks blocks of one chain; remembers verdicts, keys and the shard of the round under way.

    random_bytes : of the system; every batch draws its own weights
    Blobs that a check needs must be there: `list_needed_blobs` names them, so that a node fetches
    them first. Keys that do not belong to the genesis raise KeyMismatch or FormatError: no block of
    such a chain can be checked. Not for several threads at a time.
    """

    def __init__(
        self,
        genesis: Genesis,
        blobs: Blobs,
        random_bytes: RandomBytes,
        *,
        may_lack_payloads: bool = False,
    ) -> None:
        """may_lack_payloads : of old rounds, which nodes let go: 2f + 1 validators have checked
        them; `n_sums_unchecked` counts the sums that are not added up again,
        `n_trainings_unchecked` the clients whose proofs of training are not
        """
        self._may_lack_payloads = may_lack_payloads
        self.n_sums_unchecked = self.n_trainings_unchecked = 0
        self._task = genesis.task
        self._genesis = genesis
        self._blobs = blobs
        self._random_bytes = random_bytes
        self._verdicts: _Memory[Verdict] = _Memory(MAX_REMEMBERED)
        self._aggregation = AggregationDesk(genesis, blobs, random_bytes)
        self._norm = NormDesk(self._task, blobs, lambda: self._aggregation.committer, random_bytes)
        self._training = TrainingDesk(
            genesis, blobs, lambda: self._aggregation.committer, random_bytes
        )
        self._faults: _Memory[str] = _Memory(MAX_REMEMBERED)
        self._shards: _Memory[ShardInputs] = _Memory(1)
        self._global_counts: _Memory[int] = _Memory(1)
        self._aggregates: _Memory[Aggregate] = _Memory(1)

    # -- blocks ------------------------------------------------------------------------------------

    def check(self, state: ChainState, block: Block) -> str | None:
        """What forbids this block after this state, `chain.find_fault` included; None: nothing."""
        fault = find_fault(state, block)
        if fault is not None:
            return fault
        try:
            if state.beacon_height is not None:
                message = beacon_message(state)
                valid = beacon.verify(self._genesis.beacon_point, message, block.beacon)
                return None if valid else "the beacon is not the validators' signature"
            if state.phase is Phase.ELECT:
                if block.aggregate[0].lost:
                    return None  # by the rules of `consensus.learning.absence`
                return self._find_sum_fault(state, block)
            faults = self._judge_contents(state, block.transactions)
        except (BlobUnavailable, PoolInvalid) as error:
            return str(error)
        for index, (tx, found) in enumerate(zip(block.transactions, faults, strict=True)):
            if found is not None:
                return f"transaction {index} of client {tx.client_key.hex()}: {found}"
        return None

    def _find_sum_fault(self, state: ChainState, block: Block) -> str | None:
        try:
            same = block.aggregate == (self.build_aggregate(state),)
        except BlobUnavailable:
            if not self._may_lack_payloads:
                raise
            self.n_sums_unchecked += 1
            return None
        return None if same else "the aggregate is not what the payloads come to"

    def judge(self, state: ChainState, transactions: Sequence[Transaction]) -> list[str | None]:
        """What forbids each of these in the next block, by itself; None: nothing.

        What a proposer asks about pending transactions of any kind; one batch for all that remain
        after `find_admission_fault`. Raises BlobUnavailable, PoolInvalid when proofs cannot be
        checked.
        """
        faults = [find_admission_fault(state, tx) for tx in transactions]
        rest = [tx for tx, fault in zip(transactions, faults, strict=True) if fault is None]
        found = iter(self._judge_contents(state, rest))
        return [next(found) if fault is None else fault for fault in faults]

    def check_proofs(self, state: ChainState, proofs: Sequence[Proof]) -> list[Verdict]:
        """The verdict on each proof by itself, were it in the next block; for pending ones.

        What is not admissible is a wrong statement, or malformed. Raises BlobUnavailable,
        PoolInvalid.
        """
        admitted = [proof for proof in proofs if find_admission_fault(state, proof) is None]
        found = dict(
            zip(
                (proof.digest for proof in admitted),
                self._judge_proofs(state, admitted),
                strict=True,
            )
        )
        return [found.get(proof.digest) or _refuse(proof) for proof in proofs]

    def build_aggregate(self, state: ChainState) -> Aggregate:
        """The aggregate that the next block must carry; a model of it is put into the blobs.

        Raises ValueError outside of the ELECT phase, BlobUnavailable when a blob is not here.
        """
        if state.phase is not Phase.ELECT:
            raise ValueError("no aggregate is due in this phase")
        known = self._aggregates.get(state.digest)
        return known or self._aggregates.put(state.digest, self._aggregation.build(state))

    def list_needed_blobs(self, state: ChainState, block: Block) -> tuple[bytes, ...]:
        """Digests of what `check` will read for this block, which `find_fault` lets pass."""
        grounds = self._list_grounds(state) if block.transactions else ()
        named = [digest for tx in block.transactions for digest in list_blobs(state, tx)]
        return tuple(dict.fromkeys((*grounds, *named, *self._list_summed(state, block))))

    def _list_grounds(self, state: ChainState) -> tuple[bytes, ...]:
        """Digests of what transactions of this phase are judged by, whoever sends them."""
        if state.phase is not Phase.PROVE:
            return self._aggregation.list_grounds(state)
        task = self._task
        pool = (task.verifying_key_digest, task.get_pool(state.learning_round))
        model = () if self._get_margin(state) is None else (state.global_model,)
        asked = (*self._norm.list_needed(state), *self._training.list_needed(state))
        return (*pool, *model, *asked)

    def _list_summed(self, state: ChainState, block: Block) -> tuple[bytes, ...]:
        """Digests of what the aggregate of this block is computed from."""
        match state.phase:
            case Phase.ELECT if not any(aggregate.lost for aggregate in block.aggregate):
                return self._aggregation.list_needed(state)
            case _:
                return ()

    def find_missing_blobs(self, digests: Iterable[bytes]) -> tuple[bytes, ...]:
        """Those of these that cannot be had here."""
        return tuple(digest for digest in dict.fromkeys(digests) if not self._is_here(digest))

    def _is_here(self, digest: bytes) -> bool:
        try:
            self._blobs.get(digest)
        except BlobUnavailable:
            return False
        return True

    # -- transactions ------------------------------------------------------------------------------

    def _judge_contents(
        self, state: ChainState, transactions: Sequence[Transaction]
    ) -> list[str | None]:
        """Faults of transactions that `find_admission_fault` lets pass; all are of the phase's
        kind.
        """
        match state.phase:
            case Phase.PROVE:
                proofs = [tx.proof if isinstance(tx, Refusal) else tx for tx in transactions]
                verdicts = self._judge_proofs(state, _only(Proof, proofs))
                return [
                    self._find_verdict_fault(state, tx, verdict)
                    or self._find_payload_fault(state, tx)
                    for tx, verdict in zip(transactions, verdicts, strict=True)
                ]
            case _:
                return [self._find_payload_fault(state, tx) for tx in transactions]

    def _judge_proofs(self, state: ChainState, proofs: Sequence[Proof]) -> list[Verdict]:
        """Statement and margin against this state, then the equations, or what is remembered."""
        if not proofs:
            return []
        shard = self._load_shard(state)
        verdicts = [self._judge_statement(state, proof, shard) for proof in proofs]
        new = [i for i, verdict in enumerate(verdicts) if verdict is None]
        checked = verify_batch(
            [proofs[i].envelope for i in new],
            key=self._key,
            public_inputs=shard.defer,
            random_bytes=self._random_bytes,
        )
        bounded = self._norm.judge(state, [proofs[i] for i in new])
        trained = self._judge_trainings(state, [proofs[i] for i in new])
        for i, *found in zip(new, checked, bounded, trained, strict=True):
            verdict = next((v for v in found if v is not Verdict.VALID), Verdict.VALID)
            verdicts[i] = self._verdicts.put(proofs[i].digest, verdict)
        return [verdict or Verdict.MALFORMED for verdict in verdicts]

    def _judge_trainings(self, state: ChainState, proofs: Sequence[Proof]) -> list[Verdict]:
        """Of the equations of training; VALID where nobody has them any more."""
        held = [proof for proof in proofs if not self._is_let_go(state, proof)]
        self.n_trainings_unchecked += len(proofs) - len(held)
        found = dict(zip((p.digest for p in held), self._training.judge(held), strict=True))
        return [found.get(proof.digest, Verdict.VALID) for proof in proofs]

    def _judge_statement(
        self, state: ChainState, proof: Proof, shard: ShardInputs
    ) -> Verdict | None:
        """A verdict without any pairing; None: the equations decide."""
        envelope = Envelope.decode(proof.envelope)
        if envelope is None:
            return Verdict.MALFORMED
        statement = envelope.statement
        if find_statement_fault(state, proof.client_key, statement, shard.digest) is not None:
            return Verdict.WRONG_STATEMENT
        if self._norm.find_fault(state, proof) is not None:
            return Verdict.WRONG_STATEMENT
        if not self._is_let_go(state, proof) and self._find_training_fault(state, proof):
            return Verdict.WRONG_STATEMENT
        margin = self._get_margin(state)
        n_claimed = statement.claimed_correct
        if margin is not None and n_claimed < self._count_global(state, shard) + margin:
            return Verdict.WRONG_STATEMENT
        return self._verdicts.get(proof.digest)

    def _find_verdict_fault(
        self, state: ChainState, tx: Transaction, verdict: Verdict
    ) -> str | None:
        """What a verdict means for a proof, or for the refusal of one."""
        if isinstance(tx, Refusal):
            is_wrong = verdict is Verdict.VALID and not self._is_let_go(state, tx.proof)
            return "it refuses a valid proof" if is_wrong else None
        if verdict is Verdict.VALID:
            return None
        fault = None
        if isinstance(tx, Proof) and not self._is_let_go(state, tx):
            fault = self._find_training_fault(state, tx)
        return fault or f"its proof is {verdict}"

    # -- blobs of clients --------------------------------------------------------------------------

    def _find_payload_fault(self, state: ChainState, tx: Transaction) -> str | None:
        """What is wrong with the blobs that a client names, apart from its proofs of training."""
        try:
            match tx:
                case Proof() | Contribution():
                    found = self._aggregation.find_fault
                    return self._remember(state, tx, lambda: found(state, tx))
                case Register() | Commit():
                    return self._find_training_fault(state, tx)
                case Refusal():
                    return None
        except BlobUnavailable:
            if not self._may_lack_payloads:
                raise
            return None

    def _find_training_fault(self, state: ChainState, tx: Register | Commit | Proof) -> str | None:
        """What is wrong with what a client shows of its training, but for equations."""
        find = self._training.find_fault
        return self._remember(state, tx, lambda: find(state, tx), name=b"training")

    def _is_let_go(self, state: ChainState, proof: Proof) -> bool:
        """Whether this is of an old round, and what its training is judged by is here no more."""
        if not self._may_lack_payloads:
            return False
        try:
            self._find_training_fault(state, proof)
        except BlobUnavailable:
            return True
        return False

    def _remember(
        self,
        state: ChainState,
        tx: Transaction,
        find: Callable[[], str | None],
        *,
        name: bytes = b"",
    ) -> str | None:
        """A fault is looked for once in a round; "" is remembered for none."""
        place = name + state.order_beacon + state.beacon + tx.digest
        known = self._faults.get(place)
        if known is None:
            known = self._faults.put(place, find() or "")
        return known or None

    # -- samples ------------------------------------------------------------------------

    def _load_shard(self, state: ChainState) -> ShardInputs:
        """What the beacon drew. Raises BlobUnavailable, PoolInvalid."""
        pool_digest = self._task.get_pool(state.learning_round)
        known = self._shards.get(pool_digest + state.beacon)
        if known is not None:
            return known
        pool = SamplePool.parse(self._blobs.get(pool_digest))
        if bool(pool.salt) != self._task.sealed:
            raise PoolInvalid("a sealed pool has a salt, an open one has none")
        images, labels = pool.draw(state.beacon, self._task.n_samples)
        try:
            shard = ShardInputs.of(self._task.layout, images, labels)
        except ShapeMismatch as error:
            raise PoolInvalid(str(error)) from None
        return self._shards.put(pool_digest + state.beacon, shard)

    def _get_margin(self, state: ChainState) -> int | None:
        """How many samples more than the global model a proof must show, or minus how many fewer it
        may; None: any will do."""
        return None if state.global_model == NO_MODEL else self._task.margin

    def _count_global(self, state: ChainState, shard: ShardInputs) -> int:
        """How many of the shard's samples the global model, rounded, gets right."""
        name = state.global_model + shard.digest
        known = self._global_counts.get(name)
        if known is not None:
            return known
        model = GlobalModel.parse(self._blobs.get(state.global_model)).rounded()
        correct = is_correct(model.logits(shard.images), shard.labels)
        return self._global_counts.put(name, int(np.count_nonzero(correct)))

    # -- keys --------------------------------------------------------------------------------------

    @cached_property
    def _key(self) -> VerifyingKey:
        return load_task_key(self._task, self._blobs)


K = TypeVar("K", bound=Transaction)


def _only(kind: type[K], transactions: Sequence[Transaction]) -> list[K]:
    """The transactions, which `find_admission_fault` let pass only if they are of this kind."""
    return [tx for tx in transactions if isinstance(tx, kind)]


def _refuse(proof: Proof) -> Verdict:
    return Verdict.MALFORMED if Envelope.decode(proof.envelope) is None else Verdict.WRONG_STATEMENT
