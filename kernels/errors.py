"""What this program raises on purpose: the root of all trees, and the tree of `kernels`.

ZkpotError
├── KernelError
│   ├── BackendUnavailable  the device that was asked for cannot run here
│   ├── SettingInvalid      a variable of the environment cannot be meant
│   ├── ShapeError          an array is not what its type demands
│   └── DeviceError         the device failed
│       └── DoesNotFit      the work needs more memory than the device grants
├── ProverError             `prover.errors`
├── ConsensusError          `consensus.errors`
├── FederatedError          `federated.errors`
├── BenchError              `bench.errors`
├── IntegrationError        `integrations.errors`
└── ApiError                `api.errors`, which alone says what is told of each, and to whom

An error carries a stable `code` for machines, and a sentence for people that says what is wrong
where, and ends in what to do next. It never carries secrets: no witness value, no weight, no
blinding. Those that do say so by `carries_private_values`: then only `public_message` may be told.
"""

from __future__ import annotations

from typing import ClassVar


class ZkpotError(Exception):
    """Root of the trees: `except ZkpotError` catches everything this program raises on purpose."""

    code = "error"
    carries_private_values: ClassVar[bool] = False

    @property
    def public_message(self) -> str:
        """What may leave the owner's machine."""
        return str(self)


class KernelError(ZkpotError):
    """Root of the tree of `kernels`."""

    code = "kernel_error"


class BackendUnavailable(KernelError, RuntimeError):
    """The named backend cannot run here; the message says what is missing."""

    code = "backend_unavailable"


class SettingInvalid(KernelError, ValueError):
    """A variable of the environment that a backend reads cannot be meant; names it."""

    code = "setting_invalid"


class ShapeError(KernelError, ValueError):
    """An array has another dtype or shape than its type demands."""

    code = "wrong_shape"


class DeviceError(KernelError, RuntimeError):
    """The device failed: a launch, a copy, its memory or its compiler. Never carries values."""

    code = "device_error"


class DoesNotFit(DeviceError):
    """The work needs more memory than the device grants."""

    code = "does_not_fit"

    def __init__(self, *, what: str, needed: int, granted: int) -> None:
        self.needed, self.granted = needed, granted
        super().__init__(f"{what} needs {needed} bytes on the device, which grants {granted}")
