"""The program builds one command's module alone, and it is the same command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from typer.main import get_command

from api.cli import COMMANDS, build_app, choose_modules


def describe(modules: Sequence[str], name: str) -> Any:
    """Help, parameters and, of a group, subcommands."""
    found = get_command(build_app(modules)).commands[name]  # type: ignore[attr-defined]
    parameters = [(p.name, p.opts, p.required) for p in found.params]
    return found.help, parameters, sorted(getattr(found, "commands", {}))


@pytest.mark.parametrize("name", ["groth16", "prove", "info", "chain"])
def test_a_command_is_built_alone(name: str) -> None:
    modules = choose_modules([name, "--help"])
    assert modules == [name]
    assert describe(modules, name) == describe(COMMANDS, name)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["importing"], ["nothing"]])
def test_all_are_built_else(arguments: list[str]) -> None:
    assert choose_modules(arguments) == COMMANDS
