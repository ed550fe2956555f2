"""`zkpot selftest`: the kernels at work on problems whose answers are known another way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer

from api.console.output import AsJson, emit_json, refuse, refuse_error

if TYPE_CHECKING:
    from rich.console import Console

LG_N = 16
PAIRINGS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One piece of work: what was done, what it was compared with, and how long it took."""

    work: str
    checked_by: str
    seconds: float
    right: bool


def register(app: typer.Typer) -> None:
    app.command()(selftest)


def selftest(as_json: AsJson = False) -> None:
    """Multi-exponentiation, transform and pairing with known answers, timed."""
    from rich.console import Console

    from kernels.backend import get_backend
    from kernels.errors import BackendUnavailable

    console = Console(stderr=as_json)
    steps: list[Step] = []
    try:
        used = get_backend("cpu").info()
        with console.status("kernels are compiled the first time they are used ..."):
            for step in run_steps():
                steps.append(step)
                verdict = "right" if step.right else "WRONG"
                console.print(f"{verdict}  {step.seconds:8.4f} s  {step.work}", highlight=False)
    except BackendUnavailable as error:
        refuse_error(error, as_json=as_json)
    wrong = [step.work for step in steps if not step.right]
    if wrong:
        refuse(f"wrong answer: {', '.join(wrong)}", code="wrong_answer", as_json=as_json)
    if as_json:
        emit_json(
            {"lanes": used.lanes, "threads": used.n_threads, "steps": [asdict(s) for s in steps]}
        )
    else:
        _print_table(console, steps, f"BN254 on {used.n_threads} threads, {used.lanes} lanes")


def run_steps() -> Iterator[Step]:
    """Each step is done twice and the second time counts: the first may compile."""
    from bench import inputs as known
    from kernels.backend import get_backend
    from kernels.pairing import pairing_product_is_one

    backend = get_backend("cpu")
    inputs = known.Inputs(backend)
    n = 1 << LG_N
    scalars, bases = known.random_scalars(n), inputs.bases_g1(n)
    yield _step(
        f"sum of 2^{LG_N} multiples of points, 254-bit scalars",
        "points i*G: one multiple of G by the reference",
        lambda: backend.msm_g1(scalars, bases).to_ints()[0],
        known.expect_msm_g1(scalars),
    )
    sequence = inputs.sequence(n)
    yield _step(
        f"transform of 2^{LG_N} scalars and its digest",
        "closed form of a geometric sequence",
        lambda: known.digest_mont(backend.ntt(sequence), backend),
        known.expect_ntt(LG_N),
    )
    g1, g2 = known.pairing_points(PAIRINGS)
    yield _step(
        f"product of {PAIRINGS} pairings",
        "bilinearity: the exponents cancel",
        lambda: pairing_product_is_one(g1, g2),
        True,
    )
    tampered = known.double_first(g1)
    yield _step(
        f"product of {PAIRINGS} pairings, one point changed",
        "the exponents cancel no more",
        lambda: pairing_product_is_one(tampered, g2),
        False,
    )


def _step(work: str, checked_by: str, run: Callable[[], object], expected: object) -> Step:
    from time import perf_counter

    first = run()
    start = perf_counter()
    second = run()
    seconds = perf_counter() - start
    right = first == expected and second == expected
    return Step(work=work, checked_by=checked_by, seconds=seconds, right=right)


def _print_table(console: Console, steps: list[Step], title: str) -> None:
    from rich.table import Table

    table = Table(title=title)
    for heading in ("work", "answer known by", "seconds"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for step in steps:
        table.add_row(step.work, step.checked_by, f"{step.seconds:.4f}")
    console.print(table)
