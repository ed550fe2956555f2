"""Clients on a small chain with real proofs: honest ones, one that lies, one that forges."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consensus.disk.development import sign_permit
from consensus.learning.admission import describe_occasion
from consensus.learning.aggregate import GlobalModel
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.samples import SamplePool
from consensus.learning.steps import STEPS
from consensus.wire.transactions import Commit, Proof, Register, Transaction
from federated.attacks import ForgingProver, LyingProver, make_up, raise_claim, state_own, take_over
from federated.client import Client, ProofOrder, Prover, make_committer
from federated.errors import ProvingFailed
from federated.joining.own_prover import OwnProver
from federated.rounds.duties import Duty, draw_shard, find_duty
from federated.rounds.store import COMMITMENT_NAME, MASKS_NAME, MODEL_NAME, SecretStore
from kernels.encoding import encode_g1
from prover.errors import FormatError, KeyMismatch, RangeExceeded
from prover.model.network import QuantizedModel, is_correct
from prover.wire.envelope import Envelope
from prover.wire.verdict import Verdict
from tests.support.learning import (
    BACKEND,
    N_SAMPLES,
    ProvenLab,
    accuracy,
    model_of,
    proving_key,
)
from tests.support.tiny_circuits import seeded

HONEST, LIAR, FORGER = 0, 1, 2


class CountingProver(OwnProver):
    """Counts how often it was asked."""

    def __init__(self, seed: int) -> None:
        super().__init__(accuracy(), proving_key(), random_bytes=seeded(seed), backend=BACKEND)
        self.n_asked = 0

    def prove(self, order: ProofOrder) -> bytes:
        self.n_asked += 1
        return super().prove(order)


class Refusing:
    def prove(self, order: ProofOrder) -> bytes:
        raise ProvingFailed(f"no proof of {len(order.labels)} samples")


@pytest.fixture(scope="module")
def lab() -> ProvenLab:
    return ProvenLab()


def make_forger(lab: ProvenLab, victim: Envelope | None, *, seed: int) -> ForgingProver:
    return ForgingProver(
        lambda: victim,
        key_digest=lab.task.verifying_key_digest,
        random_bytes=seeded(seed),
    )


def make_client(
    lab: ProvenLab,
    i: int,
    folder: Path,
    *,
    prover: Prover | None = None,
    learn: Callable[[GlobalModel | None, int], QuantizedModel] | None = None,
    permit: bytes | None = None,
    blobs: Any = None,
) -> Client:
    if permit is None:
        permit = sign_permit(lab.admission, lab.genesis.digest, lab.client(i))
    return Client(
        lab.clients[i],
        validator=i % lab.n_validators,
        permit=permit,
        blobs=blobs or lab.blobs,
        secrets=SecretStore(folder / f"client-{i}", lab.genesis),
        learn=learn or (lambda _, t: model_of(i)),
        commit=make_committer(lab.task, random_bytes=seeded(300 + i), backend=BACKEND),
        prover=prover or CountingProver(i),
        random_bytes=seeded(400 + i),
        backend=BACKEND,
    )


def act(clients: list[Client], state: ChainState) -> list[Transaction]:
    return [tx for client in clients if (tx := client.act(state)) is not None]


def run_until(
    lab: ProvenLab, clients: list[Client], phase: Phase, learning_round: int = 0
) -> ChainState:
    """Blocks of what clients send and a validator accepts, until a state of this phase."""
    verifier, state = lab.verifier(), start(lab.genesis)
    while (state.phase, state.learning_round) != (phase, learning_round):
        sent = act(clients, state)
        faults = verifier.judge(state, sent)
        block = lab.block(state, [tx for tx, f in zip(sent, faults, strict=True) if f is None])
        assert verifier.check(state, block) is None
        state = apply(state, block)
    return state


def test_two_rounds_end_in_a_global_model(lab: ProvenLab, tmp_path: Path) -> None:
    seen: list[tuple[bool, int]] = []

    def learn(model: GlobalModel | None, learning_round: int) -> QuantizedModel:
        seen.append((model is None, learning_round))
        return model_of(0)

    clients = [make_client(lab, i, tmp_path) for i in (1, 2)]
    clients.insert(0, make_client(lab, 0, tmp_path, learn=learn))
    state = run_until(lab, clients, Phase.DONE, 1)
    assert seen == [(True, 0), (False, 1)]
    assert state.leader == lab.client(0)  # the labels are its model's
    assert set(state.proofs) == set(state.unmasked) == {lab.client(i) for i in range(3)}
    GlobalModel.parse(lab.blobs.get(state.global_model))
    assert act(clients, state) == []


def model_that_errs() -> QuantizedModel:
    """It names the labels the other way round."""
    right = model_of(0)
    return replace(right, weights=(*right.weights[:-1], -right.weights[-1]))


def test_nobody_believes_the_liar_and_the_forger(tmp_path: Path) -> None:
    """Neither has a proof in any block, and the global model is the honest clients' alone."""
    lab = ProvenLab(n_clients=5)
    honest = (HONEST, 3, 4)
    clients = [
        *(make_client(lab, i, tmp_path) for i in honest),
        make_client(
            lab,
            LIAR,
            tmp_path,
            prover=LyingProver(CountingProver(LIAR), extra=3),
            learn=lambda _, t: model_that_errs(),
        ),
        make_client(
            lab,
            FORGER,
            tmp_path,
            prover=make_forger(lab, None, seed=9),
        ),
    ]
    electing = run_until(lab, clients, Phase.ELECT)
    assert set(electing.commits) == {client.public_key for client in clients}
    assert set(electing.proofs) == set(electing.unmasked) == {lab.client(i) for i in honest}
    state = lab.extend(electing)
    assert set(state.ranking) == {lab.client(i) for i in honest}
    assert lab.blobs.get(state.global_model) == lab.mean(honest, electing).encode()


@pytest.fixture(scope="module")
def proving(
    lab: ProvenLab, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ChainState, list[Client], list[ProofOrder]]:
    """All have committed and the shard is drawn; what each would hand to a prover."""
    folder = tmp_path_factory.mktemp("clients")
    clients = [make_client(lab, i, folder) for i in range(3)]
    state = run_until(lab, clients, Phase.PROVE)
    images, labels = draw_shard(state, lab.blobs)
    orders = []
    for client in clients:
        secrets = client.load_secrets(0)
        assert secrets is not None
        orders.append(
            ProofOrder(
                model=secrets.model,
                commitment=secrets.commitment,
                images=images,
                labels=labels,
                occasion=describe_occasion(state, client.public_key),
            )
        )
    return state, clients, orders


def judge(lab: ProvenLab, state: ChainState, i: int, envelope: Envelope) -> Verdict:
    return lab.verifier().check_proofs(state, [lab.wrap(i, envelope)])[0]


def decode(raw: bytes) -> Envelope:
    envelope = Envelope.decode(raw)
    assert envelope is not None
    return envelope


def test_the_lie_fails_by_the_equations_alone(
    lab: ProvenLab, proving: tuple[ChainState, list[Client], list[ProofOrder]]
) -> None:
    state, _, orders = proving
    i = 2  # the model of 1 is at times right all over, and leaves nothing to lie about
    honest = decode(CountingProver(i).prove(orders[i]))
    correct = is_correct(orders[i].model.logits(orders[i].images), orders[i].labels)
    assert honest.statement.claimed_correct == int(correct.sum()) < N_SAMPLES
    assert judge(lab, state, i, honest) is Verdict.VALID
    lie = raise_claim(honest, extra=1)
    assert lie.statement.claimed_correct == honest.statement.claimed_correct + 1
    assert judge(lab, state, i, lie) is Verdict.PAIRING_FAILED
    most = raise_claim(honest, extra=10**6)
    assert most.statement.claimed_correct == N_SAMPLES
    assert judge(lab, state, i, most) is Verdict.PAIRING_FAILED


def test_forgeries_fail_by_the_equations_alone(
    lab: ProvenLab, proving: tuple[ChainState, list[Client], list[ProofOrder]]
) -> None:
    state, _, orders = proving
    digest = lab.task.verifying_key_digest
    statement = state_own(orders[2], key_digest=digest, claimed=N_SAMPLES)
    made_up = make_up(statement, random_bytes=seeded(4))
    assert judge(lab, state, 2, made_up) is Verdict.PAIRING_FAILED
    victim = decode(CountingProver(0).prove(orders[0]))
    assert judge(lab, state, 0, victim) is Verdict.VALID
    assert judge(lab, state, 2, take_over(victim, orders[2])) is Verdict.PAIRING_FAILED
    assert judge(lab, state, 2, victim) is Verdict.WRONG_STATEMENT  # signed again, as it is


def test_the_forger_prefers_what_it_can_steal(
    lab: ProvenLab, proving: tuple[ChainState, list[Client], list[ProofOrder]]
) -> None:
    _, _, orders = proving
    victim = decode(CountingProver(0).prove(orders[0]))
    stolen = decode(make_forger(lab, victim, seed=4).prove(orders[2]))
    assert stolen.proof == victim.proof
    assert stolen.statement.occasion.client_key == orders[2].occasion.client_key
    assert stolen.statement.commitments == (encode_g1(orders[2].commitment.public.d),)
    made_up = decode(make_forger(lab, None, seed=4).prove(orders[2]))
    assert made_up.statement.claimed_correct == N_SAMPLES


def test_transactions_are_made_once(
    lab: ProvenLab, proving: tuple[ChainState, list[Client], list[ProofOrder]], tmp_path: Path
) -> None:
    state = proving[0]
    clients = [make_client(lab, i, tmp_path / "again") for i in range(3)]
    prover = CountingProver(0)
    clients[0] = make_client(lab, 0, tmp_path / "again", prover=prover)
    state = run_until(lab, clients, Phase.PROVE)
    before = prover.n_asked
    first = clients[0].act(state)
    assert clients[0].act(lab.extend(state)) is first  # an empty block later, the same bytes
    assert prover.n_asked == before + 1
    assert isinstance(first, Proof)


def test_duties_follow_the_phases(lab: ProvenLab) -> None:
    """What is done, or was not done in time, is no duty any more."""
    key = lab.client(0)
    for phase, duty, kind in (
        (Phase.REGISTER, Duty.REGISTER, lab.register(0)),
        (Phase.COMMIT, Duty.COMMIT, lab.commit(0)),
        (Phase.BEACON, Duty.NOTHING, None),
        *((phase, Duty(phase.value), lab.contribute(0, phase)) for phase in STEPS),
        (Phase.ELECT, Duty.NOTHING, None),
    ):
        state = lab.reach(phase)
        assert find_duty(state, key) is duty
        if kind is not None:
            assert find_duty(lab.extend(state, [kind]), key) is Duty.NOTHING
    state = lab.reach(Phase.PROVE)
    assert find_duty(state, key) is Duty.PROVE
    assert find_duty(replace(state, commits={}), key) is Duty.NOTHING
    assert find_duty(lab.reach(Phase.COMMIT), b"\x00" * 32) is Duty.NOTHING


def test_secrets_are_for_their_owner(lab: ProvenLab, tmp_path: Path) -> None:
    client = make_client(lab, 0, tmp_path)
    assert client.load_secrets(0) is None
    client.act(lab.reach(Phase.COMMIT))
    (folder,) = tmp_path.glob("client-0/chain-*/round-0")
    names = {path.name for path in folder.iterdir()}
    assert names == {MODEL_NAME, COMMITMENT_NAME, MASKS_NAME, "commit.sent"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (folder / COMMITMENT_NAME).write_bytes(b"torn")
    with pytest.raises(FormatError):
        client.load_secrets(0)


def test_a_client_that_was_killed_keeps_its_commitment(lab: ProvenLab, tmp_path: Path) -> None:
    """Whatever it would learn or draw now: D_W of a round is one."""
    state = lab.reach(Phase.COMMIT)
    first = make_client(lab, 0, tmp_path).act(state)
    again = make_client(lab, 0, tmp_path, learn=lambda _, t: model_of(1)).act(state)
    assert isinstance(first, Commit)
    assert again == first
    with pytest.raises(ProvingFailed, match="next round"):
        make_client(lab, 0, tmp_path / "lost").act(lab.reach(Phase.PROVE))


def test_the_same_round_of_another_chain_has_secrets_of_its_own(
    lab: ProvenLab, tmp_path: Path
) -> None:
    """The same D_W on two chains would tell that one client is behind both."""
    other = ProvenLab(changes={"threshold": 2})
    commits = [make_client(one, 0, tmp_path).act(one.reach(Phase.COMMIT)) for one in (lab, other)]
    assert all(isinstance(commit, Commit) for commit in commits)
    folders = {path.parent.name for path in tmp_path.glob("client-0/chain-*/round-0")}
    assert folders == {f"chain-{one.genesis.digest.hex()[:32]}" for one in (lab, other)}


def test_a_prover_that_gives_up_is_heard(lab: ProvenLab, tmp_path: Path) -> None:
    clients = [make_client(lab, i, tmp_path, prover=Refusing()) for i in range(3)]
    state = run_until(lab, clients, Phase.PROVE)
    with pytest.raises(ProvingFailed, match="16 samples"):
        clients[0].act(state)
    with pytest.raises(ProvingFailed):
        LyingProver(Refusing(), extra=1).prove(
            ProofOrder(
                model=model_of(0),
                commitment=clients[0].load_secrets(0).commitment,  # type: ignore[union-attr]
                images=np.zeros((16, 6), dtype=np.uint8),
                labels=np.zeros(16, dtype=np.uint8),
                occasion=describe_occasion(state, lab.client(0)),
            )
        )


class Columns(ProvenLab):
    """A pool whose samples have another shape than the network takes, with the same numbers."""

    @cached_property
    def pool(self) -> SamplePool:
        rows = super().pool
        return SamplePool.of(images=rows.images[:, :, None], labels=rows.labels)


def test_samples_of_the_pool_are_shaped_for_the_network(tmp_path: Path) -> None:
    """As those of a network with planes are, whose pool is flat."""
    lab = Columns()
    clients = [make_client(lab, i, tmp_path, prover=Refusing()) for i in range(3)]
    state = run_until(lab, clients, Phase.PROVE)
    with pytest.raises(ProvingFailed, match="16 samples"):
        clients[0].act(state)


def test_only_the_tasks_architecture_is_committed_to(lab: ProvenLab) -> None:
    commit = make_committer(lab.task, random_bytes=seeded(1), backend=BACKEND)
    model = model_of(0)
    wider = replace(model.architecture, margin_bits=model.architecture.margin_bits + 1)
    with pytest.raises(KeyMismatch, match="architecture"):
        commit(replace(model, architecture=wider))


def test_a_model_out_of_range_is_not_committed(lab: ProvenLab) -> None:
    """Else its owner would learn it after the shard is drawn, when no proof comes about."""
    commit = make_committer(lab.task, random_bytes=seeded(1), backend=BACKEND)
    biases = [b.copy() for b in model_of(0).biases]
    biases[0][0] = (1 << 23) - 1
    with pytest.raises(RangeExceeded):
        commit(replace(model_of(0), biases=tuple(biases)))


def test_blindings_differ(lab: ProvenLab) -> None:
    commit = make_committer(lab.task, random_bytes=seeded(1), backend=BACKEND)
    a, b = commit(model_of(0)), commit(model_of(0))
    assert a.blinding.rho != b.blinding.rho
    assert not np.array_equal(a.public.d.data, b.public.d.data)


def test_kinds_of_transactions(lab: ProvenLab, tmp_path: Path) -> None:
    client = make_client(lab, 0, tmp_path)
    register = client.act(start(lab.genesis))
    assert isinstance(register, Register)
    assert (register.client_key, register.validator) == (lab.client(0), 0)
    assert isinstance(client.act(lab.reach(Phase.COMMIT)), Commit)


def test_a_client_that_is_killed_in_any_phase_goes_on_with_what_it_has_answered(
    lab: ProvenLab, tmp_path: Path
) -> None:
    """Started anew for every block: what it sends then opens as ever."""
    state, verifier = start(lab.genesis), lab.verifier()
    while state.learning_round == 0:
        clients = [make_client(lab, i, tmp_path) for i in range(3)]
        sent = act(clients, state)
        again = act([make_client(lab, i, tmp_path) for i in range(3)], state)
        assert again == sent
        block = lab.block(state, sent)
        assert verifier.check(state, block) is None
        electing, state = state, apply(state, block)
    assert lab.blobs.get(state.global_model) == lab.mean(range(3), electing).encode()
