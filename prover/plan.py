"""What proofs will take, before anything starts: rows, key, memory, seconds, how many there are.

    plan_proofs   model's architecture, number of samples, machine -> `Plan`
    plan_circuit  sizes of one circuit, such as a training step's, machine -> `Plan`

Samples that one circuit cannot hold in this machine's memory are cut into shards, the fewest that
fit; a key whose bases do not fit beside the rest stays in its file. What fits in no way is refused,
with what to change. Pure: nothing is compiled, read or measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from prover.circuit.sizes import MAX_ROWS, CircuitSizes, compute_sizes
from prover.costs import (
    Machine,
    count_compiling,
    count_loading,
    count_proving,
    count_rereading,
    count_setup,
    count_verifying,
    measure_proving,
    measure_setup,
)
from prover.errors import DoesNotFit
from prover.keys.sizes import KeyBytes, count_key_bytes
from prover.model.network import Architecture
from prover.shards import MAX_SHARDS, count_shards

MIN_SAMPLES = 1
USUAL_SAMPLES = 1 << 10
"""The most samples of a circuit that nobody asked otherwise for; more make more shards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Of a first proof; what comes again, `prove` alone.

    compile, setup : of circuit and key, once for all proofs under them
    load           : of the key, once for each process
    prove, verify  : of all shards, one after the other
    """

    compile: float
    setup: float
    load: float
    prove: float
    verify: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What proofs about all samples will take on one machine.

    architecture : or another name of what the circuit is of
    n_total, n_samples, n_shards : samples in all, samples of the circuit, proofs
    streams     : whether the key's bases stay in their file
    setup_bytes, prove_bytes, memory_bytes : memory at the most, and what there is; None: unknown
    """

    architecture: str
    n_total: int
    n_samples: int
    n_shards: int
    sizes: CircuitSizes
    key: KeyBytes
    streams: bool
    setup_bytes: int
    prove_bytes: int
    memory_bytes: int | None
    seconds: Seconds

    @property
    def peak_bytes(self) -> int:
        """Memory at the most, of the key's making and of proofs."""
        return max(self.setup_bytes, self.prove_bytes)

    def to_json(self) -> dict[str, Any]:
        """The numbers, by the names that they have in answers and in `--json`."""
        return {
            "architecture": self.architecture,
            "samples": self.n_total,
            "samples_per_proof": self.n_samples,
            "proofs": self.n_shards,
            "rows": self.sizes.n_rows,
            "domain": self.sizes.domain,
            "parameters": self.sizes.n_model,
            "key_bytes": self.key.proving,
            "verifying_key_bytes": self.key.verifying,
            "key_streams": self.streams,
            "setup_memory_bytes": self.setup_bytes,
            "prove_memory_bytes": self.prove_bytes,
            "memory_bytes": self.memory_bytes,
            "seconds": asdict(self.seconds),
        }

    def describe(self, *, has_key: bool = False) -> str:
        """One line for people, before the work begins; `has_key`: no key is made."""
        s, proofs = self.seconds, ""
        if self.n_shards > 1:
            proofs = f"{self.n_shards} proofs of up to {self.n_samples} samples: "
        streams = " read from its file as it is used" if self.streams else ""
        times = [f"{write_seconds(s.compile + s.load + s.prove)} for the proof"]
        if not has_key:
            times.insert(0, f"{write_seconds(s.compile + s.setup)} for the key")
        return (
            f"{proofs}{self.sizes.n_rows} rows on {self.sizes.domain} points, "
            f"key of {write_bytes(self.key.proving)}{streams}, "
            f"memory up to {write_bytes(self.prove_bytes if has_key else self.peak_bytes)}, "
            f"about {', '.join(times)}"
        )


def plan_proofs(
    architecture: Architecture,
    n_total: int,
    machine: Machine,
    *,
    n_samples: int | None = None,
    most: int = USUAL_SAMPLES,
    max_rows: int = MAX_ROWS,
    is_padded: bool = False,
) -> Plan:
    """The plan with the fewest shards that fits the machine.

    n_total   : samples to prove, at least 1
    n_samples : of the circuit; default as many as there are, up to `most` and what fits
    is_padded : as of `CircuitSizes`
    raises    : ArchitectureInvalid as `compute_sizes`; DoesNotFit, with what to do about it
    """

    def consider(n: int) -> Plan:
        return _plan(architecture, n_total, machine, n, is_padded)

    wanted = n_samples or _share(n_total, most)
    plan = consider(wanted)
    lack = _find_lack(plan, max_rows)
    if lack is None:
        return plan
    most_shards = min(count_shards(n_total, MIN_SAMPLES), MAX_SHARDS)
    least = consider(_share_of(n_total, most_shards))
    if wanted <= least.n_samples or _find_lack(least, max_rows) is not None:
        raise DoesNotFit(f"{lack}; {_advise(least, max_rows)}")
    if n_samples is not None:
        fitting = _find_boundary(
            lambda n: _find_lack(consider(n), max_rows) is None, least.n_samples, wanted
        )
        raise DoesNotFit(
            f"{lack}; take fewer samples, up to {fitting} a proof: more are proven in shards"
        )

    def fits(n_shards: int) -> bool:
        return _find_lack(consider(_share_of(n_total, n_shards)), max_rows) is None

    bad, good = plan.n_shards, min(2 * plan.n_shards, most_shards)
    while good < most_shards and not fits(good):
        bad, good = good, min(2 * good, most_shards)
    return consider(_share_of(n_total, _find_boundary(fits, good, bad)))


def plan_circuit(name: str, sizes: CircuitSizes, machine: Machine) -> Plan:
    """The plan of one proof of a circuit that is not cut into shards.

    name   : of the circuit, in words
    raises : DoesNotFit
    """
    plan = _estimate(name, sizes, machine, n_total=1, n_samples=1)
    if plan.memory_bytes is not None and plan.peak_bytes > plan.memory_bytes:
        needs, has = write_bytes(plan.peak_bytes), write_bytes(plan.memory_bytes)
        raise DoesNotFit(
            f"the circuit of {name} takes {needs} of memory, and there are {has}; take a smaller "
            "network or fewer samples a batch, or more memory"
        )
    return plan


def _share(n_total: int, most: int) -> int:
    """Samples of the largest of the fewest shards with at most so many."""
    return _share_of(n_total, count_shards(n_total, most))


def _share_of(n_total: int, n_shards: int) -> int:
    """Samples of the largest of so many shards."""
    return -(-n_total // n_shards)


def _find_boundary(fits: Callable[[int], bool], good: int, bad: int) -> int:
    """The number that fits and is nearest to one that does not, between one of each."""
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good


def must_stream(sizes: CircuitSizes, memory_bytes: int | None) -> bool:
    """Whether a key's bases do not fit beside the rest, and have to stay in their file."""
    peak = max(measure_setup(sizes, streams=False), measure_proving(sizes, streams=False))
    return memory_bytes is not None and peak > memory_bytes


def measure_circuit(sizes: CircuitSizes, memory_bytes: int | None) -> int:
    """The most bytes that a proof takes whose key may have to be made first, the program included.

    memory_bytes : where they are too few, the key's bases stay in their file
    """
    streams = must_stream(sizes, memory_bytes)
    return max(measure_setup(sizes, streams=streams), measure_proving(sizes, streams=streams))


_size = lru_cache(256)(compute_sizes)
"""A circuit with many layers takes half a second, and is asked for again and again."""


def _plan(
    architecture: Architecture, n_total: int, machine: Machine, n_samples: int, is_padded: bool
) -> Plan:
    sizes = replace(_size(architecture, n_samples), is_padded=is_padded)
    return _estimate(architecture.name, sizes, machine, n_total=n_total, n_samples=n_samples)


def _estimate(
    name: str, sizes: CircuitSizes, machine: Machine, *, n_total: int, n_samples: int
) -> Plan:
    key, n_shards = count_key_bytes(sizes), count_shards(n_total, n_samples)
    streams = must_stream(sizes, machine.memory_bytes)
    reading_s = machine.time(count_rereading(key)) if streams else 0.0
    return Plan(
        architecture=name,
        n_total=n_total,
        n_samples=n_samples,
        n_shards=n_shards,
        sizes=sizes,
        key=key,
        streams=streams,
        setup_bytes=measure_setup(sizes, streams=streams),
        prove_bytes=measure_proving(sizes, streams=streams),
        memory_bytes=machine.memory_bytes,
        seconds=Seconds(
            compile=machine.time(count_compiling(sizes)),
            setup=machine.time(count_setup(sizes, key)),
            load=machine.time(count_loading(sizes, key)),
            prove=n_shards * (machine.time(count_proving(sizes)) + reading_s),
            verify=n_shards * machine.time(count_verifying(sizes)),
        ),
    )


# -- what does not fit -----------------------------------------------------------------------------


def _find_lack(plan: Plan, max_rows: int) -> str | None:
    """Why a plan cannot be followed; None when it can."""
    sizes, what = plan.sizes, f"the circuit of {plan.architecture} on {plan.n_samples} samples"
    if sizes.n_rows > max_rows:
        return f"{what} has {sizes.n_rows} rows, and the limit is {max_rows}"
    if plan.memory_bytes is not None and plan.peak_bytes > plan.memory_bytes:
        needs, has = write_bytes(plan.peak_bytes), write_bytes(plan.memory_bytes)
        return f"{what} takes {needs} of memory, and there are {has}"
    if plan.n_shards > MAX_SHARDS:
        return (
            f"{plan.n_total} samples make {plan.n_shards} shards of {plan.n_samples}, and a proof "
            f"has up to {MAX_SHARDS}"
        )
    return None


def _advise(least: Plan, max_rows: int) -> str:
    """What to change where no number of samples fits, by what most rows are for.

    least : the plan of the smallest circuit
    """
    if _find_lack(least, max_rows) is None:
        return f"take {least.n_samples} samples a proof, or more"
    n_tables = sum(least.sizes.tables.values())
    if n_tables > 2 * least.sizes.n_model:
        return f"tables alone take {n_tables} rows: take smaller q_bits when you quantize"
    return (
        f"{least.sizes.n_model} parameters alone take {least.sizes.n_rows} rows: take a smaller "
        "network, or more memory"
    )


def write_bytes(n: float) -> str:
    """Bytes for people."""
    return f"{n / (1 << 30):.1f} GiB" if n >= 1 << 30 else f"{n / (1 << 20):.0f} MiB"


def write_seconds(s: float) -> str:
    """Seconds for people."""
    return f"{s / 60:.0f} min" if s >= 120 else f"{s:.0f} s" if s >= 10 else f"{s:.1f} s"
