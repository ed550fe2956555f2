"""The experiment `cost`: what a round costs clients and nodes, from ten clients to two hundred."""

from __future__ import annotations

from collections.abc import Sequence

from federated.experiments.cost.crowd import Workshop, open_workshop
from federated.experiments.cost.reading import read_outcomes
from federated.experiments.cost.rounds import measure_round
from federated.experiments.kinds import Cell, Json, Lab, Outcomes, Profile, Reading

TINY, REAL = ("mlp-49-8-10", 16), ("mlp-784-48-10", 256)
"""A network on digits of 7 x 7 whose circuit is tiny, so that the chain is what grows, and one of
real size; each with the samples of a proof."""
SIZES = {
    "quick": ((TINY, (10, 50, 200)), (REAL, (10,))),
    "full": ((TINY, (10, 25, 50, 100, 200)), (REAL, (10, 50, 200))),
}
N_SEEDS = {"quick": 3, "full": 5}


class Cost:
    """Each cell is a round of a chain in which everything is made: nothing is replayed."""

    name = "cost"
    title = "bytes, seconds and work of a round, and growth with clients"
    version = 1
    is_parallel = False

    def __init__(self) -> None:
        self._workshops: dict[str, Workshop] = {}

    def plan(self, profile: Profile) -> Sequence[Cell]:
        """Seed by seed, so that what else a machine does falls on all sizes alike."""
        return [
            Cell(seed=seed, parameters={"network": network, "samples": samples, "clients": n})
            for seed in range(N_SEEDS[profile])
            for (network, samples), sizes in SIZES[profile]
            for n in sizes
        ]

    def run(self, cell: Cell, lab: Lab) -> Json:
        """As `measure_round`; times differ from run to run."""
        workshop = self._open(cell, lab)
        return measure_round(
            workshop, lab.scratch, n_clients=int(cell.parameters["clients"]), seed=cell.seed
        )

    def read(self, profile: Profile, outcomes: Outcomes) -> Reading:
        """Phases, growth, and what a lottery of hashes costs beside it."""
        return read_outcomes(outcomes)

    def _open(self, cell: Cell, lab: Lab) -> Workshop:
        """Each size is opened once; its first round compiles kernels, and is thrown away."""
        network, samples = str(cell.parameters["network"]), int(cell.parameters["samples"])
        name = f"{network} {samples} {lab.data_dir} {lab.backend.info().name}"
        if name not in self._workshops:
            opened = open_workshop(network, samples, lab.data_dir, lab.backend)
            measure_round(opened, lab.scratch, n_clients=3, seed=cell.seed)
            self._workshops[name] = opened
        return self._workshops[name]


EXPERIMENT = Cost()
