"""Claims about malicious clients against what was measured; who wins follows from the bands.

A claim that something is at most some number holds when its whole band is, does not when none of
the band is, and is open otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from federated.experiments.bands import Band, is_at_least, is_at_most, join
from federated.experiments.byzantine.results import (
    Case,
    Results,
    get_admitted,
    get_poisoned,
    get_success,
)
from federated.experiments.kinds import ASSUMED, Finding
from federated.experiments.results import Measure, get_final

POINT = 0.01
HARM = 0.10
"""Of accuracy lost or success gained, from which an attack counts as one that works."""
MANY = 0.3
MOST = 0.6
UNTARGETED = ("label flip", "sign flip", "gaussian model", "zero model")
PROVEN = "zkpot-training"
OURS = {
    "zkpot": "ZKPoT",
    "zkpot-bounds": "ZKPoT with bounds",
    PROVEN: "ZKPoT with proven training",
}
ATTACKERS = {
    "zkpot": "who know the rule",
    "zkpot-bounds": "who know the rule",
    PROVEN: "who fit how many samples they poison to the rule",
}
"""Of our rules, as `play.adapt` makes them."""
DEFENCES = {
    "krum": "Krum",
    "multi-krum": "multi-Krum",
    "trimmed-mean": "the trimmed mean",
    "median": "the median",
}
DATA_ALONE = {
    "fedavg": "FedAvg (of floats, AdamW)",
    "fedavg-exact": "FedAvg of the same integer steps, proven by nobody",
}
SCALED = {"fedavg": "FedAvg", "zkpot": "ZKPoT", "zkpot-bounds": "ZKPoT with bounds"}
LED = {"pow": "PoW", "pos": "PoS", "pofl": "PoFL"}


def read_findings(results: Results, dataset: str) -> tuple[Finding, ...]:
    """All that the cases of one data set say; what was not run is left out."""
    made = _Readings(results, dataset)
    return (
        *made.accuracy_of_means(),
        *made.accuracy_of_ours(),
        *made.accuracy_of_defences(),
        *made.duels(),
        *made.backdoors(),
        *made.scaling(),
        *made.proven_training(),
        *made.leaders(),
        *made.free_riders(),
        *made.sybils(),
    )


class _Readings:
    def __init__(self, results: Results, dataset: str) -> None:
        self._results, self._dataset = results, dataset

    # -- accuracy ----------------------------------------------------------------------------------

    def accuracy_of_means(self) -> Iterator[Finding]:
        told = self._lose("fedavg", MANY)
        if told:
            yield self._state(
                f"{_percent(MANY)} malicious clients cost plain FedAvg {_points(HARM)} of accuracy "
                "or more, whichever attack they take (Blanchard et al. 2017)",
                [(name, loss, is_at_least(loss, HARM)) for name, loss in told],
            )

    def accuracy_of_ours(self) -> Iterator[Finding]:
        for share in (MANY, MOST):
            for rule, label in OURS.items():
                told = self._lose(rule, share)
                if told:
                    yield self._state(
                        f"{label} with {_percent(share)} malicious clients {ATTACKERS[rule]} "
                        "loses at most 1 point to FedAvg without any",
                        [
                            (self._tell_entered(rule, name, share), loss, is_at_most(loss, POINT))
                            for name, loss in told
                        ],
                        note=self._tell_assumed(rule, [name for name, _ in told], share),
                    )

    def accuracy_of_defences(self) -> Iterator[Finding]:
        for rule, label in DEFENCES.items():
            told = self._lose(rule, MANY)
            if told:
                yield self._state(
                    f"{label} that is told how many are malicious, {_percent(MANY)}, loses at "
                    "most 1 point to FedAvg without any (its authors: resilient below one half)",
                    [(name, loss, is_at_most(loss, POINT)) for name, loss in told],
                )

    def _tell_entered(self, rule: str, attack: str, share: float) -> str:
        """An attack that is refused altogether has lost the rule its clients, and no more."""
        case = self._case(rule, attack, share)
        told = f"{_percent(self._results.measure(case, get_admitted).mean)} entered"
        chosen = [get_poisoned(result) for result in self._results.list_results(case)]
        poisoned = [one for one in chosen if one is not None]
        if poisoned:
            ends = dict.fromkeys(_percent(end(poisoned)) for end in (min, max))
            told += f" with {' to '.join(ends)} poisoned"
        return f"{attack} ({told})"

    def _tell_assumed(self, rule: str, attacks: Sequence[str], share: float) -> str:
        """Of which attacks nothing can enter here, whatever they send."""
        if rule != PROVEN:
            return ""
        cases = [self._case(rule, attack, share) for attack in attacks]
        barred = [
            case.attack
            for case in cases
            if any(get_poisoned(result) is None for result in self._results.list_results(case))
        ]
        return f"nothing of {', '.join(barred)} enters, {ASSUMED}" if barred else ""

    def duels(self) -> Iterator[Finding]:
        """Against what needs no proof: attackers there do as published, ours as `ATTACKERS`."""
        for rule, label in OURS.items():
            told = []
            for other, others_label in DEFENCES.items():
                for attack in UNTARGETED:
                    mine, theirs = (self._case(r, attack, MANY) for r in (rule, other))
                    if mine in self._results and theirs in self._results:
                        more = self._results.compare(mine, get_final, theirs)
                        name = f"{attack}, than {others_label}"
                        told.append((name, more, is_at_least(more, -POINT)))
            if told:
                yield self._state(
                    f"{label} with {_percent(MANY)} malicious clients ends no worse than rules of "
                    "distances and order, to a point",
                    told,
                )

    def _lose(self, rule: str, share: float) -> list[tuple[str, Band]]:
        """Accuracy lost to FedAvg without attackers, by attack."""
        calm = self._case("fedavg")
        cases = [self._case(rule, attack, share) for attack in UNTARGETED]
        return [
            (case.attack, self._results.compare(calm, get_final, case))
            for case in cases
            if case in self._results and calm in self._results
        ]

    # -- backdoors ---------------------------------------------------------------------------------

    def backdoors(self) -> Iterator[Finding]:
        """That accuracy stays is what such attacks are for; no rule that looks at it sees them."""
        attacks = ("backdoor", "clean-label backdoor", "model replacement", "targeted flip")
        for rule, label in OURS.items():
            told = [
                (attack, gain)
                for attack in attacks
                if (gain := self._gain(self._case(rule, attack, MANY))) is not None
            ]
            if told:
                yield self._state(
                    f"{label} stops attacks that keep accuracy: {_percent(MANY)} malicious clients "
                    f"raise the success of none by more than {_points(HARM)}",
                    [(name, gain, is_at_most(gain, HARM)) for name, gain in told],
                )

    def scaling(self) -> Iterator[Finding]:
        """What scaled updates add to a backdoor; under proven training there are none to send."""
        for rule, label in SCALED.items():
            told = []
            for share in self._shares():
                scaled = self._case(rule, "model replacement", share)
                plain = self._case(rule, "backdoor", share)
                if scaled in self._results and plain in self._results:
                    success, other = get_success(scaled.attack), get_success(plain.attack)
                    more = self._results.compare(scaled, success, plain, other)
                    told.append((f"{_percent(share)} malicious", more, is_at_most(more, POINT)))
            if told:
                yield self._state(
                    f"under {label} scaled updates add nothing to a backdoor, to a point", told
                )

    def proven_training(self) -> Iterator[Finding]:
        """A client whose steps are proven can lie in its samples alone."""
        for rule, label in DATA_ALONE.items():
            told = []
            for share in self._shares():
                case = self._case(PROVEN, "model replacement", share)
                data = self._case(rule, "backdoor", share)
                if case in self._results and data in self._results:
                    success, other = get_success(case.attack), get_success(data.attack)
                    more = self._results.compare(case, success, data, other)
                    told.append((f"{_percent(share)} malicious", more, is_at_most(more, POINT)))
            if told:
                yield self._state(
                    "who wants to replace the model under proven training reaches at most what the "
                    f"same poisoned samples, not scaled, reach under {label}, to a point",
                    told,
                    note=f"no scaled model enters, {ASSUMED}",
                )

    def leaders(self) -> Iterator[Finding]:
        told = []
        safe = self._case("zkpot", "colluding leader", MANY)
        for rule, label in LED.items():
            case = self._case(rule, safe.attack, MANY)
            if case in self._results and safe in self._results:
                success = get_success(safe.attack)
                more = self._results.compare(case, success, safe, success)
                told.append((label, more, is_at_least(more, HARM)))
        if told:
            yield self._state(
                "a leader that writes its own model in place of the mean has more success, by "
                f"{_points(HARM)} or more, where leaders write the model than under ZKPoT, whose "
                "validators add up for themselves",
                told,
            )

    # -- free riders and sybils --------------------------------------------------------------------

    def free_riders(self) -> Iterator[Finding]:
        claims = (
            ("returned model", "the global model with noise on it, sent back, enters no mean"),
            ("copied model", "a model that was copied from its owner enters no mean"),
        )
        for attack, claim in claims:
            for rule, label in {"pofl": "PoFL", **OURS}.items():
                case = self._case(rule, attack, MANY)
                if case in self._results:
                    entered = self._results.measure(case, get_admitted)
                    yield self._state(
                        f"under {label}, {claim}",
                        [("entered", entered, is_at_most(entered, 0.0))],
                        unit="%",
                        note=f"no steps lead there, {ASSUMED}" if rule == PROVEN else "",
                    )

    def sybils(self) -> Iterator[Finding]:
        for rule, label in OURS.items():
            cases = [c for c in self._results.cases if c.dataset == self._dataset and c.n_names]
            own = sorted((c for c in cases if c.rule == rule), key=lambda case: case.n_names)
            if len(own) < 2:
                continue
            one, *others = own
            success = get_success(one.attack)
            first = self._results.measure(one, success)
            told: list[tuple[str, Band, bool | None]] = [("with one name", first, True)]
            for case in others:
                more = self._results.compare(case, success, one, success)
                told.append((f"more with {case.n_names}", more, is_at_most(more, HARM)))
            yield self._state(
                f"under {label} without permits a person with a {one.attack} gains no more than "
                f"{_points(HARM)} of success by taking part under many names",
                told,
            )

    # -- common ------------------------------------------------------------------------------------

    def _case(self, rule: str, attack: str = "none", share: float = 0.0) -> Case:
        return Case(dataset=self._dataset, rule=rule, attack=attack, share=share)

    def _shares(self) -> list[float]:
        cases = [c for c in self._results.cases if c.dataset == self._dataset and not c.n_names]
        return sorted({c.share for c in cases} - {0.0})

    def _gain(self, case: Case) -> Band | None:
        """How much more success than on the model of the same rule without attackers."""
        calm = self._case(case.rule)
        if case not in self._results or calm not in self._results:
            return None
        success: Measure = get_success(case.attack)
        return self._results.compare(case, success, calm, success)

    def _state(
        self,
        claim: str,
        told: Sequence[tuple[str, Band, bool | None]],
        *,
        unit: str = "points",
        note: str = "",
    ) -> Finding:
        """unit: points of a difference, % of a share; note: what has to be known to read them"""
        parts = [f"{name}: {found.tell(scale=100)}" for name, found, _ in told]
        measured = f"{', '.join(parts)} {unit}" + (f"; {note}" if note else "")
        return Finding(
            claim=f"{self._dataset}: {claim}",
            measured=measured,
            holds=join([verdict for _, _, verdict in told]),
        )


def _points(difference: float) -> str:
    return f"{difference * 100:.0f} points"


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")
