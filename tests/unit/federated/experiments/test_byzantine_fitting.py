"""How an attacker of proven training chooses what it poisons, against runs that are made up."""

from __future__ import annotations

from federated.experiments.attacks.adaptive import DataOnly
from federated.experiments.attacks.labels import LabelFlip
from federated.experiments.attacks.triggers import Backdoor
from federated.experiments.byzantine.fitting import N_TRIALS, fit
from federated.experiments.kinds import Json


class Runs:
    """Runs under a rule that lets pass what is poisoned up to a share; notes what was tried.

    Accuracy falls by what passed; what is refused costs 2 points.
    """

    def __init__(self, greatest: float) -> None:
        self.greatest, self.tried = greatest, list[float]()

    def play(self, attack: DataOnly) -> Json:
        self.tried.append(attack.share)
        passes = attack.share <= self.greatest
        lost = attack.share / 4 if passes else 0.02
        success = (
            {"backdoor": attack.share if passes else 0.01} if attack.name != "label flip" else {}
        )
        return {"accuracy": [0.9 - lost], "success": success, "admitted": float(passes)}


def test_who_passes_with_all_tries_nothing_else() -> None:
    runs = Runs(1.0)
    assert fit(DataOnly(LabelFlip()), runs.play)["poisoned"] == 1.0
    assert runs.tried == [1.0]


def test_who_is_refused_looks_for_the_greatest_share_that_passes() -> None:
    for attack in (LabelFlip(), Backdoor()):
        runs = Runs(0.4)
        found = fit(DataOnly(attack), runs.play)
        assert runs.tried == [1.0, 0.5, 0.25, 0.375]
        assert len(runs.tried) == N_TRIALS
        assert (found["poisoned"], found["admitted"]) == (0.375, 1.0)


def test_who_harms_more_by_being_refused_is_refused() -> None:
    found = fit(DataOnly(LabelFlip()), Runs(0.05).play)
    assert (found["poisoned"], found["admitted"]) == (1.0, 0.0)
    assert fit(DataOnly(Backdoor()), Runs(0.05).play)["success"] == {"backdoor": 0.01}
