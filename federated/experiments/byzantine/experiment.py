"""Final accuracy and success of attacks against the share of malicious clients, for every rule."""

from __future__ import annotations

from collections.abc import Sequence

from federated.experiments.byzantine.cases import N_CLIENTS, PARTITION, SIZES, list_runs
from federated.experiments.byzantine.figures import make_figures
from federated.experiments.byzantine.findings import read_findings
from federated.experiments.byzantine.fitting import N_TRIALS
from federated.experiments.byzantine.play import play
from federated.experiments.byzantine.results import Case, Results
from federated.experiments.byzantine.tables import make_tables
from federated.experiments.kinds import Cell, Json, Lab, Outcomes, Profile, Reading
from federated.experiments.results import LAST
from federated.experiments.simulation.sizes import Size


class Byzantine:
    """Malicious clients, from none to most, under rules that believe them and rules that do not."""

    name = "byzantine"
    title = "what malicious clients do to the global model"
    version = 2
    is_parallel = True

    def plan(self, profile: Profile) -> Sequence[Cell]:
        sizes = SIZES[profile]
        return [
            case.to_cell(seed, **sizes[case.dataset].parameters)
            for case, seed in list_runs(profile)
        ]

    def run(self, cell: Cell, lab: Lab) -> Json:
        size = Size.of(cell.parameters)
        return play(Case.of(cell), size, lab.data_dir, seed=cell.seed)

    def read(self, profile: Profile, outcomes: Outcomes) -> Reading:
        results = Results(outcomes)
        datasets = list(dict.fromkeys(case.dataset for case in results.cases))
        n_seeds = sorted({len(results.list_results(case)) for case in results.cases})
        told = {d: _describe(d, SIZES[profile][d]) for d in datasets}
        return Reading(
            findings=tuple(f for d in datasets for f in read_findings(results, d)),
            tables=tuple(t for d in datasets for t in make_tables(results, d)),
            figures=tuple(f for d in datasets for f in make_figures(results, d, told[d])),
            conditions={
                "seeds": " or ".join(str(n) for n in n_seeds),
                **told,
                "attackers": "of rules without proofs as published; of ZKPoT they know threshold, "
                "margin, bounds, the drawn samples and all honest models, and send the most of the "
                "attack that passes; of proven training they poison samples, and play the whole "
                f"run beforehand with up to {N_TRIALS} shares of them, to take the one that harms "
                "most",
                "accuracy": f"means of the last {LAST} rounds; success is of the last model",
                "defences": "Krum, multi-Krum and the trimmed mean are told how many are malicious",
                "proofs": "counts are of the integer evaluator, and what no steps led to is taken "
                "for refused where steps are proven; the experiment claims has real proofs of both",
            },
        )


def _describe(dataset: str, own: Size) -> str:
    return (
        f"{own.network} on {dataset}: {N_CLIENTS} clients, {PARTITION}, {own.n_train} training "
        f"samples of theirs and {own.n_public} public ones, {own.n_rounds} rounds of "
        f"{own.steps} steps of {own.batch_size} samples, proofs of {own.n_drawn} samples "
        f"drawn of {own.n_pool}, {own.n_test} others for the figures; the first samples of each "
        "split, real and in the official order"
    )


EXPERIMENT = Byzantine()
