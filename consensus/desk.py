"""A node's desk: what waits for a block, what was judged of it, and drafts of the next block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consensus.blobs import Blobs, BlobUnavailable
from consensus.chain import ChainState, Phase, find_fault, is_admissible
from consensus.drafts import BeaconShares, draft_block
from consensus.genesis import Genesis
from consensus.messages import (
    BeaconShare,
    Block,
    Evidence,
    Proof,
    Refusal,
    SentTransaction,
    Transaction,
)
from consensus.node_metrics import NodeMetrics
from consensus.pool import Pool
from consensus.samples import PoolInvalid
from consensus.verifier import BlockVerifier

_NOT_JUDGED = "not judged"


class Desk:
    """Pending transactions, beacon shares and evidence of one node, and the verifier of blocks."""

    def __init__(
        self,
        genesis: Genesis,
        verifier: BlockVerifier,
        blobs: Blobs,
        *,
        metrics: NodeMetrics,
        log: Any,
    ) -> None:
        self._verifier, self._blobs = verifier, blobs
        self._metrics, self._log = metrics, log
        self._pool, self._shares = Pool(), BeaconShares(genesis)
        self._evidence: dict[int, Evidence] = {}
        self._judged: dict[bytes, str | None] = {}
        self._refused: dict[bytes, Refusal] = {}

    # -- what comes in

    def add_transaction(self, chain: ChainState, tx: SentTransaction) -> str | None:
        """Why it may not wait here; None: it does."""
        fault = self._judged.get(tx.digest) or self._pool.add(chain, tx)
        self._metrics.pending.set(len(self._pool))
        return fault

    def add_share(self, chain: ChainState, share: BeaconShare) -> str | None:
        """Why it counts for nothing; None: it does."""
        return self._shares.add(chain, share)

    def accuse(self, evidence: Evidence) -> None:
        """For the next block of this node's own."""
        self._evidence.setdefault(evidence.first.validator, evidence)
        self._metrics.evidence.inc()
        self._log.warning("votes contradict", validator=evidence.first.validator)

    def move_on(self, before: ChainState, after: ChainState) -> None:
        """A block is final: forgets what no later block may hold."""
        self._pool.prune(after)
        if (after.phase, after.learning_round) != (before.phase, before.learning_round):
            self._judged.clear()
            self._refused.clear()
            self._pool.forgive()
        self._metrics.pending.set(len(self._pool))

    def list_pending(self) -> Sequence[SentTransaction]:
        return self._pool.list_all()

    # -- judging

    def judge_pending(self, chain: ChainState) -> list[Proof]:
        """Judges what waits for this phase, all that is new as one batch; the valid proofs of it.

        What lacks a blob waits on. Faulty ones leave, and their clients are named in the log.
        """
        new = [tx for tx in self._pool.list_current(chain) if tx.digest not in self._judged]
        ready = [tx for tx in new if self._has_model(tx)]
        if not ready:
            return []
        try:
            with self._metrics.verify.labels("pending").time():
                faults = self._verifier.judge(chain, ready)
        except (BlobUnavailable, PoolInvalid):
            return []  # the pool of samples is not published yet, or is none
        for tx, fault in zip(ready, faults, strict=True):
            self._judged[tx.digest] = fault
            self._record_verdict(tx, fault)
            if fault is not None and isinstance(tx, Proof) and is_admissible(chain, tx) is None:
                self._refused.setdefault(tx.client_key, Refusal(proof=tx))
        held = [tx for tx, fault in zip(ready, faults, strict=True) if fault is None]
        return [tx for tx in held if isinstance(tx, Proof)]

    def _record_verdict(self, tx: SentTransaction, fault: str | None) -> None:
        kind = type(tx).__name__.lower()
        self._metrics.verdicts.labels(kind, "valid" if fault is None else "faulty").inc()
        if fault is not None:
            client = tx.client_key.hex()[:16]
            self._log.warning("transaction refused", kind=kind, client=client, fault=fault)
            self._pool.discard([tx])

    def can_check(self, chain: ChainState, block: Block) -> bool:
        """Whether all blobs that `check` reads are here.

        It reads none for a block that the rules alone forbid; whoever made that one must not choose
        what is looked for either.
        """
        if find_fault(chain, block) is not None:
            return True
        return all(self._is_here(d) for d in set(self._verifier.list_needed_blobs(chain, block)))

    def check(self, chain: ChainState, block: Block) -> str | None:
        """What forbids the block after this state; None: nothing."""
        with self._metrics.verify.labels("block").time():
            fault = self._verifier.check(chain, block)
        if fault is not None:
            self._log.warning("block refused", height=block.height, fault=fault)
        return fault

    def _has_model(self, tx: Transaction) -> bool:
        digest = getattr(tx, "model_digest", None)
        return digest is None or self._is_here(digest)

    def _is_here(self, digest: bytes) -> bool:
        try:
            self._blobs.get(digest)
        except BlobUnavailable:
            return False
        return True

    # -- drafts

    def is_anything_due(self, chain: ChainState) -> bool:
        """Whether the next block would hold anything."""
        due = chain.phase in (Phase.BEACON, Phase.ELECT)
        news = set(self._evidence) - set(chain.offenders)
        return due or bool(news) or bool(self._list_ready(chain))

    def draft(self, chain: ChainState, *, proposer: int) -> Block | None:
        """The next block; None while what is due cannot be had."""
        return draft_block(
            chain,
            proposer=proposer,
            transactions=[tx for tx in self._list_ready(chain) if self._has_model(tx)],
            evidence=list(self._evidence.values()),
            shares=self._shares,
            verifier=self._verifier,
        )

    def _list_ready(self, chain: ChainState) -> Sequence[Transaction]:
        """Found fit for the next block: the valid, then refusals of what is on no record yet."""
        current = self._pool.list_current(chain)
        valid = [tx for tx in current if self._judged.get(tx.digest, _NOT_JUDGED) is None]
        return [*valid, *(r for r in self._refused.values() if is_admissible(chain, r) is None)]
