"""The numbers that come with models: a client's word, of which a mean has to come about anyhow.

Flower's strategies end a run when records of two replies have other names, or their metrics other
names or lengths. So what they are given is alike, whatever one client sends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

MAX_WEIGHT = 1 << 53
"""Of a model in the mean: any count of samples is less, and no sum of such is infinite."""

Names = tuple[str, str]
"""Of a reply's arrays, and of its metrics."""


def is_weight(value: object) -> bool:
    """Whether a mean can have this weight: one number above 0, and not beyond `MAX_WEIGHT`."""
    return isinstance(value, int | float) and 0 < value <= MAX_WEIGHT


def choose_names(found: Sequence[Names]) -> Names:
    """Those that most replies have, of at least one; the first of several."""
    ((names, _),) = Counter(found).most_common(1)
    return names


def find_common(found: Sequence[Mapping[str, Any]]) -> set[str]:
    """The metrics that all replies have, of at least one: a number each, or lists of one length."""
    layouts = [{(name, _measure(value)) for name, value in one.items()} for one in found]
    return {name for name, _ in set.intersection(*layouts)}


def _measure(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None
