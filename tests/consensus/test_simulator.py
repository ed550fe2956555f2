"""Safety and liveness of agreement over many seeds; see `simulator` for what is checked."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from consensus.agreement.events import Finalize
from consensus.agreement.votes import n_faulty
from consensus.learning.chain_state import ChainState, Phase
from consensus.wire.messages import BeaconShare
from consensus.wire.transactions import Proof
from tests.consensus.byzantine import HABITS, Byzantine, make_any, make_with
from tests.consensus.real_chain import RealScene
from tests.consensus.sim_node import Violation
from tests.consensus.simulator import Faults, World
from tests.consensus.toy_chain import PROVE, make_client
from tests.support.learning import Lab, make_training

N_QUICK = 50  # for each number of validators; as many as `--seeds` says in a soak
CHUNK = 50
CALM = Faults(loss=0.0, repeat=0.0, slow=0.0, slow_ms=1)


def bound_rounds(n: int) -> int:
    """Rounds of a height after the network heals, counted from 0.

    f leaders in a row may be Byzantine; one round may pass until all are in step, and one more
    until all hold the same proofs with receipts and the same highest polka.
    """
    return n_faulty(n) + 2


def run_seed(seed: int, n: int) -> World:
    """A world with f Byzantine validators, everything else drawn from the seed."""
    byzantine = Random(f"who {seed}").sample(range(n), n_faulty(n))
    world = World(
        seed, n, byzantine=byzantine, make_byzantine=make_any, bound_rounds=bound_rounds(n)
    )
    world.run()
    return world


@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("first", range(0, N_QUICK, 10))
def test_agreement_and_progress(first: int, n: int) -> None:
    for seed in range(first, first + 10):
        run_seed(seed, n)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "first_of_many" in metafunc.fixturenames:
        seeds = range(N_QUICK, metafunc.config.getoption("--seeds"), CHUNK)
        metafunc.parametrize("first_of_many", seeds)


@pytest.mark.soak
@pytest.mark.parametrize("n", [4, 7])
def test_agreement_and_progress_many(first_of_many: int, n: int) -> None:
    """What `test_mutations` takes away shows in the first 12 seeds, or only in a hunt for it.

    2,000 seeds take 6 minutes of processor time: pytest tests/consensus --seeds 2000"""
    for seed in range(first_of_many, first_of_many + CHUNK):
        run_seed(seed, n)


@pytest.mark.parametrize("habit", HABITS)
def test_each_habit(habit: str) -> None:
    """Every Byzantine validator has it, whatever the network does."""
    for seed in range(3):
        World(
            seed, 4, byzantine=[seed], make_byzantine=make_with(habit), bound_rounds=bound_rounds(4)
        ).run()


def test_all_habits_at_once() -> None:
    for seed in range(3):
        make = make_with(*HABITS)
        World(seed, 7, byzantine=[0, 4], make_byzantine=make, bound_rounds=bound_rounds(7)).run()


def test_the_runs_see_what_they_are_for() -> None:
    """Over the quick seeds: crashes, evidence in blocks, later rounds, locks that are let go."""
    worlds = [run_seed(seed, 4) for seed in range(20)]
    nodes = [w.nodes[i] for w in worlds for i in w.correct]
    assert sum(node.life > 1 for node in nodes) > 10
    assert sum(bool(node.chain.offenders) for node in nodes) > 3
    assert sum(max(w.rounds.values()) > 0 for w in worlds) > 10
    finals = [final for w in worlds for final in w.finals.values()]
    assert sum(final.certificate.round > 0 for final in finals) > 10
    assert sum(bool(final.block.transactions) for final in finals) > 10
    again = [p for w in worlds for places in w.proposed.values() for p in places]
    assert len(again) > len({h for w in worlds for h in w.proposed})  # proposed once more


def test_a_seed_replays_exactly() -> None:
    first, second = run_seed(3, 4), run_seed(3, 4)
    assert first.trace == second.trace
    assert (first.now, first.n_steps) == (second.now, second.n_steps)
    assert run_seed(4, 4).trace != first.trace


# -- more Byzantine validators than there may be ---------------------------------------------------


def break_safety(seed: int, n: int, n_byzantine: int) -> tuple[str, int]:
    """What is found with so many conspirators that tell two stories, and the trace."""
    make = make_with("equivocate", "yes to all")
    world = World(seed, n, byzantine=range(n_byzantine), make_byzantine=make)
    for k, i in enumerate(world.correct):
        world.sides[i] = k % 2
    try:
        world.run()
    except Violation as violation:
        return str(violation), world.trace
    return "", world.trace


@pytest.mark.parametrize("n", [4, 7])
def test_one_byzantine_validator_too_many_breaks_it(n: int) -> None:
    """Where they are not found out at once: who contradicts itself on record proposes no more."""
    broken = [break_safety(seed, n, n_faulty(n) + 1)[0] for seed in range(8, 16)]
    assert sum("two final blocks" in what for what in broken) >= 4, broken
    held = [break_safety(seed, n, n_faulty(n))[0] for seed in range(8, 16)]
    assert held == [""] * 8


def test_a_failing_seed_replays_exactly() -> None:
    found = {seed: break_safety(seed, 4, 2) for seed in range(20)}
    seed = next(seed for seed, (what, _) in found.items() if "two final blocks" in what)
    assert break_safety(seed, 4, 2) == found[seed]
    assert f"seed={seed} n=4 byzantine=[0, 1]" in found[seed][0]


# -- censorship and shares -------------------------------------------------------------------------


def test_censored_proofs_are_in_the_block_all_the_same() -> None:
    """A leader leaves out a client's proof; with receipts it comes in within the PROVE phase."""
    world = World(
        1, 4, byzantine=[2], make_byzantine=make_with("censor"), faults=CALM, bound_rounds=3
    )
    world.run()
    censor = world.nodes[2]
    assert isinstance(censor, Byzantine)
    full = [make_client(i) for i in range(4)]
    n_rounds = 0
    for height, chain in world.chains.items():
        if chain.phase != PROVE and height > 0 and world.chains[height - 1].phase == PROVE:
            assert [client for client, _ in chain.proofs] == full
            n_rounds += 1
    assert n_rounds >= 2
    proposed_by_censor = [
        final.block
        for height, final in world.finals.items()
        if final.block.proposer == 2 and world.chains[height - 1].phase == PROVE
    ]
    left_out = [
        block
        for block in proposed_by_censor
        if all(tx.client_key != censor.victim for tx in block.transactions)
    ]
    assert left_out, "the censor never led; take another seed"


def test_withheld_shares_do_not_hold_up_the_beacon() -> None:
    make = make_with("withhold shares")
    world = World(2, 7, byzantine=[1, 5], make_byzantine=make, faults=CALM, bound_rounds=4)
    world.run()
    assert sum(bool(final.block.beacon) for final in world.finals.values()) >= 2


# -- the real chain --------------------------------------------------------------------------------


def test_real_rules_and_real_signatures() -> None:
    """Two learning rounds of the real chain with Ed25519 and the BLS beacon, and one crash."""
    faults = Faults(loss=0.02, repeat=0.1, slow=0.0, slow_ms=20, crashes=[(100, 2, 300)])
    world = World(0, 4, faults=faults, make_scene=RealScene, bound_rounds=bound_rounds(4))
    world.run()
    assert Finalize(world.finals[1]).final.certificate.height == 1
    phases = [chain.phase for chain in world.chains.values()]
    assert {Phase.MASK, Phase.UNMASK} <= set(phases)
    proofs = [
        tx
        for final in world.finals.values()
        for tx in final.block.transactions
        if isinstance(tx, Proof)
    ]
    assert len(proofs) >= 3
    assert world.chains[len(world.finals)].leader is not None


class TrainingScene(RealScene):
    """Of a task that asks for training; validator 1 signs the first round in place of the order."""

    def __init__(self, n_validators: int, seed: int) -> None:
        lab = Lab(n_validators=n_validators, changes={"training": make_training()})
        super().__init__(n_validators, seed, lab)
        self.n_forged = 0

    def make_share(self, chain: ChainState, validator: int) -> BeaconShare | None:
        share = super().make_share(chain, validator)
        if share is None or (chain.phase, validator) != (Phase.ORDER, 1):
            return share
        self.n_forged += 1
        early = replace(chain, phase=Phase.BEACON, commit_height=chain.order_height)
        forged = super().make_share(early, validator)
        assert forged is not None
        signed: BeaconShare = self.signer.sign(replace(share, share=forged.share))
        return signed


def test_a_task_that_asks_for_training() -> None:
    """Orders are drawn once, of whatever shares verify, and stay for all rounds; one crash."""
    faults = Faults(loss=0.02, repeat=0.1, slow=0.0, slow_ms=20, crashes=[(100, 2, 300)])
    world = World(0, 4, faults=faults, make_scene=TrainingScene, bound_rounds=bound_rounds(4))
    world.run()
    assert world.scene.n_forged > 0
    chains = [world.chains[height] for height in sorted(world.chains)]
    ordering = [chain for chain in chains if chain.phase is Phase.ORDER]
    assert [chain.order_height for chain in ordering] == [ordering[0].height]
    after = chains[ordering[0].height + 1 :]
    assert {Phase.PROVE, Phase.MASK} <= {chain.phase for chain in after}
    block = world.finals[ordering[0].height + 1].block
    assert {chain.order_beacon for chain in after} == {block.beacon}
    proven = [proven for chain in after for proven in chain.proofs.values()]
    assert proven
    assert all(one.training for one in proven)
