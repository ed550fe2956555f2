"""The `zkpot` program.

A command group is a module of `api.commands` with `register(app: typer.Typer) -> None`, listed
here. Such a module imports only typer and `api.console.output` at its top; what a command needs is
imported when the command runs, so that `zkpot --help` is quick. A command that has a module of its
name does not wait for the others to be built.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from api.console.output import Command
from api.process.leaving import leaving_at_once
from api.process.scratch import ensure_scratch
from api.process.streams import outlast_errors

COMMANDS = (
    "info",
    "demo",
    "walk",
    "selftest",
    "bench",
    "data",
    "train",
    "importing",
    "setup",
    "commit",
    "prove",
    "verify",
    "inspect",
    "groth16",
    "serve",
    "worker",
    "queue",
    "node",
    "chain",
    "client",
)
"""Modules of `api.commands`, in the order of the help."""


def build_app(modules: Sequence[str] = COMMANDS) -> typer.Typer:
    """The program with the command groups of these modules registered."""
    app = typer.Typer(
        name="zkpot",
        help="Zero-knowledge proof of training: a private model's accuracy in one short proof.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,  # a traceback with local variables would show secrets
    )
    app.callback()(lambda: None)  # or a single command would be the whole program
    for name in modules:
        import_module(f"api.commands.{name}").register(app)
    _guard(app)
    return app


def choose_modules(arguments: Sequence[str]) -> Sequence[str]:
    """The module that the arguments ask for, where one has the command's name; else all."""
    named = [name for name in arguments[:1] if name in COMMANDS]
    if named and arguments[0] in _list_names(build_app(named)):
        return named
    return COMMANDS


def _list_names(app: typer.Typer) -> list[str]:
    """Of the commands and groups right below the program."""
    commands = [
        c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands
    ]
    return commands + [group.name for group in app.registered_groups if isinstance(group.name, str)]


def _guard(app: typer.Typer) -> None:
    """Lets every command, however deep, end in a named error and not in a traceback."""
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        assert group.typer_instance is not None
        _guard(group.typer_instance)


def main() -> None:
    """Entry point of the console command."""
    outlast_errors()
    ensure_scratch()
    with leaving_at_once():
        build_app(choose_modules(sys.argv[1:]))()
