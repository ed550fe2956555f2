"""Final accuracy and success of attacks against the share of malicious clients, for every rule."""

from __future__ import annotations

from collections.abc import Sequence

from federated.experiments.byzantine.cases import (
    CONDITIONS,
    N_CLIENTS,
    N_SEEDS,
    PARTITION,
    TRAINING,
    Conditions,
    list_cases,
)
from federated.experiments.byzantine.figures import make_figures
from federated.experiments.byzantine.findings import read_findings
from federated.experiments.byzantine.play import play
from federated.experiments.byzantine.results import Case, Results
from federated.experiments.byzantine.tables import make_tables
from federated.experiments.kinds import Cell, Json, Lab, Outcomes, Profile, Reading


class Byzantine:
    """Malicious clients, from none to most, under rules that believe them and rules that do not."""

    name = "byzantine"
    title = "what malicious clients do to the global model"
    version = 1
    is_parallel = True

    def plan(self, profile: Profile) -> Sequence[Cell]:
        """Seed by seed, so that an interrupted run has whole ones."""
        conditions = CONDITIONS[profile]
        return [
            case.to_cell(seed, **conditions[case.dataset].parameters)
            for seed in range(N_SEEDS)
            for case in list_cases(profile)
        ]

    def run(self, cell: Cell, lab: Lab) -> Json:
        conditions = Conditions.of(cell.parameters)
        return play(Case.of(cell), conditions, lab.data_dir, seed=cell.seed)

    def read(self, profile: Profile, outcomes: Outcomes) -> Reading:
        results = Results(outcomes)
        datasets = list(dict.fromkeys(case.dataset for case in results.cases))
        told = {d: _describe(d, CONDITIONS[profile][d]) for d in datasets}
        return Reading(
            findings=tuple(f for d in datasets for f in read_findings(results, d)),
            tables=tuple(t for d in datasets for t in make_tables(results, d)),
            figures=tuple(f for d in datasets for f in make_figures(results, d, told[d])),
            conditions={
                **told,
                "attackers": "of rules without proofs as published; of ZKPoT they know threshold, "
                "margin, bounds, the drawn samples and all honest models, and send the most of the "
                "attack that passes; of proven training they poison samples, as many under any "
                "threshold: what is refused so is counted, and one that poisons fewer may do more",
                "defences": "Krum, multi-Krum and the trimmed mean are told how many are malicious",
                "proofs": "counts are of the integer evaluator, and what no steps led to is taken "
                "for refused where steps are proven; the experiment claims has real proofs of both",
            },
        )


def _describe(dataset: str, own: Conditions) -> str:
    return (
        f"{own.network} on {dataset}: {N_CLIENTS} clients, {PARTITION}, {own.n_train} training "
        f"samples of theirs and {own.n_public} public ones, {own.n_rounds} rounds of "
        f"{TRAINING.steps} steps of {TRAINING.batch_size} samples, proofs of {own.n_drawn} samples "
        f"drawn of {own.n_pool}, {own.n_test} others for the figures; the first samples of each "
        "split, real and in the official order"
    )


EXPERIMENT = Byzantine()
