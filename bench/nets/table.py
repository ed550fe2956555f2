"""The table of `zkpot bench cnn` in Markdown: us, peers of the same run, and published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.nets.published import PUBLISHED, UNKNOWN, Published
from bench.registry import Row
from kernels.files import write_whole

SYSTEM = "zkpot"
HEADINGS = (
    "system",
    "s per sample",
    "against ours",
    "threads",
    "memory",
    "verify",
    "proof",
    "private weights",
    "zero knowledge",
    "conditions",
)


class Peer(NamedTuple):
    """What is known of a peer that runs beside us."""

    private: str
    hiding: str
    conditions: str


PEERS = {
    "ezkl": Peer("yes, bound to no commitment", "yes", "same run; one sample a proof"),
    "jstprove": Peer(
        "no, its verifier needs them", "?", "same run; one sample, maxima for averages"
    ),
}

Line = tuple[str, ...]


def write_table(rows: Sequence[Row], path: Path) -> Path:
    """One table for each network that has a row of seconds per sample."""
    names = dict.fromkeys(str(row["params"]["model"]) for row in rows)
    texts = [text for name in names if (text := format_network(name, rows))]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, ["\n".join(texts).encode()])
    return path


def format_network(
    network: str, rows: Sequence[Row], published: Sequence[Published] = PUBLISHED
) -> str:
    """A heading, the table, and a sentence on who is ahead; "" without a time of ours."""
    figures = {str(r["params"]["figure"]): r for r in rows if r["params"]["model"] == network}
    if "prove_per_sample" not in figures:
        return ""
    ours = figures["prove_per_sample"]
    lines = [_own_line(figures)]
    lines += [_peer_line(peer, figures) for peer in ours["peers"]]
    lines += [_published_line(p, ours["value"]) for p in published if p.network == network]
    rule = "|".join("---" for _ in HEADINGS)
    table = [f"| {' | '.join(HEADINGS)} |", f"|{rule}|"]
    table += [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"### {network}", "", *table, "", _tell_losses(network, figures, published)])


def _own_line(figures: Mapping[str, Row]) -> Line:
    row = figures["prove_per_sample"]
    return (
        SYSTEM,
        f"{row['value']:.3g}",
        "",
        str(row["params"]["threads"]),
        _value(figures, "memory", 1 / 1024, "GiB"),
        _value(figures, "verify", 1, "ms"),
        _value(figures, "proof_bytes", 1, "B"),
        "yes, committed",
        "yes",
        f"this run; {row['params']['samples']} samples a proof, which shows accuracy; key "
        f"{_value(figures, 'key', 1, 'MiB')} by a setup of {_value(figures, 'setup', 1, 's')}",
    )


def _peer_line(peer: str, figures: Mapping[str, Row]) -> Line:
    known, ours = PEERS[peer], figures["prove_per_sample"]
    return (
        peer,
        f"{ours['peers'][peer]:.3g}",
        _compare(ours["peers"][peer] / ours["value"]),
        str(ours["params"]["threads"]),
        _value(figures, "memory", 1 / 1024, "GiB", peer),
        _value(figures, "verify", 1, "ms", peer),
        _value(figures, "proof_bytes", 1, "B", peer),
        known.private,
        known.hiding,
        f"{known.conditions}; setup {_value(figures, 'setup', 1, 's', peer)}",
    )


def _published_line(published: Published, ours: float) -> Line:
    return (
        published.system,
        f"{published.seconds:.6g}",
        _compare(published.seconds / ours),
        published.threads,
        published.memory,
        published.verify,
        published.proof,
        published.private,
        published.hiding,
        f"published: {published.conditions}",
    )


def _compare(ratio: float) -> str:
    """How many times our time a time is; below 1 the other is ahead, and it says so."""
    return f"{ratio:.3g}x" if ratio >= 1 else f"**{ratio:.2g}x, ahead of us**"


def _value(
    figures: Mapping[str, Row], name: str, factor: float, unit: str, peer: str | None = None
) -> str:
    row = figures.get(name)
    if row is None or (peer is not None and peer not in row["peers"]):
        return UNKNOWN
    value = row["value"] if peer is None else row["peers"][peer]
    return f"{value * factor:.4g} {unit}"


def _tell_losses(network: str, figures: Mapping[str, Row], published: Sequence[Published]) -> str:
    """Which system is faster than ours, of those that run here and of the published ones."""
    ours = figures["prove_per_sample"]
    others = dict(ours["peers"])
    others |= {p.system: p.seconds for p in published if p.network == network}
    ahead = sorted(name for name, seconds in others.items() if seconds < ours["value"])
    smaller = [
        f"{peer} ({figure})"
        for figure in ("memory", "verify", "proof_bytes", "setup", "key")
        if figure in figures
        for peer, value in figures[figure]["peers"].items()
        if value < figures[figure]["value"]
    ]
    said = f"Faster than us per sample: {', '.join(ahead) or 'none'}."
    return f"{said} Less than we need: {', '.join(smaller) or 'none'}.\n"
