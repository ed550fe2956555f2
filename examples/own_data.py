"""Own arrays to a proof that anyone verifies: a quantized model by library, the rest by `zkpot`.

    python examples/own_data.py [FOLDER]

`images` and `labels` may be any arrays uint8[n, 784] and uint8[n] of yours: they stay with you. The
network is trained here in a few lines of NumPy; take whatever you have, float weights are all that
is asked. The proof is about samples in public, which both sides must have.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from federated.data import DatasetRef, load_samples
from federated.float_model import FloatModel
from federated.quantize import quantize
from federated.settings import Settings
from kernels.files import PRIVATE, write_whole
from kernels.numpy_types import UInt8Array
from prover.model.network import Architecture
from prover.model.zkq import encode_model

PROGRAM = (sys.executable, "-c", "from api.cli import main; main()")  # `zkpot`, wherever it lies
PUBLIC = "mnist:test[0:64]"
N_CLASSES, STEPS, RATE = 10, 60, 0.5


def train(images: UInt8Array, labels: UInt8Array) -> FloatModel:
    """Softmax regression by gradient descent; hidden layers with ReLU would do as well."""
    mean, std = 0.1307, 0.3081  # of pixel / 255: the model says how it sees a sample
    x = (images / 255.0 - mean) / std
    wanted = np.eye(N_CLASSES)[labels]
    weight, bias = np.zeros((N_CLASSES, x.shape[1])), np.zeros(N_CLASSES)
    for _ in range(STEPS):
        logits = x @ weight.T + bias
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = (chances / chances.sum(axis=1, keepdims=True) - wanted) / len(x)
        weight -= RATE * error.T @ x / 10
        bias -= RATE * error.sum(axis=0) / 10
    return FloatModel(
        architecture=Architecture.mlp((x.shape[1], N_CLASSES)),
        weights=(weight.astype(np.float32),),
        biases=(bias.astype(np.float32),),
        mean=mean,
        std=std,
        record={},
    )


def zkpot(*arguments: str, folder: Path) -> None:
    """A command as a shell would run it; its refusal ends this program."""
    print("$ zkpot", *arguments, flush=True)
    subprocess.run([*PROGRAM, *arguments], cwd=folder, check=True)


def main(folder: Path) -> None:
    own = load_samples(
        DatasetRef.parse("mnist:train[0:2000]"), Settings.from_environment().data_dir
    )
    model = train(own.images, own.labels)
    integers = quantize(model, own.images, progress=lambda what, done, total: None)
    write_whole(folder / "model.zkq", [encode_model(integers)], mode=PRIVATE)
    print(f"{integers.architecture.name}: {model.accuracy(own.images, own.labels):.1%} of own data")

    zkpot("setup", "model.zkq", "--samples", "64", "--out", "key", folder=folder)
    zkpot("commit", "model.zkq", "--out", "model.commit", folder=folder)
    about = ("--key", "key", "--commitment", "model.commit", "--dataset", PUBLIC)
    zkpot("prove", "model.zkq", *about, "--out", "proof.zkp", folder=folder)
    zkpot("verify", "proof.zkp", *about, folder=folder)  # needs neither model nor blinding


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory(prefix="zkpot-") as name:
            main(Path(name))
