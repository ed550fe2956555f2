"""A small chain for the simulator: the same kinds of rules as the real one, without pairings.

Six blocks make a learning round t: BEACON (carries the beacon, which needs f + 1 shares), four of
PROVE (proofs of clients, one each), ELECT (carries the aggregate of what was proven). The best
client's home validator proposes first. Signatures are keyed hashes whose keys the simulator gives
to nobody but their owner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from consensus.aggregation.outcome import Ending, Failure
from consensus.agreement import authentication
from consensus.agreement.votes import n_faulty
from consensus.learning.election import Lapse, note_turns, order_proposers
from consensus.wire.codec import Signed
from consensus.wire.messages import (
    NIL,
    BeaconShare,
    Block,
    Evidence,
    FinalBlock,
    Proposal,
    QuorumCertificate,
    Receipt,
    Vote,
)
from consensus.wire.outcomes import Aggregate, Entry
from consensus.wire.transactions import Proof, Register, Transaction

BEACON, PROVE, ELECT = "beacon", "prove", "elect"
_PHASES = (BEACON, PROVE, PROVE, PROVE, PROVE, ELECT)
ROUND_BLOCKS = len(_PHASES)
GENESIS_HASH = hashlib.sha256(b"toy genesis").digest()


class ToyBlock(Block):
    """A block that computes its hash once."""

    @cached_property
    def hash(self) -> bytes:
        return hashlib.sha256(b"toy block" + self.encode()).digest()


@dataclass(frozen=True)
class ToyChain:
    """After `height` blocks. proofs : count by client, of this learning round

    time_ms, order, maker, lapses : as on the real chain
    """

    n_validators: int
    height: int = 0
    head: bytes = GENESIS_HASH
    proofs: tuple[tuple[bytes, int], ...] = ()
    leaders: tuple[int, ...] = ()
    offenders: tuple[int, ...] = ()
    time_ms: int = 0
    order: tuple[int, ...] = ()
    maker: int = 0
    lapses: tuple[Lapse, ...] = ()

    @property
    def learning_round(self) -> int:
        return self.height // ROUND_BLOCKS

    @property
    def phase(self) -> str:
        """Of the next block."""
        return _PHASES[self.height % ROUND_BLOCKS]

    @cached_property
    def digest(self) -> bytes:
        values = (
            *(self.height, self.head, self.proofs, self.leaders, self.offenders),
            *(self.time_ms, self.order, self.maker, self.lapses),
        )
        return hashlib.sha256(repr(values).encode()).digest()


class ToyRules:
    """`events.Rules` of this chain."""

    def apply(self, chain: ToyChain, block: Block) -> ToyChain:
        proofs = dict(chain.proofs)
        for tx in block.transactions:
            if isinstance(tx, Proof):
                proofs[tx.client_key] = tx.envelope[-1]
        lapses = chain.lapses
        for known in block.certificate:
            lapses = note_turns(
                lapses,
                height=chain.height,
                number=known.round,
                order=chain.order,
                maker=chain.maker,
                heard=[p.validator for p in known.precommits],
            )
        ranked = sorted(proofs, key=lambda client: (-proofs[client], client))
        after = replace(
            chain,
            height=block.height,
            head=block.hash,
            order=self.proposers(chain),
            maker=block.proposer,
            lapses=lapses,
            time_ms=max([chain.time_ms, *(c.time_ms for c in block.certificate)]),
            proofs=() if chain.phase == ELECT else tuple(sorted(proofs.items())),
            leaders=tuple(get_home(client) for client in ranked) or chain.leaders,
            offenders=tuple(
                sorted({*chain.offenders, *(e.first.validator for e in block.evidence)})
            ),
        )
        return after

    def proposers(self, chain: ToyChain) -> tuple[int, ...]:
        return order_proposers(
            chain.leaders,
            n_validators=chain.n_validators,
            height=chain.height + 1,
            lapses=chain.lapses,
            offenders=chain.offenders,
        )

    def takes(self, chain: ToyChain, tx: Transaction) -> bool:
        is_now = isinstance(tx, Proof) and tx.learning_round == chain.learning_round
        return is_now and self.awaits(chain, tx.client_key)

    def is_full(self, chain: ToyChain, block: Block) -> bool:
        return False

    def awaits(self, chain: ToyChain, client_key: bytes) -> bool:
        return chain.phase == PROVE and all(client_key != client for client, _ in chain.proofs)


# -- clients ---------------------------------------------------------------------------------------


def make_client(home: int) -> bytes:
    """The key of the client whose home is this validator."""
    return home.to_bytes(32, "little")


def get_home(client_key: bytes) -> int:
    return int.from_bytes(client_key, "little")


@lru_cache(maxsize=4096)
def make_proof(client_key: bytes, learning_round: int, count: int) -> Proof:
    """A valid proof. count : below 256"""
    envelope = _make_envelope(client_key, learning_round, count)
    return Proof(
        client_key=client_key, learning_round=learning_round, envelope=envelope, deal=bytes(32)
    )


def make_note(text: int) -> Register:
    """What any block may hold and nobody heeds: a proposer's freedom, without bearing."""
    key, blank = text.to_bytes(32, "big"), bytes(64)
    return Register(client_key=key, validator=0, permit=blank, signature=blank)


def _make_envelope(client_key: bytes, learning_round: int, count: int) -> bytes:
    statement = b"%s %d %d" % (client_key, learning_round, count)
    return hashlib.sha256(statement).digest() + bytes((count,))


def is_valid_proof(chain: ToyChain, proof: Proof) -> bool:
    """Whether the next block may hold it."""
    envelope = _make_envelope(proof.client_key, chain.learning_round, proof.envelope[-1])
    return (
        get_home(proof.client_key) < chain.n_validators
        and proof.envelope == envelope
        and ToyRules().takes(chain, proof)
    )


# -- blocks ----------------------------------------------------------------------------------------


def make_beacon(learning_round: int) -> bytes:
    """What f + 1 shares combine to. Whoever has fewer must not call this."""
    return hashlib.sha256(b"toy beacon %d" % learning_round).digest()


def make_aggregate(chain: ToyChain) -> Aggregate:
    return Aggregate(
        learning_round=chain.learning_round,
        ending=Ending.MODEL if chain.proofs else Ending.NONE,
        reason=() if chain.proofs else (Failure.TOO_FEW,),
        model_digest=hashlib.sha256(repr(chain.proofs).encode()).digest(),
        entries=tuple(Entry(client_key=client, proven=k) for client, k in chain.proofs),
    )


def make_block(
    chain: ToyChain,
    proposer: int,
    proofs: Sequence[Transaction],
    evidence: tuple[Evidence, ...] = (),
    certificate: tuple[QuorumCertificate, ...] = (),
) -> ToyBlock:
    """What a correct proposer adds. certificate : of the chain's last block"""
    return ToyBlock(
        height=chain.height + 1,
        parent=chain.head,
        certificate=certificate,
        proposer=proposer,
        state_root=chain.digest,
        beacon=make_beacon(chain.learning_round) if chain.phase == BEACON else b"",
        transactions=tuple(tx for tx in proofs if chain.phase == PROVE or isinstance(tx, Register)),
        evidence=evidence,
        aggregate=(make_aggregate(chain),) if chain.phase == ELECT else (),
    )


# -- signatures ------------------------------------------------------------------------------------


class Signer:
    """Signatures of all validators; nobody signs for another."""

    def __init__(self, n_validators: int) -> None:
        self._keys = [b"key of validator %d" % i for i in range(n_validators)]

    def sign(self, message: Any) -> Any:
        """A vote, proposal, receipt or share, signed by the validator that it names."""
        return replace(message, signature=self._compute(message, message.validator))

    def is_signed(self, message: Signed, validator: int) -> bool:
        """Whether `sign` made it."""
        return message.signature == self._compute(message, validator)

    def _compute(self, message: Signed, validator: int) -> bytes:
        fields: tuple[int | bytes, ...] = ()
        match message:
            case Vote():
                fields = (message.step, message.height, message.round, message.block_hash)
                fields += (message.time_ms,)
            case Proposal():
                parts = (message.height, message.round, message.valid_round)
                fields = (*parts, message.block.hash)
            case Receipt():
                fields = (message.learning_round, message.transaction_digest)
            case BeaconShare():
                fields = (message.learning_round, message.commit_height, message.share)
        text = repr((type(message).__name__, validator, *map(_plain, fields))).encode()
        return hashlib.blake2b(text, key=self._keys[validator], digest_size=64).digest()

    def make_share(self, validator: int, learning_round: int) -> BeaconShare:
        text = b"share %d" % learning_round
        share = BeaconShare(
            learning_round=learning_round,
            commit_height=0,
            validator=validator,
            share=hashlib.blake2b(text, key=self._keys[validator], digest_size=32).digest(),
        )
        signed: BeaconShare = self.sign(share)
        return signed

    def is_share(self, share: BeaconShare) -> bool:
        return share == self.make_share(share.validator, share.learning_round)


def _plain(value: int | bytes) -> int | bytes:
    """Without the class of an enumeration, whose text differs."""
    return value if isinstance(value, bytes) else int(value)


class ToyScene:
    """What the simulator asks about a chain; another class of the same methods is another chain."""

    def __init__(self, n_validators: int, seed: int) -> None:
        self.n, self.seed = n_validators, seed
        self.rules = ToyRules()
        self.signer = Signer(n_validators)
        self._faults: dict[tuple[bytes, bytes], str | None] = {}

    def start(self) -> ToyChain:
        return ToyChain(self.n)

    def list_transactions(self, chain: ToyChain) -> list[Proof]:
        """What clients send after this chain."""
        if chain.phase != PROVE:
            return []
        t = chain.learning_round
        counts = ((7 * home + 3 * t + self.seed) % 5 + 1 for home in range(self.n))
        return [make_proof(make_client(home), t, k) for home, k in enumerate(counts)]

    def is_fit(self, chain: ToyChain, tx: Transaction) -> bool:
        """Whether the next block may hold it."""
        return isinstance(tx, Proof) and is_valid_proof(chain, tx)

    def make_share(self, chain: ToyChain, validator: int) -> BeaconShare | None:
        """A validator's share of the beacon, if it is due."""
        if chain.phase != BEACON:
            return None
        return self.signer.make_share(validator, chain.learning_round)

    def is_share(self, chain: ToyChain, share: BeaconShare) -> bool:
        """Whether the share is its validator's, of the beacon that is due."""
        return share == self.make_share(chain, share.validator)

    def make_block(
        self,
        chain: ToyChain,
        proposer: int,
        transactions: Sequence[Transaction],
        evidence: Sequence[Evidence],
        shares: Sequence[BeaconShare],
        certificate: tuple[QuorumCertificate, ...],
    ) -> Block | None:
        """What a correct proposer makes of what it has; None while the beacon lacks shares."""
        if chain.phase == BEACON and len(shares) <= n_faulty(self.n):
            return None
        return make_block(chain, proposer, transactions, tuple(evidence), certificate)

    def find_fault(self, chain: ToyChain, block: Block) -> str | None:
        """What forbids this block after this chain; computed once."""
        key = (chain.head, block.hash)
        if key not in self._faults:
            self._faults[key] = self._find_fault(chain, block)
        return self._faults[key]

    def _find_fault(self, chain: ToyChain, block: Block) -> str | None:
        expected = make_block(chain, block.proposer, block.transactions)
        for name in ("height", "parent", "state_root", "beacon", "aggregate", "transactions"):
            if getattr(block, name) != getattr(expected, name):
                return f"another {name}"
        if len(block.certificate) != min(chain.height, 1):
            return "no certificate, or one too many"
        for certificate in block.certificate:
            if (certificate.height, certificate.block_hash) != (chain.height, chain.head):
                return "a certificate of another block"
            fault = authentication.find_certificate_fault(
                certificate, self.n, self.signer.is_signed
            )
            if fault is not None:
                return fault
        clients = [tx.client_key for tx in block.transactions]
        if len(set(clients)) != len(clients):
            return "two proofs of one client"
        if not all(isinstance(tx, Register) or self.is_fit(chain, tx) for tx in block.transactions):
            return "an invalid proof"
        blamed = [e.first.validator for e in block.evidence]
        if len(set(blamed)) != len(blamed) or set(blamed) & set(chain.offenders):
            return "evidence twice"
        votes = (vote for e in block.evidence for vote in (e.first, e.second))
        if not all(self.signer.is_signed(vote, vote.validator) for vote in votes):
            return "evidence that nobody signed"
        return None


def describe(message: object) -> tuple[int, ...]:
    """A few numbers that tell messages apart, the same in every run."""
    match message:
        case Vote():
            place = (message.height, message.round, int(message.step), message.validator)
            return (1, *place, int.from_bytes(message.block_hash[:4] or NIL, "little"))
        case Proposal():
            return (2, message.height, message.round, message.valid_round, message.validator)
        case Receipt():
            return (3, message.learning_round, message.validator, message.transaction_digest[0])
        case FinalBlock():
            return (4, message.block.height, message.certificate.round, message.block.hash[0])
        case BeaconShare():
            return (5, message.learning_round, message.validator)
        case Proof():
            return (6, message.learning_round, get_home(message.client_key))
        case _:
            return (7,)
