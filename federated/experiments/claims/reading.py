"""What all attempts say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from federated.experiments.claims.kits import N_SAMPLES, N_STEPS, STEP_SAMPLES
from federated.experiments.claims.tally import ENCODING, EQUATIONS, RULES, STOPS
from federated.experiments.conditions import tell_origins
from federated.experiments.kinds import Figure, Finding, Outcomes, Reading, Table
from federated.experiments.picture import open_picture

_TITLES = {
    "accuracy": "Claims of accuracy",
    "bounds": "Bounds on updates",
    "training": "Proofs of training",
}
_CLAIMS = {
    "accuracy": "no forged, inflated, copied or replayed claim of accuracy is accepted",
    "bounds": "no update beyond the bounds is accepted",
    "training": "no training is accepted of which a step is false, left out or another's",
}
_SHADES = {"accepted": "tab:red", RULES: "0.75", ENCODING: "tab:cyan", EQUATIONS: "tab:blue"}
Counts = Mapping[str, Counter[str]]


def read_outcomes(outcomes: Outcomes) -> Reading:
    """Findings, a table for each family of lies, and one picture."""
    counts = {family: _add_up(outcomes, family) for family in _TITLES}
    origins = tell_origins(result for _, result in outcomes)
    n_seeds = len({cell.seed for cell, _ in outcomes})
    networks = sorted({str(cell.parameters["network"]) for cell, _ in outcomes})
    conditions = {
        "data": f"MNIST ({origins})",
        "networks": ", ".join(networks),
        "proofs": f"{N_SAMPLES} samples; training of {N_STEPS} steps of {STEP_SAMPLES} samples, "
        "all proven",
        "judges": "the rules and equations of a chain's nodes for its next block; claims of "
        "accuracy by `zkpot verify`, too",
    }
    caption = (
        "What was tried against the verifier, and what refused it; green: honest, all of which "
        f"must be accepted. MNIST ({origins}), {', '.join(networks)}, proofs of "
        f"{N_SAMPLES} samples, {n_seeds} seeds with keys, chains and proofs of their own."
    )
    return Reading(
        findings=_find(counts),
        tables=tuple(_tabulate(family, counts[family]) for family in _TITLES),
        figures=(Figure(name="stops", caption=caption, draw=lambda path: _draw(path, counts)),),
        conditions=conditions,
    )


def _add_up(outcomes: Outcomes, family: str) -> dict[str, Counter[str]]:
    """Counts of each kind over all seeds; `honest` is above 0 for honest ones."""
    found: dict[str, Counter[str]] = {}
    for cell, result in outcomes:
        if cell.parameters["family"] == family:
            for kind, numbers in result["kinds"].items():
                found.setdefault(kind, Counter()).update({k: int(n) for k, n in numbers.items()})
    return found


def _total(counts: Counts, *, honest: bool) -> tuple[int, int]:
    """How many were tried, and accepted."""
    chosen = [count for count in counts.values() if bool(count["honest"]) is honest]
    return sum(c["tried"] for c in chosen), sum(c["accepted"] for c in chosen)


def _find(counts: Mapping[str, Counts]) -> tuple[Finding, ...]:
    findings = []
    for family, claim in _CLAIMS.items():
        tried, accepted = _total(counts[family], honest=False)
        # Where nothing was tried, or nothing honest was accepted, the verifier has shown nothing.
        able = _total(counts[family], honest=True)[1] > 0 and tried > 0
        findings.append(
            Finding(
                claim=claim,
                measured=f"{accepted} of {tried} accepted, of "
                f"{sum(not c['honest'] for c in counts[family].values())} kinds",
                holds=accepted == 0 if able else None,
            )
        )
    honest = [_total(counts[family], honest=True) for family in _CLAIMS]
    tried, accepted = (sum(numbers) for numbers in zip(*honest, strict=True))
    findings.append(
        Finding(
            claim="every honest claim is accepted, one below the truth too: a proof says at least "
            "k, so it is no lie",
            measured=f"{accepted} of {tried} accepted",
            holds=accepted == tried if tried else None,
        )
    )
    return tuple(findings)


def _tabulate(family: str, counts: Counts) -> Table:
    columns = ("tried", "accepted", *STOPS)
    rows = [
        (f"{'(honest) ' if c['honest'] else ''}{kind}", *(str(c[name]) for name in columns))
        for kind, c in counts.items()
    ]
    for honest in (False, True):
        chosen = [c for c in counts.values() if bool(c["honest"]) is honest]
        label = "all honest" if honest else "all lies"
        rows.append((label, *(str(sum(c[name] for c in chosen)) for name in columns)))
    return Table(
        title=f"{_TITLES[family]}: attempts, and what refused them",
        columns=("kind", "tried", "accepted", *(f"refused by {name}" for name in STOPS)),
        rows=tuple(rows),
    )


def _draw(path: Path, counts: Mapping[str, Counts]) -> None:
    """A bar for each kind, cut by what refused it."""
    rows = [(kind, count) for family in counts.values() for kind, count in family.items()]
    with open_picture(path, height=0.26 * len(rows) + 1.2) as axes:
        left = [0] * len(rows)
        for name, shade in _SHADES.items():
            widths = [0 if count["honest"] else count[name] for _, count in rows]
            label = "accepted" if name == "accepted" else f"refused by {name}"
            axes.barh(range(len(rows)), widths, left=left, color=shade, label=f"lies, {label}")
            left = [a + b for a, b in zip(left, widths, strict=True)]
        widths = [count["accepted"] if count["honest"] else 0 for _, count in rows]
        axes.barh(range(len(rows)), widths, color="tab:green", label="honest, accepted")
        axes.set_yticks(range(len(rows)), [kind for kind, _ in rows], fontsize=7)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlabel("attempts over all seeds")
        axes.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=3)
