"""Networks by their names with drawn weights, for figures that depend on shapes alone.

Weights are drawn so that activations fill their range; a label is what the network says, but for
every fourth sample. Nobody could do more with trained weights: witnesses of both are as wide.

`python -m bench.nets.drawn setup|prove NAME N FOLDER` does it in a process of its own, keys in the
folder, and prints one JSON object:

    setup   {answers, compile_s, setup_s, n_rows, n_parameters, key_bytes, peak_mib}
    prove   {answers, prove_s: of each proof, verify_ms, proof_bytes, load_s, peak_mib}
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from bench.isolated import MIB, read_status_bytes
from bench.proving import KEYS, AccuracyBench, decode
from kernels.backend import Backend, get_backend
from kernels.numpy_types import Float64Array, Int8Array, Int64Array, UInt8Array
from prover.keys.folder import save_key
from prover.model.layers import WEIGHT_MAX, Layer, Range, Requant, Shape
from prover.model.network import Architecture, QuantizedModel
from prover.model.presets import parse_architecture

SEED = 784
SPREAD = 60.0  # of a quotient before it is clamped to [0, 255]
LOGIT_SPREAD = 40.0  # of the last layer's weights
N_DRAWN = 16  # samples that weights are scaled by
MARGIN = 0.8  # of the table of quotients that the worst samples may reach
# By the default rescaling the signal of a narrow, deep network would die out, and that of one with
# thousands of terms a sum, whose worst samples are far from any that it sees.
REQUANTS = {"resnet20": Requant(shift=8), "vgg11": Requant(q_bits=15)}
MISTAKES = 4  # one label in so many is wrong
WARM_UP = "mlp-4-3-2"
N_PROOFS = 3
N_VERIFICATIONS = 15


def draw_model(architecture: Architecture, seed: int = SEED) -> QuantizedModel:
    """Weights and biases for the architecture, the same for the same seed."""
    rng = np.random.default_rng(seed)
    values: list[Int64Array] = [draw_images(architecture.input_shape, N_DRAWN).astype(np.int64)]
    weights, biases = [], []
    shapes = zip(
        architecture.layers, architecture.weight_shapes, architecture.bias_shapes, strict=True
    )
    for layer, weight_shape, bias_shape in shapes:
        taken = [values[value] for value in layer.inputs]
        x_range = architecture.value_ranges[layer.inputs[0]]
        drawn = rng.standard_normal(weight_shape)
        w = _round_weights(drawn * _choose_spread(layer, weight_shape, taken[0], x_range))
        b = np.zeros(bias_shape, dtype=np.int32)
        z = layer.accumulate(taken, w, b)
        values.append(z if layer.requant is None else layer.requant.apply(z).y)
        weights.append(w)
        biases.append(b)
    return QuantizedModel(architecture=architecture, weights=tuple(weights), biases=tuple(biases))


def _choose_spread(layer: Layer, shape: Shape, x: Int64Array, x_range: Range) -> float:
    """Of the weights of a layer, so that its quotients spread by SPREAD, or by as much as lets no
    quotient of any samples leave its table."""
    if len(shape) < 2:
        return 0.0
    if layer.requant is None:
        return LOGIT_SPREAD
    size = float(np.sqrt((x.astype(np.float64) ** 2).mean())) or 1.0
    step = (1 << layer.requant.shift) / max(layer.requant.multipliers)
    n_terms, (low, high) = float(np.prod(shape[1:])), x_range
    # Normal weights have a mean size of 0.8; where x >= 0 the worst samples take those of one sign.
    worst = n_terms * max(-low, high) * (0.8 if low < 0 else 0.4)
    most = MARGIN * layer.requant.q_range[1] * step / worst
    return min(SPREAD * step / (size * float(np.sqrt(n_terms))), most)


def _round_weights(w: Float64Array) -> Int8Array:
    return np.clip(np.round(w), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)


def draw_images(shape: Shape, n: int) -> UInt8Array:
    """uint8[n, *shape], the same ones in the same order for every n."""
    rng = np.random.default_rng(SEED)
    return rng.integers(0, 256, (n, *shape), dtype=np.uint8)


class NetworkBench(AccuracyBench):
    """A network of this name with drawn weights, on drawn samples, one circuit of `n_samples`."""

    def __init__(
        self,
        name: str,
        n_samples: int,
        keys: Path = KEYS,
        *,
        make_backend: Callable[[], Backend] = get_backend,
    ) -> None:
        super().__init__(n_samples, keys, make_backend=make_backend)
        self.name = name

    @cached_property
    def model(self) -> QuantizedModel:
        requant = REQUANTS.get(self.name, Requant())
        return draw_model(parse_architecture(self.name, requant=requant))

    def samples(self, n: int) -> tuple[UInt8Array, UInt8Array]:
        """n samples; the network is right about all but every fourth, the first among the right."""
        images = draw_images(self.model.architecture.input_shape, n)
        labels = self.model.logits(images).argmax(axis=1).astype(np.uint8)
        labels[MISTAKES - 1 :: MISTAKES] ^= 1
        return images, labels


def measure_setup(bench: NetworkBench) -> dict[str, Any]:
    """Compiles, makes a key and saves it; the answer is that the key on disk is the circuit's.

    A small key is made before, so that kernels are compiled and loaded.
    """
    NetworkBench(WARM_UP, 2, make_backend=lambda: bench.backend).make_key()
    start = perf_counter()
    circuit = bench.circuit
    compiled = perf_counter()
    key = bench.make_key()
    made = perf_counter()
    save_key(key, bench.key_folder, bench.card)
    return {
        "answers": [bench.load_key().verifying.circuit_digest == circuit.digest],
        "compile_s": compiled - start,
        "setup_s": made - compiled,
        "n_rows": circuit.r1cs.n_rows,
        "n_parameters": bench.model.architecture.n_parameters,
        "key_bytes": sum(path.stat().st_size for path in bench.key_folder.iterdir()),
        "peak_mib": read_status_bytes("VmHWM") / MIB,
    }


def measure_proofs(bench: NetworkBench) -> dict[str, Any]:
    """N_PROOFS proofs after a first one, and verifications of the last; `answers` as PROVEN."""
    images, labels = bench.samples(bench.n_samples)
    inputs = bench.inputs(images, labels)
    start = perf_counter()
    assert bench.key.verifying.circuit_digest == bench.circuit.digest
    load_s = perf_counter() - start
    assert len(bench.commitment.d) == 1, "made here, so that no proof pays for it"
    envelope = bench.prove(images, labels).envelope
    prove_s = []
    for _ in range(N_PROOFS):
        start = perf_counter()
        envelope = bench.prove(images, labels).envelope
        prove_s.append(perf_counter() - start)
    peak_mib = read_status_bytes("VmHWM") / MIB
    answers = bench.judge(envelope, inputs)
    verify_ms = []
    for _ in range(N_VERIFICATIONS):
        start = perf_counter()
        bench.verify(envelope, inputs)
        verify_ms.append(1e3 * (perf_counter() - start))
    return {
        "answers": answers,
        "prove_s": prove_s,
        "verify_ms": median(verify_ms),
        "proof_bytes": len(decode(envelope).proof),
        "load_s": load_s,
        "peak_mib": peak_mib,
    }


STEPS: dict[str, Callable[[NetworkBench], dict[str, Any]]] = {
    "setup": measure_setup,
    "prove": measure_proofs,
}


def main(arguments: list[str]) -> None:
    """Entry of the child process."""
    if len(arguments) != 4 or arguments[0] not in STEPS:
        raise SystemExit("usage: python -m bench.nets.drawn setup|prove NAME N FOLDER")
    step, name, n, folder = arguments
    print(json.dumps(STEPS[step](NetworkBench(name, int(n), Path(folder)))))


if __name__ == "__main__":
    main(sys.argv[1:])
