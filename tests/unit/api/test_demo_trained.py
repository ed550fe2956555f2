"""The story of a demonstration whose clients prove their training, one of whom did not train.

Needs PyTorch, as the demonstration does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")

from api.demo import run as running
from api.demo.search import Searcher, search
from api.demo.show import draw_picture, show_story, to_json
from api.demo.stage import Role
from api.demo.story import tell
from api.demo.told import Participant, Story
from api.demo.trained import StepCounter
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState
from consensus.learning.samples import SamplePool
from consensus.wire.messages import FinalBlock
from consensus.wire.transactions import Proof, SentTransaction
from prover.wire.verdict import Verdict
from tests.support.certificates import certify
from tests.support.finality import make_certificate
from tests.support.learning import ARCHITECTURE, N_POOL, model_of
from tests.support.models import random_images
from tests.support.tiny_circuits import seeded
from tests.support.trained_clients import run, start_client, start_impostor
from tests.support.training_lab import N_STEPS, TrainingLab

IMPOSTOR = 3


@dataclass
class TaughtLab(TrainingLab):
    """Labels are a model's, so that a client can be better than those who train here."""

    @cached_property
    def pool(self) -> SamplePool:
        images = random_images(ARCHITECTURE, N_POOL, np.random.default_rng(3))
        labels = model_of(0).logits(images).argmax(axis=1).astype(np.uint8)
        return SamplePool.of(images=images, labels=labels)


@dataclass(frozen=True)
class Played:
    """Two rounds: their blocks, and who took part in them."""

    lab: TrainingLab
    ledger: Sequence[FinalBlock]
    participants: Sequence[Participant]

    @cached_property
    def last(self) -> ChainState:
        """After the last block."""
        state = start(self.lab.genesis)
        for final in self.ledger:
            state = apply(state, final.block)
        return state

    def tell(
        self,
        change: Callable[[list[Participant]], None] = lambda participants: None,
        places: Sequence[tuple[str, bytes]] = (("a log", b"nothing"),),
    ) -> Story:
        """With participants changed so; the search is of these places."""
        participants = list(self.participants)
        change(participants)
        return tell(
            self.lab.genesis,
            [self.ledger] * 4,
            self.lab.blobs,
            participants,
            validators=[running.Held(self.lab.blobs)] * 4,
            certificates=[make_certificate(self.lab, self.last)] * 4,
            search=lambda secrets: search(Searcher(secrets), places),
            random_bytes=seeded(3),
            report=lambda what, done, total: None,
        )


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    lab, folder = TaughtLab(n_clients=4), tmp_path_factory.mktemp("clients")
    clients = [start_client(lab, i, folder) for i in range(IMPOSTOR)]
    clients.append(start_impostor(lab, IMPOSTOR, folder))
    sent: dict[bytes, dict[int, Proof]] = {client.public_key: {} for client in clients}

    def see(tx: SentTransaction) -> None:
        if isinstance(tx, Proof):
            sent[tx.client_key][tx.learning_round] = tx

    ledger = [certify(lab, block) for block, _ in run(lab, clients, sees=see)]
    participants = []
    for i, client in enumerate(clients):
        found = {t: client.load_secrets(t) for t in range(2)}
        participants.append(
            Participant(
                name=f"client {i + 1}",
                role=Role.IMPOSTOR if i == IMPOSTOR else Role.HONEST,
                public_key=client.public_key,
                models={t: one.model for t, one in found.items() if one},
                blindings={t: one.commitment.blinding.rho for t, one in found.items() if one},
                sent=sent[client.public_key],
                trained={t: one.training for t, one in found.items() if one and one.training},
            )
        )
    return Played(lab, ledger, participants)


def find_faults(story: Story) -> list[str]:
    return [claim.text for claim in story.claims if not claim.holds]


def test_every_step_is_told_and_who_did_not_take_them(played: Played) -> None:
    story = played.tell()
    assert find_faults(story) == []
    texts = [claim.text for claim in story.claims]
    assert f"every honest client has proven its training: {N_STEPS} of {N_STEPS} steps a round" in (
        texts
    )
    (told,) = [text for text in texts if "trained elsewhere" in text]
    assert told.startswith("client 4 sent a model")
    for round_ in story.rounds:
        *honest, impostor = round_.parts.values()
        shown = {part.steps.describe() for part in honest if part.steps is not None}
        assert shown == {f"{N_STEPS} of {N_STEPS} steps proven"}
        assert impostor.steps is not None
        assert impostor.steps.describe() == f"step {N_STEPS} of {N_STEPS} does not verify"
        assert impostor.steps.exports
        assert impostor.verdict is not Verdict.VALID
        assert impostor.refused
        assert not impostor.entered
        assert impostor.claimed == impostor.measured > max(part.measured for part in honest)


def swap_training(participants: list[Participant]) -> None:
    one, other = participants[:2]
    participants[0] = replace(one, trained={0: other.trained[0], 1: one.trained[1]})


def trust(participants: list[Participant]) -> None:
    participants[IMPOSTOR] = replace(participants[IMPOSTOR], role=Role.HONEST)


def suspect(participants: list[Participant]) -> None:
    participants[1] = replace(participants[1], role=Role.IMPOSTOR)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (trust, "has proven its training"),
        (suspect, "trained elsewhere"),
        (swap_training, "is the mean of the committed models"),
    ],
)
def test_what_is_untrue_is_noticed(
    played: Played, change: Callable[[list[Participant]], None], words: str
) -> None:
    assert any(words in text for text in find_faults(played.tell(change)))


def test_masters_and_their_blindings_on_the_wire_are_noticed(played: Played) -> None:
    trained = played.participants[0].trained[1]
    masters = trained.trajectory.get_masters(N_STEPS).astype("<i8").tobytes()
    rho = trained.get_blinding(N_STEPS).to_bytes(32, "little")
    began = trained.trajectory.get_masters(0).astype("<i8").tobytes()
    assert played.tell(places=[("a blob", began)]).is_true
    for raw, what in ((masters, "masters"), (rho, "blinding of masters")):
        (told,) = find_faults(played.tell(places=[("a blob", b"x" + raw)]))
        assert "no model was ever on the wire" in told
        (faults,) = next(c.faults for c in played.tell(places=[("a", raw)]).claims if not c.holds)
        assert faults == f"client 1 in round 2's {what} in a"


def test_proofs_that_are_none_prove_no_step(played: Played) -> None:
    lab = played.lab
    counter = StepCounter(lab.task, lab.blobs, seeded(4))
    proof = played.participants[0].sent[0]
    assert counter.count(None) is None
    found = counter.count(replace(proof, training=lab.blobs.put(b"none")))
    assert found is not None
    assert not found.hold
    assert found.n_proven == 0


def test_it_is_shown(played: Played, tmp_path: Path) -> None:
    story = played.tell()
    console = Console(record=True, width=150)
    show_story(story, console)
    text = console.export_text()
    assert f"{N_STEPS} of {N_STEPS} steps proven" in text
    assert f"step {N_STEPS} of {N_STEPS} does not verify" in text
    assert f"of every client's training is proven: {story.training}" in text
    found = json.loads(json.dumps(to_json(story)))
    assert found["training"] == f"{N_STEPS} of {N_STEPS} steps a round"
    steps = found["rounds"][0]["clients"]["client 4"]["steps"]
    last = N_STEPS - 1
    assert (steps["taken"], steps["drawn"]) == (N_STEPS, list(range(N_STEPS)))
    assert (steps["proven"], steps["false"], steps["exports"]) == (last, [last], True)
    draw_picture(story, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
