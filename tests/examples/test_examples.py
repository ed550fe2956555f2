"""Each example runs as its head says, in a process of its own, and says what it should."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

WAIT_S = 400.0  # of one example, its kernels being compiled on a slow machine

PROVED = r"""claimed: at least (\d+) of 64 samples, 482 bytes
verdict as it came: valid
verdict with a bit changed: (not_on_curve|malformed|wrong_subgroup|pairing_failed)
"""
JOINED = r"""height 0: register
height \d+: commit
height \d+: prove
height \d+: mask
height \d+: unmask
height (?P<last>\d+): done
valid: (?P=last) blocks, every vote and proof in them
  genesis [0-9a-f]{64} \(as given\)
  head    [0-9a-f]{64} \(as given\)
"""
OWN_CLIENT = r"""registering as [0-9a-f]{64}
round 1: committed to its model
round 1: proven its accuracy
round 1: sent its model under masks
round 1: answered for the masks of the sum
round 1 ended: a mean of 3 models, this client's among them
this client: done, in round 1
other client 1: exit code 0
other client 2: exit code 0
"""
VERIFIED = r"""\$ zkpot verify proof\.zkp --key key .*
valid
proven: the mlp-784-10 committed to as D_W
  [0-9a-f]{64}
  classifies at least (\d\d) of 64 samples of mnist:test\[0:64\] correctly """


def list_examples(root: Path) -> set[str]:
    return {p.name for p in (root / "examples").iterdir() if p.suffix in {".py", ".ipynb"}}


def run(example: Path, *arguments: str, folder: Path) -> str:
    """Standard output. The whole group of processes ends with the time or with the example."""
    process = subprocess.Popen(
        [sys.executable, str(example), *arguments],
        cwd=example.parents[1],
        env={**os.environ, "ZKPOT_DATA_DIR": str(folder / "data"), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=WAIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    assert process.returncode == 0, f"{example.name}\n{out}{err}"
    return out


def test_every_example_has_a_test(root: Path) -> None:
    here = Path(__file__).parent
    source = "".join(p.read_text(encoding="utf-8") for p in here.glob("test_*.py"))
    named = re.findall(r'(?:run\(|return)\s*root / "examples" / "(\w+\.\w+)"', source)
    assert list_examples(root) == set(named)


@pytest.mark.slow
def test_prove_and_verify(root: Path, tmp_path: Path) -> None:
    out = run(root / "examples" / "prove_and_verify.py", folder=tmp_path)
    found = re.fullmatch(PROVED, out)
    assert found, out
    assert 0 < int(found[1]) < 64


@pytest.mark.slow
def test_join_a_chain(root: Path, tmp_path: Path) -> None:
    out = run(root / "examples" / "join_a_chain.py", folder=tmp_path)
    assert re.match(JOINED, out), out
    assert list(tmp_path.glob("zkpot-*")) == []  # its temporary folder


@pytest.mark.slow
def test_own_data(root: Path, tmp_path: Path) -> None:
    out = run(root / "examples" / "own_data.py", str(tmp_path), folder=tmp_path)
    found = re.search(VERIFIED, out)
    assert found, out
    assert int(found[1]) >= 48  # by chance it would be 6
    for name in ("model.zkq", "model.commit.blinding"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_own_client(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `federated` (PyTorch) is not installed")
    out = run(root / "examples" / "own_client.py", folder=tmp_path)
    assert re.fullmatch(OWN_CLIENT, out), out
