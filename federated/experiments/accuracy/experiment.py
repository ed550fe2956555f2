"""Accuracy and stability over rounds, for every rule, without malicious clients and with 30 %.

Rules see the same data, partition, batches and lots under a seed, so they are compared seed by
seed. A run is as accurate as its global models after the last rounds; nothing is chosen by the test
samples, which take no part in claims or proofs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from federated.experiments.accuracy.cases import (
    MORE_SEEDS,
    SEEDS,
    SIZES,
    list_cells,
    read_cell,
)
from federated.experiments.accuracy.findings import find
from federated.experiments.accuracy.play import play_case
from federated.experiments.accuracy.proofs import (
    N_ROUNDS,
    N_SAMPLES,
    is_proof_cell,
    list_proof_cells,
    prove_cell,
    read_proofs,
)
from federated.experiments.accuracy.results import Results
from federated.experiments.accuracy.show import make_figures, make_tables
from federated.experiments.catalog import EXPERIMENTS
from federated.experiments.kinds import Cell, Experiment, Json, Lab, Outcomes, Profile, Reading
from federated.experiments.simulation.rules.catalog import MARGIN, NOISE, THRESHOLD


class Accuracy:
    """See the module."""

    name = "accuracy"
    title = EXPERIMENTS["accuracy"]
    version = 1
    is_parallel = True

    def plan(self, profile: Profile) -> Sequence[Cell]:
        return [*list_cells(profile), *list_proof_cells(profile)]

    def run(self, cell: Cell, lab: Lab) -> Json:
        if is_proof_cell(cell):
            return prove_cell(cell, lab)
        case, size = read_cell(cell.parameters)
        return play_case(case, size, lab.data_dir, seed=cell.seed)

    def read(self, profile: Profile, outcomes: Outcomes) -> Reading:
        results = Results([one for one in outcomes if not is_proof_cell(one[0])])
        proven = [result for cell, result in outcomes if is_proof_cell(cell)]
        sizes = dict(SIZES[profile])
        n_more = len(MORE_SEEDS[profile])
        conditions = {
            "seeds": f"{len(SEEDS)}"
            + (f"; {len(SEEDS) + n_more} of FedAvg all honest and of proofs" if n_more else ""),
            "data": "first samples of MNIST and CIFAR-10 in their official order; "
            + "; ".join(
                f"{name}: {size.n_public} public, {size.n_train} of clients, pool of "
                f"{size.n_pool}, {size.n_test} for the figures"
                for name, size in sizes.items()
            ),
            "rounds": "; ".join(f"{name}: {size.n_rounds}" for name, size in sizes.items()),
            "proofs": f"threshold {THRESHOLD:.0%} and margin {MARGIN:+.0%} of the drawn samples; "
            "counts are of the integer evaluator, which proofs speak of; beside it are real ones "
            f"of the models of {N_ROUNDS} rounds, on {N_SAMPLES} samples",
            "noise": f"PoFL with noise: {NOISE} per parameter, in norms of an update; its privacy "
            "is measured by the experiment `privacy`",
        }
        return Reading(
            findings=(*find(results), *read_proofs(proven)),
            tables=make_tables(results),
            figures=make_figures(results, sizes),
            conditions=conditions,
        )


EXPERIMENT: Final[Experiment] = Accuracy()
