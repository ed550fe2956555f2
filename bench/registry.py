"""Benchmarks as data: a case is right before it is timed.

A case builds its inputs (`make`), knows its answer by another way than the code it times (`expect`)
and names the peers that can do the same work in the same run. `bench.timing` refuses to report a
time for a wrong answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar

T = TypeVar("T")

TIME_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Generic[T]):
    """Work with its inputs ready.

    run     : the work to time; may be called any number of times
    answer  : what `run` returned, in a form that compares with `BenchCase.expect` (never timed)
    reading : None to time `run` by the wall clock; else the value, in the unit of the case, that
              `run` measured by itself (memory, time inside another process)
    n_max   : no more repetitions than this, for a peer that is much slower than the case
    """

    run: Callable[[], T]
    answer: Callable[[T], object]
    reading: Callable[[T], float] | None = None
    n_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchCase:
    """One row of a suite.

    id      : stable for ever, so that runs of different commits compare
    unit    : s, ms, us or ns, also "ns/point" with `per` points; any word if the task has a reading
    make    : builds the inputs; raises Unavailable when the case cannot run here
    expect  : the right answer, computed another way
    peers   : peer name -> make; a maker raises Unavailable when the peer is absent
    n_max   : no more repetitions than this
    """

    id: str
    params: Mapping[str, int | str]
    unit: str
    make: Callable[[], Task[Any]]
    expect: Callable[[], object]
    peers: Mapping[str, Callable[[], Task[Any]]] = field(default_factory=dict)
    per: int = 1
    n_max: int = 9


class Row(TypedDict):
    """One row of `bench/out/SUITE.json`; `value` is a median, `iqr` the interquartile range."""

    id: str
    params: dict[str, int | str]
    value: float
    unit: str
    iqr: float
    n: int
    peers: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Cases in the order they run.

    draw : plots the rows into a folder and names its files
    keep : keeps the rows of a whole run without wrong answers, and names the files
    """

    cases: Sequence[BenchCase]
    draw: Callable[[Sequence[Row], Path], Sequence[Path]] | None = None
    keep: Callable[[Sequence[Row]], Sequence[Path]] | None = None

    def __post_init__(self) -> None:
        ids = [case.id for case in self.cases]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"benchmark ids used twice: {', '.join(twice)}")

    def only(self, parts: Sequence[str]) -> Suite:
        """The cases whose id contains any of `parts`; a part is neither drawn nor kept."""
        cases = [case for case in self.cases if any(part in case.id for part in parts)]
        return self if len(cases) == len(self.cases) else Suite(cases=cases)


SUITES = {
    "kernels": "bench.suites.kernels:build_suite",
    "proof": "bench.suites.proof:build_suite",
    "plan": "bench.suites.plan:build_suite",
    "cnn": "bench.suites.cnn:build_suite",
    "circuits": "bench.suites.circuits:build_suite",
    "service": "bench.suites.service:build_suite",
    "consensus": "bench.suites.consensus:build_suite",
    "growth": "bench.suites.growth:build_suite",
    "aggregation": "bench.suites.aggregation:build_suite",
    "training": "bench.suites.training:build_suite",
    "cuda": "bench.suites.cuda:build_suite",
}


def load_suite(name: str, *, quick: bool) -> Suite:
    """The suite of that name; with `quick`, the same kinds of cases at small sizes.

    Raises ValueError for an unknown name, listing the suites that exist.
    """
    if name not in SUITES:
        raise ValueError(f"no suite {name!r}; there are: {', '.join(sorted(SUITES))}")
    module, attribute = SUITES[name].split(":")
    suite: Suite = getattr(import_module(module), attribute)(quick=quick)
    return suite
