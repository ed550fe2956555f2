"""What a story tells: who took part, what each did in a round, and what was checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from api.demo.stage import Role
from api.demo.trained import Steps, Trained
from consensus.wire.transactions import Proof
from prover.model.network import QuantizedModel
from prover.wire.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Participant:
    """models, blindings : its own of each round; sent : its proof of each round, honest or not

    trained : how each came about, where the task asks for proofs of that
    """

    name: str
    role: Role
    public_key: bytes
    models: Mapping[int, QuantizedModel]
    blindings: Mapping[int, int]
    sent: Mapping[int, Proof]
    trained: Trained = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A client in one round; counts are of the drawn samples.

    claimed  : by what it sent; None when it sent nothing
    proven   : by its proof in a final block
    measured : by the integer evaluator on its model
    verdict  : of the verifier on what it sent
    refused  : a final block holds a proof of it that does not verify
    entered  : the global model
    steps    : of its training, where proofs of them were sent
    """

    claimed: int | None
    proven: int | None
    measured: int
    verdict: Verdict | None
    refused: bool
    entered: bool
    steps: Steps | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """parts : by client name; global_count : of the whole pool, by the rounded global model"""

    leader: str | None
    parts: Mapping[str, Part]
    global_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Earned:
    """What a client has after the last block, as contracts are told of it.

    account : of the EVM, that votes with the weight and is paid the rewards; None: it has none
    """

    client_key: bytes
    account: bytes | None
    weight: int
    rewards: int


@dataclass(slots=True)
class Claim:
    """faults : where it does not hold"""

    text: str
    faults: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.faults


@dataclass(slots=True)
class Story:
    """What happened, and what was checked about it.

    n_samples : of a shard; n_pool : of the pool
    subject   : model and data set, for people
    threshold : least count of a proof that counts; 0: not known
    training  : what is said of the training that is asked for; empty: none is
    earned    : after the last block, by client name
    """

    n_samples: int
    n_pool: int
    subject: str = ""
    threshold: int = 0
    training: str = ""
    height: int = 0
    rounds: list[Round] = field(default_factory=list)
    earned: dict[str, Earned] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)

    def check(self, text: str, holds: bool, *, where: str = "") -> None:
        """Adds a claim, or to a claim of this text; `where` says where it does not hold."""
        known = next((claim for claim in self.claims if claim.text == text), None)
        if known is None:
            known = Claim(text)
            self.claims.append(known)
        if not holds:
            known.faults.append(where)

    @property
    def is_true(self) -> bool:
        return bool(self.claims) and all(claim.holds for claim in self.claims)
