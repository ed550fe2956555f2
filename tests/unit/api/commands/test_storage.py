"""Commands where there is no room, right or memory: a named error, and nothing half written."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.core import TyperGroup

from api.cli import build_app
from api.console import output as console
from api.process.program import PROGRAM
from api.system_errors import describe_system_error
from federated.float_model import FloatModel, encode_float_model
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.model.zkq import encode_model
from tests.support.commands import run
from tests.support.foreign import vector
from tests.support.limits import no_file_above
from tests.support.models import random_model

ARCHITECTURE = Architecture.mlp([784, 4, 10], requant=Requant(shift=14, q_bits=10))
ONE = "mnist:test[0:8]"
GROTH16 = ("groth16", "prove", vector("multiplier", ".zkey"), vector("multiplier", ".wtns"))


@pytest.fixture(autouse=True)
def _packaged_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No fetched data, whatever this machine has."""
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "no-data"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its key and commitment, and a float model."""
    desk = tmp_path_factory.mktemp("desk")
    rng = np.random.default_rng(4)
    (desk / "model.zkq").write_bytes(encode_model(random_model(ARCHITECTURE, rng)))
    weights = tuple(rng.normal(0, 0.05, s).astype(np.float32) for s in ((4, 784), (10, 4)))
    biases = tuple(np.zeros(n, dtype=np.float32) for n in (4, 10))
    trained = FloatModel(
        architecture=Architecture.mlp((784, 4, 10)),
        weights=weights,
        biases=biases,
        mean=0.13,
        std=0.31,
        record={},
    )
    (desk / "float.safetensors").write_bytes(encode_float_model(trained))
    key = desk / "key"
    for arguments in (
        ["setup", desk / "model.zkq", "--samples", 8, "--out", key],
        ["commit", desk / "model.zkq", "--out", desk / "model.commit"],
    ):
        assert run(*arguments).exit_code == 0
    return desk


def list_commands(desk: Path, out: Path) -> dict[str, list[object]]:
    """Commands that write, each with its output in the folder `out`."""
    model, key = desk / "model.zkq", ["--key", desk / "key"]
    commitment = ["--commitment", desk / "model.commit", "--dataset", ONE]
    keys = ["--file", out / "keys", "--scope", "read"]
    return {
        "quantize": ["quantize", desk / "float.safetensors", "--out", out / "q.zkq"],
        "setup": ["setup", model, "--samples", 8, "--out", out / "key"],
        "commit": ["commit", model, "--out", out / "c"],
        "prove": ["prove", model, *key, *commitment, "--out", out / "p"],
        "groth16": [*GROTH16, out / "proof", out / "public", "--backend", "reference"],
        "api-key": ["api-key", "somebody", *keys],
    }


def list_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def refuse(code: str, words: str, *arguments: object) -> None:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert f"refused ({code}): " in result.stderr, result.output
    assert words in result.stderr
    assert "; " in result.stderr  # and then what to do
    assert "None" not in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("command", "limit", "named"),
    [
        ("quantize", 1024, "q.zkq"),
        ("setup", 16, "key/"),
        ("setup", 4096, "key/"),
        ("commit", 16, "c.blinding"),
        ("prove", 16, "/p"),
        ("groth16", 64, "proof"),
        ("api-key", 16, "keys"),
    ],
)
def test_no_room_for_a_file(
    command: str, limit: int, named: str, desk: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    arguments = list_commands(desk, out)[command]
    with no_file_above(limit):
        refuse("io_error", "File too large; raise the limit", *arguments)
        reason = json.loads(run(*arguments, "--json").stdout)["reason"]
    assert named in reason
    assert list(out.iterdir()) == []
    assert run(*arguments).exit_code == 0
    assert list_files(out) != []


@pytest.mark.parametrize("command", ["commit", "prove", "groth16", "api-key", "quantize"])
@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (errno.ENOSPC, "disk_full", "No space left on device; free some space"),
        (errno.EDQUOT, "disk_full", "quota exceeded; free some space"),
        (errno.EIO, "io_error", "Input/output error; check the disk"),
    ],
)
def test_a_disk_that_fails_at_the_end(
    command: str,
    number: int,
    code: str,
    words: str,
    desk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    out.mkdir()

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", fail)
    refuse(code, words, *list_commands(desk, out)[command])
    assert list(out.iterdir()) == []


def test_a_chain_without_a_genesis_leaves_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of a chain that could not be made would be in the way of the next attempt."""
    key = tmp_path / "key"
    assert run("setup", "mlp-784-10", "--samples", 256, "--out", key).exit_code == 0
    pool = ["--dataset", "mnist:test[0:300]"]
    arguments = ["chain", "init", tmp_path / "chain", "--key", key, *pool]
    real = os.replace

    def refuse_genesis(source: Path, target: Path) -> None:
        if target.name == "genesis.json":
            raise PermissionError(errno.EACCES, "Permission denied")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", refuse_genesis)
        refuse("io_error", "genesis.json: Permission denied; change its permissions", *arguments)
    assert not [name for name in list_files(tmp_path / "chain") if not name.startswith("blobs")]
    assert run(*arguments).exit_code == 0


def test_places_that_are_none(desk: Path, tmp_path: Path) -> None:
    files = list_commands(desk, tmp_path)["groth16"][:4]
    plain = ["--backend", "reference"]
    refuse("io_error", f"no folder {tmp_path / 'no'}", *files, tmp_path / "no" / "p", "s", *plain)
    quantize = ["quantize", desk / "float.safetensors", "--out", tmp_path]
    refuse("io_error", f"{tmp_path}: Is a directory; name a file", *quantize)


@pytest.mark.parametrize("error", [MemoryError("Unable to allocate 8 GiB"), OSError(12, "memory")])
def test_no_memory(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("prover.formats.zkey.read_zkey", fail)
    arguments = [*GROTH16, tmp_path / "p", tmp_path / "s", "--backend", "reference"]
    refuse("out_of_memory", "not enough memory; take a smaller circuit", *arguments)
    assert json.loads(run(*arguments, "--json").stdout)["refused"] == "out_of_memory"


def test_every_command_is_guarded() -> None:
    def walk(command: object) -> None:
        if isinstance(command, TyperGroup):
            for one in command.commands.values():
                walk(one)
        else:
            seen.append(command)

    seen: list[object] = []
    walk(typer.main.get_command(build_app()))
    assert len(seen) > 20
    assert all(isinstance(command, console.Command) for command in seen)


def test_standard_output_that_is_full() -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("needs /dev/full")
    files = [vector("multiplier", f"_{name}.json") for name in ("vkey", "public", "proof")]
    program = [*PROGRAM, "groth16", "verify"]
    for unbuffered in ("", "1"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*program, *files, "--json"],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            )
        assert done.returncode == 1
        assert done.stderr == (
            "refused (disk_full): the output: No space left on device; "
            "free some space there, or name another place\n"
        )


@pytest.mark.parametrize(
    ("make", "code", "sentence"),
    [
        (lambda: OSError("the disk took a part"), "io_error", "the disk took a part; check that"),
        (lambda: OSError(errno.EROFS, "Read-only", b"/x"), "io_error", "/x: Read-only; name a"),
        (lambda: OSError(errno.EBADF, "Bad", 7), "io_error", "the output: Bad; check that place"),
        (lambda: OSError(errno.ENOENT, "No", "/no/x"), "io_error", "there is no folder /no;"),
        (lambda: OSError(errno.ENOENT, "No", "/x"), "io_error", "there is no file /x; check"),
    ],
)
def test_errors_in_words(make: Callable[[], OSError], code: str, sentence: str) -> None:
    found = describe_system_error(make())
    assert found[0] == code
    assert found[1].startswith(sentence)
