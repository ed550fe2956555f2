"""Every error that the project raises on purpose, as a refusal: the reason, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api.console.output import refuse_error
from api.errors import describe
from kernels.errors import SettingInvalid, ZkpotError

if TYPE_CHECKING:
    from kernels.backend import Backend


@contextmanager
def refusing(*, code: str | None = None, as_json: bool) -> Iterator[None]:
    """Ends the command with exit code 1 and the reason for any error of ours, or of the system.

    code : in place of the code of an error of ours
    """
    try:
        yield
    except (ZkpotError, OSError, MemoryError) as error:
        refuse_error(error, code=code, as_json=as_json)


@contextmanager
def meaning(hint: str, *kinds: type[Exception]) -> Iterator[None]:
    """A usage error about this option, argument or variable in place of errors of these kinds."""
    import typer

    try:
        yield
    except kinds as error:
        raise typer.BadParameter(describe(error).text, param_hint=hint) from error


def load_backend(name: str) -> Backend:
    """The device of that name; a usage error when there is none of it, else as `get_backend`."""
    from kernels.backend import get_backend

    with naming_device():
        return get_backend(name)


@contextmanager
def naming_device() -> Iterator[None]:
    """A usage error for a device that cannot be meant, about what was set: option or variable."""
    import typer

    try:
        with meaning("environment", SettingInvalid):
            yield
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--backend") from error
