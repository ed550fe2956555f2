"""The simulator's questions answered by the real chain: rules, Ed25519, beacon. Made-up proofs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from consensus.disk.identity import sign
from consensus.learning import beacon
from consensus.learning.admission import find_admission_fault
from consensus.learning.chain import beacon_message, find_fault, start
from consensus.learning.chain_state import ChainState
from consensus.learning.rules import ChainRules
from consensus.wire.codec import Signed
from consensus.wire.messages import BeaconShare, Block, Evidence, QuorumCertificate
from consensus.wire.signatures import is_signed
from consensus.wire.transactions import Refusal, Transaction
from tests.support.learning import Lab, deal_beacon


class RealSigner:
    """Ed25519 keys of all validators; nobody signs for another."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.is_signed = lru_cache(maxsize=4096)(self._is_signed)

    def sign(self, message: Any) -> Any:
        key = self._lab.validators[message.validator]
        return sign(key, message, self._lab.genesis.digest)

    def _is_signed(self, message: Signed, validator: int) -> bool:
        genesis = self._lab.genesis
        return is_signed(message, genesis.validators[validator].key, genesis.digest)


class RealScene:
    """A chain of `tests.support.learning`; see `ToyScene` for what is asked."""

    def __init__(self, n_validators: int, seed: int, lab: Lab | None = None) -> None:
        self.lab = lab or Lab(n_validators=n_validators)
        self.rules = ChainRules()
        self.signer = RealSigner(self.lab)
        self._made: dict[bytes, list[Transaction]] = {}
        self._judged: dict[tuple[bytes, BeaconShare], bool] = {}
        self._faults: dict[tuple[bytes, bytes], str | None] = {}
        self._fit: dict[tuple[bytes, bytes], bool] = {}

    def start(self) -> ChainState:
        return start(self.lab.genesis)

    def list_transactions(self, chain: ChainState) -> list[Transaction]:
        if chain.head not in self._made:
            self._made[chain.head] = self.lab.list_due(chain)
        return self._made[chain.head]

    def is_fit(self, chain: ChainState, tx: Transaction) -> bool:
        signed = tx.proof if isinstance(tx, Refusal) else tx
        key = (chain.head, signed.signature)
        if key not in self._fit:
            self._fit[key] = find_admission_fault(chain, tx) is None
        return self._fit[key]

    def make_share(self, chain: ChainState, validator: int) -> BeaconShare | None:
        height = chain.beacon_height
        if height is None:
            return None
        secret = deal_beacon(self.lab.n_validators).secrets[validator]
        share = BeaconShare(
            learning_round=chain.learning_round,
            commit_height=height,
            validator=validator,
            share=beacon.sign_share(secret, beacon_message(chain)),
        )
        signed: BeaconShare = self.signer.sign(share)
        return signed

    def is_share(self, chain: ChainState, share: BeaconShare) -> bool:
        key = (chain.head, share)
        if key not in self._judged:
            self._judged[key] = self._is_share(chain, share)
        return self._judged[key]

    def _is_share(self, chain: ChainState, share: BeaconShare) -> bool:
        due = (chain.learning_round, chain.beacon_height)
        if chain.beacon_height is None or (share.learning_round, share.commit_height) != due:
            return False
        key = self.lab.genesis.share_points[share.validator : share.validator + 1]
        return beacon.verify_share(key, beacon_message(chain), share.share)

    def make_block(
        self,
        chain: ChainState,
        proposer: int,
        transactions: Sequence[Transaction],
        evidence: Sequence[Evidence],
        shares: Sequence[BeaconShare],
        certificate: tuple[QuorumCertificate, ...],
    ) -> Block | None:
        changes: dict[str, Any] = {
            "proposer": proposer,
            "evidence": tuple(evidence),
            "certificate": certificate,
        }
        if chain.beacon_height is not None:
            n_needed = self.lab.genesis.n_faulty + 1
            if len(shares) < n_needed:
                return None
            found = {share.validator: share.share for share in shares[:n_needed]}
            changes["beacon"] = beacon.combine(found)
        return self.lab.block(chain, transactions, **changes)

    def find_fault(self, chain: ChainState, block: Block) -> str | None:
        key = (chain.head, block.hash)
        if key not in self._faults:
            self._faults[key] = self._find_fault(chain, block)
        return self._faults[key]

    def _find_fault(self, chain: ChainState, block: Block) -> str | None:
        fault = find_fault(chain, block)
        if fault is None and chain.beacon_height is not None:
            key = self.lab.genesis.beacon_point
            if not beacon.verify(key, beacon_message(chain), block.beacon):
                return "another beacon"
        return fault
