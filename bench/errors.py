"""Everything `bench` raises on purpose.

BenchError, a `kernels.errors.ZkpotError`
├── WrongAnswer  the work was done, and its result is wrong
└── Unavailable  a case or a peer cannot run here
"""

from __future__ import annotations

from kernels.errors import ZkpotError


class BenchError(ZkpotError):
    """Root of the tree."""

    code = "bench_error"


class WrongAnswer(BenchError):
    """The work was done and its result is not the expected one: there is no time to report."""

    code = "wrong_answer"


class Unavailable(BenchError):
    """A case or a peer cannot run here; the message says what is missing."""

    code = "case_unavailable"
