"""Attempts against a chain, judged one by one as every node would judge them, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from consensus.wire.transactions import SentTransaction
from federated.experiments.chains.play import Play
from federated.experiments.kinds import Json

RULES, ENCODING, EQUATIONS = "rules", "encoding", "equations"
STOPS = (RULES, ENCODING, EQUATIONS)
"""What an attempt is refused by: what a statement has to say, before any point is read; bytes that
are no points, or no envelope; or nothing but the equations of the proof."""
_ENCODINGS = ("is malformed", "is not_on_curve", "is wrong_subgroup", "malformed", "are none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A transaction, signed by its client, that must be refused, or accepted where it is honest."""

    kind: str
    is_honest: bool
    transaction: SentTransaction


Second = Callable[[SentTransaction], bool]
"""Another verifier beside the chain's nodes: whether it accepts."""


def judge_all(play: Play, attempts: Iterable[Attempt], *, second: Second | None = None) -> Json:
    """By kind: {honest, tried, accepted, rules, encoding, equations}, in the order of attempts.

    second : also asked; a lie counts as accepted where either accepts it, an honest one where both
             do
    """
    found: dict[str, Counter[str]] = {}
    honest: dict[str, bool] = {}
    for attempt in attempts:
        fault = play.judge([attempt.transaction])
        is_accepted = fault is None
        if second is not None:
            verdicts = (is_accepted, second(attempt.transaction))
            is_accepted = all(verdicts) if attempt.is_honest else any(verdicts)
        count = found.setdefault(attempt.kind, Counter())
        honest[attempt.kind] = attempt.is_honest
        count["tried"] += 1
        count["accepted"] += is_accepted
        if fault is not None:
            count[find_stop(fault)] += 1
    return {
        kind: {"honest": honest[kind], **{n: count[n] for n in ("tried", "accepted", *STOPS)}}
        for kind, count in found.items()
    }


def find_stop(fault: str) -> str:
    """Which of `STOPS` a node's words are of."""
    if fault.endswith("its proof is pairing_failed"):
        return EQUATIONS
    return ENCODING if fault.endswith(_ENCODINGS) else RULES
