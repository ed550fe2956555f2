"""The bases of commitments: points of G1 between which nobody knows a relation.

    h_i = hash_to_g1(i as 8 bytes, little-endian; tag DOMAIN)     h_0 blinds, h_(k+1) is for wire k

There is no setup behind them and no key: all models of all circuits share them, and a shorter
vector takes the first ones. A machine derives each once and keeps it in files of CHUNK bases in the
folder of compiled kernels. A file has a checksum: one that is torn or altered is derived anew, as
is all where the disk refuses. Concurrent processes only ever replace a file by an equal one.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from kernels.array import U64, G1Array
from kernels.backend import Progress
from kernels.cpu.compile.jit import private_directory
from kernels.cpu.words.svdw import UNIFORM_BYTES, Roots, map_to_g1
from kernels.files import PRIVATE, write_whole
from kernels.hash_to_curve import expand_message_xmd
from prover.progress import StageProgress, silent

DOMAIN = b"zkpot/v2/pedersen"
INDEX_BYTES = 8
CHUNK = 4096  # bases of one file, 256 KiB
STAGE = "bases of commitments"

_BASE_NS = 15_000  # of one derivation, for the pool to go by
_PIECE = 4096  # bases between two reports
_POINT_BYTES = 64
_CHECKSUM_BYTES = 32
_STATE = hashlib.sha256(DOMAIN + b"|points of 64 bytes|1").hexdigest()[:24]


def derive_bases(start: int, stop: int, progress: Progress | None = None) -> G1Array:
    """h_start to h_(stop - 1), computed: a pure function, the same everywhere.

    cost : about 15 us of a processor each on IFMA, of which Python hashes for 4
    Raises ValueError unless 0 <= start <= stop <= 2^64.
    """
    if not 0 <= start <= stop <= 1 << 8 * INDEX_BYTES:
        raise ValueError(f"bases {start} to {stop}: expected 0 <= start <= stop <= 2^64")
    # Here: a node that derives none stays light.
    from kernels.cpu.backend import choose_threads, find_lanes
    from kernels.cpu.msm.roots import make_roots
    from kernels.cpu.pool import Pool

    out = G1Array.zeros(stop - start)
    pool, roots = Pool(choose_threads()), make_roots(find_lanes())
    done = 0

    def part(first: int, last: int) -> None:
        out.data[done + first : done + last] = _hash_indices(
            start + done + first, start + done + last, roots
        )

    while done < len(out):
        n = min(_PIECE, len(out) - done)
        pool.ranges(n, part, cost_ns=_BASE_NS)
        done += n
        if progress is not None:
            progress(done, len(out))
    return out


def _hash_indices(start: int, stop: int, roots: Roots) -> U64:
    """The points of these indices, on one thread."""
    uniform = (
        expand_message_xmd(i.to_bytes(INDEX_BYTES, "little"), DOMAIN, UNIFORM_BYTES)
        for i in range(start, stop)
    )
    return map_to_g1(b"".join(uniform), roots).data


def load_bases(n_wires: int, progress: StageProgress = silent) -> G1Array:
    """h_0 to h_(n_wires): what this machine keeps, and what it lacks, which it then keeps.

    progress : told of what is derived only
    cost     : about 0.1 us each when they are there
    Raises ValueError for a negative number.
    """
    if n_wires < 0:
        raise ValueError(f"a vector has no {n_wires} wires")
    folder = private_directory("pedersen", _STATE)
    n_chunks = -(-(n_wires + 1) // CHUNK)
    out = G1Array.zeros(n_chunks * CHUNK)
    chunks = out.data.reshape(n_chunks, CHUNK, -1)
    lacking = [i for i in range(n_chunks) if not _read_chunk(folder, i, chunks[i])]
    for done, i in enumerate(lacking):
        chunks[i] = derive_bases(i * CHUNK, (i + 1) * CHUNK).data
        _write_chunk(folder, i, chunks[i])
        progress(STAGE, done + 1, len(lacking))
    return out[: n_wires + 1]


def _name_chunk(folder: Path, index: int) -> Path:
    return folder / f"{index:06}.g1"


def _read_chunk(folder: Path | None, index: int, out: U64) -> bool:
    """Fills uint64[CHUNK, 8] from its file; False where there is none, or it is not whole."""
    if folder is None:
        return False
    try:
        raw = _name_chunk(folder, index).read_bytes()
    except OSError:
        return False
    checksum, body = raw[:_CHECKSUM_BYTES], memoryview(raw)[_CHECKSUM_BYTES:]
    if len(body) != CHUNK * _POINT_BYTES or _compute_checksum(index, body) != checksum:
        return False
    out[:] = np.frombuffer(body, dtype="<u8").reshape(out.shape)
    return True


def _write_chunk(folder: Path | None, index: int, points: U64) -> None:
    """Keeps a chunk; if the disk refuses, the next process derives it again."""
    if folder is None:
        return
    body = points.astype("<u8", copy=False).tobytes()
    with suppress(OSError):
        checksum = _compute_checksum(index, memoryview(body))
        write_whole(_name_chunk(folder, index), [checksum, body], mode=PRIVATE, is_cache=True)


def _compute_checksum(index: int, body: memoryview) -> bytes:
    """Over the place as well, so that no file stands for another."""
    return hashlib.sha256(index.to_bytes(INDEX_BYTES, "little") + body).digest()
