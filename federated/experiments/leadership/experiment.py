"""The experiment `leadership`: the meritocracy that election by accuracy promises, measured.

Every rule elects from the same rounds: the same models, beacons and shards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from federated.data import DatasetRef, LabeledImages, load_samples
from federated.experiments.kinds import Cell, Json, Lab, Outcomes, Profile, Reading
from federated.experiments.leadership.elections import (
    NOBODY,
    draw_lot,
    lead_by_claim,
    lead_by_proof,
)
from federated.experiments.leadership.learning import N_SHARD, play_rounds, share_out
from federated.experiments.leadership.reading import read_outcomes
from kernels.numpy_types import Int64Array

N_CLIENTS, N_LIARS = 10, 2
N_SAMPLES = 2400
"""Training samples of all clients together."""
SKILLS = ("labels", "amounts", "none")
"""In what clients differ: in the share of their labels that are right, in how many samples they
have, or in nothing but which samples they have."""
RATIO, MOST_WRONG = 1.7, 0.8
"""By how much more data each client has than the one before; wrong labels of the worst client."""
SPREAD = 1.0
"""Of stakes and hash power: the standard deviation of their logarithms."""
N_SEEDS = {"quick": 4, "full": 10}
N_ROUNDS = {"quick": 100, "full": 300}


class Leadership:
    """Each cell is a run of rounds, and who leads each by every rule."""

    name = "leadership"
    title = "who leads, against skill, stake and hash power"
    version = 1
    is_parallel = True

    def plan(self, profile: Profile) -> Sequence[Cell]:
        """Clients of unequal and of equal skill; the best one is always the last."""
        return [
            Cell(
                seed=seed,
                parameters={"skill": skill, "clients": N_CLIENTS, "rounds": N_ROUNDS[profile]},
            )
            for skill in SKILLS
            for seed in range(N_SEEDS[profile])
        ]

    def run(self, cell: Cell, lab: Lab) -> Json:
        """{origin, skills, stakes, hash_power, accuracy: of each client; global_accuracy: of the
        last round; led: by rule how many rounds each client led}.

        The clients of least skill are those that lie where a rule has liars.
        """
        train, pool = (
            load_samples(DatasetRef.parse(f"mnist:{split}"), lab.data_dir)
            for split in ("train", "test")
        )
        n, n_rounds = int(cell.parameters["clients"]), int(cell.parameters["rounds"])
        skill = str(cell.parameters["skill"])
        sizes = share_out(n, N_SAMPLES, ratio=RATIO if skill == "amounts" else 1.0)
        wrong = np.linspace(MOST_WRONG if skill == "labels" else 0.0, 0.0, n)
        generator = np.random.default_rng([cell.seed, 1])
        stakes, power = (np.exp(generator.normal(0.0, SPREAD, n)) for _ in range(2))
        led: dict[str, Int64Array] = {}
        totals = np.zeros(n)
        last = 0
        for played in play_rounds(
            LabeledImages(images=train.images, labels=train.labels),
            LabeledImages(images=pool.images, labels=pool.labels),
            sizes,
            wrong,
            n_rounds=n_rounds,
            seed=cell.seed,
        ):
            totals += played.counts
            last = played.global_count
            lies = played.counts.copy()
            lies[:N_LIARS] = N_SHARD
            leaders = {
                "pow": draw_lot(power, generator),
                "pos": draw_lot(stakes, generator),
                "lot": draw_lot(np.ones(n), generator),
                "pofl": lead_by_claim(played.counts, N_SHARD, played.beacon),
                "pofl_liars": lead_by_claim(lies, N_SHARD, played.beacon),
                "zkpot": lead_by_proof(played.counts, played.counts, N_SHARD, played.beacon),
                "zkpot_liars": lead_by_proof(lies, played.counts, N_SHARD, played.beacon),
            }
            for rule, leader in leaders.items():
                count = led.setdefault(rule, np.zeros(n, dtype=np.int64))
                if leader != NOBODY:
                    count[leader] += 1
        return {
            "origin": train.origin,
            "skills": (wrong.max() - wrong + sizes / sizes.max()).tolist(),
            "stakes": stakes.tolist(),
            "hash_power": power.tolist(),
            "accuracy": (totals / (n_rounds * N_SHARD)).tolist(),
            "global_accuracy": last / N_SHARD,
            "led": {rule: count.tolist() for rule, count in led.items()},
        }

    def read(self, profile: Profile, outcomes: Outcomes) -> Reading:
        """Shares, Gini coefficients and correlations of ranks over the seeds."""
        return read_outcomes(outcomes, n_liars=N_LIARS)


EXPERIMENT = Leadership()
