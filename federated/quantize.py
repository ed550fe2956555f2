"""Integer quantization: a trained float network becomes a `QuantizedModel`.

Weights are symmetric int8 with one scale per layer (`federated.rounding`), found on calibration
samples (`federated.calibration`). Clients whose integers are to be averaged round with scales that
they share: `federated.task_scales`.
"""

from __future__ import annotations

from federated.calibration import Progress, calibrate, calibrate_model
from federated.float_model import FloatModel
from federated.rounding import round_model
from kernels.numpy_types import UInt8Array
from prover.model.network import Architecture, QuantizedModel


def quantize(
    model: FloatModel,
    images: UInt8Array,
    progress: Progress,
    *,
    architecture: Architecture | None = None,
) -> QuantizedModel:
    """The integer model with scales of its own, inside all ranges of the circuit.

    images       : uint8[N, ...] for calibration; the first 2,048 are used, or fewer. Not the test
                   set.
    architecture : default: as `calibrate_model` says
    progress     : progress("calibrating", layers done, layers)
    raises       : CalibrationFailed, RangeExceeded (owner's eyes only); FloatModelInvalid when
                   the architecture is of another network
    """
    if architecture is None:
        found = calibrate_model(model, images, progress)
        return round_model(model, found.architecture, found.scales)
    scales = calibrate(model, images, progress, architecture=architecture)
    return round_model(model, architecture, scales)
