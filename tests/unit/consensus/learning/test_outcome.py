"""What an ELECT block may say, by the phase that closed before it, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from consensus.aggregation.outcome import Cheat, Ending, Failure
from consensus.learning.chain import apply, find_fault
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.outcome import is_enough, list_entries, make_none
from consensus.learning.steps import list_asked, list_round_blobs
from consensus.wire.outcomes import Aggregate, Edge, Entry, Exclusion
from prover.errors import FieldInvalid
from tests.support.learning import Lab

LAB = Lab(n_clients=5, changes={"collusion": 1})
STRANGER = bytes(32)
LOST = b"\x07" * 32


def cheat(*clients: int) -> tuple[Exclusion, ...]:
    found = (Exclusion(LAB.client(i), Cheat.MASKED) for i in clients)
    return tuple(sorted(found, key=lambda exclusion: exclusion.client_key))


def after(phase: Phase, *taking_part: int) -> ChainState:
    """In ELECT, after this phase closed with these clients of those that it asked."""
    state = LAB.reach(phase)
    names = {LAB.client(i) for i in taking_part or range(5)}
    state = LAB.extend(state, [tx for tx in LAB.list_due(state) if tx.client_key in names])
    state = LAB.wait(state) if state.phase is phase else state
    assert (state.phase, state.closed) == (Phase.ELECT, phase)
    return state


def fault_of(state: ChainState, aggregate: Aggregate) -> str | None:
    return find_fault(state, LAB.block(state, aggregate=(aggregate,)))


def model(state: ChainState, *excluded: int, **changes: Any) -> Aggregate:
    made = replace(
        LAB.aggregate(state),
        entries=list_entries(state, [LAB.client(i) for i in excluded]),
        excluded=cheat(*excluded),
    )
    return replace(made, **changes)


UNMASK, ATTEST, REVEAL = map(after, (Phase.UNMASK, Phase.ATTEST, Phase.REVEAL))
FEW = (after(Phase.PROVE, 0, 1), after(Phase.MASK, 0, 1))


# -- what may follow -------------------------------------------------------------------------------


def list_endings(state: ChainState) -> list[Aggregate]:
    """One of every kind."""
    reasons = (make_none(state, r) for r in Failure if r is not Failure.LOST)
    lost = make_none(state, Failure.LOST, lost=list_round_blobs(state)[0])
    whole = replace(
        model(UNMASK), entries=list_entries(state) or (Entry(client_key=STRANGER, proven=1),)
    )
    return [whole, *reasons, lost, LAB.dispute(state), LAB.ask_for_seeds(state)]


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        (FEW[0], {"too_few"}),
        (FEW[1], {"too_few"}),
        (UNMASK, {"model", "too_few", "shares_missing", "lost", "dispute"}),
        (ATTEST, {"model", "too_few", "unresolved", "lost", "reveal"}),
        (REVEAL, {"model", "unresolved", "lost"}),
    ],
    ids=lambda value: value.closed if isinstance(value, ChainState) else "",
)
def test_each_phase_leads_to_its_endings_only(state: ChainState, allowed: set[str]) -> None:
    found = {a.failure or a.ending: fault_of(state, a) for a in list_endings(state)}
    assert {word.value for word, fault in found.items() if fault is None} == allowed


def test_where_each_ending_leads() -> None:
    steps = (
        (UNMASK, model(UNMASK), Phase.COMMIT),
        (UNMASK, make_none(UNMASK, Failure.SHARES_MISSING), Phase.COMMIT),
        (UNMASK, LAB.dispute(UNMASK), Phase.ATTEST),
        (ATTEST, LAB.ask_for_seeds(ATTEST), Phase.REVEAL),
        (REVEAL, make_none(REVEAL, Failure.UNRESOLVED), Phase.COMMIT),
    )
    for state, aggregate, phase in steps:
        following = LAB.extend(state, aggregate=(aggregate,))
        assert following.phase is phase
        assert following.learning_round == (1 if phase is Phase.COMMIT else 0)
        assert following.phase_ms == 0
        changed = aggregate.ending is Ending.MODEL
        assert (following.global_model != state.global_model) == changed


def test_a_new_round_knows_nothing_of_the_dispute_before() -> None:
    ended = LAB.extend(UNMASK, aggregate=(LAB.dispute(UNMASK, excluded=cheat(3)),))
    assert ended.excluded == cheat(3)
    ended = LAB.extend(ended, LAB.list_due(ended))
    ended = LAB.extend(ended, aggregate=(LAB.ask_for_seeds(ended, (0, 3), (1, 3)),))
    assert [edge.owner for edge in ended.edges] == sorted(LAB.client(i) for i in (0, 1))
    assert set(list_asked(ended, Phase.REVEAL)) == {LAB.client(0), LAB.client(1)}
    ended = LAB.extend(ended, LAB.list_due(ended))
    ended = LAB.extend(ended, aggregate=(model(ended, 3),))
    assert (ended.phase, ended.excluded, ended.edges) == (Phase.COMMIT, (), ())
    assert (ended.attested, ended.revealed, ended.masked) == ({}, {}, {})
    assert ended.expelled == (LAB.client(3),)
    assert ended.debtors == (), "who answered in a dispute has served"


# -- what it may say -------------------------------------------------------------------------------

EDGES = (Edge(LAB.client(0), LAB.client(3)),)
CASES: dict[str, tuple[ChainState, Callable[[], Aggregate]]] = {
    "of another round": (UNMASK, lambda: model(UNMASK, learning_round=1)),
    "changes the model although nobody entered": (
        UNMASK,
        lambda: replace(make_none(UNMASK, Failure.SHARES_MISSING), model_digest=LOST),
    ),
    "other entries": (UNMASK, lambda: model(UNMASK, entries=list_entries(UNMASK)[1:])),
    "a sum of too few": (ATTEST, lambda: model(ATTEST, 0, 1, 2)),
    "takes an exclusion back": (
        replace(ATTEST, excluded=cheat(3)),
        lambda: model(ATTEST),
    ),
    "excludes a client without a proof": (
        ATTEST,
        lambda: replace(
            make_none(ATTEST, Failure.TOO_FEW), excluded=(Exclusion(STRANGER, Cheat.DEAL),)
        ),
    ),
    "excludes a client although nothing was judged": (REVEAL, lambda: model(REVEAL, 3)),
    "an edge of nobody who is left": (
        ATTEST,
        lambda: LAB.dispute(ATTEST, ending=Ending.REVEAL, edges=EDGES, excluded=cheat(0)),
    ),
    "an edge to a client without a proof": (
        ATTEST,
        lambda: LAB.dispute(ATTEST, ending=Ending.REVEAL, edges=(Edge(LAB.client(0), STRANGER),)),
    ),
    "blames a client that was asked for nothing": (
        ATTEST,
        lambda: replace(make_none(ATTEST, Failure.UNRESOLVED), silent=(STRANGER,)),
    ),
    "lacks a blob that it does not need": (
        UNMASK,
        lambda: make_none(UNMASK, Failure.LOST, lost=LOST),
    ),
}


@pytest.mark.parametrize("fault", CASES)
def test_a_rule_forbids_alone(fault: str) -> None:
    state, make = CASES[fault]
    assert fault in str(fault_of(state, make()))


def test_nobody_is_excluded_by_a_loss_or_without_a_sum() -> None:
    lost = make_none(ATTEST, Failure.LOST, lost=list_round_blobs(ATTEST)[0])
    for state, aggregate in ((ATTEST, lost), (FEW[0], make_none(FEW[0], Failure.TOO_FEW))):
        assert fault_of(state, aggregate) is None
        named = cheat(0)
        assert "nothing was judged" in str(fault_of(state, replace(aggregate, excluded=named)))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"entries": ()}, "entries"),
        ({"edges": EDGES}, "edges"),
        ({"reason": (Failure.TOO_FEW,)}, "a reason"),
        ({"lost": (LOST,)}, "a lost blob"),
        ({"silent": (LOST,)}, "owe it nothing"),
        ({"entries": list_entries(UNMASK)[::-1]}, "not ascending"),
        ({"entries": (list_entries(UNMASK)[0],) * 2}, "not ascending"),
        ({"excluded": cheat(0, 1)[::-1]}, "not ascending"),
        ({"ending": Ending.NONE, "entries": (), "reason": (Failure.LOST,)}, "a lost blob"),
        ({"ending": Ending.NONE, "entries": ()}, "a reason"),
        ({"ending": Ending.REVEAL, "entries": ()}, "edges"),
    ],
)
def test_an_aggregate_that_contradicts_itself_is_no_message(
    changes: dict[str, Any], what: str
) -> None:
    with pytest.raises(FieldInvalid, match=what):
        replace(model(UNMASK), **changes)


def test_a_sum_of_few_or_of_colluders_and_one_is_none() -> None:
    """max(3, C + 2): with one colluder, three; with three, five."""
    state = LAB.reach(Phase.MASK)
    members = [LAB.client(i) for i in range(5)]
    assert [is_enough(state, members[:n]) for n in (2, 3, 5)] == [False, True, True]
    wary = Lab(n_clients=5, changes={"collusion": 3})
    state = wary.reach(Phase.MASK)
    assert [is_enough(state, members[:n]) for n in (3, 4, 5)] == [False, False, True]


# -- any bytes -------------------------------------------------------------------------------------


def test_any_bytes_give_one_aggregate_or_none() -> None:
    """Cut, changed in a byte or with parts of others: what is read is written as it was."""
    rng = Random(3)
    raws = [a.encode() for state in (UNMASK, ATTEST) for a in list_endings(state)]
    n_read = 0
    for raw in raws:
        for _ in range(200):
            other = bytearray(raw)
            match rng.randrange(3):
                case 0:
                    other[rng.randrange(len(other))] ^= 1 << rng.randrange(8)
                case 1:
                    del other[rng.randrange(len(other)) :]
                case _:
                    piece, at = rng.choice(raws), rng.randrange(len(other))
                    other[at : at + 40] = piece[at : at + 40]
            found = Aggregate.decode(bytes(other))
            if found is not None:
                assert found.encode() == bytes(other)
                n_read += 1
    assert n_read > 100, "some are still aggregates"


def test_a_block_of_any_aggregate_is_judged_without_an_error() -> None:
    """Whatever a proposer names: clients, edges and digests of anybody."""
    rng = Random(5)
    keys = [*(LAB.client(i) for i in range(5)), STRANGER]
    for state in (*FEW, UNMASK, ATTEST, REVEAL):
        for _ in range(60):
            pairs = {(rng.choice(keys), rng.choice(keys)) for _ in range(rng.randrange(3))}
            named = sorted(rng.sample(keys, rng.randrange(4)))
            base = rng.choice(list_endings(state))
            changes: dict[str, Any] = {
                "excluded": tuple(Exclusion(c, rng.choice(list(Cheat))) for c in named),
                "silent": tuple(sorted(rng.sample(keys, 2))) if base.reason else (),
                "edges": tuple(Edge(*pair) for pair in sorted(pairs)) if base.edges else (),
            }
            try:
                aggregate = replace(base, **changes)
            except FieldInvalid:
                continue
            block = LAB.block(state, aggregate=(aggregate,))
            if find_fault(state, block) is None:
                following = apply(state, block)
                assert ChainState.decode(following.encode(), LAB.genesis) == following
