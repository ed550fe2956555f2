"""Runs under an interpreter that has `onnx`, apart from the project's own packages.

    python onnx_child.py FOLDER    network.json, network.npz -> network.onnx

The nodes are written as they are described: see `bench.peers.float_graph`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

OPSET = 13
IR_VERSION = 8


def export(folder: Path) -> None:
    """Writes network.onnx."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    described = json.loads((folder / "network.json").read_text())
    tensors = np.load(folder / "network.npz")
    nodes = [
        helper.make_node(
            node["op"],
            node["inputs"],
            node["outputs"],
            name=f"make_{node['outputs'][0]}",  # jstprove knows nodes by their names
            **node["attributes"],
        )
        for node in described["nodes"]
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (described["input"], described["output"])
    ]
    names = [name for name in tensors.files if name != "labels"]
    initializers = [numpy_helper.from_array(tensors[name], name) for name in names]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "network.onnx")


if __name__ == "__main__":
    export(Path(sys.argv[1]))
