"""Where a proof counts, as options: chain, task, round, commit height and client.

`prove` writes these fields into the statement; `verify` compares them with what it is told to
expect, so that a proof replayed from another chain, task, round or client is refused.
"""

from __future__ import annotations

from typing import Any

import typer

from prover.wire.statement import Occasion, Statement

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


def find_difference(statement: Statement, expected: dict[str, Any]) -> str | None:
    """In which field a statement is for another occasion than expected, in words; else None."""
    values = statement.list_values()
    for name, wanted in expected.items():
        found = values[name]
        if found != wanted:
            return (
                f"the proof is for {get_label(name)} {show_value(name, found)}, "
                f"not for {show_value(name, wanted)}"
            )
    return None


def describe_occasion(statement: Statement) -> dict[str, Any]:
    """The occasion as the statement says it, in JSON types."""
    return {
        name: value if isinstance(value, int) else show_value(name, value)
        for name, value in statement.occasion.list_values().items()
    }


def get_label(name: str) -> str:
    """A field of the statement in words."""
    return "model commitment" if name == "d_w" else name.replace("_", " ")


def show_value(name: str, value: bytes | int) -> str:
    """A field for a terminal. Names come from strangers: nothing but printable ASCII gets out."""
    if isinstance(value, int):
        return str(value)
    if name not in ("chain_id", "task_id"):
        return value.hex()
    if all(0x20 <= byte < 0x7F for byte in value):
        return value.decode("ascii")
    return f"0x{value.hex()}"


def _wrong(name: str, what: str) -> typer.BadParameter:
    return typer.BadParameter(f"{get_label(name)} {what}", param_hint=_OPTIONS[name])
