"""How a task trains: a public description of one step of integer SGD.

A recipe with its architecture defines `prover.training.step.train_step` to the last bit, hence the
circuit that proves it: whoever shares a recipe trains alike.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, ClassVar

from prover.errors import RecipeInvalid
from prover.model.layers import INPUT_RANGE, RELU_RANGE, WEIGHT_MAX, Requant
from prover.model.network import Architecture, canonical_json

RECIPE_DOMAIN = b"zkpot training recipe v1\x00"
FLOAT_BITS = 53
"""Doubles hold integers of so many bits: below, matrices are multiplied by BLAS, exactly."""
MAX_CHANGE_BITS = 48  # of c G: beside it masters are small, so int64 never wraps


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """An architecture and the numbers of its training, all public.

    architecture   : linear layers, hidden ones with ReLU [0, 255] and multiplier 1, the last plain
    batch_size     : B, samples of a step; a batch may have fewer
    master_bits    : u; a master weight M counts in units of 2^-u of a step of the int8 weights
    rate           : c of M' = M - c G; a step is c 2^-u int8 steps long
    bias_input     : beta, the constant that the weight behind a bias is multiplied with
    logit_shift    : s_z; one unit of the softmax's exponent are 16 2^(s_z) units of the logits
    loss_bits      : e; probabilities and errors of the last layer are multiples of 2^-e
    backward_shift : s_b, by which errors are rounded on their way back through a layer
    error_bits     : an error that reaches a hidden layer lies in [-2^(bits-1), 2^(bits-1))
    raises         : RecipeInvalid for another architecture, for numbers out of range, and for a
                     step whose exact numbers could exceed a double or a wire
    """

    LIMITS: ClassVar[dict[str, tuple[int, int]]] = {
        "batch_size": (1, 1024),
        "master_bits": (4, 24),
        "rate": (1, 1 << 16),
        "bias_input": (1, INPUT_RANGE[1]),
        "logit_shift": (1, 20),
        "loss_bits": (2, 12),
        "backward_shift": (1, 16),
        "error_bits": (4, 24),
    }
    architecture: Architecture
    batch_size: int = 64
    master_bits: int = 16
    rate: int = 1
    bias_input: int = 128
    logit_shift: int = 8
    loss_bits: int = 8
    backward_shift: int = 5
    error_bits: int = 16

    def __post_init__(self) -> None:
        for name, (least, most) in self.LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise RecipeInvalid(f"{name} must be an integer from {least} to {most}")
        self._check_layers()
        self._check_products()

    # -- the network ------------------------------------------------------------------------------

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Numbers of a sample, then of what each layer makes."""
        return tuple(prod(shape) for shape in self.architecture.shapes)

    @property
    def n_layers(self) -> int:
        return len(self.widths) - 1

    @cached_property
    def hidden(self) -> tuple[Requant, ...]:
        """Rounding of each hidden layer."""
        layers = self.architecture.layers[:-1]
        return tuple(layer.requant for layer in layers if layer.requant is not None)

    # -- bounds -----------------------------------------------------------------------------------

    @property
    def master_range(self) -> tuple[int, int]:
        """Least and greatest master weight: those whose rounding lies in [-127, 127]."""
        half = 1 << (self.master_bits - 1)
        return -(WEIGHT_MAX << self.master_bits) - half, (WEIGHT_MAX << self.master_bits) + half - 1

    def bound_accumulator(self, layer: int) -> int:
        """Greatest |z| of a layer, whatever weights and samples."""
        return WEIGHT_MAX * (self.widths[layer] * INPUT_RANGE[1] + self.bias_input)

    def bound_error(self, layer: int) -> int:
        """Greatest |delta| of a layer."""
        return 1 << (self.loss_bits if layer == self.n_layers - 1 else self.error_bits - 1)

    def bound_backward(self, layer: int) -> int:
        """Greatest |sum_i delta_i W_ij|: what goes back from a layer, before it is rounded."""
        return self.widths[layer + 1] * self.bound_error(layer) * WEIGHT_MAX

    def bound_change(self, layer: int) -> int:
        """Greatest |c G| of a layer."""
        return self.rate * self.batch_size * INPUT_RANGE[1] * self.bound_error(layer)

    # -- bytes ------------------------------------------------------------------------------------

    @property
    def numbers(self) -> dict[str, int]:
        """All but the architecture: a JSON value."""
        return {name: getattr(self, name) for name in self.LIMITS}

    def to_manifest(self) -> dict[str, Any]:
        """JSON value: integers, strings, lists and objects only."""
        return {"architecture": self.architecture.to_manifest(), "training": self.numbers}

    @classmethod
    def of(cls, architecture: Architecture, numbers: object) -> TrainingRecipe:
        """Inverse of `numbers`. RecipeInvalid for every other value."""
        if not isinstance(numbers, dict) or set(numbers) != set(cls.LIMITS):
            raise RecipeInvalid(f"a recipe has exactly the numbers {sorted(cls.LIMITS)}")
        return cls(architecture=architecture, **numbers)

    @classmethod
    def from_manifest(cls, value: object) -> TrainingRecipe:
        """Inverse of `to_manifest`. RecipeInvalid, ArchitectureInvalid for every other value."""
        if not isinstance(value, dict) or set(value) != {"architecture", "training"}:
            raise RecipeInvalid("a recipe is an object with architecture and training")
        return cls.of(Architecture.from_manifest(value["architecture"]), value["training"])

    def encode(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, ASCII."""
        return canonical_json(self.to_manifest())

    @property
    def digest(self) -> bytes:
        """sha256 over a domain tag and the canonical bytes; 32 bytes."""
        return hashlib.sha256(RECIPE_DOMAIN + self.encode()).digest()

    # -- checks -----------------------------------------------------------------------------------

    def _check_layers(self) -> None:
        if not self.architecture.is_mlp:
            raise RecipeInvalid("training is proven of networks of linear layers, in a chain")
        for index, requant in enumerate(self.hidden):
            if requant.y_range != RELU_RANGE or requant.multiplier != 1:
                raise RecipeInvalid(
                    f"layer {index}: a hidden layer has ReLU to {list(RELU_RANGE)} and multiplier 1"
                )

    def _check_products(self) -> None:
        """All sums of products are integers that doubles, int64 and wires hold without a wrap."""
        fitting = {
            "accumulators": (self.bound_accumulator, FLOAT_BITS),
            "errors on their way back": (self.bound_backward, FLOAT_BITS),
            "change of a weight": (self.bound_change, MAX_CHANGE_BITS),
        }
        for what, (bound, bits) in fitting.items():
            for layer in range(self.n_layers):
                if bound(layer) >= 1 << bits:
                    raise RecipeInvalid(
                        f"layer {layer}: {what} can reach {bound(layer)}, limit {1 << bits}; "
                        "take fewer samples a batch, a smaller rate or fewer error bits"
                    )
