"""Taking part from the first registration to the last global model, however often it is ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisGone

from consensus.errors import AnswerRefused, BlobMissing
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.ethereum import format_address
from consensus.wire.messages import FinalBlock
from consensus.wire.transactions import Proof, Register, SentTransaction
from federated.client import Client, ProofOrder, Prover
from federated.errors import BelowThreshold, NodesSilent, NotAdmitted
from federated.joining.account import Account
from federated.joining.own_prover import OwnProver
from federated.joining.participation import PATIENCE_S, Ending, Outcome, Participation
from prover.errors import RangeExceeded, UpdateExceeds
from tests.support.certificates import certify
from tests.support.learning import BACKEND, Lab, ProvenLab, accuracy, make_training, proving_key
from tests.support.tiny_circuits import seeded
from tests.unit.federated.test_client import make_client

OWN = 0


class Clock:
    """A second is over whenever somebody has polled ten times."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class LabChain:
    """A validator, and clients beside the one under test: a block at each poll.

    is_lost : what happens to what is sent, by its kind and how often it came
    """

    def __init__(self, lab: ProvenLab, others: list[Client], clock: Clock) -> None:
        self.state: ChainState = start(lab.genesis)
        self.sent: list[SentTransaction] = []
        self.looked_for: list[bytes] = []
        self.is_down = self.is_still = False
        self.lost: set[type] = set()
        self._lab, self._others, self._clock = lab, others, clock
        self._verifier = lab.verifier()
        self._waiting: list[SentTransaction] = []

    def poll(self, wait_ms: int) -> list[tuple[FinalBlock, ChainState]]:
        self._clock.now += wait_ms / 1000
        if self.is_down:
            raise RedisGone
        if self.is_still or self.state.phase is Phase.DONE or self._clock.now % 1 > 0.09:
            return []
        due = [tx for other in self._others if (tx := other.act(self.state)) is not None]
        due += self._waiting
        faults = self._verifier.judge(self.state, due)
        fit = [tx for tx, fault in zip(due, faults, strict=True) if fault is None]
        block = self._lab.block(self.state, list(dict.fromkeys(fit)))
        assert self._verifier.check(self.state, block) is None
        self.state, self._waiting = apply(self.state, block), []
        return [(certify(self._lab, block), self.state)]

    def send(self, tx: SentTransaction) -> None:
        if self.is_down:
            raise RedisGone
        self.sent.append(tx)
        if type(tx) not in self.lost:
            self._waiting.append(tx)

    def look_for(self, digests: list[bytes]) -> None:
        self.looked_for += digests


@pytest.fixture(scope="module")
def lab() -> ProvenLab:
    return ProvenLab()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def chain(lab: ProvenLab, tmp_path: Path, clock: Clock) -> LabChain:
    others = [make_client(lab, i, tmp_path / "others") for i in range(1, lab.n_clients)]
    return LabChain(lab, others, clock)


def prover() -> Prover:
    return OwnProver(accuracy(), proving_key(), random_bytes=seeded(5), backend=BACKEND)


def join(
    lab: ProvenLab, chain: Any, folder: Path, clock: Clock, *, once: bool = False
) -> tuple[Ending, list[str]]:
    told: list[str] = []
    client = make_client(lab, OWN, folder, prover=prover())
    part = Participation(client, chain, report=told.append, clock=clock, sleep=clock.sleep)
    return part.run(once=once), told


def test_until_the_task_is_over(
    lab: ProvenLab, chain: LabChain, tmp_path: Path, clock: Clock
) -> None:
    ending, told = join(lab, chain, tmp_path, clock)
    assert ending == Ending(outcome=Outcome.DONE, rounds=(0, 1))
    assert told[0] == f"registering as {lab.client(OWN).hex()}"
    assert told[1:3] == ["round 1: committed to its model", "round 1: proven its accuracy"]
    assert told[-1].startswith("round 2 ended: a mean of 3 models, this client's among them")
    again, _ = join(lab, chain, tmp_path, clock)
    assert again == Ending(outcome=Outcome.OVER, rounds=())


def test_one_round_at_a_time(lab: ProvenLab, chain: LabChain, tmp_path: Path, clock: Clock) -> None:
    assert join(lab, chain, tmp_path, clock, once=True)[0].rounds == (0,)
    assert chain.state.learning_round == 1
    assert join(lab, chain, tmp_path, clock, once=True)[0].rounds == (1,)


def test_one_round_is_the_first_while_orders_are_drawn(clock: Clock) -> None:
    """A client that is started anew then has not missed it: its commits are still to come."""
    lab = Lab(changes={"training": make_training()})
    chain = StillChain(lab, clock)
    chain.state = lab.reach(Phase.ORDER)
    client: Any = Overflowing(lab.client(OWN))
    part = Participation(client, chain, report=print, clock=clock, sleep=clock.sleep)
    assert part.run(once=True) == Ending(outcome=Outcome.MISSED, rounds=())
    assert chain.state.learning_round == 1


def test_the_same_bytes_are_sent_until_they_are_final(
    lab: ProvenLab, chain: LabChain, tmp_path: Path, clock: Clock
) -> None:
    chain.lost = {Proof}
    ending, _ = join(lab, chain, tmp_path, clock, once=True)
    assert ending == Ending(outcome=Outcome.MISSED, rounds=())
    proofs = [tx for tx in chain.sent if isinstance(tx, Proof)]
    assert len(proofs) > 1
    assert len(set(proofs)) == 1


def test_who_is_not_let_in_is_told_why(
    lab: ProvenLab, chain: LabChain, tmp_path: Path, clock: Clock
) -> None:
    client = make_client(lab, OWN, tmp_path, permit=b"")
    part = Participation(client, chain, report=print, clock=clock, sleep=clock.sleep)
    with pytest.raises(NotAdmitted, match=f"zkpot chain permit CHAIN {lab.client(OWN).hex()}"):
        part.run(once=False)
    chain.lost = {Register}
    with pytest.raises(NotAdmitted, match="closed with 2 of at most 3 clients"):
        join(lab, chain, tmp_path, clock)


def test_nodes_that_are_silent_end_it(
    lab: ProvenLab, chain: LabChain, tmp_path: Path, clock: Clock
) -> None:
    chain.is_still = True
    with pytest.raises(NodesSilent, match="no block after height 0 has come for 120 s"):
        join(lab, chain, tmp_path, clock)
    assert PATIENCE_S < clock.now < PATIENCE_S + 2
    chain.is_down = True
    with pytest.raises(NodesSilent):
        join(lab, chain, tmp_path, clock)


class Forgetful:
    """Blobs of which one is not there when it is first asked for."""

    def __init__(self, blobs: Any, digest: bytes) -> None:
        self._blobs, self._digest = blobs, digest

    def get(self, digest: bytes) -> bytes:
        if digest == self._digest:
            self._digest = b""
            raise BlobMissing(digest)
        raw: bytes = self._blobs.get(digest)
        return raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)


def test_a_blob_that_is_lacked_is_looked_for(
    lab: ProvenLab, chain: LabChain, tmp_path: Path, clock: Clock
) -> None:
    pool = lab.task.get_pool(0)
    client = make_client(lab, OWN, tmp_path, prover=prover(), blobs=Forgetful(lab.blobs, pool))
    part = Participation(client, chain, report=print, clock=clock, sleep=clock.sleep)
    assert part.run(once=True).rounds == (0,)
    assert chain.looked_for == [pool]


@pytest.mark.parametrize(
    "reason",
    [
        BelowThreshold(1, 16, 8),
        AnswerRefused("another S asks"),
        UpdateExceeds(quantity="change of a weight", value=9, bound=4),
    ],
)
def test_what_would_show_or_shame_it_is_not_sent(
    lab: ProvenLab, chain: LabChain, tmp_path: Path, clock: Clock, reason: Exception
) -> None:
    """It stays out of that round, and says why; it goes on to follow the chain."""

    class Refusing:
        def prove(self, order: ProofOrder) -> bytes:
            raise reason

    told: list[str] = []
    client = make_client(lab, OWN, tmp_path, prover=Refusing())
    part = Participation(client, chain, report=told.append, clock=clock, sleep=clock.sleep)
    assert part.run(once=True) == Ending(outcome=Outcome.MISSED, rounds=())
    assert told.count(f"round 1: {reason}") == 1
    assert chain.state.learning_round == 1


class StillChain:
    """A round whose commits are open, and at the next look the round after it."""

    def __init__(self, lab: Lab, clock: Clock) -> None:
        self.state, self._clock = lab.reach(Phase.COMMIT), clock
        self._next = lab.reach(Phase.COMMIT, learning_round=1)
        self._n_looks = 0

    def poll(self, wait_ms: int) -> list[tuple[FinalBlock, ChainState]]:
        self._clock.now += wait_ms / 1000
        self._n_looks += 1
        if self._n_looks > 30:
            self.state = self._next
        return []

    def send(self, tx: SentTransaction) -> None:
        raise AssertionError("there is nothing to send")

    def look_for(self, digests: list[bytes]) -> None:
        raise AssertionError("nothing is lacking")


class Overflowing:
    """Its training leaves the ranges of weights."""

    def __init__(self, public_key: bytes) -> None:
        self.public_key, self.account = public_key, Account()

    def act(self, state: ChainState) -> SentTransaction | None:
        raise RangeExceeded(
            layer=1, quantity="step 3", value=99, bound=(-9, 9), next_step="take a smaller rate"
        )


@pytest.mark.parametrize("trains", [False, True])
def test_steps_that_leave_their_range_cost_a_round(trains: bool) -> None:
    """The next one draws other batches; other models that do not fit the scales never will."""
    lab, clock = Lab(changes={"training": make_training()} if trains else {}), Clock()
    client: Any = Overflowing(lab.client(OWN))
    chain, told = StillChain(lab, clock), list[str]()

    part = Participation(client, chain, report=told.append, clock=clock, sleep=clock.sleep)
    if not trains:
        with pytest.raises(RangeExceeded):
            part.run(once=True)
        return
    assert part.run(once=True).outcome is Outcome.MISSED
    assert sum("step 3" in line for line in told) == 1


class Idle:
    """It has nothing to do."""

    def __init__(self, public_key: bytes, account: Account) -> None:
        self.public_key, self.account = public_key, account

    def act(self, state: ChainState) -> SentTransaction | None:
        return None


def test_who_is_bound_to_another_account_is_told_so_once() -> None:
    """A registration whose account another client has is taken without it, and says nothing."""
    lab = Lab(n_bound=2)
    own, other = (Account(lab.register(i).address, bytes(65)) for i in (0, 1))
    for client, account, bound in (
        (0, own, None),
        (0, other, format_address(own.address)),
        (2, own, "none"),
        (2, Account(), None),
    ):
        clock, told = Clock(), list[str]()
        part = Participation(
            Idle(lab.client(client), account),  # type: ignore[arg-type]
            StillChain(lab, clock),
            report=told.append,
            clock=clock,
            sleep=clock.sleep,
        )
        part.run(once=True)
        assert len(told) == (bound is not None)
        assert bound is None or f"not bound to {format_address(account.address)} but to" in told[0]
        assert bound is None or f"to {bound}, for ever" in told[0]


def test_who_is_expelled_is_told_so(
    lab: ProvenLab, chain: LabChain, tmp_path: Path, clock: Clock
) -> None:
    chain.state = replace(lab.reach(Phase.COMMIT, learning_round=1), expelled=(lab.client(OWN),))
    assert join(lab, chain, tmp_path, clock)[0].outcome is Outcome.EXPELLED


def test_what_a_transaction_names_is_offered_whenever_it_is_sent(
    lab: ProvenLab, chain: LabChain, tmp_path: Path, clock: Clock
) -> None:
    offered: list[SentTransaction] = []
    client = make_client(lab, OWN, tmp_path, prover=prover())
    part = Participation(
        client, chain, report=print, offer=offered.append, clock=clock, sleep=clock.sleep
    )
    assert part.run(once=True).rounds == (0,)
    assert offered == chain.sent


class WithoutDeals:
    """Blobs without the deals of the round, until somebody looks for them."""

    def __init__(self, blobs: Any, chain: LabChain) -> None:
        self._blobs, self._chain = blobs, chain

    def get(self, digest: bytes) -> bytes:
        state = self._chain.state
        deals = {proven.deal for proven in state.proofs.values()}
        if state.phase is Phase.UNMASK and digest in deals - set(self._chain.looked_for):
            raise BlobMissing(digest)
        raw: bytes = self._blobs.get(digest)
        return raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)


def test_all_deals_are_looked_for_at_once(
    lab: ProvenLab, chain: LabChain, tmp_path: Path, clock: Clock
) -> None:
    blobs = WithoutDeals(lab.blobs, chain)
    client = make_client(lab, OWN, tmp_path, prover=prover(), blobs=blobs)
    part = Participation(client, chain, report=print, clock=clock, sleep=clock.sleep)
    assert part.run(once=True).rounds == (0,)
    first, *rest = chain.looked_for
    assert first in rest
    assert len(rest) == len(set(rest)) == lab.n_clients - 1


class Killed(BaseException):
    """What ends a process without a word."""


class Dying:
    """A chain that kills whoever has sent so many different transactions, before or after it."""

    def __init__(self, chain: LabChain, after: int, *, is_sent: bool) -> None:
        self._chain, self._left, self._is_sent = chain, after, is_sent
        self._last: SentTransaction | None = None

    def send(self, tx: SentTransaction) -> None:
        if tx != self._last:
            self._last = tx
            self._left -= 1
        if self._left < 0:
            if self._is_sent:
                self._chain.send(tx)
            raise Killed
        self._chain.send(tx)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)


def list_deaths() -> Iterator[tuple[int, bool]]:
    for after in range(9):
        yield after, False
        yield after, True


@pytest.mark.parametrize(("after", "is_sent"), list(list_deaths()))
def test_killed_at_each_step_and_started_again(
    lab: ProvenLab, chain: LabChain, tmp_path: Path, clock: Clock, after: int, is_sent: bool
) -> None:
    """It goes on with the same secrets, and enters both rounds."""
    try:
        join(lab, Dying(chain, after, is_sent=is_sent), tmp_path, clock)
    except Killed:
        ending, _ = join(lab, chain, tmp_path, clock)
        assert ending.outcome is Outcome.DONE
    assert chain.state.phase is Phase.DONE
    names = ("learning_round", "step")
    sent = dict.fromkeys(chain.sent)
    steps = [(type(tx), *(getattr(tx, name, None) for name in names)) for tx in sent]
    assert len(steps) == len(set(steps)) == 9  # never two that differ for one purpose
