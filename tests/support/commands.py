"""`zkpot` as a test calls it."""

from __future__ import annotations

from click.testing import Result
from typer.testing import CliRunner

from api.cli import build_app


def make_runner() -> CliRunner:
    """Wide and without colours, wherever the tests run."""
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def run(*arguments: object) -> Result:
    return make_runner().invoke(build_app(), [str(a) for a in arguments])
