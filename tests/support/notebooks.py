"""Notebooks without Jupyter: their form, their code in one fresh interpreter, their outputs.

    python -m tests.support.notebooks examples/accuracy_claim.ipynb

runs one and stores what it prints. Cells print text and show nothing else, so that Jupyter makes
the same outputs of them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

Notebook = dict[str, Any]

# Reads a JSON list of sources, runs them in one namespace, prints the list of what each printed.
_RUNNER = """
import contextlib, io, json, sys
printed, names = [], {"__name__": "__main__"}
for i, source in enumerate(json.load(sys.stdin), 1):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(source, f"<cell {i}>", "exec"), names)
    printed.append(out.getvalue())
json.dump(printed, sys.stdout)
"""


def read_notebook(path: Path) -> Notebook:
    found: Notebook = json.loads(path.read_text(encoding="utf-8"))
    return found


def list_code(notebook: Notebook) -> list[Notebook]:
    """The cells that run, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def find_form_faults(notebook: Notebook) -> list[str]:
    """Where it is no notebook of format 4.5 with outputs of text alone (nbformat's schema v4.5)."""
    faults = []
    if set(notebook) != {"cells", "metadata", "nbformat", "nbformat_minor"}:
        faults.append(f"fields {sorted(notebook)}")
    if (notebook.get("nbformat"), notebook.get("nbformat_minor")) != (4, 5):
        faults.append("format is not 4.5")
    cells = notebook.get("cells", [])
    ids = [str(cell.get("id")) for cell in cells]
    if len(set(ids)) < len(ids) or not all(re.fullmatch(r"[\w-]{1,64}", one) for one in ids):
        faults.append("ids are not unique words")
    own = {"cell_type", "id", "metadata", "source"}
    fields = {"markdown": own, "code": own | {"execution_count", "outputs"}}
    for name, cell in zip(ids, cells, strict=True):
        if set(cell) != fields.get(cell.get("cell_type")):
            faults.append(f"{name}: fields {sorted(cell)}")
            continue
        texts = [cell["source"], *(output.get("text") for output in cell.get("outputs", []))]
        if not all(isinstance(t, list) and all(isinstance(s, str) for s in t) for t in texts):
            faults.append(f"{name}: text that is no list of lines")
        for output in cell.get("outputs", []):
            is_text = output.get("output_type") == "stream" and output.get("name") == "stdout"
            if not is_text or set(output) != {"output_type", "name", "text"}:
                faults.append(f"{name}: an output that is not what was printed")
    counts = [cell.get("execution_count") for cell in cells if cell.get("cell_type") == "code"]
    if counts != list(range(1, len(counts) + 1)):
        faults.append("cells are not as one run in order leaves them")
    return faults


def list_printed(notebook: Notebook) -> list[str]:
    """The stored output of each cell that runs."""
    return ["".join(line for o in c["outputs"] for line in o["text"]) for c in list_code(notebook)]


def run_notebook(path: Path, *, folder: Path, wait_s: float) -> list[str]:
    """What each cell prints, all run in order in one new process, in the repository.

    folder : of its data
    raises : AssertionError with the traceback of a cell that fails; TimeoutExpired
    """
    sources = ["".join(cell["source"]) for cell in list_code(read_notebook(path))]
    process = subprocess.Popen(
        [sys.executable, "-c", _RUNNER],
        cwd=path.parents[1],
        env={**os.environ, "ZKPOT_DATA_DIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(json.dumps(sources), timeout=wait_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    assert process.returncode == 0, err
    printed: list[str] = json.loads(out)
    return printed


def store_outputs(notebook: Notebook, printed: list[str]) -> Notebook:
    """The notebook as one run in order leaves it."""
    for count, (cell, text) in enumerate(zip(list_code(notebook), printed, strict=True), 1):
        lines = text.splitlines(keepends=True)
        output = {"output_type": "stream", "name": "stdout", "text": lines}
        cell |= {"execution_count": count, "outputs": [output] if text else []}
    return notebook


def main(path: Path, folder: Path) -> None:
    done = store_outputs(read_notebook(path), run_notebook(path, folder=folder, wait_s=600))
    text = json.dumps(done, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    from federated.settings import Settings

    main(Path(sys.argv[1]).resolve(), Settings.from_environment().data_dir)
