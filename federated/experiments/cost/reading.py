"""What rounds cost, how that grows, and what a lottery of hashes and plain averaging cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from federated.experiments.bands import Band, band, is_below
from federated.experiments.chains.dealt import N_VALIDATORS
from federated.experiments.conditions import tell_origins
from federated.experiments.cost.meter import CLIENT_PHASES, NODE_PHASES, OTHER
from federated.experiments.kinds import Cell, Figure, Finding, Json, Outcomes, Reading, Table
from federated.experiments.picture import open_picture
from prover.model.presets import parse_architecture

INTERVALS_S = {"Bitcoin": 600, "Ethereum before its merge": 13}
"""Mean seconds between blocks of chains that were, or are, mined."""
FLOAT_BYTES = 4
_FEW, _DIFFICULTY_ONE = 2.0, float(1 << 32)
Setting = tuple[str, int, int]
"""A network, the samples of a proof, and clients."""
Settings = dict[Setting, list[Json]]
Value = Callable[[Json], float]


def read_outcomes(outcomes: Outcomes) -> Reading:
    """Findings, tables of phases, bytes and work, and three pictures."""
    settings = _group(outcomes)
    n_seeds = len({cell.seed for cell, _ in outcomes})
    origin = tell_origins(result for _, result in outcomes)
    about = (
        f"MNIST ({origin}), {n_seeds} seeds, bands of 95 %; each client trains, commits and proves "
        f"for itself, nothing is replayed; {N_VALIDATORS} nodes, of which one is measured; "
        "processor seconds of this machine, all threads"
    )
    drawings: dict[str, tuple[str, Callable[[Path, Settings], None]]] = {
        "growth": ("Processor seconds and bytes of a round, by clients.", _draw_growth),
        "phases": ("Processor seconds of a client and of a node, by phase.", _draw_phases),
        "work": (
            "Work of a round, all clients and nodes, beside that of one mined block, which is "
            "miners times interval, whatever the difficulty: where the lines cross both cost as "
            "much.",
            _draw_work,
        ),
    }
    return Reading(
        findings=tuple(_find(settings)),
        tables=(_tabulate_phases(settings), _tabulate_bytes(settings), _tabulate_work(settings)),
        figures=tuple(
            Figure(
                name=name,
                caption=f"{what} {about}.",
                draw=lambda path, draw=draw: draw(path, settings),  # type: ignore[misc]
            )
            for name, (what, draw) in drawings.items()
        ),
        conditions={
            "data": f"MNIST ({origin}); of networks with 49 inputs, means of 4 x 4 pixels",
            "clients": ", ".join(sorted({_tell(setting) for setting in settings})),
            "nodes": f"{N_VALIDATORS} in one process, without a network; each does what one does",
            "mining": "SHA-256 twice over 80 bytes, by Python's library on one core; machines made "
            "for it hash for far less energy, so seconds of processors are work, not joules",
        },
    )


def _group(outcomes: Outcomes) -> Settings:
    """Results by setting, each in the order of seeds."""
    found: Settings = {}
    for cell, result in sorted(outcomes, key=lambda one: (_read_setting(one[0]), one[0].seed)):
        found.setdefault(_read_setting(cell), []).append(result)
    return found


def _read_setting(cell: Cell) -> Setting:
    p = cell.parameters
    return str(p["network"]), int(p["samples"]), int(p["clients"])


def _tell(setting: Setting) -> str:
    network, samples, n_clients = setting
    return f"{n_clients} clients, {network}, {samples} samples"


# -- values of one round ---------------------------------------------------------------------------


def sum_clients(run: Json) -> float:
    """Processor seconds of all clients."""
    return float(sum(run["clients_cpu_s"].values()))


def sum_node(run: Json) -> float:
    """Processor seconds of one node."""
    return float(sum(run["node_cpu_s"].values()))


def sum_work(run: Json) -> float:
    """Processor seconds of all clients and all nodes."""
    return sum_clients(run) + N_VALIDATORS * sum_node(run)


def _band(runs: list[Json], value: Value) -> Band:
    return band([value(run) for run in runs])


def _divide(value: Value, by: float) -> Value:
    return lambda run: value(run) / by


def _per_phase(side: str, phase: str) -> Value:
    return lambda run: float(run[side].get(phase, 0.0))


def _count_model_bytes(network: str) -> int:
    """Of a model in the clear, as plain averaging sends it."""
    return FLOAT_BYTES * parse_architecture(network).n_parameters


# -- findings --------------------------------------------------------------------------------------


def _find(settings: Settings) -> list[Finding]:
    return [*_find_growth(settings), *_find_mining(settings), *_find_averaging(settings)]


def _find_growth(settings: Settings) -> list[Finding]:
    """From the fewest to the most clients of the network that has most sizes."""
    network, samples = max(
        {setting[:2] for setting in settings},
        key=lambda chosen: sum(setting[:2] == chosen for setting in settings),
    )
    sizes = sorted(n for *chosen, n in settings if tuple(chosen) == (network, samples))
    few, many = sizes[0], sizes[-1]
    values: dict[str, Value] = {
        "bytes that a client sends": lambda run: float(run["client_bytes"]),
        "work of a client": sum_clients,
        "work of a node, for each client": sum_node,
    }
    findings = []
    for what, value in values.items():
        pairs = zip(settings[network, samples, few], settings[network, samples, many], strict=True)
        grown = band([value(b) / many / (value(a) / few) for a, b in pairs])
        findings.append(
            Finding(
                claim=f"from {few} to {many} clients the {what} less than doubles ({network})",
                measured=f"times {grown.tell(digits=2)}",
                holds=is_below(grown, _FEW),
            )
        )
    return findings


def _find_mining(settings: Settings) -> list[Finding]:
    """Against as many miners as clients, each with one core."""
    findings = []
    for name, interval_s in INTERVALS_S.items():
        shares = {
            setting: _band(runs, _divide(sum_work, setting[2] * interval_s))
            for setting, runs in settings.items()
        }
        worst = max(shares, key=lambda setting: shares[setting].mean)
        findings.append(
            Finding(
                claim=f"a round is less work than one block mined by as many miners as clients, "
                f"each with one core, at the interval of {name}, {interval_s} s",
                measured=f"{shares[worst].tell('%', digits=3, scale=100)} of it at most "
                f"({_tell(worst)})",
                holds=is_below(shares[worst], 1.0),
            )
        )
    hashed = {
        s: _band(runs, lambda run: sum_work(run) * run["hash_rate"] / _DIFFICULTY_ONE)
        for s, runs in settings.items()
    }
    even = {s: _band(runs, _divide(sum_work, s[2])) for s, runs in settings.items()}
    most = max(hashed, key=lambda setting: hashed[setting].mean)
    longest = max(even, key=lambda setting: even[setting].mean)
    findings.append(
        Finding(
            claim="a round is less work than a block of difficulty 1, 2^32 hashes expected",
            measured=f"{hashed[most].tell('%', scale=100, digits=2)} of it at most "
            f"({_tell(most)}). Mining is as much work as its difficulty says, so it is less where "
            f"as many miners as clients find a block within {even[longest].tell('s', digits=2)} "
            f"({_tell(longest)})",
            holds=is_below(hashed[most], 1.0),
        )
    )
    return findings


def _find_averaging(settings: Settings) -> list[Finding]:
    """Against the same training, sent in the clear."""
    training = {
        setting: _band(runs, lambda run: sum_work(run) / run["clients_cpu_s"]["train"])
        for setting, runs in settings.items()
    }
    sent = {
        s: _band(runs, _divide(lambda run: float(run["client_bytes"]), s[2] * _size(s)))
        for s, runs in settings.items()
    }
    most = max(training, key=lambda setting: training[setting].mean)
    largest = max(settings, key=lambda setting: (_size(setting), setting[2]))
    return [
        Finding(
            claim="ZKPoT costs less than twice the work of plain averaging, which trains only",
            measured=f"{training[most].tell('times')} at most ({_tell(most)}); proofs are "
            "the most of it, and do not grow with training",
            holds=is_below(training[most], _FEW),
        ),
        Finding(
            claim="a client of ZKPoT sends less than twice the bytes of a model in the clear",
            measured=f"{sent[largest].tell('times')} ({_tell(largest)}): 32 bytes for each masked "
            "weight, where a float has 4",
            holds=is_below(sent[largest], _FEW),
        ),
    ]


def _size(setting: Setting) -> int:
    return _count_model_bytes(setting[0])


# -- tables ----------------------------------------------------------------------------------------


def _tabulate_phases(settings: Settings) -> Table:
    def tell(runs: list[Json], side: str, phase: str, by: int) -> str:
        return _band(runs, _per_phase(side, phase)).tell(digits=1, scale=1000 / by)

    return Table(
        title="Processor milliseconds: of one client, then of one node",
        columns=("round", *CLIENT_PHASES, *NODE_PHASES, OTHER),
        rows=tuple(
            (
                _tell(s),
                *(tell(runs, "clients_cpu_s", phase, s[2]) for phase in CLIENT_PHASES),
                *(tell(runs, "node_cpu_s", phase, 1) for phase in (*NODE_PHASES, OTHER)),
            )
            for s, runs in settings.items()
        ),
    )


def _tabulate_bytes(settings: Settings) -> Table:
    return Table(
        title="KiB",
        columns=("round", "sent by one client", "model in the clear", "all blocks", "blocks"),
        rows=tuple(
            (
                _tell(s),
                _band(runs, lambda run: run["client_bytes"]).tell(scale=1 / 1024 / s[2]),
                f"{_size(s) / 1024:.1f}",
                _band(runs, lambda run: run["block_bytes"]).tell(scale=1 / 1024),
                str(runs[0]["n_blocks"]),
            )
            for s, runs in settings.items()
        ),
    )


def _tabulate_work(settings: Settings) -> Table:
    """Of a round, and what as many miners as clients do for one block."""
    return Table(
        title="Work in processor seconds, all clients and nodes; miners as many as clients",
        columns=(
            "round",
            "ZKPoT",
            "of it training",
            "for each block",
            *(f"PoW, {interval_s} s" for interval_s in INTERVALS_S.values()),
            "PoW, difficulty 1",
            "interval of equal work",
        ),
        rows=tuple(
            (
                _tell(s),
                _band(runs, sum_work).tell(digits=2),
                _band(runs, _per_phase("clients_cpu_s", "train")).tell(digits=2),
                _band(runs, lambda run: sum_work(run) / run["n_blocks"]).tell(digits=2),
                *(str(s[2] * interval_s) for interval_s in INTERVALS_S.values()),
                _band(runs, lambda run: _DIFFICULTY_ONE / run["hash_rate"]).tell(digits=0),
                _band(runs, _divide(sum_work, s[2])).tell("s", digits=2),
            )
            for s, runs in settings.items()
        ),
    )


# -- pictures --------------------------------------------------------------------------------------


def _draw_growth(path: Path, settings: Settings) -> None:
    lines: dict[str, Callable[[int], Value]] = {
        "a client": lambda n: _divide(sum_clients, n),
        "a node, for each client": lambda n: _divide(sum_node, n),
    }
    sent: dict[str, Callable[[int], Value]] = {
        "sent by a client": lambda n: _divide(lambda run: run["client_bytes"] / 1024, n),
        "in blocks, for each client": lambda n: _divide(lambda run: run["block_bytes"] / 1024, n),
    }
    with open_picture(path, columns=2, width=11) as axes:
        for one, shown, unit in zip(axes, (lines, sent), ("processor s", "KiB"), strict=True):
            for network in sorted({setting[0] for setting in settings}):
                found = {s[2]: runs for s, runs in settings.items() if s[0] == network}
                for label, value in shown.items():
                    bands = [_band(runs, value(n)) for n, runs in found.items()]
                    one.errorbar(
                        list(found),
                        [b.mean for b in bands],
                        yerr=[b.half for b in bands],
                        marker="o",
                        capsize=3,
                        label=f"{label} ({network})",
                    )
            one.set_xscale("log")
            one.set_yscale("log")
            one.set_xlabel("clients")
            one.set_ylabel(unit)
            one.grid(visible=True, which="both", alpha=0.2)
            one.legend(fontsize=7)


def _draw_phases(path: Path, settings: Settings) -> None:
    phases = (*CLIENT_PHASES, *NODE_PHASES)
    with open_picture(path, width=10) as axes:
        for i, (setting, runs) in enumerate(settings.items()):
            by = [setting[2]] * len(CLIENT_PHASES) + [1] * len(NODE_PHASES)
            sides = ["clients_cpu_s"] * len(CLIENT_PHASES) + ["node_cpu_s"] * len(NODE_PHASES)
            bands = [
                _band(runs, _divide(_per_phase(side, phase), n))
                for side, phase, n in zip(sides, phases, by, strict=True)
            ]
            width = 0.8 / len(settings)
            axes.bar(
                np.arange(len(phases)) + width * (i - (len(settings) - 1) / 2),
                [b.mean for b in bands],
                width=width,
                yerr=[b.half for b in bands],
                capsize=2,
                label=_tell(setting),
            )
        axes.set_yscale("log")
        labels = [f"{p}\n({'client' if p in CLIENT_PHASES else 'node'})" for p in phases]
        axes.set_xticks(range(len(phases)), labels, fontsize=8)
        axes.set_ylabel("processor seconds a round")
        axes.legend(fontsize=8)


def _draw_work(path: Path, settings: Settings) -> None:
    intervals = np.logspace(-2, 3, 60)
    with open_picture(path) as axes:
        for n in sorted({setting[2] for setting in settings}):
            axes.plot(intervals, n * intervals, linestyle="--", label=f"PoW, {n} miners")
        for setting, runs in settings.items():
            work = _band(runs, sum_work)
            (line,) = axes.plot(
                intervals, np.full_like(intervals, work.mean), label=f"ZKPoT, {_tell(setting)}"
            )
            low = max(work.low, work.mean / 100)
            axes.axhspan(low, work.high, alpha=0.15, color=line.get_color())
        for name, interval_s in INTERVALS_S.items():
            axes.axvline(interval_s, color="0.6", linewidth=0.8)
            place = axes.get_xaxis_transform()  # x of the data, y of the axes
            axes.text(interval_s, 0.02, name, transform=place, rotation=90, fontsize=7, ha="right")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("seconds between mined blocks")
        axes.set_ylabel("processor seconds")
        axes.legend(fontsize=7)
