"""`zkpot` as a test calls it."""

from __future__ import annotations

import json
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from api.cli import build_app


def make_runner() -> CliRunner:
    """Wide and without colours, wherever the tests run."""
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def run(*arguments: object) -> Result:
    return make_runner().invoke(build_app(), [str(a) for a in arguments])


def succeed(*arguments: object) -> dict[str, Any]:
    """The JSON of a command that ends well."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refuse(code: str, *arguments: object) -> str:
    """The reason that a command gives as JSON, which ends with exit code 1 and this code."""
    result = run(*arguments, "--json")
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    assert found["refused"] == code, found
    assert "Traceback" not in result.output
    return str(found["reason"])


def misuse(words: str, *arguments: object) -> None:
    """A usage error with these words, however they are broken into lines."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.output.replace("│", " ").split())
