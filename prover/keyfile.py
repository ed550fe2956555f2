"""Keys on disk: a directory with the verifying half and the proving half in files of their own.

    key/verifying.key    `VerifyingKey.encode`; all that a verifier reads
    key/proving.key      header of one page, then the arrays of `ProvingKey`, each from a new page
    key/commitment.key   `prover.opening.CommitmentKey.encode`; what checks an opening reads, absent
                         of a circuit without a model group

    header = "zkpotpvk" | version | lg_n | n_wires | n_model | n_advice | length of each array
             8 bytes each, little-endian, in the order of `_ARRAYS`; the rest of the page is zero

The digest of proving.key, every byte of it, stands in verifying.key. So a proving half that was
cut, altered or taken from another key is refused, and a statement that names a verifying key names
the points it was proven with. Arrays are mapped, not read: pages come in as the prover needs them.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.array import U64, G1Array, G2Array
from kernels.files import write_whole
from prover.errors import FormatError, KeyMismatch
from prover.keys import ProvingKey, VerifyingKey
from prover.opening import CommitmentKey

MAGIC = b"zkpotpvk"
VERSION = 1
VERIFYING_NAME = "verifying.key"
PROVING_NAME = "proving.key"
COMMITMENT_NAME = "commitment.key"
MAX_VERIFYING_BYTES = 1 << 27
MAX_LG_N = 27

_PAGE = 4096
_CHUNK = 1 << 22


class _Array(NamedTuple):
    """One array of the proving half: its field in `ProvingKey` and the shape of an item."""

    name: str
    dtype: str
    width: int

    @property
    def item_bytes(self) -> int:
        return np.dtype(self.dtype).itemsize * self.width


_ARRAYS = (
    _Array("a_wires", "<u4", 1),
    _Array("b_wires", "<u4", 1),
    _Array("c_wires", "<u4", 1),
    _Array("a", "<u8", G1Array.WORDS),
    _Array("b1", "<u8", G1Array.WORDS),
    _Array("b2", "<u8", G2Array.WORDS),
    _Array("c", "<u8", G1Array.WORDS),
    _Array("h", "<u8", G1Array.WORDS),
    _Array("model", "<u8", G1Array.WORDS),
    _Array("model_pok", "<u8", G1Array.WORDS),
    _Array("advice", "<u8", G1Array.WORDS),
    _Array("correction", "<u8", G1Array.WORDS),
)
_N_COUNTS = 4  # lg_n, n_wires, n_model, n_advice


# -- writing ---------------------------------------------------------------------------------------


def compute_proving_digest(key: ProvingKey) -> bytes:
    """SHA-256 of the file that `save_key` writes for the proving half."""
    digest = sha256()
    for chunk in _proving_chunks(key):
        digest.update(chunk)
    return digest.digest()


def save_key(key: ProvingKey, directory: Path) -> None:
    """Writes every part; the verifying half last, so an interrupted save leaves no usable key.

    One that fails leaves no part. Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    parts = [directory / name for name in (VERIFYING_NAME, COMMITMENT_NAME, PROVING_NAME)]
    verifying, commitment, proving = parts
    for path in parts[:2]:
        path.unlink(missing_ok=True)
    try:
        write_whole(proving, _proving_chunks(key))
        if key.n_model:
            write_whole(commitment, [CommitmentKey.of(key).encode()])
        write_whole(verifying, [key.verifying.encode()])
    except BaseException:
        for path in parts:
            path.unlink(missing_ok=True)
        raise


def _proving_chunks(key: ProvingKey) -> Iterator[memoryview]:
    arrays = [_words(key, a) for a in _ARRAYS]
    counts = [VERSION, key.lg_n, key.n_wires, key.n_model, key.n_advice, *map(len, arrays)]
    header = MAGIC + np.array(counts, dtype="<u8").tobytes()
    yield memoryview(header.ljust(_PAGE, b"\0"))
    for array in arrays:
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        for start in range(0, len(flat), _CHUNK):
            yield flat[start : start + _CHUNK]
        yield memoryview(bytes(-len(flat) % _PAGE))


def _words(key: ProvingKey, array: _Array) -> npt.NDArray[np.generic]:
    value = getattr(key, array.name)
    data = value.data if isinstance(value, G1Array | G2Array) else value
    if not isinstance(data, np.ndarray):
        raise TypeError(f"{array.name} is prepared for a device; save the key before preparing it")
    return data.astype(array.dtype, copy=False)


# -- reading ---------------------------------------------------------------------------------------


def load_verifying_key(directory: Path, *, require_ceremony: bool = False) -> VerifyingKey:
    """The verifying half, from its own file. Raises FormatError, CeremonyRequired, OSError."""
    path = directory / VERIFYING_NAME
    if path.stat().st_size > MAX_VERIFYING_BYTES:
        raise _bad("it is too large", path)
    key = VerifyingKey.decode(path.read_bytes(), where=str(path))
    if require_ceremony:
        key.require_ceremony()
    return key


def load_commitment_key(directory: Path) -> CommitmentKey:
    """The bases of model commitments. Raises FormatError, KeyMismatch, OSError."""
    path = directory / COMMITMENT_NAME
    key = CommitmentKey.decode(path.read_bytes(), where=str(path))
    if key.verifying_key_digest != load_verifying_key(directory).digest:
        raise KeyMismatch(f"{path} belongs to another key than {VERIFYING_NAME}")
    return key


def load_proving_key(directory: Path, *, require_ceremony: bool = False) -> ProvingKey:
    """Both halves, the arrays memory-mapped read-only.

    Raises FormatError for a malformed file, KeyMismatch for an altered one or halves of two keys,
    CeremonyRequired, OSError.
    cost : one SHA-256 over the file
    The mapping is private: kernels are compiled for writable arrays, and the file cannot change.
    """
    verifying = load_verifying_key(directory, require_ceremony=require_ceremony)
    path = directory / PROVING_NAME
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < _PAGE:
            raise _bad("it is truncated", path)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    counts, lengths = _parse_header(mapped, path)
    if sha256(mapped).digest() != verifying.proving_digest:
        raise KeyMismatch(f"{path} is altered, or not the proving half of its verifying key")
    arrays = _MappedArrays(mapped, lengths)
    key = ProvingKey(
        verifying=verifying,
        lg_n=counts[0],
        n_wires=counts[1],
        n_model=counts[2],
        n_advice=counts[3],
        a_wires=arrays.wires("a_wires"),
        b_wires=arrays.wires("b_wires"),
        c_wires=arrays.wires("c_wires"),
        a=arrays.g1("a"),
        b1=arrays.g1("b1"),
        b2=arrays.g2("b2"),
        c=arrays.g1("c"),
        h=arrays.g1("h"),
        model=arrays.g1("model"),
        model_pok=arrays.g1("model_pok"),
        advice=arrays.g1("advice"),
        correction=arrays.g1("correction"),
    )
    _check_lengths(key, path)
    _check_blinders(arrays, path)
    return key


def _parse_header(mapped: mmap.mmap, path: Path) -> tuple[list[int], list[int]]:
    """Counts and array lengths; the file's size must be what they demand."""
    header = mapped[:_PAGE]
    start = len(MAGIC) + 8
    if header[:start] != MAGIC + VERSION.to_bytes(8, "little"):
        raise _bad("it is no proving key of version 1", path)
    numbers = np.frombuffer(header, dtype="<u8", offset=start).tolist()
    n_numbers = _N_COUNTS + len(_ARRAYS)
    counts, lengths = numbers[:_N_COUNTS], numbers[_N_COUNTS:n_numbers]
    if any(numbers[n_numbers:]) or counts[0] > MAX_LG_N or counts[1] >= 1 << 32:
        raise _bad("its header is malformed", path)
    size = _PAGE + sum(_pages(n * a.item_bytes) for n, a in zip(lengths, _ARRAYS, strict=True))
    if size != len(mapped):
        raise _bad(f"it has {len(mapped)} bytes and its header demands {size}", path)
    return counts, lengths


class _MappedArrays:
    """The arrays of the file by name, without reading them."""

    def __init__(self, mapped: mmap.mmap, lengths: list[int]) -> None:
        self._mapped = mapped
        self._lengths = dict(zip((a.name for a in _ARRAYS), lengths, strict=True))
        self._offsets: dict[str, int] = {}
        at = _PAGE
        for array, n in zip(_ARRAYS, lengths, strict=True):
            self._offsets[array.name] = at
            at += _pages(n * array.item_bytes)

    def wires(self, name: str) -> npt.NDArray[np.uint32]:
        return np.frombuffer(
            self._mapped, dtype=np.uint32, count=self._lengths[name], offset=self._offsets[name]
        )

    def g1(self, name: str) -> G1Array:
        return G1Array(self._points(name, G1Array.WORDS))

    def g2(self, name: str) -> G2Array:
        return G2Array(self._points(name, G2Array.WORDS))

    def _points(self, name: str, width: int) -> U64:
        n = self._lengths[name]
        return np.frombuffer(
            self._mapped, dtype=np.uint64, count=n * width, offset=self._offsets[name]
        ).reshape(n, width)


def _check_lengths(key: ProvingKey, path: Path) -> None:
    """The arrays fit the counts; a key with the right digest fails here only if setup was wrong."""
    fits = (
        len(key.a) == len(key.a_wires) + 2
        and len(key.b1) == len(key.b2) == len(key.b_wires) + 2
        and len(key.c) == len(key.c_wires)
        and len(key.h) == 1 << key.lg_n
        and len(key.model) == len(key.model_pok) == (key.n_model + 1 if key.n_model else 0)
        and len(key.advice) == (key.n_advice + 1 if key.n_advice else 0)
        and len(key.correction) == 3
        and 1 + key.n_public + key.n_model + key.n_advice <= key.n_wires
        and all(
            len(w) == 0 or int(w.max()) < key.n_wires
            for w in (key.a_wires, key.b_wires, key.c_wires)
        )
    )
    if not fits:
        raise _bad("its arrays do not fit its counts", path)


def _check_blinders(arrays: _MappedArrays, path: Path) -> None:
    """No blinder is the identity.

    Whoever made the key could else read D_W, D_A, A or B as a function of the witness, while every
    proof verifies. With these blinders in place D_W, D_A, A and B are uniform, and the equations,
    which a prover checks before anything leaves, determine PoK_W and C: even a key made in bad
    faith shows no more than whether the proof came about.
    """
    bases = (*map(arrays.g1, ("a", "model", "model_pok", "advice")), arrays.g2("b2"))
    if not all(basis.data[-1].any() for basis in bases if len(basis)):
        raise _bad("a blinder is the identity, so that a proof would show its witness", path)


def _pages(n_bytes: int) -> int:
    """n_bytes rounded up to whole pages."""
    return -(-n_bytes // _PAGE) * _PAGE


def _bad(what: str, path: Path) -> FormatError:
    return FormatError(what, where=str(path), next_step="copy the key again, or run setup again")
