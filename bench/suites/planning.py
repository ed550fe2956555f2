"""What keys and proofs really take, beside what `prover.plan` says before.

`python -m bench.suites.planning fit` measures every net of NETS, each phase in a process of its
own, and prints the speeds of `prover.costs` that fit best, then how far the plan is off with them.
`setup` and `prove` are those processes: they print one JSON object.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from bench.isolated import MIB, read_status_bytes, run_child
from bench.scratch import Scratch
from kernels.backend import get_backend
from prover.circuit.accuracy import compile_accuracy
from prover.circuit.sizes import CircuitSizes, compute_sizes
from prover.costs import (
    SERIAL,
    Machine,
    Room,
    Unit,
    Work,
    count_compiling,
    count_loading,
    count_proving,
    count_rereading,
    count_setup,
    count_verifying,
    measure_matrices,
    time_probe,
)
from prover.costs import measure_proving as measure_proving_room
from prover.costs import measure_setup as measure_setup_room
from prover.groth16.prove import prepare
from prover.groth16.setup import setup_accuracy
from prover.keys.card import KeyCard
from prover.keys.folder import PROVING_NAME, load_proving_key, load_verifying_half, save_key
from prover.keys.sizes import KeyBytes, count_key_bytes
from prover.keys.streamed import Keep, keep_in_memory, keeping_in_file
from prover.model.network import Architecture, QuantizedModel
from prover.model.presets import parse_architecture
from prover.pedersen.bases import load_bases
from prover.pedersen.commitment import Committer, draw_blinding
from prover.pipeline import commit_job, prove_job
from prover.wire.statement import Occasion

OCCASION = Occasion(
    chain_id=b"bench", task_id=b"plan", round_index=0, commit_height=0, client_key=b"bench"
)
NETS = (
    ("mlp-784-128-10", 512),
    ("mlp-64-32-10", 2048),
    ("lenet5", 8),
    ("lenet-small", 16),
)
"""Architectures and samples of circuits with 2^18 to 2^19 rows."""
QUICK_NETS = (("mlp-16-8-3", 16),)

STAGES: Mapping[str, tuple[Unit, ...]] = {
    "compile": (Unit.COMPILE,),
    "columns": (Unit.ENTRY, Unit.COLUMN),
    "public basis": (Unit.FIXED_G1,),
    "A query": (Unit.FIXED_G1,),
    "B query in G1": (Unit.FIXED_G1,),
    "B query in G2": (Unit.FIXED_G2,),
    "C query": (Unit.FIXED_G1,),
    "quotient query": (Unit.FIXED_G1,),
    "advice basis": (Unit.FIXED_G1,),
    "linked basis": (Unit.FIXED_G1,),
    "link": (Unit.LINK,),
    "save": (Unit.BYTE,),
    "load": (Unit.START, Unit.POINT, Unit.BYTE),
    "witness 1": (Unit.WIRE,),
    "witness 2": (Unit.WIRE,),
    "commit": (Unit.ADD_G1,),
    "products": (Unit.ENTRY,),
    "transforms": (Unit.BUTTERFLY,),
    "A": (Unit.ADD_G1,),
    "B in G1": (Unit.ADD_G1,),
    "B in G2": (Unit.ADD_G2,),
    "C": (Unit.ADD_G1,),
    "C quotient": (Unit.ADD_G1,),
    "verify": (Unit.PUBLIC,),
}
"""What the stages that are reported consist of; what is reported beside them takes no time."""


class StageTimes:
    """Seconds of each stage, as a `StageProgress`; n_rows : of the circuit that was compiled."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.n_rows = 0
        self._stage, self._since = "", perf_counter()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = perf_counter()
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now


# -- the processes ---------------------------------------------------------------------------------


def measure_setup(name: str, n_samples: int, folder: Path, *, streams: bool) -> StageTimes:
    """Makes a key in the folder. The bases of its link are on this machine's disk before."""
    times, architecture = StageTimes(), parse_architecture(name)
    backend = get_backend("cpu")
    with ExitStack() as stack:
        keep: Keep = keep_in_memory
        if streams:
            keep = stack.enter_context(keeping_in_file(folder.with_suffix(".bases")))
        times("compile", 0, 1)
        accuracy = compile_accuracy(architecture, n_samples)
        times.n_rows = accuracy.r1cs.n_rows
        key = setup_accuracy(
            accuracy,
            random_bytes=secrets.token_bytes,
            backend=backend,
            progress=times,
            keep=keep,
        )
        times("save", 0, 1)
        save_key(key, folder, KeyCard.of(accuracy))
    times("", 1, 1)
    return times


def measure_proof(name: str, n_samples: int, folder: Path, *, streams: bool) -> StageTimes:
    """Makes one proof, which is verified, under the key in the folder."""
    times, architecture = StageTimes(), parse_architecture(name)
    backend = get_backend("cpu")
    times("compile", 0, 1)
    accuracy = compile_accuracy(architecture, n_samples)
    times.n_rows = accuracy.r1cs.n_rows
    times("load", 0, 1)
    verifying, _ = load_verifying_half(folder)
    key = prepare(load_proving_key(folder, verifying, streams=streams), backend)
    model, rng = make_model(architecture), np.random.default_rng(1)
    committer, blinding = (
        Committer(architecture.n_parameters, backend),
        draw_blinding(secrets.token_bytes),
    )
    commitment = commit_job(model, blinding, committer)
    times("draw samples", 0, 1)
    images = rng.integers(0, 256, size=(n_samples, *architecture.input_shape), dtype=np.uint8)
    labels = rng.integers(0, architecture.n_classes, size=n_samples, dtype=np.uint8)
    prove_job(
        accuracy,
        key,
        model,
        images=images,
        labels=labels,
        occasion=OCCASION,
        commitment=commitment,
        blinding=blinding,
        random_bytes=secrets.token_bytes,
        backend=backend,
        clock=perf_counter,
        progress=times,
    )
    times("", 1, 1)
    return times


def make_model(architecture: Architecture) -> QuantizedModel:
    """A model of small random numbers, in all ranges whatever the architecture."""
    rng = np.random.default_rng(2)
    return QuantizedModel(
        architecture=architecture,
        weights=tuple(
            rng.integers(-1, 2, size=shape, dtype=np.int8) for shape in architecture.weight_shapes
        ),
        biases=tuple(
            rng.integers(-64, 65, size=shape, dtype=np.int32) for shape in architecture.bias_shapes
        ),
    )


def main(arguments: Sequence[str]) -> None:
    """Entry of the processes, and of the fit."""
    match arguments:
        case ["setup" | "prove" as mode, name, n_samples, folder, "whole" | "streamed" as kind]:
            measure = measure_setup if mode == "setup" else measure_proof
            times = measure(name, int(n_samples), Path(folder), streams=kind == "streamed")
            found = {
                "stages_s": times.seconds,
                "peak_bytes": read_status_bytes("VmHWM"),
                "rows": times.n_rows,
                "key_bytes": (Path(folder) / PROVING_NAME).stat().st_size,
            }
            print(json.dumps(found))
        case ["fit"]:
            print_fit(*([Measured(name, n, kind) for name, n in NETS] for kind in (False, True)))
        case _:
            raise SystemExit("usage: python -m bench.suites.planning fit")


# -- what they found -------------------------------------------------------------------------------


@dataclass(eq=False)
class Measured:
    """A key and a proof of one circuit; measured when first asked for."""

    name: str
    n_samples: int
    streams: bool = False

    @cached_property
    def sizes(self) -> CircuitSizes:
        return compute_sizes(parse_architecture(self.name), self.n_samples)

    @cached_property
    def key(self) -> KeyBytes:
        return count_key_bytes(self.sizes)

    @cached_property
    def found(self) -> dict[str, dict[str, Any]]:
        """Of each process, stages and peak. Raises Unavailable."""
        load_bases(self.sizes.n_model)
        scratch = Scratch()
        folder = scratch.file("key")
        kind = "streamed" if self.streams else "whole"
        return {
            mode: run_child(
                mode,
                self.name,
                str(self.n_samples),
                str(folder),
                kind,
                module="bench.suites.planning",
            )
            for mode in ("setup", "prove")
        }

    def add_up(self, mode: str, *stages: str) -> float:
        """Seconds of these stages; of all that count, without."""
        found = self.found[mode]["stages_s"]
        return float(sum(found.get(stage, 0.0) for stage in stages or STAGES))

    def time_proof(self) -> float:
        """Seconds of a proof under a key that is at hand, not verified."""
        return self.add_up("prove") - self.add_up("prove", "compile", "load", "verify")

    def list_work(self) -> Iterable[tuple[Work, float]]:
        """Each phase with the seconds that it took."""
        sizes, key = self.sizes, self.key
        yield count_compiling(sizes), self.add_up("setup", "compile")
        yield count_setup(sizes, key), self.add_up("setup") - self.add_up("setup", "compile")
        yield count_loading(sizes, key), self.add_up("prove", "load")
        again = count_rereading(key) if self.streams else {}
        yield {**count_proving(sizes), **again}, self.time_proof()
        yield count_verifying(sizes), self.add_up("prove", "verify")


def fit_speeds(
    nets: Sequence[Measured], streamed: Sequence[Measured], threads: int
) -> dict[Unit, float]:
    """Nanoseconds of a thread for each kind of operation, from the stages that consist of it.

    streamed : the same nets with their bases in a file; what a proof takes longer is for reading
    What a stage of two kinds takes is that of the kind known by another one, and the rest; a load
    is a start and its points.
    """
    entries = [(sum(net.sizes.nnz[:2]), net.add_up("prove", "products")) for net in nets]
    saved = [(net.key.proving, net.add_up("setup", "save")) for net in nets]
    speeds = {
        Unit.ENTRY: _divide(entries, threads),
        Unit.BYTE: _divide(saved, 1),
    }
    for unit in Unit:
        stages = [stage for stage, units in STAGES.items() if units == (unit,)]
        if unit not in speeds and stages:
            pairs = [(_count(net, unit), _time(net, stages)) for net in nets]
            speeds[unit] = _divide(pairs, 1 if unit in SERIAL else threads)
    columns = []
    for net in nets:
        known = sum(net.sizes.nnz) * speeds[Unit.ENTRY] / threads / 1e9
        n = count_setup(net.sizes, net.key)[Unit.COLUMN]
        columns.append((n, net.add_up("setup", "columns") - known))
    speeds[Unit.COLUMN] = _divide(columns, threads)
    loads = [(net.key.bases / 64, _rest_of_load(net, speeds)) for net in nets]
    slope, least = np.polyfit([n for n, _ in loads], [s for _, s in loads], deg=1)
    if least < 0:  # no start takes less than nothing: then all is for points
        slope, least = sum(n * s for n, s in loads) / sum(n * n for n, _ in loads), 0.0
    speeds[Unit.POINT] = max(0.0, float(slope)) * threads * 1e9
    speeds[Unit.START] = float(least) * 1e9
    slower = [
        (net.key.bases, from_file.time_proof() - net.time_proof())
        for net, from_file in zip(nets, streamed, strict=True)
    ]
    speeds[Unit.REREAD] = _divide(slower, 1)
    speeds[Unit.PROBE] = time_probe(get_backend("cpu"), perf_counter) * 1e9
    return {unit: speeds[unit] for unit in Unit}


def _rest_of_load(net: Measured, speeds: Mapping[Unit, float]) -> float:
    return net.add_up("prove", "load") - net.key.proving * speeds[Unit.BYTE] / 1e9


def _divide(pairs: Sequence[tuple[float, float]], threads: int) -> float:
    """Nanoseconds of a thread for one of all operations, from pairs of their number and seconds."""
    number, seconds = sum(n for n, _ in pairs), sum(s for _, s in pairs)
    return max(0.0, seconds) * threads * 1e9 / number


def _count(net: Measured, unit: Unit) -> float:
    return sum(work.get(unit, 0.0) for work, _ in net.list_work())


def _time(net: Measured, stages: Sequence[str]) -> float:
    modes = {"setup": 0.0, "prove": 0.0}
    for mode in modes:
        modes[mode] = net.add_up(mode, *stages)
    # Both processes compile; the count is of one.
    return modes["setup"] if "compile" in stages else sum(modes.values())


def fit_room(nets: Sequence[Measured], mode: str) -> Room:
    """What the peaks of these processes consist of; no part is negative."""
    peaks = np.array([net.found[mode]["peak_bytes"] for net in nets]) / MIB
    matrices = np.array([measure_matrices(net.sizes) for net in nets]) / MIB
    parts = np.array(
        [(1, 32 * net.sizes.domain / MIB, 32 * net.sizes.n_wires / MIB) for net in nets]
    )
    used = [0, 1, 2]
    while True:
        scaled = parts[:, used] / peaks[:, None]
        found = np.linalg.lstsq(scaled, (peaks - matrices) / peaks, rcond=None)[0]
        if found.min() >= 0:
            break
        used.pop(int(found.argmin()))
    start, domain, wires = (dict(zip(used, found, strict=True)).get(i, 0.0) for i in range(3))
    return Room(start_mib=start, domain=domain, wires=wires)


def print_fit(whole: Sequence[Measured], streamed: Sequence[Measured]) -> None:
    """The speeds and rooms, as `prover.costs` has them, and how far off its own are."""
    info = get_backend("cpu").info()
    for mode in ("setup", "prove"):
        for streams, nets in ((False, whole), (True, streamed)):
            room = fit_room(nets, mode)
            print(
                f"{mode}: {streams}: Room(start_mib={room.start_mib:.0f}, "
                f"domain={room.domain:.1f}, wires={room.wires:.1f}),"
            )
    speeds = fit_speeds(whole, streamed, info.n_threads)
    print(f'"{info.lanes}": {{')
    for unit, ns in speeds.items():
        print(f"    Unit.{unit.name}: {ns:.4g},")
    print("},")
    machine = Machine(threads=info.n_threads, memory_bytes=None, speeds_ns=speeds)
    names = ("compile", "setup", "load", "prove", "verify")
    for net in [*whole, *streamed]:
        pairs = zip(names, net.list_work(), strict=True)
        shown = [f"{name} {machine.time(w):.2f} / {s:.2f} s" for name, (w, s) in pairs]
        rooms = {"setup": measure_setup_room, "prove": measure_proving_room}
        for mode, measure_room in rooms.items():
            peak = net.found[mode]["peak_bytes"]
            planned = measure_room(net.sizes, streams=net.streams)
            shown.append(f"{mode} {planned >> 20} / {peak >> 20} MiB")
        kind = " streamed" if net.streams else ""
        print(f"{net.name} on {net.n_samples}{kind}, planned / measured: {', '.join(shown)}")


if __name__ == "__main__":
    main(sys.argv[1:])
