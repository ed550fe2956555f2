"""Makes ONNX files of a Keras network with tf2onnx: channels come last, batches are dynamic.

    python tests/support/onnx_tensorflow.py FOLDER

Needs tensorflow-cpu and tf2onnx, best in an environment of their own. By `from_function`:
`from_keras` of tf2onnx 1.17 fails on Keras 3 (KeyError: keras_tensor_6).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf2onnx

OPSETS = (13, 18)
SHAPE = (12, 12, 1)
N_SAMPLES = 32


def make_network() -> tf.keras.Model:
    """Two convolutions, two pools, two dense layers; biases that are not zero."""
    layers = tf.keras.layers
    network = tf.keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.MaxPool2D(2),
            layers.Conv2D(6, 3, activation="relu"),
            layers.MaxPool2D(2),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10),
        ]
    )
    for layer in network.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, np.linspace(-0.1, 0.1, len(bias), dtype=np.float32)])
    return network


def main(arguments: list[str]) -> None:
    """Writes tensorflow-OPSET.onnx and tensorflow-OPSET.npz (x, y: what Keras answers)."""
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    tf.keras.utils.set_random_seed(1)
    network, folder = make_network(), Path(arguments[0])

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32, name="image")])
    def call(x: tf.Tensor) -> tf.Tensor:
        return network(x)

    x = np.random.default_rng(1).integers(0, 256, (N_SAMPLES, *SHAPE)).astype(np.float32) / 255
    for opset in OPSETS:
        name = f"tensorflow-{opset}"
        tf2onnx.convert.from_function(
            call, input_signature=call.input_signature, opset=opset, output_path=folder / name
        )
        (folder / name).rename(folder / f"{name}.onnx")
        np.savez_compressed(folder / f"{name}.npz", x=x, y=network(x).numpy())


if __name__ == "__main__":
    main(sys.argv[1:])
