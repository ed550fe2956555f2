"""The experiment `claims`: how many of all lies that were tried are accepted, and honest ones."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from consensus.learning.chain_state import Phase
from federated.data import LabeledImages
from federated.errors import BelowThreshold
from federated.experiments.chains.play import Play
from federated.experiments.claims.accuracy import N_CLIENTS, AccuracyLies, commit_all
from federated.experiments.claims.bounds import BoundsLies, begin_with, make_bounded_people
from federated.experiments.claims.kits import (
    N_STEPS,
    STEP_SAMPLES,
    Kits,
)
from federated.experiments.claims.people import (
    Digits,
    deal_chain,
    load_digits,
    make_people,
    train_masters,
    train_model,
)
from federated.experiments.claims.reading import read_outcomes
from federated.experiments.claims.tally import judge_all
from federated.experiments.claims.training import (
    N_HONEST,
    TrainingLies,
    attempt_commits,
    come_from,
    make_trainees,
    nudge,
    skip,
    swap_batch,
)
from federated.experiments.kinds import Cell, Json, Lab, Outcomes, Profile, Reading

FAMILIES = {"accuracy": "mlp-784-16-10", "bounds": "mlp-784-16-10", "training": "mlp-784-8-10"}
"""What is lied about, and the network of the task."""
N_SEEDS = {"quick": 3, "full": 5}
N_FLIPS = {"quick": 32, "full": 400}
STEPS = (120, 200, 160, 350)
"""Of training, for each client: from worse to better."""
DEVIATIONS = {
    "model from elsewhere": None,
    "last step skipped": skip,
    "last step on a batch not drawn": swap_batch,
    "one weight one unit off": nudge,
}
_ELSEWHERE_STEPS = 350
MAX_DEALS = 16
"""Of a cell. About one in six chains of little training has a client without a right sample."""


class Claims:
    """Each cell is a chain of its own with keys, proofs and blocks that are real."""

    name = "claims"
    title = "claims that are forged, inflated, copied or replayed, each against the verifier"
    version = 1
    is_parallel = False

    def __init__(self) -> None:
        self._kits: Kits | None = None

    def plan(self, profile: Profile) -> Sequence[Cell]:
        """A cell for each kind of claim and seed."""
        return [
            Cell(
                seed=seed,
                parameters={"family": family, "network": network, "flips": N_FLIPS[profile]},
            )
            for family, network in FAMILIES.items()
            for seed in range(N_SEEDS[profile])
        ]

    def run(self, cell: Cell, lab: Lab) -> Json:
        """{origin, kinds: as `judge_all` counts}.

        Which bits of a proof make it no point depends on the proof's blindings, which are not drawn
        from the seed: what flips are refused by may differ between runs, and nothing else.
        """
        digits = load_digits(lab.data_dir)
        if self._kits is None or self._kits.backend is not lab.backend:
            self._kits = Kits(lab.backend)
        kits = self._kits
        play = {
            "accuracy": _lie_about_accuracy,
            "bounds": _lie_about_bounds,
            "training": _lie_about_training,
        }[str(cell.parameters["family"])]
        lab.scratch.mkdir(parents=True, exist_ok=True)
        kinds = _deal_again(lambda folder: play(cell, kits, digits, folder), lab.scratch)
        return {"origin": digits.origin, "kinds": kinds}

    def read(self, profile: Profile, outcomes: Outcomes) -> Reading:
        """Counts over all seeds."""
        return read_outcomes(outcomes)


def _deal_again(play: Callable[[Path], Json], scratch: Path) -> Json:
    """What is found on a chain on which every honest client has something to claim.

    The genesis, and with it a start of training, and the beacon follow from keys that no seed
    draws: a model of few steps may get none of the drawn samples right. Then another chain is
    dealt; no lie was tried by then.
    """
    for _ in range(MAX_DEALS - 1):
        with suppress(BelowThreshold):
            return _deal_once(play, scratch)
    return _deal_once(play, scratch)


def _deal_once(play: Callable[[Path], Json], scratch: Path) -> Json:
    folder = Path(tempfile.mkdtemp(prefix="claims-", dir=scratch))
    try:
        return play(folder / "chain")
    finally:
        shutil.rmtree(folder)


def _lie_about_accuracy(cell: Cell, kits: Kits, digits: Digits, folder: Path) -> Json:
    generator, n_flips = _prepare(cell)
    kit = kits.get_accuracy(str(cell.parameters["network"]))
    models = [
        train_model(kit.recipe, part, n_steps=n_steps, seed=cell.seed)
        for part, n_steps in zip(_share(digits, generator, N_CLIENTS), STEPS, strict=True)
    ]
    chain = deal_chain(folder, kit, digits.pool, n_clients=N_CLIENTS)
    play = Play(chain, make_people(chain, kit, models))
    commit_all(play)
    lies = AccuracyLies(play, kit, generator, n_flips=n_flips)
    return judge_all(play, lies.attempt(), second=lies.audit)


def _lie_about_bounds(cell: Cell, kits: Kits, digits: Digits, folder: Path) -> Json:
    generator, n_flips = _prepare(cell)
    name = str(cell.parameters["network"])
    kit, bounds = kits.get_accuracy(name), kits.get_bounds(name)
    origin = train_model(kit.recipe, digits.train, n_steps=STEPS[0], seed=cell.seed)
    far, *near = (
        train_model(kit.recipe, part, n_steps=n_steps, seed=cell.seed)
        for part, n_steps in zip(_share(digits, generator, 3), (350, 130, 140), strict=True)
    )
    chain = deal_chain(folder, kit, digits.pool, n_clients=3, bounds=bounds)
    people = make_bounded_people(chain, kit, bounds, [far, *near])
    play = Play(chain, people, begin_with(chain, origin))
    play.go_to(Phase.PROVE)
    lies = BoundsLies(play, kit, bounds, origin, generator, n_flips=n_flips)
    return judge_all(play, lies.attempt())


def _lie_about_training(cell: Cell, kits: Kits, digits: Digits, folder: Path) -> Json:
    generator, n_flips = _prepare(cell)
    name = str(cell.parameters["network"])
    kit, training = kits.get_accuracy(name), kits.get_training(name)
    elsewhere = train_masters(kit.recipe, digits.train, n_steps=_ELSEWHERE_STEPS, seed=cell.seed)
    swerves = [swerve or come_from(elsewhere) for swerve in DEVIATIONS.values()]
    n_clients = N_HONEST + len(swerves)
    samples = [
        part.split(2 * N_STEPS * STEP_SAMPLES)[0] for part in _share(digits, generator, n_clients)
    ]
    chain = deal_chain(folder, kit, digits.pool, n_clients=n_clients, training=training)
    play = Play(chain, make_trainees(chain, kit, training, samples, swerves))
    play.go_to(Phase.COMMIT)
    found = judge_all(play, attempt_commits(play))
    play.go_to(Phase.PROVE)
    lies = TrainingLies(play, tuple(DEVIATIONS), generator, n_flips=n_flips)
    return found | judge_all(play, lies.attempt())


def _prepare(cell: Cell) -> tuple[np.random.Generator, int]:
    return np.random.default_rng(cell.seed), int(cell.parameters["flips"])


def _share(digits: Digits, generator: np.random.Generator, n: int) -> list[LabeledImages]:
    """Disjoint parts of the training samples, of one size."""
    order = generator.permutation(len(digits.train))
    return [digits.train.take(part) for part in np.array_split(order, n)]


EXPERIMENT = Claims()
