"""Where a proof counts, as options: chain, task, round, commit height and client.

`prove` writes these fields into the statement; `verify` compares them with what it is told to
expect, so that a proof replayed from another chain, task, round or client is refused.
"""

from __future__ import annotations

from typing import Any

import typer

from prover.wire.statement import Occasion
from prover.wire.wording import get_label

_OPTIONS = dict(
    zip(Occasion.KINDS, ("--chain", "--task", "--round", "--height", "--client"), strict=True)
)


def parse_occasion(
    *,
    chain: str | None,
    task: str | None,
    round_index: int | None,
    height: int | None,
    client: str | None,
) -> dict[str, Any]:
    """Fields of an occasion by name, without those that are None; usage errors for the rest.

    chain, task : text of 1 to 64 bytes as UTF-8; client : 1 to 64 bytes in hexadecimal
    """
    found: dict[str, Any] = {"round_index": round_index, "commit_height": height}
    for name, text in (("chain_id", chain), ("task_id", task)):
        found[name] = None if text is None else text.encode("utf-8", "surrogateescape")
    try:
        found["client_key"] = None if client is None else bytes.fromhex(client)
    except ValueError:
        raise _wrong("client_key", "is not hexadecimal") from None
    given = {name: value for name, value in found.items() if value is not None}
    for name, value in given.items():
        fault = Occasion.KINDS[name].find_fault(value)
        if fault is not None:
            raise _wrong(name, fault)
    return given


def _wrong(name: str, what: str) -> typer.BadParameter:
    return typer.BadParameter(f"{get_label(name)} {what}", param_hint=_OPTIONS[name])
