"""Suite `proof`: accuracy of a trained 784-128-10 MNIST model, and foreign Groth16 keys.

Every time is of proofs that an independent check accepts, and refuses for a false statement. Keys
are on disk, caches warm. Lanes and threads stand in `params`. Peers run in the same run: ezkl on
the same network, ten samples in one proof; snarkjs and rapidsnark on the same key and witness. Of
rapidsnark it is always a process from start to end, beside our processes and our warm proofs.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from bench.errors import Unavailable
from bench.foreign import BINARY, DENSE, ForeignBench
from bench.isolated import MIB, run_child
from bench.peers import ezkl, rapidsnark, snarkjs
from bench.program import PROGRAM
from bench.proving import KEYS, PROVEN, AccuracyBench, decode, randomize_again
from bench.registry import BenchCase, Suite, Task
from bench.scratch import Scratch
from bench.suites.kernels import Engine
from kernels.backend import Backend, get_backend
from prover.foreign import prove_foreign
from prover.formats.json_io import read_proof, read_public
from prover.groth16.prove import prepare
from prover.keys.folder import save_key

MODEL_NAME = "mlp-784-128-10"
BATCH = 64
PROCESS_LIMIT_S = 600
TABLE_BYTES = 8 * 64  # for each row of a foreign key: eight multiples in G1, four in G2
Maker = Callable[[], Task[Any]]


class Sizes(NamedTuple):
    """Samples per proof, samples of the large test set, rows of foreign circuits (of the largest,
    of others), peers.
    """

    samples: int
    large: int
    foreign_lg: int
    smaller_lg: tuple[int, ...]
    with_peers: bool


FULL = Sizes(samples=1024, large=10_000, foreign_lg=18, smaller_lg=(14, 16), with_peers=True)
QUICK = Sizes(samples=32, large=96, foreign_lg=12, smaller_lg=(8, 10), with_peers=False)


class Builder:
    """Makes the cases; circuit, key, commitment and files are made when first needed.

    make_backend, max_bytes : see `AccuracyBench`
    """

    def __init__(
        self,
        sizes: Sizes,
        keys: Path = KEYS,
        *,
        make_backend: Callable[[], Backend] = get_backend,
        max_bytes: int | None = None,
    ) -> None:
        self.sizes = sizes
        self.accuracy = AccuracyBench(
            sizes.samples, keys, make_backend=make_backend, max_bytes=max_bytes
        )
        lg_n = sizes.foreign_lg
        self.dense = ForeignBench(DENSE, lg_n, keys, make_backend=make_backend)
        self.binary = ForeignBench(BINARY, lg_n, keys, make_backend=make_backend)
        self.smaller = [
            ForeignBench(kind, lg_n, keys, make_backend=make_backend)
            for lg_n in sizes.smaller_lg
            for kind in (DENSE, BINARY)
        ]
        self.n = sizes.samples

    @cached_property
    def engine(self) -> dict[str, int | str]:
        return Engine().params()

    def cases(self) -> list[BenchCase]:
        """Every case, in the order of the table."""
        return [
            *self.circuit(),
            *self.keys(),
            *self.proofs(),
            *self.verifications(),
            *self.foreign(),
        ]

    def case(
        self,
        suffix: str,
        unit: str,
        make: Maker,
        expect: object,
        *,
        peers: dict[str, Maker] | None = None,
        per: int = 1,
        n_max: int = 5,
        **params: int | str,
    ) -> BenchCase:
        return BenchCase(
            id=f"proof.{suffix}",
            params={"model": MODEL_NAME, "samples": self.n, **self.engine, **params},
            unit=unit,
            make=make,
            expect=lambda: expect,
            peers=peers if peers and self.sizes.with_peers else {},
            per=per,
            n_max=n_max,
        )

    # -- circuit and key -------------------------------------------------------------------------
    def circuit(self) -> list[BenchCase]:
        """Rows; the answer is that labelled blocks hold every row and the domain holds them all."""

        def task(count: Callable[[int], float]) -> Task[Any]:
            def answer(n_rows: int) -> bool:
                circuit = self.accuracy.circuit
                in_blocks = sum(block.size for block in circuit.circuit.row_blocks)
                return in_blocks == n_rows <= circuit.r1cs.domain

            return Task(run=lambda: self.accuracy.circuit.r1cs.n_rows, answer=answer, reading=count)

        return [
            self.case(f"rows.n{self.n}", "rows", lambda: task(float), True, n_max=1),
            self.case(
                f"rows_per_sample.n{self.n}",
                "rows/sample",
                lambda: task(lambda n_rows: n_rows / self.n),
                True,
                n_max=1,
            ),
        ]

    def keys(self) -> list[BenchCase]:
        """Setup, by its own clock so that one run is enough; then what it left on disk."""

        def set_up() -> tuple[Path, float]:
            assert self.accuracy.circuit.digest, "the circuit is compiled before the clock starts"
            start = perf_counter()
            key = self.accuracy.make_key()
            elapsed_s = perf_counter() - start
            save_key(key, self.accuracy.key_folder, self.accuracy.card)
            return self.accuracy.key_folder, elapsed_s

        def is_whole(_: Path) -> bool:
            key = self.accuracy.load_key()
            return key.verifying.circuit_digest == self.accuracy.circuit.digest

        setup = Task(run=set_up, answer=lambda r: is_whole(r[0]), reading=lambda r: r[1])
        size = Task(
            run=self.accuracy.key_bytes,
            answer=lambda _: is_whole(self.accuracy.key_folder),
            reading=lambda n_bytes: n_bytes / MIB,
        )
        return [
            self.case(f"setup.n{self.n}", "s", lambda: setup, True, n_max=1),
            self.case(f"key.n{self.n}", "MiB", lambda: size, True, n_max=1),
        ]

    # -- proofs ----------------------------------------------------------------------------------
    def prove(self, *, reading: Callable[[bytes], float] | None = None) -> Task[Any]:
        """One shard from the model and the samples: witness, proof, its own check."""
        bench = self.accuracy
        images, labels = bench.samples(self.n)
        inputs = bench.inputs(images, labels)
        assert len(bench.commitment.d) == 1, "made here, so that no proof pays for it"
        return Task(
            run=lambda: bench.prove(images, labels).envelope,
            answer=lambda envelope: bench.judge(envelope, inputs),
            reading=reading,
        )

    def prove_large(self) -> Task[Any]:
        """Shards under one model commitment, verified as one batch, by its own clock."""
        bench = self.accuracy
        images, labels = bench.samples(self.sizes.large)
        starts = range(0, len(labels), self.n)
        shards = [bench.inputs(images[s : s + self.n], labels[s : s + self.n]) for s in starts]
        assert len(bench.commitment.d) == 1, "made here, so that no proof pays for it"

        def run() -> tuple[list[bytes], float]:
            start = perf_counter()
            envelopes = bench.prove_shards(images, labels)
            return envelopes, perf_counter() - start

        def answer(result: tuple[list[bytes], float]) -> list[bool]:
            envelopes, _ = result
            claimed = sum(decode(e).statement.claimed_correct for e in envelopes)
            moved = [*envelopes[1:], envelopes[0]]  # each beside the data of another
            return [
                all(bench.verify_all(envelopes, shards)),
                any(bench.verify(e, s) for e, s in zip(moved, shards, strict=True)),
                claimed == bench.count_correct(images, labels),
            ]

        return Task(run=run, answer=answer, reading=lambda r: r[1])

    def proofs(self) -> list[BenchCase]:
        memory: Task[Any] = Task(
            run=lambda: run_child(str(self.n), module="bench.proving"),
            answer=lambda r: r["answers"],
            reading=lambda r: float(r["value"]),
        )
        peers: dict[str, Maker] = {"ezkl": partial(ezkl.prove_task, self.accuracy)}
        large = self.sizes.large
        return [
            self.case(f"prove.n{self.n}", "s", self.prove, PROVEN),
            self.case(
                f"prove_per_sample.n{self.n}",
                "s/sample",
                self.prove,
                PROVEN,
                peers=peers,
                per=self.n,
            ),
            self.case(f"prove_large.n{large}", "s", self.prove_large, PROVEN, n_max=1, total=large),
            self.case(f"memory.prove.n{self.n}", "MiB", lambda: memory, PROVEN, n_max=1),
            self.case(
                f"proof_bytes.n{self.n}",
                "B",
                lambda: self.prove(reading=lambda envelope: len(decode(envelope).proof)),
                PROVEN,
                n_max=1,
            ),
        ]

    def verifications(self) -> list[BenchCase]:
        bench = self.accuracy

        def envelope_and_inputs() -> tuple[bytes, Any]:
            images, labels = bench.samples(self.n)
            return bench.prove(images, labels).envelope, bench.inputs(images, labels)

        def one() -> Task[Any]:
            envelope, inputs = envelope_and_inputs()
            return Task(
                run=lambda: bench.verify(envelope, inputs),
                answer=lambda _: bench.judge(envelope, inputs),
            )

        def batch() -> Task[Any]:
            envelope, inputs = envelope_and_inputs()
            envelopes = randomize_again(envelope, BATCH, bench.backend)
            mixed = [*envelopes[:-1], envelopes[-1][:-1] + bytes([envelopes[-1][-1] ^ 1])]
            return Task(
                run=lambda: bench.verify_all(envelopes, [inputs]),
                answer=lambda verdicts: [
                    len(verdicts) == len(set(envelopes)) == BATCH and all(verdicts),
                    bench.verify_all(mixed, [inputs])[-1],
                    all(bench.verify_all(mixed, [inputs])[:-1]),
                ],
            )

        return [
            self.case(f"verify.n{self.n}", "ms", one, PROVEN, n_max=31),
            self.case(
                f"verify_each_of_{BATCH}.n{self.n}",
                "ms/proof",
                batch,
                PROVEN,
                per=BATCH,
                proofs=BATCH,
            ),
        ]

    # -- foreign keys ----------------------------------------------------------------------------
    def foreign(self) -> list[BenchCase]:
        lg_n = self.sizes.foreign_lg
        rapid: dict[ForeignBench, dict[str, Maker]] = {
            b: {"rapidsnark": partial(rapidsnark.prove_task, b)} for b in self.foreign_keys()
        }
        dense, binary = self.dense, self.binary
        both: dict[str, Maker] = {**rapid[dense], "snarkjs": partial(snarkjs.prove_task, dense)}
        tables = self.warm(dense, max_bytes=TABLE_BYTES << lg_n)
        cases = [
            self.foreign_case(dense, "", self.warm(dense), rapid[dense]),
            self.foreign_case(dense, ".process", partial(process_task, dense), both),
            self.foreign_case(dense, ".new_key.process", partial(new_key_task, dense), {}),
            self.foreign_case(binary, ".process", partial(process_task, binary), rapid[binary]),
            self.foreign_case(binary, "", self.warm(binary), rapid[binary]),
            self.foreign_case(dense, ".tables", tables, {}),
        ]
        for bench in self.smaller:
            process = partial(process_task, bench)
            cases.append(self.foreign_case(bench, ".process", process, rapid[bench]))
            cases.append(self.foreign_case(bench, "", self.warm(bench), rapid[bench]))
        return cases

    def foreign_keys(self) -> list[ForeignBench]:
        """Every foreign key of the suite."""
        return [self.dense, self.binary, *self.smaller]

    def foreign_case(
        self, bench: ForeignBench, suffix: str, make: Maker, peers: dict[str, Maker]
    ) -> BenchCase:
        return BenchCase(
            id=f"proof.foreign.{bench.kind}.lg{bench.lg_n}{suffix}",
            params={"witness": bench.kind, "lg_rows": bench.lg_n, **self.engine},
            unit="s",
            make=make,
            expect=bench.expect,
            peers=peers if self.sizes.with_peers else {},
            n_max=5,
        )

    def warm(self, bench: ForeignBench, max_bytes: int | None = None) -> Maker:
        """Proofs in a process that has read the key and prepared it.

        max_bytes : of precomputed multiples for each query, as a prover of one circuit keeps them
        """

        def make() -> Task[Any]:
            zkey, backend, witness = bench.read(), bench.backend, bench.witness
            zkey = replace(zkey, key=prepare(zkey.key, backend, max_bytes=max_bytes))
            return Task(
                run=lambda: prove_foreign(
                    zkey, witness, random_bytes=secrets.token_bytes, backend=backend
                ),
                answer=lambda proof: bench.judge(witness[1:2], proof),
            )

        return make


def new_key_task(bench: ForeignBench) -> Task[Any]:
    """The task of `process_task`, with a key whose points are tested: nobody has seen it before."""
    key = Scratch()
    return process_task(bench, lambda: bench.renew_key(key.file("circuit.zkey")))


def process_task(bench: ForeignBench, find_key: Callable[[], Path] | None = None) -> Task[Any]:
    """`zkpot groth16 prove` from start to end: key read, proof made, verified and written.

    find_key : the key's file, before each run; default: one that is known from the run before
    """
    scratch = Scratch()
    proof, public = scratch.file("proof.json"), scratch.file("public.json")

    def run() -> Scratch:
        key = find_key() if find_key else bench.zkey
        words = [*PROGRAM, "groth16", "prove", *map(str, (key, bench.wtns, proof, public))]
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=PROCESS_LIMIT_S, check=False
        )
        if done.returncode:
            raise Unavailable(f"zkpot ended with {done.returncode}: {done.stderr.strip()[-200:]}")
        return scratch

    return Task(run=run, answer=lambda _: bench.judge(read_public(public), read_proof(proof)))


def build_suite(*, quick: bool) -> Suite:
    """All cases of the suite; `quick` with few samples and rows, without peers."""
    return Suite(cases=Builder(QUICK if quick else FULL).cases())
