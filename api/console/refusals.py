"""Every error that the project raises on purpose, as a refusal: the reason, never a traceback.

Messages are the public ones: what an error knows about private numbers stays in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from api.console.output import refuse, refuse_system
from federated.errors import FederatedError
from kernels.backend import Backend, get_backend
from kernels.errors import BackendUnavailable, DeviceError, SettingInvalid
from prover.errors import ProverError


@contextmanager
def refusing(*, as_json: bool) -> Iterator[None]:
    """Ends the command with exit code 1 and the reason for any error of ours, or of the files."""
    try:
        yield
    except ProverError as error:
        refuse(error.public_message, code=error.code, as_json=as_json)
    except FederatedError as error:
        reason = "the model cannot be quantized" if error.carries_private_values else str(error)
        refuse(reason, code=error.code, as_json=as_json)
    except BackendUnavailable as error:
        refuse(str(error), code="backend_unavailable", as_json=as_json)
    except DeviceError as error:
        refuse(f"{error}; take --backend cpu", code=error.code, as_json=as_json)
    except (OSError, MemoryError) as error:
        refuse_system(error, as_json=as_json)


def load_backend(name: str) -> Backend:
    """The device of that name; a usage error when there is none of it, else as `get_backend`."""
    with naming_device():
        return get_backend(name)


@contextmanager
def naming_device() -> Iterator[None]:
    """A usage error for a device that cannot be meant, about what was set: option or variable."""
    import typer

    try:
        yield
    except SettingInvalid as error:
        raise typer.BadParameter(str(error), param_hint="environment") from error
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--backend") from error
