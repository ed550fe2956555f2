"""The notebook runs in one fresh interpreter, and what it stores is what comes out."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from tests.support.notebooks import (
    Notebook,
    find_form_faults,
    list_printed,
    read_notebook,
    run_notebook,
)

WAIT_S = 400.0  # of the notebook, its kernels being compiled on a slow machine

# What another run, or another machine, says otherwise: digests, seconds, and counts of a network
# that floating point trained.
PASSING = [
    (r"\b[0-9a-f]{24,64}\b", "HEX"),
    (r" *\d+\.\d+ s\b", " TIME"),
    (r"\d+\.\d%", "SHARE"),
    (r"\d+ of 256", "COUNT of 256"),
]


def keep_lasting(printed: str) -> str:
    for pattern, name in PASSING:
        printed = re.sub(pattern, name, printed)
    return printed


@pytest.fixture
def path(root: Path) -> Path:
    return root / "examples" / "accuracy_claim.ipynb"


@pytest.mark.slow
def test_it_runs_and_prints_what_it_stores(path: Path, tmp_path: Path) -> None:
    printed = run_notebook(path, folder=tmp_path, wait_s=WAIT_S)
    stored = list_printed(read_notebook(path))
    assert len(printed) == 10
    assert [keep_lasting(text) for text in printed] == [keep_lasting(text) for text in stored]
    for texts in (printed, stored):
        claimed, proven = (re.search(r"(\d+) of 256", texts[i]) for i in (1, 6))
        assert claimed is not None
        assert proven is not None
        assert 0.92 * 256 <= int(claimed[1]) == int(proven[1]) < 256


def test_a_cell_that_fails_fails_the_run(path: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    wrong = tmp_path / "examples" / path.name
    cell = '{"cell_type": "code", "source": ["print(1)\\n", "assert 1 > 2"]}'
    wrong.write_text(f'{{"cells": [{cell}]}}', encoding="utf-8")
    with pytest.raises(AssertionError, match="cell 1"):
        run_notebook(wrong, folder=tmp_path, wait_s=WAIT_S)


def test_it_is_a_notebook(path: Path) -> None:
    assert find_form_faults(read_notebook(path)) == []


def test_a_wrong_form_would_be_seen(path: Path) -> None:
    def find(change: str) -> list[str]:
        notebook: Notebook = copy.deepcopy(read_notebook(path))
        code = next(c for c in notebook["cells"] if c["cell_type"] == "code")
        exec(change, {"nb": notebook, "code": code})
        return find_form_faults(notebook)

    assert find("nb['nbformat_minor'] = 4") == ["format is not 4.5"]
    assert find("del nb['metadata']") == ["fields ['cells', 'nbformat', 'nbformat_minor']"]
    assert find("code['id'] = nb['cells'][0]['id']") == ["ids are not unique words"]
    assert find("del code['outputs']")[0].endswith("'metadata', 'source']")
    assert find("code['source'] = 'print(1)'")[0].endswith("no list of lines")
    assert find("code['outputs'][0]['name'] = 'stderr'")[0].endswith("not what was printed")
    assert find("code['execution_count'] = 2") == ["cells are not as one run in order leaves them"]
