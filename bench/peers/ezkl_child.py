"""Runs under the interpreter that has `ezkl` and `onnx`, apart from the project's own packages.

    python ezkl_child.py setup FOLDER    network.npz, input.json -> keys and witness
    python ezkl_child.py prove FOLDER    one proof; prints {seconds, valid, forged, correct}

network.npz : w0, b0, w1, b1 (float32): relu(x w0^T + b0) w1^T + b1; labels, one per sample
Weights are private, inputs and logits public: the visibility nearest to a committed model's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

SCALE = 13
OPSET = 13


def export(folder: Path) -> None:
    """network.onnx: two fully connected layers, written node by node."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    network = np.load(folder / "network.npz")
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["y"]),
        helper.make_node("Gemm", ["y", "w1", "b1"], ["z"], transB=1),
    ]
    n_in, n_out, batch = network["w0"].shape[1], network["w1"].shape[0], len(network["labels"])
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, n_in])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [batch, n_out])],
        [numpy_helper.from_array(network[name], name) for name in ("w0", "b0", "w1", "b1")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8
    onnx.save(model, folder / "network.onnx")


def setup(folder: Path) -> None:
    """Settings, circuit, a local SRS, keys and the witness of input.json."""
    import ezkl

    network, settings = str(folder / "network.onnx"), str(folder / "settings.json")
    data, circuit = str(folder / "input.json"), str(folder / "circuit.ezkl")
    arguments = ezkl.PyRunArgs()
    arguments.input_visibility = "public"
    arguments.param_visibility = "private"
    arguments.output_visibility = "public"
    export(folder)
    ezkl.gen_settings(network, settings, py_run_args=arguments)
    ezkl.calibrate_settings(data, network, settings, "resources", scales=[SCALE])
    ezkl.compile_circuit(network, circuit, settings)
    rows = json.loads((folder / "settings.json").read_text())["run_args"]["logrows"]
    srs = str(folder / "srs")
    ezkl.gen_srs(srs, rows)
    ezkl.setup(circuit, str(folder / "vk"), str(folder / "pk"), srs)
    ezkl.gen_witness(data, circuit, str(folder / "witness.json"))


def prove(folder: Path) -> dict[str, object]:
    """Seconds of one proof; the verdicts on it and on the same proof for other logits."""
    import ezkl

    proof, srs = folder / "proof.json", str(folder / "srs")
    paths = [str(folder / name) for name in ("witness.json", "circuit.ezkl", "pk")]
    start = perf_counter()
    ezkl.prove(*paths, str(proof), srs)
    seconds = perf_counter() - start
    made = json.loads(proof.read_text())
    logits = np.array(made["pretty_public_inputs"]["rescaled_outputs"][0], dtype=np.float64)
    labels = np.load(folder / "network.npz")["labels"]
    correct = int((logits.reshape(len(labels), -1).argmax(axis=1) == labels).sum())
    made["instances"][0][-1] = made["instances"][0][0]
    forged = folder / "forged.json"
    forged.write_text(json.dumps(made))
    return {
        "seconds": seconds,
        "valid": verify(proof, folder),
        "forged": verify(forged, folder),
        "correct": correct,
    }


def verify(proof: Path, folder: Path) -> bool:
    """ezkl raises where a proof does not hold."""
    import ezkl

    try:
        return bool(
            ezkl.verify(
                str(proof), str(folder / "settings.json"), str(folder / "vk"), str(folder / "srs")
            )
        )
    except RuntimeError:
        return False


if __name__ == "__main__":
    if sys.argv[1] == "setup":
        setup(Path(sys.argv[2]))
    else:
        print(json.dumps(prove(Path(sys.argv[2]))))
