"""What every command shares: tables for people, JSON for machines, exit codes that tell.

0  done, or valid
1  refused, with the reason
2  wrong usage (typer's own code)
3  and more: of a command that says so
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

REFUSED = 1

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]


def emit_json(value: dict[str, Any]) -> None:
    """Prints one JSON object on standard output."""
    typer.echo(json.dumps(value, indent=1))


def refuse(reason: str, *, code: str, as_json: bool = False, status: int = REFUSED) -> NoReturn:
    """Ends the command with exit code 1, or another, and the reason.

    The reason goes to standard error, or as {"refused": code, "reason": ...} to standard output.
    """
    if as_json:
        emit_json({"refused": code, "reason": reason})
    else:
        typer.echo(f"refused ({code}): {reason}", err=True)
    raise typer.Exit(status)


def refuse_error(
    error: BaseException, *, code: str | None = None, as_json: bool = False
) -> NoReturn:
    """Ends the command as `refuse` does, with what this machine's user may know of the error.

    code : in place of the error's own
    """
    from api.errors import describe

    told = describe(error)
    if not isinstance(error, OSError | MemoryError):
        refuse(told.text, code=code or told.code, as_json=as_json)
    if as_json and _can_print():
        with suppress(OSError):  # standard output is what failed
            refuse(told.text, code=told.code, as_json=True)
    _can_print()
    refuse(told.text, code=told.code)


class Command(TyperCommand):
    """A command that ends in a named error where the system has no room, right or memory for it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader has gone: typer ends the command in silence
        except (OSError, MemoryError) as error:
            refuse_error(error, as_json=bool(ctx.params.get("as_json")))


def _can_print() -> bool:
    """Whether standard output takes what is printed; else nothing more goes there."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):  # or Python would fail once more when it ends
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        return False
    return True
