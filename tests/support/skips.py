"""What is not on this machine skips a test, and says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import pytest

from kernels.errors import BackendUnavailable

P = ParamSpec("P")
T = TypeVar("T")


def or_skip(make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A backend, device or compiler; without it the test is skipped for the reason given."""
    try:
        return make(*args, **kwargs)
    except BackendUnavailable as reason:
        pytest.skip(str(reason))
