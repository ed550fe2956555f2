"""The story of a demonstration for people: tables, a picture, and what was checked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.demo.told import Part, Round, Story
from api.demo.trained import Steps
from consensus.wire.ethereum import format_address
from consensus.wire.genesis import LEAST_SAMPLES
from kernels.files import replacing
from prover.wire.verdict import Verdict

FEW = (
    f"fewer than {LEAST_SAMPLES}: counts of so few tell on single samples; the genesis of this "
    "chain says that it allows them (allow_few_samples)"
)
"""What is said of such proofs."""


def show_story(story: Story, console: Console) -> None:
    """A table per round, the global model's way, and every check."""
    for number, told in enumerate(story.rounds, start=1):
        console.print(_make_table(story, number, told))
    console.print(
        f"{story.subject}, {story.n_samples} samples a proof, of which {story.threshold} "
        f"({story.threshold / story.n_samples:.1%}) have to be correct",
        soft_wrap=True,
    )
    if story.training:
        console.print(f"of every client's training is proven: {story.training}", soft_wrap=True)
    if story.n_samples < LEAST_SAMPLES:
        console.print(f"  {FEW}", soft_wrap=True)
    console.print(f"Global model, on all {story.n_pool} test samples:")
    for number, told in enumerate(story.rounds, start=1):
        console.print(f"  after round {number}: {told.global_count / story.n_pool:.2%}")
    if story.earned:
        console.print(_make_earned_table(story))
    console.print(f"\nChecked, over {story.height} final blocks:")
    for claim in story.claims:
        mark = "[green]true [/green]" if claim.holds else "[bold red]FALSE[/bold red]"
        faults = "" if claim.holds else f": {'; '.join(claim.faults)}"
        console.print(f"  {mark}  {claim.text}{escape(faults)}", soft_wrap=True)


def _make_table(story: Story, number: int, told: Round) -> Table:
    table = Table(title=f"Round {number}: {told.leader} leads", title_justify="left")
    table.add_column("client")
    for name in ("claims", "proven", "measured"):
        table.add_column(name, justify="right")
    if story.training:
        table.add_column("its training")
    table.add_column("its proof")
    for name, part in told.parts.items():
        table.add_row(
            name,
            _share(part.claimed, story.n_samples),
            _share(part.proven, story.n_samples),
            _share(part.measured, story.n_samples),
            *([_describe_steps(part)] if story.training else []),
            _describe(part),
            style="bold" if name == told.leader else None,
        )
    return table


def _make_earned_table(story: Story) -> Table:
    """Beside the accounts that contracts know clients by."""
    table = Table(title=f"Votes and rewards after block {story.height}", title_justify="left")
    table.add_column("client")
    table.add_column("its account of the EVM")
    for name in ("votes", "rewards"):
        table.add_column(name, justify="right")
    for name, earned in story.earned.items():
        account = "none" if earned.account is None else format_address(earned.account)
        table.add_row(name, account, f"{earned.weight:,}", f"{earned.rewards:,}")
    return table


def _share(count: int | None, n: int) -> str:
    return "none" if count is None else f"{count}/{n} {count / n:.1%}"


def _describe_steps(part: Part) -> str:
    if part.steps is None:
        return "was not sent"
    told = part.steps.describe()
    return f"[red]{told}[/red]" if part.steps.false else told


def _describe(part: Part) -> str:
    if part.verdict is None:
        return "was not sent"
    if part.verdict is Verdict.VALID:
        return "final" if part.proven is not None else "valid, but too late"
    if part.verdict is Verdict.PAIRING_FAILED:
        return "[red]does not verify[/red]"
    return f"[red]{part.verdict.value.replace('_', ' ')}[/red]"


def to_json(story: Story) -> dict[str, Any]:
    """The same for machines."""
    return {
        "height": story.height,
        "n_samples": story.n_samples,
        "n_pool": story.n_pool,
        "subject": story.subject,
        "threshold": story.threshold,
        "training": story.training or None,
        "allow_few_samples": story.n_samples < LEAST_SAMPLES,
        "rounds": [
            {
                "leader": told.leader,
                "global_count": told.global_count,
                "clients": {
                    name: {
                        "claimed": part.claimed,
                        "proven": part.proven,
                        "measured": part.measured,
                        "verdict": None if part.verdict is None else part.verdict.value,
                        "refused": part.refused,
                        "entered": part.entered,
                        "steps": None if part.steps is None else _list_steps(part.steps),
                    }
                    for name, part in told.parts.items()
                },
            }
            for told in story.rounds
        ],
        "earned": {
            name: {
                "client_key": earned.client_key.hex(),
                "account": None if earned.account is None else format_address(earned.account),
                "weight": earned.weight,
                "rewards": earned.rewards,
            }
            for name, earned in story.earned.items()
        },
        "claims": [
            {"text": claim.text, "holds": claim.holds, "faults": claim.faults}
            for claim in story.claims
        ],
        "true": story.is_true,
    }


def _list_steps(steps: Steps) -> dict[str, Any]:
    return {
        "taken": steps.n_steps,
        "drawn": list(steps.drawn),
        "proven": steps.n_proven,
        "false": list(steps.false),
        "exports": steps.exports,
    }


def draw_picture(story: Story, path: Path) -> None:
    """Accuracy by round: proven of each client, claimed in vain, asked for, and the global model's.

    The title names model and data set.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    numbers = list(range(1, len(story.rounds) + 1))
    names = list(story.rounds[0].parts) if story.rounds else []
    for name in names:
        parts = [told.parts[name] for told in story.rounds]
        proven = _find_shares([part.proven for part in parts], story.n_samples)
        if not all(map(math.isnan, proven)):
            axes.plot(numbers, proven, "o-", label=f"{name}, proven")
            continue
        claimed = _find_shares([part.claimed for part in parts], story.n_samples)
        axes.plot(numbers, claimed, "x", label=f"{name}, claimed and refused")
    whole = [told.global_count / story.n_pool for told in story.rounds]
    axes.plot(numbers, whole, "s-", color="black", linewidth=2, label="global model, all samples")
    least = story.threshold / story.n_samples
    axes.axhline(least, color="gray", linestyle=":", label="least that counts")
    axes.set_title(f"{story.subject}, {story.n_samples} samples a proof")
    axes.set_xlabel("learning round")
    axes.set_ylabel("accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=150)


def _find_shares(counts: list[int | None], n: int) -> list[float]:
    """Not a number where there is no count: a gap in the line."""
    return [math.nan if count is None else count / n for count in counts]
