"""Measuring one task: the right answer first, then repetitions until the time budget is spent."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import Any

from bench.errors import WrongAnswer
from bench.registry import TIME_UNITS, BenchCase, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Median, interquartile range and number of the repetitions, in the unit of the case."""

    value: float
    iqr: float
    n: int


def compute_measurement(samples: list[float]) -> Measurement:
    """Summary of at least one sample; the range of a single sample is 0."""
    if len(samples) == 1:
        return Measurement(value=samples[0], iqr=0.0, n=1)
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return Measurement(value=median(samples), iqr=high - low, n=len(samples))


def measure(
    case: BenchCase,
    task: Task[Any],
    expected: object,
    *,
    budget_s: float,
    clock: Callable[[], float] = perf_counter,
) -> Measurement:
    """Times `task`, after a first run whose answer must be `expected`; so must the last one's.

    A task that takes a reading of its own is not warmed up: its first run already counts.
    Repeats until `budget_s` is spent or `n_max` of case or task is reached, at least once.
    Raises WrongAnswer, which names the case and never the values.
    """
    samples: list[float] = []
    n_max = case.n_max if task.n_max is None else min(case.n_max, task.n_max)
    result = task.run()
    check(case, task, result, expected)
    if task.reading is not None:
        samples.append(task.reading(result))
    start = clock()
    while not samples or (len(samples) < n_max and clock() - start < budget_s):
        del result
        gc.collect()
        before = clock()
        result = task.run()
        elapsed_s = clock() - before
        if task.reading is not None:
            samples.append(task.reading(result))
        else:
            samples.append(elapsed_s * TIME_UNITS[case.unit.split("/")[0]] / case.per)
    check(case, task, result, expected)
    return compute_measurement(samples)


def check(case: BenchCase, task: Task[Any], result: Any, expected: object) -> None:
    """Raises WrongAnswer unless the result is the expected one."""
    if task.answer(result) != expected:
        raise WrongAnswer(f"{case.id}: wrong answer, so no time")
