"""Everything `prover` raises on purpose.

ProverError
└── FormatError   bytes of a file are not what the format demands

An error carries a stable `code` for machines, and a sentence for people that ends in what to do
next. It never carries secrets: no witness value, no weight, no blinding.
"""

from __future__ import annotations


class ProverError(Exception):
    """Root of the tree: `except ProverError` catches everything `prover` raises on purpose."""

    code = "prover_error"


class FormatError(ProverError):
    """The bytes of `where` are not what its format demands.

    what      : what is wrong, with sizes, counts and names but no private value
    where     : file, and the section or field in it
    next_step : what the reader of the message can do about it
    """

    code = "bad_format"

    def __init__(self, what: str, *, where: str, next_step: str) -> None:
        self.what, self.where, self.next_step = what, where, next_step
        super().__init__(f"{where}: {what}; {next_step}")
