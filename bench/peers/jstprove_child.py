"""Runs under the interpreter that has `jstprove`, apart from the project's own packages.

    python jstprove_child.py FOLDER    network.onnx, sample.json {input: [pixels]} -> one proof

Prints {seconds, setup_s, verify_s, key_bytes, proof_bytes, peak_mib, class, valid, forged}; seconds
of proving and verifying are those that its own programs tell.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

START = "import sys; from python.frontend.cli import main; sys.exit(main())"
CALL = (sys.executable, "-c", START, "--no-banner")
TAKEN = re.compile(r"[Tt]ime taken: ([0-9.]+) seconds")
LIMIT_S = 1200


def call(folder: Path, step: str, *options: str) -> tuple[str, float]:
    """(the last error that a failed step prints, else "", the seconds that it tells)."""
    done = subprocess.run(
        [*CALL, step, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    printed = (done.stdout + done.stderr).strip()
    told = TAKEN.findall(printed)
    last = " ".join(printed.rpartition("Error")[2].split()) or "no message"
    failure = last if done.returncode else ""
    return failure, float(told[-1]) if told else 0.0


def must(folder: Path, step: str, *options: str) -> float:
    """The seconds of a step that has to succeed."""
    failure, seconds = call(folder, step, *options)
    if failure:
        raise SystemExit(f"{step}: {failure}")
    return seconds


def prove(folder: Path) -> dict[str, object]:
    """Compiles, proves, verifies; then the same proof for other outputs."""
    files = ("-c", "circuit.txt", "-w", "witness.bin")
    data = ("-i", "sample.json", "-o", "output.json")
    setup_s = must(folder, "compile", "-m", "network.onnx", "-c", "circuit.txt")
    compile_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    must(folder, "witness", *files, *data)
    seconds = must(folder, "prove", *files, "-p", "proof.bin")
    verify_s = must(folder, "verify", *files, *data, "-p", "proof.bin")
    outputs = json.loads((folder / "output.json").read_text())
    logits = outputs["output"]
    changed = [logits[0] + 1, *logits[1:]]
    (folder / "output.json").write_text(json.dumps({**outputs, "output": changed}))
    refused, _ = call(folder, "verify", *files, *data, "-p", "proof.bin")
    return {
        "seconds": seconds,
        "setup_s": setup_s,
        "verify_s": verify_s,
        "key_bytes": (folder / "circuit.txt").stat().st_size,
        "proof_bytes": (folder / "proof.bin").stat().st_size,
        "peak_mib": max(compile_kib, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024,
        "class": max(range(len(logits)), key=lambda i: logits[i]),
        "valid": True,
        "forged": not refused,
    }


if __name__ == "__main__":
    print(json.dumps(prove(Path(sys.argv[1]))))
