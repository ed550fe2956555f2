"""Rules taken away one at a time: the simulator or a hand-played scene must notice each.

Every hunt is run without its mutation as well, where it must find nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from consensus.agreement import authentication, events, memory, state, turn
from consensus.agreement.events import TimeoutFired
from consensus.agreement.votes import Tally, n_faulty
from consensus.learning import admission
from consensus.learning import chain as chain_rules
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.messages import QuorumCertificate, Vote
from prover.errors import FieldInvalid
from prover.wire.envelope import Envelope
from prover.wire.statement import Statement
from tests.consensus.byzantine import make_with
from tests.consensus.crowd import PHASE_MS, Captor, Crowd, Down, make_lab
from tests.consensus.sim_node import Violation
from tests.consensus.simulator import Faults, World
from tests.consensus.stage import (
    PRECOMMIT,
    PREVOTE,
    Stage,
    list_final_hashes,
    play_lone_decision,
    play_old_polka,
)
from tests.support.learning import N_SAMPLES, Lab
from tests.support.statements import restate

N_SEEDS = 30
Patch = Callable[[pytest.MonkeyPatch], None]
Hunt = Callable[[], str | None]


@dataclass(frozen=True)
class Mutation:
    """A rule taken away. hunt : what is wrong, None if nothing; expected : part of its answer"""

    name: str
    patch: Patch
    hunt: Hunt
    expected: str


def simulate(*habits: str, seeds: Iterable[int] = range(N_SEEDS), **changes: Any) -> Hunt:
    """The first complaint over some seeds, with four validators of which one has these habits."""

    def hunt() -> str | None:
        for seed in seeds:
            faults = Faults(**changes) if changes else None
            make = make_with(*habits)
            world = World(
                seed, 4, byzantine=[0], make_byzantine=make, faults=faults, bound_rounds=3
            )
            try:
                world.run()
            except (Violation, FieldInvalid) as error:
                return str(error)
        return None

    return hunt


def play(make_stage: Callable[[], Stage]) -> Hunt:
    """Whether the scene ends with two final blocks."""

    def hunt() -> str | None:
        return "two final blocks" if len(list_final_hashes(make_stage())) > 1 else None

    return hunt


LONE = play(lambda: play_lone_decision(claimed_polka=False))
FALSE_POLKA = play(lambda: play_lone_decision(claimed_polka=True))
OLD_POLKA = play(play_old_polka)
REPLAY = simulate("replay")


# -- the mutated rules -----------------------------------------------------------------------------


def count_2f(patch: pytest.MonkeyPatch) -> None:
    for module in (events, authentication):
        patch.setattr(module, "quorum", lambda n: 2 * n_faulty(n))


def ignore_the_lock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(state, "is_unlocked", lambda s, block_hash, valid_round: True)


def never_lock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(state, "lock", lambda s, block_hash: s)


def let_any_polka_unlock(patch: pytest.MonkeyPatch) -> None:
    def is_unlocked(s: memory.State, block_hash: bytes, valid_round: int) -> bool:
        return valid_round >= 0 or s.locked_round < 0 or s.locked_hash == block_hash

    patch.setattr(state, "is_unlocked", is_unlocked)


def believe_any_polka(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(state, "has_polka", lambda s, number, block_hash: block_hash in s.candidates)


def take_any_certificate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(authentication, "find_certificate_fault", lambda *_: None)


def take_any_signature(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(authentication, "find_sender_fault", lambda *_: None)


def take_any_proposer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memory, "is_from_proposer", lambda s, proposal: True)


def take_any_block(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memory.State, "is_valid", lambda s, block_hash: block_hash in s.candidates)


def ignore_receipts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(state, "is_censoring", lambda s, block: False)


def forget_the_log(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        memory, "restore", lambda config, chain, known, log: memory.start(config, chain, known)
    )


def count_messages(patch: pytest.MonkeyPatch) -> None:
    """A vote that comes twice counts twice."""

    def add(tally: Tally, vote: Vote, *, support: int) -> Tally:
        name, votes = vote.validator, tally.named.get(vote.block_hash, {})
        while name in votes:
            name += 1000
        named = {**tally.named, vote.block_hash: {**votes, name: vote}}
        return Tally({**tally.first, name: vote.block_hash}, named)

    patch.setattr(Tally, "add", add)


def ignore_second_votes(patch: pytest.MonkeyPatch) -> None:
    """What an equivocator told others stays hidden."""
    add = Tally.add

    def add_first(tally: Tally, vote: Vote, *, support: int) -> Tally:
        return tally if vote.validator in tally.first else add(tally, vote, support=support)

    patch.setattr(Tally, "add", add_first)


def take_late_timeouts(patch: pytest.MonkeyPatch) -> None:
    """A timeout of a place gone by counts for the present one."""
    on_timeout = state._HANDLERS[TimeoutFired]

    def on_any(t: turn.Turn, event: TimeoutFired) -> None:
        on_timeout(t, replace(event, height=t.state.height, round=t.state.round))

    patch.setitem(state._HANDLERS, TimeoutFired, on_any)


def never_repeat(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(state, "list_repeats", lambda s: ())


def never_relay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(turn.Turn, "relay_polka", lambda t, again=False: None)


def never_skip(patch: pytest.MonkeyPatch) -> None:
    kept = tuple(rule for rule in state._RULES if rule is not state._skip)
    patch.setattr(state, "_RULES", kept)


def free_proofs_of_their_round(patch: pytest.MonkeyPatch) -> None:
    find = admission.find_statement_fault

    def find_but_round(
        chain: ChainState, client: bytes, statement: Statement, dataset: bytes | None = None
    ) -> str | None:
        statement = restate(statement, round_index=chain.learning_round)
        return find(chain, client, statement, dataset)

    patch.setattr(admission, "find_statement_fault", find_but_round)


def take_the_latest_clock(patch: pytest.MonkeyPatch) -> None:
    """The time of a block is the greatest of its certificate, not the median."""
    latest = property(lambda known: max(p.time_ms for p in known.precommits))
    patch.setattr(QuorumCertificate, "time_ms", latest)


def end_phases_by_blocks(patch: pytest.MonkeyPatch) -> None:
    """A phase is over after eight blocks, as fast as they come."""
    patch.setattr(chain_rules, "count_ms", lambda chain, time_ms: PHASE_MS // 8)


def let_everyone_lead(patch: pytest.MonkeyPatch) -> None:
    """Missed turns are forgotten."""
    patch.setattr(chain_rules, "note_turns", lambda lapses, **_: ())


# -- hunts of their own ----------------------------------------------------------------------------


def offer_old_proof() -> str | None:
    """A proof of the round before, wrapped and signed anew for this one."""
    lab = Lab()
    chain = lab.reach(Phase.PROVE, learning_round=1)
    statement = admission.expect_statement(
        chain, lab.client(0), claimed_correct=N_SAMPLES, dataset_digest=bytes(32)
    )
    old = Envelope(statement=restate(statement, round_index=0), proof=bytes(224))
    fault = admission.find_admission_fault(chain, lab.wrap(0, old, learning_round=1))
    return "a proof of another round is admitted" if fault is None else None


def hide_a_polka() -> str | None:
    """Node 3 alone sees a polka. When the round fails, others must hear of it from node 3."""
    stage = Stage(correct=(1, 2, 3))
    stage.start()
    proposal = stage.sent[1, 0, 0]
    stage.tell(proposal, 2, 3)
    for i in (0, 1, 2):
        stage.tell(stage.vote(i, PREVOTE, 0, proposal.block.hash), 3)
    for i in (0, 1):
        stage.tell(stage.vote(i, PRECOMMIT, 0), 3)
    stage.time_out(PRECOMMIT, 0, 3)
    relayed = [m for e in stage.effects[3] for m in getattr(e, "messages", ())]
    return None if proposal in relayed else "a polka stays hidden"


def leave_one_behind() -> str | None:
    """Two validators are in round 5; node 3 is in round 0 and has no timer that helps."""
    stage = Stage(correct=(3,))
    stage.start()
    for i in (0, 1):
        stage.tell(stage.vote(i, PREVOTE, 5), 3)
    return None if stage.states[3].round == 5 else "a node stays behind"


def capture() -> str | None:
    """A validator that leads and wants no other client than its own."""
    for seed in range(2):
        ready = (0, 100, 400, 700)
        world = Crowd(seed, make_lab(4, 4), ready, byzantine=[0], make_byzantine=Captor)
        try:
            world.run()
        except (Violation, FieldInvalid) as error:
            return str(error)
    return None


def fail_turns() -> str | None:
    """The validator of the best client is down."""
    ready = (0, 100, 200, 400)
    world = Crowd(3, make_lab(4, 4), ready, byzantine=[0], make_byzantine=Down)
    world.run()
    n_failed = sum(final.certificate.round > 0 for final in world.finals.values())
    return "a failed turn at every height" if 4 * n_failed > len(world.finals) else None


RESTARTS = [(at, i, 200) for at in range(50, 800, 150) for i in range(1, 4)]
SLOW: dict[str, Any] = {"loss": 0.1, "repeat": 0.1, "slow": 0.3, "slow_ms": 200}
TWO_STORIES = ("equivocate", "yes to all")

MUTATIONS = [
    Mutation("quorum 2f", count_2f, simulate(*TWO_STORIES), "without a quorum"),
    Mutation("lock ignored", ignore_the_lock, LONE, "two final"),
    Mutation("lock never taken", never_lock, LONE, "two final"),
    Mutation("any polka unlocks", let_any_polka_unlock, OLD_POLKA, "two final"),
    Mutation("polka believed", believe_any_polka, FALSE_POLKA, "two final"),
    Mutation(
        "certificate not checked", take_any_certificate, simulate("stale certificate"), "without"
    ),
    Mutation("signature not checked", take_any_signature, REPLAY, "correct validator"),
    Mutation("proposer not checked", take_any_proposer, simulate("wrong leader"), "no leader"),
    Mutation(
        "block not checked", take_any_block, simulate("bad aggregate", "bad proof"), "invalid block"
    ),
    Mutation("receipts ignored", ignore_receipts, simulate("censor"), "censored"),
    Mutation(
        "log forgotten",
        forget_the_log,
        simulate("replay", seeds=range(10), **SLOW, crashes=RESTARTS),
        "contradicts itself",
    ),
    Mutation("messages counted, not voters", count_messages, REPLAY, ""),
    Mutation(
        "second votes ignored",
        ignore_second_votes,
        simulate(*TWO_STORIES, seeds=range(40), loss=0.5, repeat=0.1, slow=0.2, slow_ms=200),
        "rounds",
    ),
    Mutation(
        "late timeouts taken",
        take_late_timeouts,
        simulate(*TWO_STORIES, "withhold votes", loss=0.5, repeat=0.1, slow=0.2, slow_ms=100),
        "",
    ),
    Mutation("nothing repeated", never_repeat, simulate("withhold votes", **SLOW), "no progress"),
    Mutation("polka not relayed", never_relay, hide_a_polka, "hidden"),
    Mutation("later rounds not joined", never_skip, leave_one_behind, "behind"),
    Mutation("receipts ignored by who leads", ignore_receipts, capture, "censored"),
    Mutation("the latest clock counts", take_the_latest_clock, capture, "no correct clock"),
    Mutation("phases end by blocks", end_phases_by_blocks, capture, "is not in"),
    Mutation("missed turns forgotten", let_everyone_lead, fail_turns, "failed turn"),
    Mutation("proof not bound to round", free_proofs_of_their_round, offer_old_proof, "admitted"),
]


HUNTS = {m.hunt: m.name for m in reversed(MUTATIONS)}
"""Each once, by the first rule that it is for."""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_mutation_is_caught(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation.patch(monkeypatch)
    found = mutation.hunt()
    assert found is not None
    assert mutation.expected in found


@pytest.mark.parametrize("hunt", HUNTS, ids=HUNTS.values())
def test_nothing_is_found_without_it(hunt: Hunt) -> None:
    assert hunt() is None
