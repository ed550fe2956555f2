"""Learning rounds with real masks under the real rules: drop-outs, cheaters, ends without a model.

Validators run in the simulator, with crashes and a network that loses and repeats; each recomputes
the outcome from the payloads. Proofs are made up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from consensus.aggregation.deal import Deal
from consensus.aggregation.dispute import Attestation
from consensus.aggregation.masked import Masked
from consensus.aggregation.outcome import Cheat, Ending, Failure
from consensus.learning.chain import start
from consensus.learning.chain_state import NO_MODEL, ChainState, Phase
from consensus.wire.outcomes import Aggregate
from consensus.wire.transactions import Transaction
from kernels.array import FrArray, G1Array
from prover.wire.records import Record
from tests.consensus.real_chain import RealScene
from tests.consensus.simulator import Faults, World
from tests.support.learning import SumLab
from tests.support.masking import Lie

IsIn = Callable[[int, Phase], bool]
CLIENTS, COLLUSION = range(6), 2


def make_lab(lie: Lie | None = None, *, n_rounds: int = 1) -> SumLab:
    changes = {"collusion": COLLUSION, "n_rounds": n_rounds}
    lab = SumLab(n_clients=len(CLIENTS), changes=changes)
    lab.lie = lie or lab.lie
    return lab


def play(
    lab: SumLab, is_in: IsIn = lambda i, phase: True
) -> tuple[list[Aggregate], ChainState, ChainState]:
    """One round; its outcomes, the state before the last of them, and the state after it."""
    state, outcomes, electing = start(lab.genesis), list[Aggregate](), start(lab.genesis)
    while state.learning_round == 0 and state.phase is not Phase.DONE:
        due = choose(lab, state, is_in)
        block = lab.block(state, due)
        outcomes += block.aggregate
        electing = state if block.aggregate else electing
        phase, state = state.phase, lab.extend(state, due)
        if state.phase is phase:
            state = lab.wait(state)
    return outcomes, electing, state


def choose(lab: SumLab, state: ChainState, is_in: IsIn) -> list[Transaction]:
    numbers = {lab.client(i): i for i in CLIENTS}
    due = lab.list_due(state)
    return [tx for tx in due if is_in(numbers[tx.client_key], state.phase)]


def gone_from(phase: Phase, *clients: int) -> IsIn:
    """These take no part in this phase, nor in any that follows."""
    order = list(Phase)
    return lambda i, at: i not in clients or order.index(at) < order.index(phase)


def assert_mean(lab: SumLab, electing: ChainState, state: ChainState, of: Iterable[int]) -> None:
    """The global model is the exact weighted mean of these clients' own models."""
    assert lab.blobs.get(state.global_model) == lab.mean(list(of), electing).encode()


# -- who drops out ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "gone", "summed"),
    [
        (Phase.PROVE, (0,), (1, 2, 3, 4, 5)),
        (Phase.MASK, (0,), (1, 2, 3, 4, 5)),
        (Phase.MASK, (1, 4), (0, 2, 3, 5)),
        (Phase.UNMASK, (2,), CLIENTS),
        (Phase.UNMASK, (0, 5), CLIENTS),
    ],
)
def test_a_round_with_dropouts_ends_with_the_exact_mean(
    phase: Phase, gone: tuple[int, ...], summed: Iterable[int]
) -> None:
    """Who does not mask is not in it; who masked and then is gone, is."""
    lab = make_lab()
    outcomes, electing, state = play(lab, gone_from(phase, *gone))
    assert [outcome.ending for outcome in outcomes] == [Ending.MODEL]
    assert_mean(lab, electing, state, summed)


def test_dropouts_in_both_phases() -> None:
    lab = make_lab()
    first, then = gone_from(Phase.MASK, 0), gone_from(Phase.UNMASK, 3)
    _, electing, state = play(lab, lambda i, phase: first(i, phase) and then(i, phase))
    assert_mean(lab, electing, state, (1, 2, 3, 4, 5))
    assert state.debtors == tuple(sorted(lab.client(i) for i in (0, 3)))


@pytest.mark.parametrize(
    ("is_in", "failure"),
    [
        (gone_from(Phase.PROVE, 0, 1, 2), Failure.TOO_FEW),
        (gone_from(Phase.MASK, 0, 1, 2), Failure.TOO_FEW),
        (gone_from(Phase.UNMASK, 0, 1, 2, 3), Failure.SHARES_MISSING),
    ],
)
def test_too_many_dropouts_end_a_round_without_a_model(is_in: IsIn, failure: Failure) -> None:
    outcomes, _, state = play(make_lab(), is_in)
    assert [outcome.failure for outcome in outcomes] == [failure]
    assert (state.global_model, state.expelled) == (NO_MODEL, ())


# -- who cheats ------------------------------------------------------------------------------------


def poison(payload: Record) -> Record:
    """A masked model with one parameter more than it has."""
    assert isinstance(payload, Masked)
    first, *others = payload.scalars.to_ints()
    return Masked(scalars=FrArray.from_ints([first + 1, *others]))


def garble(payload: Record) -> Record:
    """A deal that nobody can open."""
    assert isinstance(payload, Deal)
    return replace(payload, ciphertexts=bytes(len(payload.ciphertexts)))


def lying(phase: Phase, change: Callable[[Record], Record], *clients: int) -> Lie:
    return lambda i, at, payload: change(payload) if at is phase and i in clients else payload


@pytest.mark.parametrize("cheaters", [(3,), (0, 5)])
def test_who_sends_another_model_is_excluded_and_the_rest_is_summed(
    cheaters: tuple[int, ...],
) -> None:
    lab = make_lab(lying(Phase.MASK, poison, *cheaters))
    outcomes, electing, state = play(lab)
    assert [o.ending for o in outcomes] == [Ending.DISPUTE, Ending.REVEAL, Ending.MODEL]
    assert {(e.client_key, e.cheat) for e in outcomes[-1].excluded} == {
        (lab.client(i), Cheat.MASKED) for i in cheaters
    }
    assert_mean(lab, electing, state, [i for i in CLIENTS if i not in cheaters])
    assert set(state.expelled) == {lab.client(i) for i in cheaters}


def test_who_deals_shares_that_nobody_can_open_is_excluded() -> None:
    lab = make_lab(lying(Phase.PROVE, garble, 2))
    outcomes, electing, state = play(lab)
    assert [o.ending for o in outcomes] == [Ending.DISPUTE, Ending.REVEAL, Ending.MODEL]
    assert [(e.client_key, e.cheat) for e in outcomes[0].excluded] == [(lab.client(2), Cheat.DEAL)]
    assert_mean(lab, electing, state, (0, 1, 3, 4, 5))
    assert state.expelled == (lab.client(2),)


def test_a_cheater_that_says_nothing_of_it_ends_the_round_and_sits_out() -> None:
    """Nothing is proven against it: an honest client may have lost its network."""
    lab = make_lab(lying(Phase.MASK, poison, 3), n_rounds=2)
    outcomes, _, state = play(lab, gone_from(Phase.ATTEST, 3))
    assert [o.ending for o in outcomes] == [Ending.DISPUTE, Ending.NONE]
    assert (outcomes[-1].failure, outcomes[-1].silent) == (Failure.UNRESOLVED, (lab.client(3),))
    assert (state.global_model, state.expelled) == (NO_MODEL, ())
    assert state.bans.keys() == {lab.client(3)}


def test_a_neighbour_that_keeps_a_seed_ends_the_round_and_sits_out() -> None:
    lab = make_lab(lying(Phase.MASK, poison, 3), n_rounds=2)
    outcomes, _, state = play(lab, gone_from(Phase.REVEAL, 1))
    assert outcomes[-1].failure is Failure.UNRESOLVED
    assert outcomes[-1].silent == (lab.client(1),)
    assert (state.bans.keys(), state.expelled) == ({lab.client(1)}, (lab.client(3),))


def test_a_neighbour_that_attests_falsely_harms_itself_alone() -> None:
    """Client 3 poisons, client 4 attests masks that it does not have: both are proven to lie."""

    def repeat(payload: Record) -> Record:
        assert isinstance(payload, Attestation)
        chosen = [0, 0, *range(2, len(payload.commitments))]
        return Attestation(commitments=G1Array(payload.commitments.data[chosen]))

    first, then = lying(Phase.MASK, poison, 3), lying(Phase.ATTEST, repeat, 4)
    lab = make_lab(lambda i, at, payload: then(i, at, first(i, at, payload)))
    outcomes, electing, state = play(lab)
    assert outcomes[-1].ending is Ending.MODEL
    assert set(state.expelled) == {lab.client(3), lab.client(4)}
    assert_mean(lab, electing, state, (0, 1, 2, 5))


# -- validators that crash and lie -----------------------------------------------------------------


class Round(World):
    """Until the chain is done."""

    def is_done(self) -> bool:
        return self.chains[len(self.finals)].phase is Phase.DONE


def simulate(seed: int, lab: SumLab) -> World:
    """Four validators, one of which crashes in the midst of it."""
    crashes = [(100 + 40 * seed % 400, 2, 300)]
    world = Round(
        seed,
        4,
        faults=Faults(loss=0.02, repeat=0.1, slow=0.0, slow_ms=20, crashes=crashes),
        make_scene=lambda n, _: RealScene(n, seed, lab),
    )
    world.run()
    return world


def list_outcomes(world: World) -> list[Aggregate]:
    return [a for final in world.finals.values() for a in final.block.aggregate]


def test_validators_agree_on_a_dispute_through_crashes() -> None:
    lab = make_lab(lying(Phase.MASK, poison, 3))
    world = simulate(0, lab)
    outcomes = list_outcomes(world)
    assert [o.ending for o in outcomes] == [Ending.DISPUTE, Ending.REVEAL, Ending.MODEL]
    last = max(world.chains)
    electing = next(world.chains[h] for h in sorted(world.chains) if world.chains[h].revealed)
    assert world.chains[last].expelled == (lab.client(3),)
    assert_mean(lab, electing, world.chains[last], (0, 1, 2, 4, 5))


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, 40, 10))
def test_validators_agree_on_disputes_over_many_seeds(first: int) -> None:
    for seed in range(first, first + 10):
        cheater = seed % len(CLIENTS)
        world = simulate(seed, make_lab(lying(Phase.MASK, poison, cheater)))
        assert list_outcomes(world)[-1].ending is Ending.MODEL
