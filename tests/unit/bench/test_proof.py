"""The suite `proof`: stable ids, answers before times, and peers that say why they are absent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.errors import Unavailable
from bench.foreign import BINARY, DENSE, ForeignBench
from bench.peers import ezkl, rapidsnark, snarkjs
from bench.peers.float_graph import PIXEL_MAX, make_graph
from bench.proving import AccuracyBench, claim_one_less, randomize_again
from bench.run import Outcome, run_case
from bench.suites.proof import FULL, QUICK, Builder
from kernels.array import FrArray
from prover.circuit.r1cs import R1CS
from prover.formats.zkey import read_zkey
from prover.wire.envelope import Groth16Points

LG_N = 4


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


def is_satisfied(r1cs: R1CS, witness: FrArray) -> bool:
    from kernels.reference import Reference

    reference = Reference()
    z = reference.to_mont(witness)
    a, b, c = (reference.matvec(m, z) for m in (r1cs.a, r1cs.b, r1cs.c))
    return reference.mul(a, b).equals(c)


def test_ids_are_stable(root: Path) -> None:
    """An id once published is not renamed: baselines are compared by it."""
    ids = [case.id for case in Builder(FULL).cases()]
    assert ids == (root / "tests" / "unit" / "bench" / "bench_ids_proof.txt").read_text().split()


def test_quick_suite_has_the_same_kinds_without_peers() -> None:
    quick, full = Builder(QUICK).cases(), Builder(FULL).cases()
    assert [c.unit for c in quick] == [c.unit for c in full]
    assert not any(c.peers for c in quick)
    assert {name for c in full for name in c.peers} == {"ezkl", "rapidsnark", "snarkjs"}


@pytest.mark.parametrize("kind", [DENSE, BINARY])
def test_foreign_circuits_fill_their_domain_and_hold(kind: str, keys: Path) -> None:
    bench = ForeignBench(kind, LG_N, keys)
    circuit = bench._circuit()
    assert is_satisfied(circuit, bench.witness)
    forged = bench.witness.data.copy()
    forged[5, 0] += 2
    assert not is_satisfied(circuit, FrArray(forged))
    assert bench.read().key.domain == 1 << LG_N


def test_a_renewed_key_is_new_and_as_good(keys: Path, tmp_path: Path) -> None:
    bench = ForeignBench(BINARY, LG_N, keys)
    old = bench.zkey.read_bytes()
    new = [bench.renew_key(tmp_path / "circuit.zkey").read_bytes() for _ in range(2)]
    assert len({old, *new}) == 3
    read, expected = read_zkey(tmp_path / "circuit.zkey", bench.backend), bench.read()
    assert read.key.verifying.public.equals(expected.key.verifying.public)
    assert read.key.verifying.delta.equals(expected.key.verifying.delta)
    assert read.contributions != expected.contributions
    assert bench.zkey.read_bytes() == old


def test_foreign_cases_have_rows(keys: Path) -> None:
    build = Builder(QUICK._replace(foreign_lg=LG_N, smaller_lg=()), keys)
    outcome = Outcome()
    cases = [case for case in build.foreign() if not case.id.endswith(".process")]
    rows = [run_case(case, outcome, budget_s=0.0) for case in cases]
    assert outcome.wrong == outcome.absent == []
    assert all(row is not None and row["value"] > 0 for row in rows)


def test_proof_of_another_public_input_gets_no_time(keys: Path) -> None:
    class Careless(ForeignBench):
        """Judges by other public inputs than those it was asked to prove."""

        def judge(self, public: FrArray, proof: Groth16Points) -> tuple[bool, bool, list[int]]:
            other = FrArray.from_ints([x + 1 for x in public.to_ints()])
            return super().judge(other, proof)

    build = Builder(QUICK._replace(foreign_lg=LG_N, smaller_lg=()), keys)
    bench = Careless(DENSE, LG_N, keys)
    outcome = Outcome()
    case = build.foreign_case(bench, "", build.warm(bench), {})
    assert run_case(case, outcome, budget_s=0.0) is None
    assert outcome.wrong == [f"proof.foreign.dense.lg{LG_N}: wrong answer, so no time"]


def test_peers_that_are_absent_say_so(monkeypatch: pytest.MonkeyPatch, keys: Path) -> None:
    monkeypatch.setenv("EZKL_PYTHON", str(keys / "no-python"))
    with pytest.raises(Unavailable, match=r"\$EZKL_PYTHON cannot be run"):
        ezkl.prove_task(AccuracyBench(2, keys))
    monkeypatch.setenv("PATH", str(keys))
    with pytest.raises(Unavailable, match="node and npm not found"):
        snarkjs.prove_task(ForeignBench(DENSE, LG_N, keys))
    monkeypatch.setenv("RAPIDSNARK_PROVER", str(keys / "no-prover"))
    with pytest.raises(Unavailable, match=r"\$RAPIDSNARK_PROVER cannot be run"):
        rapidsnark.prove_task(ForeignBench(DENSE, LG_N, keys)).run()


def test_network_of_the_peer_sees_the_same_digits() -> None:
    bench = AccuracyBench(2)
    images, labels = bench.samples(300)
    tensors = make_graph(bench.model).tensors
    w0, b0, w1, b1 = (tensors[name] for name in ("w0", "b0", "w1", "b1"))
    y = np.maximum(images / PIXEL_MAX @ w0.T + b0, 0)
    classes = (y @ w1.T + b1).argmax(axis=1)
    assert abs(int((classes == labels).sum()) - bench.count_correct(images, labels)) <= 2


@pytest.mark.slow
def test_accuracy_cases_have_rows(keys: Path) -> None:
    """Two samples, and five as a large set: circuit, key, proofs and batches of the full suite."""
    build = Builder(QUICK._replace(samples=2, large=5), keys)
    outcome = Outcome()
    cases = [*build.circuit(), *build.keys(), *build.proofs()[:3], *build.verifications()]
    rows = [run_case(replace(case, n_max=1), outcome, budget_s=0.0) for case in cases]
    assert outcome.wrong == outcome.absent == []
    assert all(row is not None and row["value"] > 0 for row in rows)
    images, labels = build.accuracy.samples(2)
    inputs = build.accuracy.inputs(images, labels)
    envelope = build.accuracy.prove(images, labels).envelope
    assert not build.accuracy.verify(claim_one_less(envelope), inputs)
    again = randomize_again(envelope, 2, build.accuracy.backend)
    assert len({envelope, *again}) == 3
    assert build.accuracy.verify_all([*again, claim_one_less(again[0])], [inputs]) == [
        True,
        True,
        False,
    ]
