"""Keys whose bases are in files: the same key, byte for byte, and the same proof."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads

import pytest

from prover.groth16.setup import setup
from prover.keys import streamed
from prover.keys.folder import load_proving_key, load_verifying_key, save_key
from prover.keys.halves import ProvingKey, list_bases
from prover.keys.proving_file import compute_proving_digest
from prover.keys.streamed import (
    Keep,
    StreamedBases,
    keep_in_memory,
    keeping_in_file,
    read_ahead,
)
from tests.support.tiny_circuits import seeded
from tests.support.toy_protocol import BACKEND, TOY, honest, prove_toy, toy_key, toy_trapdoor

PATIENCE_S = 60.0
"""Of waits that end with an event; only a test that fails waits so long."""


@pytest.fixture(params=[1, 2, 3, 1 << 18])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(streamed, "PIECE", request.param)
    return int(request.param)


def make(keep: Keep) -> ProvingKey:
    return setup(
        TOY.r1cs,
        circuit_digest=TOY.digest,
        n_challenges=1,
        trapdoor=toy_trapdoor(),
        backend=BACKEND,
        keep=keep,
    )


@pytest.mark.usefixtures("piece")
def test_a_key_made_in_pieces_is_the_key(tmp_path: Path) -> None:
    expected = toy_key().verifying.encode()
    assert make(keep_in_memory).verifying.encode() == expected
    with keeping_in_file(tmp_path / "bases") as keep:
        key = make(keep)
        assert all(isinstance(bases, StreamedBases) for bases in list_bases(key))
        save_key(key, tmp_path / "key")
    assert not (tmp_path / "bases").exists()
    assert load_verifying_key(tmp_path / "key").encode() == expected
    loaded = load_proving_key(tmp_path / "key", key.verifying)
    assert compute_proving_digest(loaded) == toy_key().verifying.proving_digest


@pytest.mark.usefixtures("piece")
def test_a_key_in_its_file_proves_as_one_in_memory(tmp_path: Path) -> None:
    save_key(toy_key(), tmp_path)
    key = load_proving_key(tmp_path, toy_key().verifying, streams=True)
    assert prove_toy(random_bytes=seeded(7), key=key).envelope == honest().envelope
    assert compute_proving_digest(key) == toy_key().verifying.proving_digest
    assert all(bases.n_bytes <= 32 * len(bases) + 128 * streamed.TAIL for bases in list_bases(key))


def test_a_piece_is_read_while_the_one_before_is_used() -> None:
    is_read = [Event() for _ in range(3)]

    def read() -> Iterator[int]:
        for k, done in enumerate(is_read):
            done.set()
            yield k

    used = list[int]()
    with closing(read_ahead(read())) as pieces:
        for k in pieces:
            assert all(done.wait(PATIENCE_S) for done in is_read[: k + 2])
            used.append(k)
    assert used == [0, 1, 2]


def test_who_stops_between_pieces_leaves_no_thread() -> None:
    """Faults of reading come in their turn, behind the pieces that were read."""

    def read() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    before = enumerate_threads()
    with closing(read_ahead(read())) as pieces:
        assert next(pieces) == 1
        with pytest.raises(OSError, match="gone"):
            next(pieces)
    with closing(read_ahead(iter([1, 2, 3]))) as pieces:
        assert next(pieces) == 1
    assert set(enumerate_threads()) <= set(before)


def test_what_ends_a_setup_leaves_no_file_of_bases(tmp_path: Path) -> None:
    path = tmp_path / "bases"
    with pytest.raises(OSError, match="the disk is full"), keeping_in_file(path):
        raise OSError("the disk is full")
    assert not path.exists()
    path.write_bytes(b"another's")
    with pytest.raises(FileExistsError), keeping_in_file(path):
        pass
    assert path.read_bytes() == b"another's"
