"""What verdicts, counts and beacon shares depend on, and what they must not be taken from."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from consensus.disk.identity import Identity
from consensus.learning import beacon
from consensus.learning.admission import expect_statement
from consensus.learning.aggregate import combine
from consensus.learning.chain import beacon_message
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.steps import STEPS
from consensus.node import verifier as verifier_module
from consensus.node.drafts import BeaconShares
from consensus.node.metrics import NodeMetrics
from consensus.node.verifier import BlockVerifier
from consensus.node.voice import Voice
from consensus.wire.codec import Message
from consensus.wire.messages import BeaconShare, Block
from consensus.wire.transactions import Refusal
from kernels.array import FrArray
from kernels.bn254 import R
from kernels.encoding import decode_fr
from prover.wire.records import encode_fields
from prover.wire.verdict import Verdict
from tests.support.learning import (
    N_SAMPLES,
    PHASES,
    Lab,
    ProvenLab,
    deal_beacon,
    model_of,
    point,
    proven_lab,
    proven_state,
)
from tests.support.memory_blobs import MemoryBlobs
from tests.support.tiny_circuits import seeded

VALID, WRONG = Verdict.VALID, Verdict.WRONG_STATEMENT


# -- verdicts --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab() -> ProvenLab:
    return ProvenLab(changes={"margin": 1})


@pytest.fixture(scope="module")
def state(lab: ProvenLab) -> ChainState:
    """In the second PROVE phase, where there is a model to be better than."""
    return lab.reach(Phase.PROVE, learning_round=1)


def put_model(lab: ProvenLab, i: int) -> bytes:
    """A global model as good as that of client i; client 0 has the labels' own."""
    return lab.blobs.put(combine([(model_of(i), 1)]).encode())


def test_a_verdict_and_a_count_are_of_one_global_model(lab: ProvenLab, state: ChainState) -> None:
    """What was far enough above one model is not above another; the shard is the same."""
    proof = lab.prove(0, state)  # claims all samples
    best = replace(state, global_model=put_model(lab, 0))
    verifier = lab.verifier()
    for _ in range(2):
        assert verifier.check_proofs(state, [proof]) == [VALID]
        assert verifier.check_proofs(best, [proof]) == [WRONG]


def test_a_count_is_of_one_shard(lab: ProvenLab, state: ChainState) -> None:
    """The same global model, right on so many samples here and on so many there."""
    drawn = [replace(state, beacon=point(k)) for k in range(3, 15)]
    counts = {count_right(lab, at): at for at in drawn}
    least, most = min(counts), max(n for n in counts if n < N_SAMPLES)
    assert least < most
    verifier = lab.verifier()
    for n_right in (least, most, least, most):
        at = counts[n_right]
        claims = [lab.prove(0, at, claimed=n_right + more) for more in (0, 1)]
        assert verifier.check_proofs(at, claims) == [WRONG, VALID]


def count_right(lab: ProvenLab, state: ChainState) -> int:
    """By the definition: the rounded global model on the shard that the beacon drew."""
    verifier = lab.verifier()
    return verifier._count_global(state, verifier._load_shard(state))


def test_an_aggregate_is_of_one_state(lab: ProvenLab) -> None:
    """And nothing that is remembered of a round outlives it."""
    states = [lab.reach(Phase.ELECT), lab.reach(Phase.ELECT, learning_round=1)]
    verifier = lab.verifier()
    made = [verifier.build_aggregate(at) for at in (*states, *states)]
    assert made[:2] == made[2:]
    assert made[:2] == [lab.verifier().build_aggregate(at) for at in states]
    assert made[0] != made[1]


def test_what_was_checked_once_costs_nothing_again(
    lab: ProvenLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No blob is read and no equation computed a second time, in any phase of a round."""
    blobs = MemoryBlobs()
    blobs._blobs = dict(lab.blobs._blobs)
    verifier = BlockVerifier(lab.genesis, blobs, seeded(1))
    walk: list[tuple[ChainState, Block]] = []
    for phase in (Phase.COMMIT, Phase.PROVE, *STEPS, Phase.ELECT):
        state = lab.reach(phase, learning_round=1)
        due = lab.list_due(state)
        blobs._blobs |= lab.blobs._blobs
        walk.append((state, lab.block(state, due[:1] if phase is Phase.PROVE else due)))
        assert verifier.check(*walk[-1]) is None
    blobs._blobs.clear()
    monkeypatch.setattr(verifier_module, "verify_batch", check_nothing)
    assert [verifier.check(*place) for place in walk] == [None] * 7


def check_nothing(raws: list[bytes], **_: Any) -> list[Verdict]:
    assert raws == []
    return []


def test_a_refusal_is_its_clients_and_signed() -> None:
    """Anybody could make up a proof that does not verify, in another's name."""
    lab, state = proven_lab(), proven_state(Phase.PROVE)
    false = replace(lab.prove(0, state), envelope=make_false_envelope(lab, state))
    for unsigned in (false, lab.sign(false, lab.clients[1]), replace(false, signature=bytes(64))):
        refusal = Refusal(proof=unsigned)
        assert lab.verifier().judge(state, [refusal]) == ["the signature is not its client's"]
        found = lab.verifier().check(state, lab.block(state, [refusal]))
        assert found == "transaction 0: the signature is not its client's"
    signed = Refusal(proof=lab.sign(false, lab.clients[0]))
    assert lab.verifier().check(state, lab.block(state, [signed])) is None


def test_a_valid_proof_cannot_be_refused() -> None:
    lab, state = proven_lab(), proven_state(Phase.PROVE)
    refusal = Refusal(proof=lab.prove(0, state))
    assert lab.verifier().judge(state, [refusal]) == ["it refuses a valid proof"]
    assert lab.verifier().judge(state, [refusal.proof]) == [None]


def test_a_wrong_statement_is_remembered_nowhere(lab: ProvenLab, state: ChainState) -> None:
    """It is wrong after one beacon only: the same bytes are right after another."""
    proof, verifier = lab.prove(0, state), lab.verifier()
    assert verifier.check_proofs(replace(state, beacon=point(3)), [proof]) == [WRONG]
    assert verifier.check_proofs(state, [proof]) == [VALID]


def test_what_no_block_may_hold_is_a_wrong_statement(lab: ProvenLab, state: ChainState) -> None:
    """Whatever the equations say: it is another's, late, or of nobody that has committed."""
    proof = lab.prove(0, state)
    stolen = lab.sign(proof, lab.clients[1])
    assert lab.verifier().check_proofs(state, [stolen, proof]) == [WRONG, VALID]
    after = lab.extend(state, [proof])
    assert lab.verifier().check_proofs(after, [proof]) == [WRONG]
    uncommitted = replace(state, commits={})
    assert lab.verifier().check_proofs(uncommitted, [proof]) == [WRONG]


def make_false_envelope(lab: ProvenLab, state: ChainState) -> bytes:
    """The right statement, and no proof of it."""
    envelope = lab.make_envelope(0, state)
    statement = expect_statement(
        state, lab.client(0), claimed_correct=1, dataset_digest=envelope.statement.dataset_digest
    )
    return replace(envelope, statement=statement).encode()


# -- blobs -----------------------------------------------------------------------------------------


def test_missing_blobs_are_each_named_once() -> None:
    blobs = MemoryBlobs()
    here, gone, lost = blobs.put(b"here"), bytes(32), bytes(31) + b"\x01"
    verifier = BlockVerifier(proven_lab().genesis, blobs, seeded(1))
    assert verifier.find_missing_blobs([gone, here, lost, gone]) == (gone, lost)
    assert verifier.find_missing_blobs([here]) == ()


def test_a_margin_needs_the_global_model(lab: ProvenLab, state: ChainState) -> None:
    """As soon as there is one; nobody else needs it in this phase."""
    first, task = lab.reach(Phase.PROVE), lab.task
    needed = (task.verifying_key_digest, task.pools[0])
    for at, expected in ((first, needed), (state, (*needed, state.global_model))):
        proof = lab.prove(0, at)
        found = lab.verifier().list_needed_blobs(at, lab.block(at, [proof]))
        assert found == (*expected, proof.deal)
    again = proven_state(Phase.PROVE, 1)
    proof = proven_lab().prove(0, again)
    block = proven_lab().block(again, [proof])
    expected = (proven_lab().task.verifying_key_digest, proven_lab().task.pools[0], proof.deal)
    assert proven_lab().verifier().list_needed_blobs(again, block) == expected


@pytest.mark.parametrize("phase", [Phase.COMMIT, Phase.PROVE, *STEPS])
def test_an_empty_block_needs_no_blob(phase: Phase) -> None:
    lab, state = proven_lab(), proven_state(phase)
    verifier = BlockVerifier(lab.genesis, MemoryBlobs(), seeded(1))
    assert verifier.check(state, lab.block(state)) is None


class CountedBlobs(MemoryBlobs):
    """Counts how often each is read."""

    def __init__(self, lab: ProvenLab) -> None:
        super().__init__()
        self._blobs = dict(lab.blobs._blobs)
        self.read: Counter[bytes] = Counter()

    def get(self, digest: bytes) -> bytes:
        self.read[digest] += 1
        return super().get(digest)


def test_shards_counts_and_aggregates_are_kept_for_the_round_under_way(
    lab: ProvenLab, state: ChainState
) -> None:
    """Of a pool of all test samples they are large: the last one is kept, and no other."""
    blobs = CountedBlobs(lab)
    verifier = BlockVerifier(lab.genesis, blobs, seeded(1))
    other = replace(state, beacon=point(3))
    for at in (state, state, other, other, state):
        verifier._count_global(at, verifier._load_shard(at))
    assert blobs.read == {lab.task.pools[0]: 3, state.global_model: 3}
    blobs.read.clear()
    electing = lab.reach(Phase.ELECT)
    next_one = lab.reach(Phase.ELECT, learning_round=1)
    blobs._blobs |= lab.blobs._blobs
    for at in (electing, electing, next_one, electing):
        verifier.build_aggregate(at)
    assert [blobs.read[digest] for digest in electing.masked.values()] == [2] * 3
    assert blobs.read[electing.proofs[lab.client(0)].deal] == 2


# -- the beacon ------------------------------------------------------------------------------------


def to_int(raw: bytes) -> int:
    scalar = decode_fr(raw, 1)
    assert isinstance(scalar, FrArray)
    return scalar.to_ints()[0]


@pytest.mark.parametrize("n", [4, 7, 10])
def test_the_coefficients_of_a_dealer_are_all_its_own(n: int) -> None:
    """Were two of them equal, fewer than f + 1 validators would know the secret."""
    f = (n - 1) // 3
    drawn: list[bytes] = []
    source = seeded(n)

    def random_bytes(size: int) -> bytes:
        drawn.append(source(size))
        return drawn[-1]

    keys = beacon.deal(n_validators=n, n_faulty=f, random_bytes=random_bytes)
    found = solve_coefficients([to_int(secret) for secret in keys.secrets], f)
    assert len(set(found)) == f + 1
    assert 0 not in found
    assert len(set(drawn)) >= f + 1
    shares = [beacon.sign_share(s, b"m") for s in keys.secrets]
    whole = beacon.combine(dict(enumerate(shares[: f + 1])))
    for chosen in combinations(range(n), f):
        assert beacon.combine({i: shares[i] for i in chosen}) != whole


def solve_coefficients(values: list[int], degree: int) -> list[int]:
    """Of the polynomial with these values at 1, 2, ...; all of them must lie on it."""
    found = [0] * (degree + 1)
    for i in range(degree + 1):
        basis, below = [1], 1  # prod (x - x_j), prod (x_i - x_j)
        for j in range(degree + 1):
            if j != i:
                shifted, scaled = [0, *basis], [-(j + 1) * c for c in (*basis, 0)]
                basis = [a + b for a, b in zip(shifted, scaled, strict=True)]
                below = below * (i - j)
        scale = values[i] * pow(below, -1, R)
        found = [(a + scale * b) % R for a, b in zip(found, basis, strict=True)]
    for x, value in enumerate(values, 1):
        assert sum(c * pow(x, k, R) for k, c in enumerate(found)) % R == value
    return found


def test_the_message_of_a_beacon_names_genesis_round_and_height() -> None:
    digest = bytes(range(32))
    fields = (b"zkpot beacon v1", digest, b"\x02" + bytes(7), b"\x03\x01" + bytes(6))
    made = beacon.compute_message(digest, learning_round=2, commit_height=259)
    assert made == encode_fields(fields)


PLACES = [(p, t) for t in (0, 1) for p in PHASES if p not in (Phase.REGISTER, Phase.DONE)]


@pytest.mark.parametrize(("phase", "learning_round"), [(Phase.REGISTER, 0), *PLACES])
def test_nobody_signs_or_takes_a_share_outside_of_its_phase(
    phase: Phase, learning_round: int
) -> None:
    """Before all commits are final its message is not even known; afterwards it has been made."""
    lab = Lab()
    state = lab.reach(phase, learning_round=learning_round)
    said = speak(lab, state)
    if phase is Phase.BEACON:
        assert [BeaconShares(lab.genesis).add(state, share) for share in said] == [None]
        return
    assert said == []
    share = BeaconShare(
        learning_round=learning_round,
        commit_height=state.commit_height,
        validator=1,
        share=beacon.sign_share(deal_beacon(4).secrets[1], sign_bytes(lab, state)),
    )
    fault = BeaconShares(lab.genesis).add(state, share)
    assert fault == "a share of no beacon that is due"


def sign_bytes(lab: Lab, state: ChainState) -> bytes:
    if state.commit_height:
        return beacon_message(state)
    with pytest.raises(ValueError, match="nobody may sign"):
        beacon_message(state)
    return beacon.compute_message(
        lab.genesis.digest, learning_round=state.learning_round, commit_height=0
    )


class Recorder:
    """A transport that keeps what is said."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, stream: str, raw: bytes) -> None:
        self.sent.append(raw)


def speak(lab: Lab, state: ChainState) -> list[BeaconShare]:
    """The shares that validator 1 says when a block has led to this state."""
    recorder = Recorder()
    voice = Voice(
        lab.genesis,
        Identity(index=1, key=lab.validators[1], beacon_secret=deal_beacon(4).secrets[1]),
        ledger=cast(Any, SimpleNamespace(home=Path("no-such-folder"))),
        blobs=cast(Any, None),
        transport=cast(Any, recorder),
        metrics=NodeMetrics(),
        log=None,
        clock=lambda: 0.0,
    )
    voice.say_final(cast(Any, Silence()), state, state)
    shares = [BeaconShare.decode(raw) for raw in recorder.sent]
    return [share for share in shares if share is not None]


class Silence(Message):
    """Stands for the final block, which is said first."""

    KIND = 0

    def encode(self) -> bytes:
        return b""
