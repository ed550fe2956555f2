"""`Active`: a device made the thread's own, once for all that happens inside."""

from __future__ import annotations

from contextlib import ExitStack
from threading import local
from types import TracebackType
from typing import Protocol

from kernels.cuda.launch.faults import explain
from kernels.errors import DeviceError


class Owner(Protocol):
    """What is made the thread's own."""

    @property
    def faults(self) -> tuple[type[BaseException], ...]:
        """Errors of the package at work."""
        ...

    def enter(self, stack: ExitStack) -> None:
        """Make it so until the stack is closed."""
        ...


class _Innermost(local):
    """Whom the thread entered last."""

    owner: Owner | None = None


_innermost = _Innermost()


class Active:
    """Entered where its owner is the thread's already, it does no more than say faults as
    DeviceError: a proof enters thousands of times."""

    __slots__ = ("_before", "_owner", "_stack")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._before: Owner | None = None
        self._stack: ExitStack | None = None

    def __enter__(self) -> None:
        self._before = _innermost.owner
        if self._before is self._owner:
            return
        with ExitStack() as stack:
            try:
                self._owner.enter(stack)
            except self._owner.faults as error:
                raise as_device_error(error) from error
            self._stack = stack.pop_all()
        _innermost.owner = self._owner

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._stack is not None:
            _innermost.owner = self._before
            self._stack.close()
        if isinstance(error, self._owner.faults):
            raise as_device_error(error) from error


def as_device_error(error: BaseException) -> DeviceError:
    """A fault of cupy, with what it says: of code or of the driver."""
    return explain("cupy", error, versions=("cupy-cuda13x", "numpy"), telling=True)
