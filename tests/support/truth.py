"""Whether committed wires tell the truth, by the definition alone; random cases to ask about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

import numpy as np

from kernels.bn254 import R
from prover.circuit.accuracy import compile_accuracy
from prover.model.network import Architecture, QuantizedModel
from tests.support.assignments import Assignment, Tensor, draw_scalars
from tests.support.definition import run
from tests.support.forgeries import Scene
from tests.support.random_nets import draw_net

COUNT = "correctness/count"


def draw_case(rng: Random) -> Scene:
    """A network, samples, labels that are mostly right, and a model in its ranges on them."""
    while True:
        architecture = draw_net(rng, most=40, shifts=(2, 5, 9, 10, 13))
        n = rng.choice([1, 2, 3, 5])
        shape = (rng.randint(max(1, n - 2), n), *architecture.input_shape)
        images = np.frombuffer(rng.randbytes(int(np.prod(shape))), dtype=np.uint8).reshape(shape)
        if rng.random() < 0.2:
            images = np.full(shape, 255, dtype=np.uint8)
        for most in (127, 40, 10, 3, 1):
            model = _draw_model(architecture, most, rng)
            x = _pad(images, n)
            steps = run(architecture, x, _integers(model.weights), _integers(model.biases))
            if _fits(architecture, steps):
                logits = steps[-1]["z"][: len(images)]
                labels = logits.argmax(axis=1).astype(np.uint8)
                wrong = rng.randrange(len(labels))
                labels[wrong] = rng.randrange(architecture.n_classes)
                accuracy = compile_accuracy(architecture, n)
                challenges = tuple(draw_scalars(rng, accuracy.n_challenges))
                return Scene(
                    accuracy=accuracy,
                    model=model,
                    images=images,
                    labels=labels,
                    challenges=challenges,
                )


def compute_wires(
    scene: Scene, weights: Sequence[Tensor], biases: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Parameters, and the committed wires that follow from them up to the logits."""
    accuracy = scene.accuracy
    steps = run(accuracy.architecture, _pad(scene.images, accuracy.n_samples), weights, biases)
    found: dict[str, Tensor] = {}
    for index, step in enumerate(steps):
        named = {f"layer {index}/activation/{name}": step.get(name) for name in ("q", "rem", "y")}
        named |= {
            f"layer {index}/weights": weights[index],
            f"layer {index}/biases": biases[index],
            f"layer {index}/max/q": step.get("q"),
            f"layer {index}/max/y": step["z"],
            f"layer {index}/logits": step["z"],
        }
        wires = accuracy.circuit.wire_blocks
        found |= {k: v for k, v in named.items() if k in wires and v is not None}
    return found


def list_correct(scene: Scene, logits: Tensor) -> list[int]:
    """Samples whose label has a greater logit than every other class."""
    return [
        n
        for n, label in enumerate(scene.labels.tolist())
        if all(v < logits[n, label] for c, v in enumerate(logits[n]) if c != label)
    ]


def is_true(scene: Scene, forged: Assignment, claimed: int) -> bool:
    """Whether the committed wires are those of some model in its ranges, and count what is right.

    Quotients below a maximum that are fractions, which harm nobody, are not true here.
    """
    values = {label: _centre(tensor) for label, tensor in forged.values.items()}
    arch, none = scene.accuracy.architecture, np.zeros(0, dtype=object)
    indices = range(len(arch.layers))
    weights = [values.get(f"layer {i}/weights", none) for i in indices]
    biases = [values.get(f"layer {i}/biases", none) for i in indices]
    if any(abs(w) > 127 for t in weights for w in t.reshape(-1)):
        return False
    if any(not -(1 << 23) <= b < 1 << 23 for t in biases for b in t.reshape(-1)):
        return False
    expected = compute_wires(scene, weights, biases)
    if any(not np.array_equal(values[label], tensor) for label, tensor in expected.items()):
        return False
    return _counts_truly(scene, values, claimed) and _is_filled(forged)


def _counts_truly(scene: Scene, values: Mapping[str, Tensor], claimed: int) -> bool:
    choices, last = scene.accuracy.choices, len(scene.accuracy.architecture.layers) - 1
    logits, hit, level = (
        values[k] for k in (f"layer {last}/logits", f"{COUNT}/hit", f"{COUNT}/level")
    )
    labels = [label + 1 for label in scene.labels.tolist()]
    labels += [0] * (scene.accuracy.n_samples - len(labels))
    if values[f"{COUNT}/label"].tolist() != labels or hit.sum() != claimed:
        return False
    for label, bits, own, height in zip(labels, hit, logits, level, strict=True):
        if any(bit not in (0, 1) or (bit and c + 1 != label) for c, bit in enumerate(bits)):
            return False
        for bit, logit in zip(bits, own, strict=True):
            if (
                not 0
                <= height - logit - 1 + (bit << choices.margin_bits)
                < 1 << choices.margin_bits
            ):
                return False
        if not -(1 << (choices.level_bits - 1)) <= height < 1 << (choices.level_bits - 1):
            return False
    return True


def _is_filled(forged: Assignment) -> bool:
    """Limbs and multiplicities are those of the other wires."""
    again = forged.copy()
    again.fill()
    hints = [hint.block.label for hint in forged.circuit.hints]
    return all(np.array_equal(_centre(forged[k]), again[k]) for k in hints)


def _fits(architecture: Architecture, steps: Sequence[Mapping[str, Tensor]]) -> bool:
    """Quotients are in their tables, and logits within the margin."""
    for layer, step in zip(architecture.layers, steps, strict=True):
        if layer.requant is not None:
            least, greatest = layer.requant.q_range
            if not least <= step["q"].min() <= step["q"].max() <= greatest:
                return False
    logits = steps[-1]["z"]
    spread = logits.max(axis=1) - logits.min(axis=1)
    return int(spread.max()) < 1 << architecture.margin_bits


def _draw_model(architecture: Architecture, most: int, rng: Random) -> QuantizedModel:
    """Uniform, or all as great as they may be."""
    source = np.random.default_rng(rng.randrange(1 << 32))
    extreme = rng.random() < 0.2
    return QuantizedModel(
        architecture=architecture,
        weights=tuple(
            np.full(s, most, dtype=np.int8)
            if extreme
            else source.integers(-most, most + 1, s).astype(np.int8)
            for s in architecture.weight_shapes
        ),
        biases=tuple(
            source.integers(-100 * most, 100 * most + 1, s).astype(np.int32)
            for s in architecture.bias_shapes
        ),
    )


def _integers(tensors: Sequence[np.ndarray]) -> list[Tensor]:
    return [t.astype(object) for t in tensors]


def _pad(images: np.ndarray, n: int) -> Tensor:
    """Samples of zeros behind them, n in all."""
    x = np.zeros((n, *images.shape[1:]), dtype=object)
    x[: len(images)] = images.astype(object)
    return x


def _centre(tensor: Tensor) -> Tensor:
    """The integers of least absolute value that are the same mod r."""
    found: Tensor = (tensor + R // 2) % R - R // 2
    return found
