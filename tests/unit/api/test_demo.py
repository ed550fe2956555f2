"""The story of a demonstration, told of a small chain with real proofs: true, or found untrue.

Needs PyTorch, as the demonstration does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from api.demo import play, run
from api.demo.play import Feed, perform
from api.demo.search import Searcher, search
from api.demo.show import draw_picture, show_story, to_json
from api.demo.stage import Role
from api.demo.story import _check_round, tell
from api.demo.told import Part, Participant, Round, Story
from api.errors import DemoFailed
from consensus.content.interface import Blobs
from consensus.finality.ledger import read_ledger
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.ethereum import format_address
from consensus.wire.finality import FinalityCertificate
from consensus.wire.messages import FinalBlock, QuorumCertificate
from consensus.wire.transactions import Proof, Refusal
from federated.attacks import make_up, raise_claim, state_own
from federated.client import ProofOrder
from federated.errors import ProvingFailed
from federated.rounds.duties import draw_shard
from prover.model.zkq import encode_model
from prover.pedersen.commitment import SecretCommitment
from prover.wire.envelope import Envelope
from prover.wire.statement import Occasion
from prover.wire.verdict import Verdict
from tests.support.certificates import certify
from tests.support.finality import make_certificate
from tests.support.learning import Lab, ProvenLab, commitment_of, model_of
from tests.support.memory_blobs import MemoryBlobs
from tests.support.tiny_circuits import seeded

HONEST, FORGER, LIAR = range(3)  # the model of 1 is at times right all over, and cannot lie
OTHERS = (3, 4)  # honest, too: a sum is of three at least
ROLES = (Role.HONEST, Role.FORGER, Role.LIAR, Role.HONEST, Role.HONEST)
Ledger = list[FinalBlock]


def ignore(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


def lie(lab: ProvenLab, state: ChainState, i: int) -> Proof:
    """What the liar and the forger send."""
    if i == LIAR:
        envelope = raise_claim(lab.make_envelope(i, state), extra=2)
        return lab.wrap(i, envelope, state.learning_round)
    images, labels = draw_shard(state, lab.blobs)
    public, blinding = commitment_of(i)
    order = ProofOrder(
        model=model_of(i),
        commitment=SecretCommitment(public=public, blinding=blinding),
        images=images,
        labels=labels,
        occasion=Occasion(
            chain_id=lab.genesis.name,
            task_id=lab.task.task_id,
            round_index=state.learning_round,
            commit_height=state.commit_height,
            client_key=lab.client(i),
        ),
    )
    digest = lab.task.verifying_key_digest
    statement = state_own(order, key_digest=digest, claimed=len(labels))
    forged: Envelope = make_up(statement, random_bytes=seeded(8))
    return lab.wrap(i, forged, state.learning_round)


@pytest.fixture(scope="module")
def lab() -> ProvenLab:
    return ProvenLab(n_clients=len(ROLES), n_bound=len(ROLES) - 1)


@pytest.fixture(scope="module")
def played(lab: ProvenLab) -> tuple[Ledger, Mapping[tuple[int, int], Proof]]:
    """The blocks of two rounds, and what each client sent in each."""
    state, ledger = start(lab.genesis), []
    sent: dict[tuple[int, int], Proof] = {}
    while state.phase is not Phase.DONE:
        t = state.learning_round
        match state.phase:
            case Phase.PROVE:
                honest = (HONEST, *OTHERS)
                sent |= {(i, t): lab.prove(i, state) for i in honest}
                sent |= {(i, t): lie(lab, state, i) for i in (LIAR, FORGER)}
                due = [sent[i, t] for i in honest]
                due += [Refusal(proof=sent[i, t]) for i in (LIAR, FORGER)]
            case _:
                due = lab.list_due(state)
        ledger.append(certify(lab, lab.block(state, due)))
        state = apply(state, ledger[-1].block)
    return ledger, sent


@pytest.fixture
def participants(
    lab: ProvenLab, played: tuple[Ledger, Mapping[tuple[int, int], Proof]]
) -> list[Participant]:
    return [
        Participant(
            name=f"client {i + 1}",
            role=role,
            public_key=lab.client(i),
            models={t: model_of(i) for t in range(2)},
            blindings={t: commitment_of(i)[1].rho for t in range(2)},
            sent={t: played[1][i, t] for t in range(2)},
        )
        for i, role in enumerate(ROLES)
    ]


def replay(lab: ProvenLab, ledger: Ledger) -> ChainState:
    return reduce(lambda state, final: apply(state, final.block), ledger, start(lab.genesis))


def tell_of(
    lab: ProvenLab,
    ledgers: list[Ledger],
    participants: list[Participant],
    *,
    validators: Sequence[Blobs] = (),
    certificates: Sequence[FinalityCertificate | None] = (),
    places: Sequence[tuple[str, bytes]] = (("a log", b"nothing"),),
) -> Story:
    """Validators hold what the lab does; the search is of these places."""
    return tell(
        lab.genesis,
        ledgers,
        lab.blobs,
        participants,
        validators=validators or [run.Held(lab.blobs)] * 4,
        certificates=certificates or [make_certificate(lab, replay(lab, ledgers[0]))] * 4,
        search=lambda secrets: search(Searcher(secrets), places),
        random_bytes=seeded(3),
        report=ignore,
    )


def find_faults(story: Story) -> list[str]:
    return [claim.text for claim in story.claims if not claim.holds]


@pytest.fixture
def story(
    lab: ProvenLab,
    played: tuple[Ledger, Mapping[tuple[int, int], Proof]],
    participants: list[Participant],
) -> Story:
    return tell_of(lab, [played[0]] * 4, participants)


def test_a_true_story(lab: ProvenLab, story: Story) -> None:
    assert find_faults(story) == []
    assert story.is_true
    assert len(story.claims) == 13
    assert len(story.rounds) == 2
    for told in story.rounds:
        assert told.leader == "client 1"
        honest, forger, liar, *others = told.parts.values()
        assert all(part.proven == part.measured and part.entered for part in others)
        assert honest.proven == honest.measured == story.n_samples  # the labels are its model's
        assert liar.claimed is not None
        assert liar.claimed > liar.measured
        assert forger.claimed == story.n_samples
        for cheat in (liar, forger):
            assert cheat.proven is None
            assert cheat.verdict is Verdict.PAIRING_FAILED
            assert cheat.refused
        assert 0 < told.global_count <= story.n_pool


def test_nothing_told_is_not_true() -> None:
    assert not Story(n_samples=1, n_pool=1).is_true


def test_disks_that_differ_are_noticed(
    lab: ProvenLab,
    played: tuple[Ledger, Mapping[tuple[int, int], Proof]],
    participants: list[Participant],
) -> None:
    ledger = played[0]
    other = lab.block(start(lab.genesis), [lab.register(0)])
    for differing in (ledger[:-1], [certify(lab, other), *ledger[1:]]):
        story = tell_of(lab, [ledger, ledger, differing, ledger], participants)
        assert find_faults(story) == [f"4 validators have the same {len(ledger)} blocks"]


def test_a_chain_that_does_not_hold_is_noticed(
    lab: ProvenLab,
    played: tuple[Ledger, Mapping[tuple[int, int], Proof]],
    participants: list[Participant],
) -> None:
    """Two votes are no quorum; a round of which the end is missing is not told."""
    ledger = list(played[0])
    few = QuorumCertificate.of(ledger[4].certificate.votes[:2])
    ledger[4] = replace(ledger[4], certificate=few)
    story = tell_of(lab, [ledger] * 4, participants)
    assert not story.is_true
    assert "every block holds from the genesis on, votes and proofs included" in find_faults(story)
    assert "all 2 learning rounds ended" in find_faults(story)
    assert any("block 5" in fault for claim in story.claims for fault in claim.faults)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: [replace(p[0], models={0: model_of(1), 1: model_of(0)}), *p[1:]], "honest"),
        (lambda p: [p[0], replace(p[1], role=Role.HONEST), *p[2:]], "honest"),
        (lambda p: [*p[:2], replace(p[2], sent={1: p[2].sent[1]}), *p[3:]], "claimed more"),
        (lambda p: [*p[:2], replace(p[2], sent=p[0].sent), *p[3:]], "claimed more"),
        (lambda p: [replace(p[0], role=Role.FORGER), *p[1:]], "forged"),
    ],
)
def test_what_clients_did_is_checked_against_their_part(
    lab: ProvenLab,
    played: tuple[Ledger, Mapping[tuple[int, int], Proof]],
    participants: list[Participant],
    change: Callable[[list[Participant]], list[Participant]],
    words: str,
) -> None:
    story = tell_of(lab, [played[0]] * 4, change(participants))
    assert any(words in text for text in find_faults(story))


def test_a_model_on_the_wire_is_noticed(
    lab: ProvenLab,
    played: tuple[Ledger, Mapping[tuple[int, int], Proof]],
    participants: list[Participant],
) -> None:
    """Also a cheat's, and a blinding alone."""
    shown = encode_model(model_of(FORGER))
    rho = commitment_of(LIAR)[1].rho.to_bytes(32, "little")
    places = [("a blob", b"x" + shown), ("the server's a", rho), ("a log", b"x")]
    story = tell_of(lab, [played[0]] * 4, participants, places=places)
    n_bytes = sum(len(raw) for _, raw in places)
    (told,) = find_faults(story)
    assert told == f"no model was ever on the wire: searched {n_bytes} bytes"
    (faults,) = next(claim.faults for claim in story.claims if claim.text == told)
    assert faults == ", ".join(
        f"client {i + 1} in round {t}'s {what} in {where}"
        for i, what, where in ((FORGER, "weights", "a blob"), (LIAR, "blinding", "the server's a"))
        for t in (1, 2)
    )


class Altered(MemoryBlobs):
    """A validator's blobs, of which one masked update is another client's."""

    def __init__(self, blobs: MemoryBlobs, state: ChainState) -> None:
        self._under, (self._first, self._second, *_) = blobs, state.masked.values()

    def get(self, digest: bytes) -> bytes:
        return self._under.get(self._second if digest == self._first else digest)


def test_a_sum_that_a_validator_cannot_open_is_noticed(
    lab: ProvenLab,
    played: tuple[Ledger, Mapping[tuple[int, int], Proof]],
    participants: list[Participant],
) -> None:
    state = start(lab.genesis)
    for final in played[0]:
        if state.phase is Phase.ELECT:
            break
        state = apply(state, final.block)
    validators = [run.Held(lab.blobs)] * 3 + [run.Held(Altered(lab.blobs, state))]
    story = tell_of(lab, [played[0]] * 4, participants, validators=validators)
    (told,) = find_faults(story)
    assert told.endswith("opened and recomputed by 4 validators")
    faults = next(claim.faults for claim in story.claims if claim.text == told)
    assert faults == ["round 1, validator 3"]


def test_a_certificate_of_anything_else_is_noticed(
    lab: ProvenLab,
    played: tuple[Ledger, Mapping[tuple[int, int], Proof]],
    participants: list[Participant],
) -> None:
    """None, one of the block before, and a signature under which other values stand."""
    last = make_certificate(lab, replay(lab, played[0]))
    before = make_certificate(lab, replay(lab, played[0][:-1]))
    for other in (None, before, replace(last, signature=before.signature)):
        certificates = [last, other, last, last]
        story = tell_of(lab, [played[0]] * 4, participants, certificates=certificates)
        (told,) = find_faults(story)
        assert (
            told
            == "4 validators have one certificate of the last block, by which an EVM takes both"
        )
        assert [c.faults for c in story.claims if not c.holds] == [["not validator 1"]]


def make_part(proven: int | None, **changes: Any) -> Part:
    part = Part(
        claimed=proven,
        proven=proven,
        measured=proven or 0,
        verdict=Verdict.VALID,
        refused=False,
        entered=True,
    )
    return replace(part, **changes)


@pytest.mark.parametrize(
    ("leader", "holds"), [("client 2", True), ("client 1", False), (None, False)]
)
def test_only_the_best_may_lead(leader: str | None, holds: bool) -> None:
    story = Story(n_samples=16, n_pool=40)
    parts = {"client 1": make_part(9), "client 2": make_part(10), "client 3": make_part(None)}
    _check_round(story, 0, Round(leader=leader, parts=parts, global_count=30), [])
    (claim,) = [claim for claim in story.claims if claim.text == "who has proven most leads"]
    assert claim.holds is holds
    assert claim.faults == ([] if holds else ["round 1"])


def test_a_story_is_shown(
    lab: ProvenLab, played: tuple[Ledger, Any], story: Story, tmp_path: Path
) -> None:
    console, last = Console(record=True, width=90), replay(lab, played[0])
    story.check("the moon is cheese", False, where="round [9]")
    show_story(story, console)
    text = console.export_text()
    assert "Round 2: client 1 leads" in text
    assert "16/16 100.0%" in text
    assert "does not verify" in text
    assert "true   4 validators have the same" in text
    assert "FALSE  the moon is cheese: round [9]" in text
    assert all(format_address(leaf.account) in text for leaf in read_ledger(last).leaves)
    found = json.loads(json.dumps(to_json(story)))
    assert found["true"] is False
    assert found["rounds"][1]["clients"]["client 2"]["verdict"] == "pairing_failed"
    assert found["claims"][-1]["faults"] == ["round [9]"]
    assert [earned["account"] is None for earned in found["earned"].values()] == [False] * 4 + [
        True
    ]
    assert [earned["weight"] > 0 for earned in found["earned"].values()] == [
        True,
        False,
        False,
        True,
        True,
    ]
    draw_picture(story, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_story_without_rounds_is_shown(tmp_path: Path) -> None:
    empty = Story(n_samples=16, n_pool=40)
    show_story(empty, Console(record=True))
    draw_picture(empty, tmp_path / "picture.png")


# -- while it runs ---------------------------------------------------------------------------------


class StubFeed(Feed):
    """A chain that is shown block by block, without streams."""

    def __init__(self, states: list[ChainState]) -> None:
        self._coming, self._state = states[1:], states[0]
        self._changed, self._proofs = threading.Condition(), []
        self.sent: list[Any] = []

    def poll(self) -> None:
        if self._coming:
            with self._changed:
                self._state = self._coming.pop(0)
                self._changed.notify_all()

    def send(self, tx: Any) -> None:
        self.sent.append(tx)


class StubClient:
    def __init__(self, error: Exception | None) -> None:
        self._error, self.public_key = error, bytes(32)

    def act(self, state: ChainState) -> None:
        if self._error is not None:
            raise self._error


class StubStage:
    """What `perform` reads of a stage."""

    folder = Path("somewhere")

    class plan:  # noqa: N801
        roles = ROLES


def make_actor(error: Exception | None) -> play.Actor:
    return play.Actor(
        name="client 1",
        role=Role.HONEST,
        client=StubClient(error),  # type: ignore[arg-type]
        n_samples=1,
        sent={},
    )


def perform_with(feed: Feed, error: Exception | None, *, stopped: bool = False) -> None:
    stop = threading.Event()
    if stopped:
        stop.set()
    perform(StubStage(), feed, [make_actor(error)], stop, ignore)  # type: ignore[arg-type]


def test_rounds_are_watched_to_their_end() -> None:
    lab = Lab()
    states = [lab.reach(phase) for phase in (Phase.REGISTER, Phase.COMMIT, Phase.PROVE)]
    perform_with(StubFeed([*states, lab.reach(Phase.DONE, learning_round=1)]), None)


def test_what_cannot_go_on_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    state = Lab().reach(Phase.COMMIT)
    with pytest.raises(DemoFailed, match="client 1: no worker"):
        perform_with(StubFeed([state]), ProvingFailed("no worker"))
    with pytest.raises(DemoFailed, match="stopped"):
        perform_with(StubFeed([state]), None, stopped=True)
    monkeypatch.setattr(play, "STALL_S", 0.0)
    with pytest.raises(DemoFailed, match="no block became final"):
        perform_with(StubFeed([state]), None)


def test_proofs_are_waited_for_while_they_can_come() -> None:
    lab = Lab()
    state = lab.reach(Phase.PROVE)
    proof = lab.prove(0, state)
    feed = StubFeed([state])
    feed._proofs.append(proof)
    assert feed.wait_for_proof(0, 60) == Envelope.decode(proof.envelope)
    assert feed.wait_for_proof(1, 60) is None  # of a round that is not under way


def test_one_demonstration_at_a_time(tmp_path: Path) -> None:
    with (
        run.holding(tmp_path / "demo"),
        pytest.raises(DemoFailed, match="another demonstration"),
        run.holding(tmp_path / "demo"),
    ):
        pass
    with run.holding(tmp_path / "demo"):
        pass
