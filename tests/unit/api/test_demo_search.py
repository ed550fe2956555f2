"""The search for models in what others hold: it finds them, however they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from api.demo.search import (
    RUN,
    Searcher,
    Secret,
    choose_runs,
    read_files,
    read_server,
    search,
)
from api.settings import Settings
from api.valkey.embedded import connect
from consensus.learning.aggregate import ONE
from kernels.bn254 import R
from kernels.integers import to_scalars
from kernels.numpy_types import Int64Array
from prover.model.network import QuantizedModel
from prover.model.presets import parse_architecture
from tests.support.models import random_model
from tests.support.queue_server import running_server

ARCHITECTURE = parse_architecture("mlp-20-12-3")
RHO = R // 3
WEIGHTS, BLINDING = "one's weights", "one's blinding"


def make_secret(name: str, seed: int) -> Secret:
    model = random_model(ARCHITECTURE, np.random.default_rng(seed))
    return Secret(name=name, numbers=model.wires, rho=RHO + seed)


ONE_S, OTHER_S = make_secret("one", 1), make_secret("other", 2)
SEARCHER = Searcher([ONE_S, OTHER_S])
NOISE = np.random.default_rng(9).bytes(1 << 16)


def montgomery(values: Int64Array) -> bytes:
    return b"".join((int(x) * 2**256 % R).to_bytes(32, "little") for x in values)


@pytest.mark.parametrize(
    "encode",
    [
        lambda w: w.astype(np.int8).tobytes(),
        lambda w: w.astype(np.int8).tobytes().hex().encode(),
        lambda w: b"[" + ", ".join(map(str, w)).encode() + b"]",
        lambda w: w.astype("<i2").tobytes(),
        lambda w: w.astype(">i4").tobytes(),
        lambda w: w.astype("<i8").tobytes(),
        lambda w: w.astype("<f4").tobytes(),
        lambda w: w.astype("<f8").tobytes(),
        lambda w: (w * ONE).astype("<i8").tobytes(),
        lambda w: to_scalars(w).data.tobytes(),
        lambda w: to_scalars(w * ONE).data.tobytes(),
        lambda w: montgomery(w * ONE),
    ],
)
@pytest.mark.parametrize("shift", range(9))
def test_weights_are_found_however_they_are_written(
    encode: Callable[[Int64Array], bytes], shift: int
) -> None:
    """At any place of the bytes."""
    written = encode(ONE_S.numbers)
    assert SEARCHER.find(NOISE[: 100 + shift] + written + NOISE) == {WEIGHTS}


@pytest.mark.parametrize("factor", [1, ONE])
@pytest.mark.parametrize(
    "encode",
    [
        lambda x: x.to_bytes(32, "little"),
        lambda x: x.to_bytes(32, "big"),
        lambda x: x.to_bytes(32, "big").hex().encode(),
        lambda x: str(x).encode(),
    ],
)
def test_blindings_are_found(encode: Callable[[int], bytes], factor: int) -> None:
    assert SEARCHER.find(NOISE[:77] + encode(ONE_S.rho * factor % R)) == {BLINDING}


def test_nothing_is_found_where_nothing_is() -> None:
    """Nor in a part of a run, in bytes under a mask, nor in bytes that are too few."""
    (run, *_) = choose_runs(ONE_S.numbers)
    part = run[: RUN - 1].astype(np.int8).tobytes()
    masked = bytes(a ^ b for a, b in zip(run.astype(np.int8).tobytes(), NOISE, strict=False))
    for raw in (b"", b"1234567", bytes(1 << 16), b"\xff" * 1000, NOISE, part + b"\x00", masked):
        assert SEARCHER.find(raw) == set()


def test_a_model_of_few_values_has_runs_too() -> None:
    model = QuantizedModel(
        architecture=ARCHITECTURE,
        weights=tuple(np.ones(s, dtype=np.int8) for s in ARCHITECTURE.weight_shapes),
        biases=tuple(np.zeros(s, dtype=np.int32) for s in ARCHITECTURE.bias_shapes),
    )
    searcher = Searcher([Secret(name="flat", numbers=model.wires, rho=RHO)])
    assert "flat's weights" in searcher.find(model.wires.astype(np.int8).tobytes())


def test_masters_are_found_and_what_is_still_as_everybody_has_it_is_not() -> None:
    rng = np.random.default_rng(5)
    start = rng.integers(-(2**22), 2**22, ARCHITECTURE.n_parameters)
    trained = start + rng.integers(1, 99, len(start))
    trained[:160] = start[:160]  # of inputs that are never lit
    searcher = Searcher([Secret(name="one", numbers=trained, rho=RHO, known=start)])
    for written in (trained.astype("<i4").tobytes(), to_scalars(trained * ONE).data.tobytes()):
        assert searcher.find(NOISE[:101] + written) == {WEIGHTS}
    assert searcher.find(trained[:160].astype("<i8").tobytes()) == set()
    assert searcher.find(start.astype("<i4").tobytes()) == set()


def test_every_file_is_searched_and_counted(tmp_path: Path) -> None:
    (tmp_path / "node-0" / "blobs").mkdir(parents=True)
    (tmp_path / "node-0" / "blocks.log").write_bytes(NOISE)
    (tmp_path / "node-1.log").write_bytes(NOISE)  # the same content counts, and is read once
    clean = search(SEARCHER, read_files(tmp_path, tmp_path / "nothing"))
    assert (clean.n_bytes, clean.found) == (2 * len(NOISE), ())
    leak = tmp_path / "node-0" / "blobs" / "abc"
    leak.write_bytes(NOISE + OTHER_S.numbers.astype("<i4").tobytes())
    found = search(SEARCHER, read_files(tmp_path)).found
    assert found == (f"other's weights in {leak}",)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("search")
    with running_server(path):
        yield path


def test_the_server_is_searched_whatever_it_holds(data_dir: Path) -> None:
    redis = connect(Settings(data_dir=data_dir))
    raw = ONE_S.numbers.astype(np.int8).tobytes()
    redis.set("a", NOISE)
    redis.rpush("b", b"x", raw)
    redis.sadd("c", b"c" + raw)
    redis.zadd("d", {b"d" + raw: 1})
    redis.hset("e", "name", b"e" + raw)
    redis.hset("f", b"f" + raw, "value")
    redis.xadd("g", {"m": raw})
    redis.set("h", b"h" + raw)
    found = search(SEARCHER, read_server(redis)).found
    assert set(found) == {f"{WEIGHTS} in the server's {key}" for key in "bcdefgh"}
    redis.close()
