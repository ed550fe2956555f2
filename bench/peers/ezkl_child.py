"""Runs under the interpreter that has `ezkl` and `onnx`, apart from the project's own packages.

    python ezkl_child.py setup FOLDER    network.onnx, input.json -> keys, witness; {seconds,
                                         key_bytes}
    python ezkl_child.py prove FOLDER    one proof; prints {seconds, verify_s, proof_bytes,
                                         peak_mib, valid, forged, correct}

network.npz has the labels, one per sample. Weights are private, inputs and logits public: the
visibility nearest to a committed model's.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

SCALE = 13
HEX = 2  # digits of a byte


def setup(folder: Path) -> dict[str, object]:
    """Settings, circuit, a local SRS, keys and the witness of input.json; seconds without those
    of the SRS, which many circuits share."""
    import ezkl

    network, settings = str(folder / "network.onnx"), str(folder / "settings.json")
    data, circuit = str(folder / "input.json"), str(folder / "circuit.ezkl")
    arguments = ezkl.PyRunArgs()
    arguments.input_visibility = "public"
    arguments.param_visibility = "private"
    arguments.output_visibility = "public"
    start = perf_counter()
    ezkl.gen_settings(network, settings, py_run_args=arguments)
    ezkl.calibrate_settings(data, network, settings, "resources", scales=[SCALE])
    ezkl.compile_circuit(network, circuit, settings)
    rows = json.loads((folder / "settings.json").read_text())["run_args"]["logrows"]
    srs = str(folder / "srs")
    before_s = perf_counter() - start
    ezkl.gen_srs(srs, rows)
    start = perf_counter()
    ezkl.setup(circuit, str(folder / "vk"), str(folder / "pk"), srs)
    seconds = before_s + perf_counter() - start
    ezkl.gen_witness(data, circuit, str(folder / "witness.json"))
    return {"seconds": seconds, "key_bytes": (folder / "pk").stat().st_size}


def prove(folder: Path) -> dict[str, object]:
    """Figures of one proof; the verdicts on it and on the same proof for other logits."""
    import ezkl

    proof, srs = folder / "proof.json", str(folder / "srs")
    paths = [str(folder / name) for name in ("witness.json", "circuit.ezkl", "pk")]
    start = perf_counter()
    ezkl.prove(*paths, str(proof), srs)
    seconds = perf_counter() - start
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = json.loads(proof.read_text())
    logits = np.array(made["pretty_public_inputs"]["rescaled_outputs"][0], dtype=np.float64)
    labels = np.load(folder / "network.npz")["labels"]
    correct = int((logits.reshape(len(labels), -1).argmax(axis=1) == labels).sum())
    made["instances"][0][-1] = made["instances"][0][0]
    forged = folder / "forged.json"
    forged.write_text(json.dumps(made))
    start = perf_counter()
    valid = verify(proof, folder)
    verify_s = perf_counter() - start
    return {
        "seconds": seconds,
        "verify_s": verify_s,
        "proof_bytes": len(made["hex_proof"].removeprefix("0x")) // HEX,
        "peak_mib": peak_kib / 1024,
        "valid": valid,
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
        print(json.dumps(setup(Path(sys.argv[2]))))
    else:
        print(json.dumps(prove(Path(sys.argv[2]))))
