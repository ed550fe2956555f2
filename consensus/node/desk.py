"""A node's desk: what waits for a block, what was judged of it, and drafts of the next block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from consensus.agreement.events import BlockChecked, Check
from consensus.content.interface import Blobs
from consensus.errors import BlobTooLarge, BlobUnavailable, PoolInvalid
from consensus.learning.absence import PATIENT_ROUNDS, calls_lost, find_lost
from consensus.learning.admission import find_admission_fault
from consensus.learning.chain import find_fault
from consensus.learning.chain_state import NO_MODEL, ChainState, Phase
from consensus.learning.steps import (
    is_asked,
    list_blobs,
    list_round_blobs,
    list_training_blobs,
)
from consensus.node.drafts import BeaconShares, draft_block
from consensus.node.metrics import NodeMetrics
from consensus.node.pool import Pool, get_place
from consensus.node.verifier import BlockVerifier
from consensus.wire.genesis import Genesis
from consensus.wire.messages import BeaconShare, Block, Evidence, QuorumCertificate
from consensus.wire.transactions import Proof, Refusal, SentTransaction, Transaction


class Desk:
    """Pending transactions, beacon shares and evidence of one node, and the verifier of blocks.

    Of what waits for the phase under way each is at one place: new, or lacking its blob, or found
    valid, or found faulty and gone. Each is judged once, in batches of all that is new.
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
        self._lacking: dict[bytes, SentTransaction] = {}
        self._unseen: dict[
            bytes, tuple[bytes, ...]
        ] = {}  # blobs that these lack, not keys or pools
        self._needed: dict[bytes, tuple[bytes, ...]] = {}
        self._wanted: dict[bytes, None] = {}
        self._refused: dict[bytes, Refusal] = {}

    # -- what comes in

    def add_transaction(self, chain: ChainState, tx: SentTransaction) -> str | None:
        """Why it may not wait here; None: it does."""
        digest = tx.digest
        fault = self._faulty.get(digest) or self._pool.add(chain, tx)
        if fault is None and digest not in self._valid and digest not in self._lacking:
            if get_place(tx) == (chain.phase, chain.learning_round):
                self._new[digest] = tx
            self._metrics.pending.set(len(self._pool))
        return fault

    def add_share(self, chain: ChainState, share: BeaconShare) -> str | None:
        """Why it counts for nothing; None: it may. share : signed by its validator"""
        return self._shares.add(chain, share)

    def accuse(self, evidence: Evidence) -> None:
        """Keeps evidence for the next block of this node's own."""
        self._evidence.setdefault(evidence.first.validator, evidence)
        self._metrics.evidence.inc()
        self._log.warning("votes contradict", validator=evidence.first.validator)

    def move_on(self, before: ChainState, after: ChainState) -> None:
        """A block is final: forgets what no later block may hold."""
        self._pool.prune(after)
        current = self._pool.get_current(after)
        if (after.phase, after.learning_round) != (before.phase, before.learning_round):
            self._new, self._valid, self._lacking, self._unseen = dict(current), {}, {}, {}
            self._faulty.clear()
            self._refused.clear()
            self._pool.forgive()
            self._wanted = dict.fromkeys(_list_final_blobs(after))
        else:
            self._new = {d: tx for d, tx in self._new.items() if d in current}
            self._valid = {d: tx for d, tx in self._valid.items() if d in current}
            self._lacking = {d: tx for d, tx in self._lacking.items() if d in current}
            is_start = before is after
            looked_for = set[bytes]() if is_start else set(_list_final_blobs(before))
            named = (digest for digest in _list_final_blobs(after) if digest not in looked_for)
            self._wanted |= dict.fromkeys(named)
        self._needed.clear()
        self._metrics.pending.set(len(self._pool))

    def list_pending(self) -> Sequence[tuple[bytes, SentTransaction]]:
        """All that wait, each with its digest."""
        return self._pool.list_all()

    # -- judging

    def judge_pending(self, chain: ChainState) -> list[SentTransaction]:
        """Judges what waits for this phase, all that is new as one batch; the valid ones of it.

        What lacks a blob waits for `look_again`. Faulty ones leave, and their clients are named in
        the log.
        """
        new, self._new = self._new, {}
        missing = {digest: self._find_missing_of(chain, tx) for digest, tx in new.items()}
        ready = {digest: tx for digest, tx in new.items() if not missing[digest]}
        self._lacking |= {digest: tx for digest, tx in new.items() if missing[digest]}
        self._unseen |= {digest: blobs for digest, blobs in missing.items() if blobs}
        if not ready:
            return []
        try:
            with self._metrics.verify.labels("pending").time():
                faults = self._verifier.judge(chain, list(ready.values()))
        except (BlobUnavailable, PoolInvalid) as error:
            # A key is not here, or the pool of samples is not published yet, or is none.
            if isinstance(error, BlobUnavailable):
                self._wanted[error.digest] = None
            self._lacking |= ready
            return []
        for (digest, tx), fault in zip(ready.items(), faults, strict=True):
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
        if isinstance(tx, Proof) and find_admission_fault(chain, tx) is None:
            refusal = Refusal(proof=tx)
            if self._verifier.judge(chain, [refusal]) == [None]:  # else its shares are at fault
                self._refused.setdefault(tx.client_key, refusal)

    def check(self, chain: ChainState, check: Check) -> BlockChecked | None:
        """The verdict on a block after this state; None while a blob that it needs is lacked."""
        if self._find_missing(chain, check):
            return None
        block = check.block
        with self._metrics.verify.labels("block").time():
            fault = self._verifier.check(chain, block)
        if fault is None:
            is_loss = calls_lost(block, self._is_here)
            return BlockChecked(block.height, check.block_hash, None, leaves_out=is_loss)
        self._needed.pop(check.block_hash)
        if self._find_missing(chain, check):
            return None  # it was here, and is gone: the block is not at fault
        self._log.warning("block refused", height=block.height, fault=fault)
        return BlockChecked(block.height, check.block_hash, fault)

    def _find_missing(self, chain: ChainState, check: Check) -> tuple[bytes, ...]:
        """Digests of blobs that the check of a block reads and that have not been here yet.

        It reads none for a block that the rules alone forbid; whoever made that one must not choose
        what is looked for either.
        """
        needed = self._needed.get(check.block_hash)
        if needed is None:
            is_forbidden = find_fault(chain, check.block) is not None
            needed = () if is_forbidden else self._verifier.list_needed_blobs(chain, check.block)
        missing = self._verifier.find_missing_blobs(needed)
        self._needed[check.block_hash] = missing
        return missing

    # -- blobs

    def look_again(self) -> None:
        """Looks again for blobs that lacked: a client may have put them, or a peer sent them."""
        self._new |= self._lacking
        self._lacking, self._unseen = {}, {}

    def list_wanted(self, chain: ChainState) -> Iterator[bytes]:
        """Digests of blobs that are lacked: of final blocks, of those in check, of what waits; of
        this the first of each client, or one would crowd others out of the downloads."""
        lacked = self._verifier.find_missing_blobs(self._wanted)
        self._wanted = dict.fromkeys(lacked)
        yield from lacked
        for missing in self._needed.values():
            yield from missing
        first: dict[bytes, bytes] = {}
        for digest, tx in self._lacking.items():
            if digest in self._unseen:
                first.setdefault(tx.client_key, digest)
        is_open = chain.phase is Phase.REGISTER  # to all who have a permit, as the pool has seen
        for client, digest in first.items():
            if is_open or is_asked(chain, chain.phase, client):
                yield from self._unseen[digest]

    def keep_blob(self, raw: bytes) -> None:
        """One that a peer has sent. Raises OSError when the own disk fails."""
        with suppress(BlobTooLarge):
            self._blobs.put(raw)
        self.look_again()

    def _find_missing_of(self, chain: ChainState, tx: Transaction) -> tuple[bytes, ...]:
        return self._verifier.find_missing_blobs(list_blobs(chain, tx))

    def _is_here(self, digest: bytes) -> bool:
        return not self._verifier.find_missing_blobs((digest,))

    # -- drafts

    def is_anything_due(self, chain: ChainState) -> bool:
        """Whether the next block would hold anything."""
        due = chain.phase in (Phase.ORDER, Phase.BEACON, Phase.ELECT)
        news = set(self._evidence) - set(chain.offenders)
        return due or bool(news) or bool(self._list_ready(chain))

    def draft(
        self,
        chain: ChainState,
        *,
        proposer: int,
        certificate: tuple[QuorumCertificate, ...],
        round: int = 0,
    ) -> Block | None:
        """The next block; None while what is due cannot be had.

        certificate : of the chain's last block
        round       : in late ones the aggregate calls lost what is lacked
        """
        known = set(self._shares.liars)
        block = draft_block(
            chain,
            proposer=proposer,
            certificate=certificate,
            transactions=[
                tx for tx in self._list_ready(chain) if not self._find_missing_of(chain, tx)
            ],
            evidence=list(self._evidence.values()),
            shares=self._shares,
            verifier=self._verifier,
            lost=self._find_lost(chain) if round >= PATIENT_ROUNDS else None,
        )
        for validator in sorted(self._shares.liars - known):
            self._log.warning("share of the beacon is false", validator=validator)
        return block

    def _find_lost(self, chain: ChainState) -> bytes | None:
        return find_lost(chain, self._is_here) if chain.phase is Phase.ELECT else None

    def _list_ready(self, chain: ChainState) -> Sequence[Transaction]:
        """Found fit for the next block: the valid, then refusals of what is on no record yet."""
        refused = (r for r in self._refused.values() if find_admission_fault(chain, r) is None)
        return [*self._valid.values(), *refused]


def _list_final_blobs(chain: ChainState) -> Iterator[bytes]:
    """What this learning round and the next one need of what blocks have named."""
    yield from list_round_blobs(chain)
    yield from list_training_blobs(chain)
    if chain.phase is Phase.PROVE:  # for clients, too, who ask nodes for it
        yield chain.genesis.task.get_pool(chain.learning_round)
    if chain.global_model != NO_MODEL:
        yield chain.global_model
