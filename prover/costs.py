"""What keys and proofs cost, from the counts of a circuit: operations, seconds, memory.

Each phase is counted in a few kinds of operations, as the kernels do them; a machine is known by
the nanoseconds that it takes for one of each. `bench.suites.planning` measures both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from kernels.array import FrArray, G1Array
from kernels.backend import Backend, BackendInfo
from kernels.bn254 import G1
from prover.circuit.sizes import CircuitSizes
from prover.keys.sizes import KeyBytes

Work = Mapping["Unit", float]
"""How many operations of each kind."""


class Unit(StrEnum):
    """A kind of operation."""

    ADD_G1 = "addition in a sum of multiples, G1"
    ADD_G2 = "addition in a sum of multiples, G2"
    FIXED_G1 = "addition for a multiple of the generator, G1"
    FIXED_G2 = "addition for a multiple of the generator, G2"
    LINK = "base of a link"
    BUTTERFLY = "step of a transform, for each value"
    ENTRY = "entry of a sparse product"
    COLUMN = "row or wire, where columns are evaluated"
    POINT = "point that is read, checked and prepared"
    COMPILE = "entry that is compiled"
    WIRE = "wire of a witness"
    BYTE = "byte that is hashed or written"
    PUBLIC = "public wire of a verification"
    START = "process that starts"
    REREAD = "byte of the bases that a proof reads from their file"
    PROBE = "sum of multiples that tells how fast a machine is"


SERIAL = frozenset({Unit.COMPILE, Unit.WIRE, Unit.BYTE, Unit.PUBLIC, Unit.START, Unit.REREAD})
"""Kinds of which one thread does all."""

_SCALAR_BITS, _SMALL_BITS = 253, 12
_MAX_WINDOW = 20
_FIXED_WINDOW = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What proves: nanoseconds of one thread for an operation of each kind, and the rest.

    memory_bytes : that there are for one process; None: as much as it takes
    """

    threads: int
    memory_bytes: int | None
    speeds_ns: Mapping[Unit, float]

    @classmethod
    def of(
        cls, info: BackendInfo, *, memory_bytes: int | None, probe_s: float | None = None
    ) -> Machine:
        """The machine of a backend.

        probe_s : what `time_probe` says of it; None: it is as fast as the one that was measured
        """
        return cls(
            threads=info.n_threads,
            memory_bytes=memory_bytes,
            speeds_ns=find_speeds(info.lanes, probe_s),
        )

    def time(self, work: Work) -> float:
        """Seconds that the operations take."""
        shares = ((unit, n / (1 if unit in SERIAL else self.threads)) for unit, n in work.items())
        return sum(n * self.speeds_ns[unit] for unit, n in shares) / 1e9


# -- operations ------------------------------------------------------------------------------------


def count_compiling(sizes: CircuitSizes) -> Work:
    """Of the circuit."""
    return {Unit.COMPILE: sum(sizes.nnz) + sizes.n_rows}


def count_setup(sizes: CircuitSizes, key: KeyBytes) -> Work:
    """Of a key of a compiled circuit, until it is on the disk; bases of commitments are there."""
    n_a, n_b, n_c = sizes.occurring
    in_g1 = (n_a, n_b, n_c, sizes.domain, sizes.n_advice, sizes.n_model, sizes.n_public)
    return {
        Unit.ENTRY: sum(sizes.nnz),
        Unit.COLUMN: (sizes.domain) + sizes.n_wires,
        Unit.FIXED_G1: sum(map(count_fixed_additions, in_g1)),
        Unit.FIXED_G2: count_fixed_additions(n_b),
        Unit.LINK: sizes.n_model,
        Unit.BYTE: 2 * key.proving,
    }


def count_loading(sizes: CircuitSizes, key: KeyBytes) -> Work:
    """Of a key that is read from the disk, checked and prepared, by a process that starts."""
    return {Unit.START: 1, Unit.BYTE: key.proving, Unit.POINT: key.bases / 64}


def count_proving(sizes: CircuitSizes) -> Work:
    """Of one proof under a key that is at hand, the verification that ends it not included."""
    n_a, n_b, n_c = sizes.occurring
    in_c, in_a = sizes.n_private, sizes.n_private_in_a
    n, n_small = sizes.domain, n_a - in_a + n_c - in_c
    committed = 2 * sizes.n_model + sizes.n_advice
    full = sum(count_additions(m) for m in (in_a, in_c, n))
    return {
        Unit.WIRE: sizes.n_wires,
        Unit.ENTRY: sizes.nnz[0] + sizes.nnz[1],
        Unit.BUTTERFLY: 4 * n * (sizes.domain.bit_length() - 1),
        Unit.ADD_G1: full + count_additions(n_small + committed + n_b, _SMALL_BITS),
        Unit.ADD_G2: count_additions(n_b, _SMALL_BITS),
    }


def count_rereading(key: KeyBytes) -> Work:
    """Of the bases, by each proof whose key has them in a file."""
    return {Unit.REREAD: key.bases}


def count_verifying(sizes: CircuitSizes) -> Work:
    """Of one proof, the public wires included."""
    return {Unit.PUBLIC: sizes.n_public + _PAIRINGS_AS_WIRES}


_PAIRINGS_AS_WIRES = 2000
"""What is the same for every proof, in public wires."""


def count_additions(n: int, bits: int = _SCALAR_BITS) -> float:
    """Additions of a sum of n multiples by scalars of so many bits (`kernels.cpu.msm.pippenger`).

    Digits of c bits are sorted into buckets, one addition each; a bucket takes two more.
    """
    windows = ((bits // c + 1, c) for c in range(2, _MAX_WINDOW + 1))
    return min((n + (1 << c)) * n_windows for n_windows, c in windows)


def count_fixed_additions(n: int) -> int:
    """Additions for n multiples of one point: its table, then one for each digit."""
    bits = min(max(n.bit_length() - 5, 2), _FIXED_WINDOW)
    return -(-254 // bits) * (n + (1 << bits))


# -- memory ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What the most memory of a process consists of, beside the compiled circuit.

    start_mib      : the program with its kernels, MiB
    domain, wires  : how many scalars of 32 bytes for each row of the domain, and for each wire;
                     bases, which grow as the wires do, are among them
    """

    start_mib: float
    domain: float
    wires: float

    def measure(self, sizes: CircuitSizes) -> int:
        """Bytes at the most; compiling comes before, and takes less of what follows."""
        scalars = self.domain * (sizes.domain) + self.wires * sizes.n_wires
        used = self.start_mib * _MIB + measure_matrices(sizes) + _SCALAR_BYTES * scalars
        return int(max(used, _COMPILER_MIB * _MIB + sizes.compile_bytes))


def measure_matrices(sizes: CircuitSizes) -> int:
    """Bytes of a compiled circuit: a column and a coefficient for each entry, and where each row
    of three matrices begins."""
    return _ENTRY_BYTES * sum(sizes.nnz) + _ROW_BYTES * sizes.n_rows


_MIB = 1 << 20
_ENTRY_BYTES, _ROW_BYTES, _SCALAR_BYTES = 12, 24, 32
_COMPILER_MIB = 100
_SETUP_ROOM = {
    False: Room(start_mib=195, domain=0.0, wires=11.3),
    True: Room(start_mib=178, domain=3.0, wires=7.7),
}
_PROVING_ROOM = {
    False: Room(start_mib=165, domain=7.7, wires=14.0),
    True: Room(start_mib=200, domain=0.0, wires=11.1),
}
"""By whether bases stay in their file; measured by `bench.suites.planning`."""


def measure_setup(sizes: CircuitSizes, *, streams: bool) -> int:
    """The most bytes that making a key takes, the program included."""
    return _SETUP_ROOM[streams].measure(sizes)


def measure_proving(sizes: CircuitSizes, *, streams: bool) -> int:
    """The most bytes that a proof takes, its key and the program included."""
    return _PROVING_ROOM[streams].measure(sizes)


def measure_foreign(zkey_bytes: int) -> int:
    """The most bytes that a proof under a key of that many takes, its key and the program
    included."""
    return int(_PROVING_ROOM[False].start_mib * _MIB + _FOREIGN_ROOM * zkey_bytes)


_FOREIGN_ROOM = 2.5
"""Of 2^16 and 2^17 dense rows it is 2.0, and less of bits."""


# -- speeds ----------------------------------------------------------------------------------------

REFERENCE_NS: Mapping[str, Mapping[Unit, float]] = {
    "ifma": {
        Unit.ADD_G1: 59.7,
        Unit.ADD_G2: 406,
        Unit.FIXED_G1: 85,
        Unit.FIXED_G2: 216,
        Unit.LINK: 19900,
        Unit.BUTTERFLY: 8.69,
        Unit.ENTRY: 179,
        Unit.COLUMN: 709,
        Unit.POINT: 476,
        Unit.COMPILE: 231,
        Unit.WIRE: 182,
        Unit.BYTE: 1.32,
        Unit.PUBLIC: 19700,
        Unit.START: 1e7,
        Unit.REREAD: 3,
        Unit.PROBE: 1.25e7,
    },
}
"""By lanes: nanoseconds of one thread of a quiet machine; `python -m bench.suites.planning fit`
finds them."""

_PROBE_TERMS, _PROBE_RUNS = 1 << 13, 8


def time_probe(backend: Backend, clock: Callable[[], float]) -> float:
    """Seconds of one sum of full-size multiples here, the best of eight; a fifth of a second."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << 63, size=(_PROBE_TERMS, 4), dtype=np.uint64)
    words[:, 3] >>= np.uint64(3)  # below 2^252, hence below r
    scalars = FrArray(words)
    bases = backend.fix_g1(backend.fixed_base_g1(scalars, G1Array.from_ints([G1])))
    backend.msm_g1(scalars, bases)  # loads its kernels
    times = []
    for _ in range(_PROBE_RUNS):
        started = clock()
        backend.msm_g1(scalars, bases)
        times.append(clock() - started)
    return min(times)


def find_speeds(lanes: str, probe_s: float | None = None) -> dict[Unit, float]:
    """The speeds of these lanes, or of the usual ones where no others are known.

    probe_s : what `time_probe` says of the machine; None: as the machine that the speeds are of
    """
    known = REFERENCE_NS.get(lanes, REFERENCE_NS[_USUAL_LANES])
    factor = 1.0 if probe_s is None else probe_s * 1e9 / known[Unit.PROBE]
    return {unit: factor * ns for unit, ns in known.items()}


_USUAL_LANES = "ifma"
