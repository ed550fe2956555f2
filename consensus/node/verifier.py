"""What a validator checks about a block beyond `chain.find_fault`: pairings, blobs, sums.

    BEACON   the threshold signature
    PROVE    every proof, as one batch; the margin over the global model on the same samples;
             that what is refused does not verify
    UPDATE   the opening of each commitment, as one sum
    ELECT    the aggregate, computed again

Verdicts are kept by transaction digest: what was checked while it was pending costs nothing in a
block. Nothing here imports the proving half.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from consensus.content.interface import Blobs
from consensus.disk.task_keys import load_task_key
from consensus.errors import BlobUnavailable, PoolInvalid
from consensus.learning import beacon
from consensus.learning.admission import find_admission_fault, find_statement_fault
from consensus.learning.aggregate import GlobalModel, combine
from consensus.learning.chain import beacon_message, find_fault, list_entries
from consensus.learning.chain_state import NO_MODEL, ChainState, Phase
from consensus.learning.samples import SamplePool
from consensus.wire.genesis import Genesis
from consensus.wire.messages import Aggregate, Block, Entry
from consensus.wire.transactions import Proof, Refusal, Transaction, Update
from kernels.backend import get_backend
from prover.circuit.public_inputs import ShardInputs
from prover.errors import ModelFormatError, ShapeMismatch
from prover.groth16.verify import verify_batch
from prover.keys.halves import VerifyingKey
from prover.model.network import QuantizedModel, is_correct
from prover.model.zkq import decode_model
from prover.pedersen.batch import Opening, judge_openings
from prover.pedersen.commitment import Committer
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

    def __init__(self, genesis: Genesis, blobs: Blobs, random_bytes: RandomBytes) -> None:
        self._task = genesis.task
        self._genesis = genesis
        self._blobs = blobs
        self._random_bytes = random_bytes
        self._verdicts: _Memory[Verdict] = _Memory(MAX_REMEMBERED)
        self._opened: _Memory[bool] = _Memory(MAX_REMEMBERED)
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
            if state.phase is Phase.BEACON:
                message = beacon_message(state)
                valid = beacon.verify(self._genesis.beacon_point, message, block.beacon)
                return None if valid else "the beacon is not the validators' signature"
            if state.phase is Phase.ELECT:
                entries = block.aggregate[0].entries
                same = block.aggregate == (self.build_aggregate(state, entries),)
                return None if same else "the aggregate has another model"
            faults = self._judge_contents(state, block.transactions)
        except (BlobUnavailable, PoolInvalid) as error:
            return str(error)
        for index, (tx, found) in enumerate(zip(block.transactions, faults, strict=True)):
            if found is not None:
                return f"transaction {index} of client {tx.client_key.hex()}: {found}"
        return None

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

    def build_aggregate(
        self, state: ChainState, entries: Sequence[Entry] | None = None
    ) -> Aggregate:
        """The aggregate that the next block must carry; its model is put into the blobs.

        entries : of `list_entries`; all of them when left out
        Raises ValueError outside of the ELECT phase, BlobUnavailable when a model is not here.
        """
        if state.phase is not Phase.ELECT:
            raise ValueError("no aggregate is due in this phase")
        chosen = list_entries(state) if entries is None else tuple(entries)
        place = state.digest + b"".join(entry.client_key for entry in chosen)
        known = self._aggregates.get(place)
        return known or self._aggregates.put(place, self._combine(state, chosen))

    def list_needed_blobs(self, state: ChainState, block: Block) -> tuple[bytes, ...]:
        """Digests of what `check` will read for this block, which `find_fault` lets pass."""
        task = self._task
        match state.phase:
            case Phase.PROVE if block.transactions:
                pool = (task.verifying_key_digest, task.get_pool(state.learning_round))
                asks_for_more = self._get_margin(state) is not None
                return (*pool, state.global_model) if asks_for_more else pool
            case Phase.UPDATE if block.transactions:
                updates = (tx for tx in block.transactions if isinstance(tx, Update))
                return tuple(tx.model_digest for tx in updates)
            case Phase.ELECT:
                entries = (entry for a in block.aggregate for entry in a.entries)
                return tuple(state.updates[entry.client_key] for entry in entries)
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
                return [_find_verdict_fault(*x) for x in zip(transactions, verdicts, strict=True)]
            case Phase.UPDATE:
                return self._judge_updates(state, _only(Update, transactions))
            case _:
                return [None] * len(transactions)

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
        for i, verdict in zip(new, checked, strict=True):
            verdicts[i] = self._verdicts.put(proofs[i].digest, verdict)
        return [verdict or Verdict.MALFORMED for verdict in verdicts]

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
        margin = self._get_margin(state)
        n_claimed = statement.claimed_correct
        if margin is not None and n_claimed < self._count_global(state, shard) + margin:
            return Verdict.WRONG_STATEMENT
        return self._verdicts.get(proof.digest)

    def _judge_updates(self, state: ChainState, updates: Sequence[Update]) -> list[str | None]:
        faults: list[str | None] = [None] * len(updates)
        openings: dict[int, Opening] = {}
        for i, tx in enumerate(updates):
            d_w = state.commits[tx.client_key].d_w
            known = self._opened.get(tx.digest + d_w)
            if known is not None:
                faults[i] = None if known else _NOT_OPENED
                continue
            try:
                model = self._load_model(tx.model_digest)
            except ModelFormatError as error:
                faults[i] = str(error)
                continue
            openings[i] = Opening(
                d=d_w,
                values=model.wires,
                rho=int.from_bytes(tx.rho, "little"),
            )
        if not openings:
            return faults
        right = judge_openings(
            list(openings.values()), committer=self._committer, random_bytes=self._random_bytes
        )
        for i, holds in zip(openings, right, strict=True):
            name = updates[i].digest + openings[i].d
            faults[i] = None if self._opened.put(name, holds) else _NOT_OPENED
        return faults

    # -- models and samples ------------------------------------------------------------------------

    def _combine(self, state: ChainState, entries: tuple[Entry, ...]) -> Aggregate:
        digest = state.global_model
        if entries:
            models = (
                (self._load_model(state.updates[entry.client_key]), entry.weight)
                for entry in entries
            )
            digest = self._blobs.put(combine(models).encode())
        return Aggregate(learning_round=state.learning_round, model_digest=digest, entries=entries)

    def _load_model(self, digest: bytes) -> QuantizedModel:
        """Raises BlobUnavailable; ModelFormatError for other bytes or another architecture."""
        model = decode_model(self._blobs.get(digest))
        if model.architecture.digest != self._task.architecture.digest:
            raise ModelFormatError(
                "it has another architecture than the task",
                where="model",
                next_step="train the architecture of the task",
            )
        return model

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
        """How many samples more than the global model a proof must show; None: any will do."""
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

    @cached_property
    def _committer(self) -> Committer:
        return Committer(self._task.architecture.n_parameters, get_backend("cpu"))


_NOT_OPENED = "its model and blinding are not those of its commitment"
K = TypeVar("K", bound=Transaction)


def _only(kind: type[K], transactions: Sequence[Transaction]) -> list[K]:
    """The transactions, which `find_admission_fault` let pass only if they are of this kind."""
    return [tx for tx in transactions if isinstance(tx, kind)]


def _find_verdict_fault(tx: Transaction, verdict: Verdict) -> str | None:
    if isinstance(tx, Refusal):
        return "it refuses a valid proof" if verdict is Verdict.VALID else None
    return None if verdict is Verdict.VALID else f"its proof is {verdict}"


def _refuse(proof: Proof) -> Verdict:
    return Verdict.MALFORMED if Envelope.decode(proof.envelope) is None else Verdict.WRONG_STATEMENT
