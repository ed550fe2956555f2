"""The type of the real snarkjs, which tests/interop drives."""

from __future__ import annotations

from collections.abc import Callable

SnarkJs = Callable[..., bool]
"""snarkjs(*arguments): whether it exits with 0."""
