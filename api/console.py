"""What every command shares: tables for people, JSON for machines, exit codes that tell.

0  done, or valid
1  refused, with the reason
2  wrong usage (typer's own code)
"""

from __future__ import annotations

import json
from typing import Annotated, Any, NoReturn

import typer

REFUSED = 1

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]


def emit_json(value: dict[str, Any]) -> None:
    """Prints one JSON object on standard output."""
    typer.echo(json.dumps(value, indent=1))


def refuse(reason: str, *, code: str, as_json: bool = False) -> NoReturn:
    """Ends the command with exit code 1 and the reason.

    The reason goes to standard error, or as {"refused": code, "reason": ...} to standard output.
    """
    if as_json:
        emit_json({"refused": code, "reason": reason})
    else:
        typer.echo(f"refused ({code}): {reason}", err=True)
    raise typer.Exit(REFUSED)
