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
    QuorumCertificate,
    Refusal,
    SentTransaction,
    Transaction,
)
from consensus.node_metrics import NodeMetrics
from consensus.pool import Pool, get_place
from consensus.samples import PoolInvalid
from consensus.verifier import BlockVerifier


class Desk:
    """Pending transactions, beacon shares and evidence of one node, and the verifier of blocks.

    Of what waits for the phase under way each is at one place: new, or found valid, or found faulty
    and gone. Each is judged once, in batches of all that is new.
    """

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
        self._new: dict[bytes, SentTransaction] = {}
        self._valid: dict[bytes, SentTransaction] = {}
        self._faulty: dict[bytes, str] = {}
        self._refused: dict[bytes, Refusal] = {}

    # -- what comes in

    def add_transaction(self, chain: ChainState, tx: SentTransaction) -> str | None:
        """Why it may not wait here; None: it does."""
        digest = tx.digest
        fault = self._faulty.get(digest) or self._pool.add(chain, tx)
        if fault is None and digest not in self._valid:
            if get_place(tx) == (chain.phase, chain.learning_round):
                self._new[digest] = tx
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
        current = self._pool.get_current(after)
        if (after.phase, after.learning_round) != (before.phase, before.learning_round):
            self._new, self._valid = dict(current), {}
            self._faulty.clear()
            self._refused.clear()
            self._pool.forgive()
        else:
            self._new = {d: tx for d, tx in self._new.items() if d in current}
            self._valid = {d: tx for d, tx in self._valid.items() if d in current}
        self._metrics.pending.set(len(self._pool))

    def list_pending(self) -> Sequence[tuple[bytes, SentTransaction]]:
        """All that wait, each with its digest."""
        return self._pool.list_all()

    # -- judging

    def judge_pending(self, chain: ChainState) -> list[SentTransaction]:
        """Judges what waits for this phase, all that is new as one batch; the valid ones of it.

        What lacks a blob waits on. Faulty ones leave, and their clients are named in the log.
        """
        ready = {digest: tx for digest, tx in self._new.items() if self._has_model(tx)}
        if not ready:
            return []
        try:
            with self._metrics.verify.labels("pending").time():
                faults = self._verifier.judge(chain, list(ready.values()))
        except (BlobUnavailable, PoolInvalid):
            return []  # the pool of samples is not published yet, or is none
        for (digest, tx), fault in zip(ready.items(), faults, strict=True):
            del self._new[digest]
            self._record_verdict(chain, digest, tx, fault)
        return [tx for digest, tx in ready.items() if digest in self._valid]

    def _record_verdict(
        self, chain: ChainState, digest: bytes, tx: SentTransaction, fault: str | None
    ) -> None:
        kind = type(tx).__name__.lower()
        self._metrics.verdicts.labels(kind, "valid" if fault is None else "faulty").inc()
        if fault is None:
            self._valid[digest] = tx
            return
        self._faulty[digest] = fault
        client = tx.client_key.hex()[:16]
        self._log.warning("transaction refused", kind=kind, client=client, fault=fault)
        self._pool.discard(tx)
        if isinstance(tx, Proof) and is_admissible(chain, tx) is None:
            self._refused.setdefault(tx.client_key, Refusal(proof=tx))

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
        return due or bool(news) or bool(self._valid) or bool(self._list_ready(chain))

    def draft(
        self,
        chain: ChainState,
        *,
        proposer: int,
        certificate: tuple[QuorumCertificate, ...],
    ) -> Block | None:
        """The next block; None while what is due cannot be had.

        certificate : of the chain's last block
        """
        return draft_block(
            chain,
            proposer=proposer,
            certificate=certificate,
            transactions=[tx for tx in self._list_ready(chain) if self._has_model(tx)],
            evidence=list(self._evidence.values()),
            shares=self._shares,
            verifier=self._verifier,
        )

    def _list_ready(self, chain: ChainState) -> Sequence[Transaction]:
        """Found fit for the next block: the valid, then refusals of what is on no record yet."""
        refused = (r for r in self._refused.values() if is_admissible(chain, r) is None)
        return [*self._valid.values(), *refused]
