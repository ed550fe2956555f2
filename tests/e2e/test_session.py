"""The README's session, run as it stands there: the same commands give the same words.

Times, sizes and digests differ from run to run and are masked. Training rounds differently on other
machines, so accuracies and counts may differ a little, and only a little.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from api.commands.walk import list_steps

BEGIN, END = "<!-- session:begin -->\n", "<!-- session:end -->\n"
POINTS = 1.0  # by how many percentage points an accuracy may differ
MASKS = (
    (re.compile(r"\b[0-9a-f]{64}\b(?<!0{64})"), "<digest>"),
    (re.compile(r"\b\d+\.\d s\b"), "<time> s"),
    (re.compile(r"\b\d+ MiB\b"), "<size> MiB"),
)
COUNT = re.compile(r"\b(\d+) of 1024 samples")
PERCENT = re.compile(r"\b(\d+\.\d+)%")


class Step(NamedTuple):
    command: str
    output: str


def read_session(readme: str) -> list[Step]:
    """Commands and outputs of the one fenced block between the markers."""
    assert readme.count(BEGIN) == readme.count(END) == 1
    block = readme.split(BEGIN)[1].split(END)[0]
    fence = re.fullmatch(r"\s*```console\n(.*)```\s*", block, re.DOTALL)
    assert fence is not None, "the session is one block of ```console"
    steps = []
    for part in re.split(r"^\$ ", fence[1], flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        steps.append(Step(command, output.strip()))
    return steps


def mask(text: str) -> str:
    """The words of an output, without what differs between runs."""
    for pattern, name in MASKS:
        text = pattern.sub(name, text)
    return PERCENT.sub("<accuracy>", COUNT.sub("<count> of 1024 samples", text))


def read_numbers(text: str) -> list[float]:
    """Accuracies in percent, counts among them."""
    counts = [int(k) / 10.24 for k in COUNT.findall(text)]
    return [float(p) for p in PERCENT.findall(text)] + counts


def run(command: str, folder: Path) -> str:
    """Standard output of a command, progress bars not among it; the command must end well."""
    program, *arguments = shlex.split(command)
    assert program == "zkpot"
    done = subprocess.run(
        [Path(sys.executable).parent / "zkpot", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return "\n".join(line.rstrip() for line in done.stdout.splitlines())


def test_masks_leave_the_words() -> None:
    digest = "ab" * 32
    assert mask(f"key digest {digest}, in 36.5 s") == "key digest <digest>, in <time> s"
    assert mask(f"client key {'0' * 64}") == f"client key {'0' * 64}"
    assert mask("at least 954 of 1024 samples (93.16%)") == (
        "at least <count> of 1024 samples (<accuracy>)"
    )
    assert read_numbers("954 of 1024 samples (93.16%)") == [93.16, pytest.approx(93.16, abs=0.01)]


@pytest.mark.parametrize(
    "readme",
    [
        "",
        f"{BEGIN}```console\n$ zkpot\n```\n",
        f"{BEGIN}no block\n{END}",
        f"{BEGIN}```console\n```\n```console\n```\n{END}".replace("```console", "```sh"),
    ],
)
def test_a_readme_without_a_session_would_be_seen(readme: str) -> None:
    with pytest.raises(AssertionError):
        read_session(readme)


def test_walk_runs_the_same_commands(root: Path) -> None:
    steps = read_session((root / "README.md").read_text(encoding="utf-8"))
    walked = [["zkpot", *arguments] for _, arguments in list_steps(1024)]
    assert walked == [shlex.split(step.command) for step in steps]


@pytest.mark.slow
def test_session(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "no-data"))  # packaged samples only
    steps = read_session((root / "README.md").read_text(encoding="utf-8"))
    verbs = [shlex.split(step.command)[1] for step in steps]
    assert verbs == ["train", "quantize", "setup", "commit", "prove", "verify"]
    folder = tmp_path / "session"
    folder.mkdir()
    proven = []
    for step in steps:
        output = run(step.command, folder)
        assert mask(output) == mask(step.output)
        assert read_numbers(output) == pytest.approx(read_numbers(step.output), abs=POINTS)
        proven += COUNT.findall(output)
    assert len(proven) == 2
    assert proven[0] == proven[1]  # verify says what prove said
    assert len((folder / "proof.zkp").read_bytes()) < 1024
