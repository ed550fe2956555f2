"""Foreign keys: snarkjs's proofs hold, ours hold, altered ones do not."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend, BackendUnavailable, get_backend
from kernels.bn254 import G1, G2, R
from kernels.reference import add_g1, negate_g1
from prover.errors import KeyMismatch, SelfCheckFailed, TrapdoorInvalid
from prover.formats.elements import Groth16Key, Groth16Proof
from prover.formats.json_io import read_proof, read_public, read_vkey
from prover.formats.r1cs import read_r1cs
from prover.formats.snarkjs import ForeignProver, prove_foreign, verify_foreign
from prover.formats.wtns import read_wtns
from prover.formats.zkey import Zkey, read_zkey
from prover.formats.zkey_setup import setup_zkey
from prover.groth16.setup import Trapdoor, draw_trapdoor
from prover.wire.verdict import Verdict
from tests.support.foreign import CIRCUITS, vector
from tests.support.tiny_circuits import build_r1cs, seeded

LARGE = ("chain_14", "bits_14")


@pytest.fixture(scope="module")
def backend() -> Backend:
    return get_backend("reference")


@pytest.fixture(scope="module")
def keys(backend: Backend) -> dict[str, Zkey]:
    return {c: read_zkey(vector(c, ".zkey"), backend, check_points=False) for c in CIRCUITS}


def shift(point: G1Array) -> G1Array:
    """Another point of the curve."""
    return G1Array.from_ints([add_g1(point.to_ints()[0], G1)])


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_snarkjs_proofs_hold(circuit: str) -> None:
    key = read_vkey(vector(circuit, "_vkey.json"))
    public = read_public(vector(circuit, "_public.json"))
    proof = read_proof(vector(circuit, "_proof.json"))
    assert verify_foreign(key, public, proof) is Verdict.VALID


@pytest.mark.parametrize(
    "alter",
    [
        lambda p: replace(p, a=shift(p.a)),
        lambda p: replace(p, c=shift(p.c)),
        lambda p: replace(p, b=G2Array.from_ints([G2])),
        lambda p: replace(p, a=G1Array.from_ints([negate_g1(p.a.to_ints()[0])])),
        lambda p: replace(p, a=p.c, c=p.a),
        lambda p: Groth16Proof(a=G1Array.zeros(1), b=G2Array.zeros(1), c=G1Array.zeros(1)),
    ],
    ids=["A", "C", "B", "-A", "A and C", "infinity"],
)
def test_altered_proofs_do_not_hold(alter: Callable[[Groth16Proof], Groth16Proof]) -> None:
    key = read_vkey(vector("mixed", "_vkey.json"))
    public = read_public(vector("mixed", "_public.json"))
    proof = alter(read_proof(vector("mixed", "_proof.json")))
    assert verify_foreign(key, public, proof) is Verdict.PAIRING_FAILED


@pytest.mark.parametrize("index", range(5))
def test_other_public_inputs_do_not_hold(index: int) -> None:
    key = read_vkey(vector("mixed", "_vkey.json"))
    values = read_public(vector("mixed", "_public.json")).to_ints()
    values[index] += 1  # the fourth is in no row of the circuit, and bound all the same
    proof = read_proof(vector("mixed", "_proof.json"))
    verdict = verify_foreign(key, FrArray.from_ints(values), proof)
    assert verdict is Verdict.PAIRING_FAILED


@pytest.mark.parametrize("n", [0, 4, 6])
def test_another_number_of_public_inputs(n: int) -> None:
    key = read_vkey(vector("mixed", "_vkey.json"))
    proof = read_proof(vector("mixed", "_proof.json"))
    assert verify_foreign(key, FrArray.zeros(n), proof) is Verdict.WRONG_STATEMENT


@pytest.mark.parametrize(
    "alter",
    [
        lambda k: replace(k, alpha1=shift(k.alpha1)),
        lambda k: replace(k, beta2=k.delta2),
        lambda k: replace(k, gamma2=k.delta2),
        lambda k: replace(k, delta2=k.gamma2),
        lambda k: replace(k, ic=G1Array.concat([shift(k.ic[:1]), k.ic[1:]])),
    ],
)
def test_other_keys_do_not_hold(alter: Callable[[Groth16Key], Groth16Key]) -> None:
    key = alter(read_vkey(vector("multiplier", "_vkey.json")))
    public = read_public(vector("multiplier", "_public.json"))
    proof = read_proof(vector("multiplier", "_proof.json"))
    assert verify_foreign(key, public, proof) is Verdict.PAIRING_FAILED


def test_keys_agree_with_their_zkeys(keys: dict[str, Zkey]) -> None:
    for circuit, key in keys.items():
        exported = read_vkey(vector(circuit, "_vkey.json"))
        for name in ("alpha1", "beta2", "gamma2", "delta2", "ic"):
            assert getattr(key.verifying, name).equals(getattr(exported, name))


def test_our_proof_holds(keys: dict[str, Zkey], backend: Backend) -> None:
    stages: dict[str, list[tuple[int, int]]] = {}
    proof = prove_foreign(
        keys["mixed"],
        read_wtns(vector("mixed", ".wtns")),
        seeded(1),
        backend,
        progress=lambda stage, done, total: stages.setdefault(stage, []).append((done, total)),
    )
    public = read_public(vector("mixed", "_public.json"))
    key = read_vkey(vector("mixed", "_vkey.json"))
    assert verify_foreign(key, public, proof) is Verdict.VALID
    assert set(stages) >= {"products", "transforms", "A", "B in G1", "B in G2", "C", "C quotient"}
    for steps in stages.values():
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        assert len({total for _, total in steps}) == 1
        assert steps[-1][0] == steps[-1][1]


def test_each_proof_is_blinded_afresh(keys: dict[str, Zkey], backend: Backend) -> None:
    prover = ForeignProver(keys["multiplier"], backend)
    witness = read_wtns(vector("multiplier", ".wtns"))
    random_bytes = seeded(2)
    one, two = (prover.prove(witness, random_bytes) for _ in range(2))
    again = prover.prove(witness, seeded(2))
    for name in ("a", "b", "c"):
        assert not getattr(one, name).equals(getattr(two, name))
        assert getattr(one, name).equals(getattr(again, name))
    assert verify_foreign(prover.verifying, witness[1:2], two) is Verdict.VALID


def test_a_wrong_witness_gives_no_proof(keys: dict[str, Zkey], backend: Backend) -> None:
    prover = ForeignProver(keys["multiplier"], backend)
    values = read_wtns(vector("multiplier", ".wtns")).to_ints()
    assert values == [1, 33, 3, 11]
    faults = [
        ([1, 34, 3, 11], SelfCheckFailed, r"does not verify .*`snarkjs wtns check`"),
        ([2, 33, 3, 11], KeyMismatch, r"not the constant one; use the \.zkey and the \.wtns"),
        (values[:3], KeyMismatch, r"shape \[3\] for 4 wires; use the \.zkey and the \.wtns"),
    ]
    for wires, error, what in faults:
        with pytest.raises(error, match=what) as caught:
            prover.prove(FrArray.from_ints(wires), seeded(3))
        for word in ("model", "commitment", "blinding", "`setup`"):  # there are none here
            assert word not in str(caught.value)


# -- our own keys in snarkjs's layout --------------------------------------------------------------


def test_our_key_proves(backend: Backend) -> None:
    circuit = read_r1cs(vector("multiplier", ".r1cs"), backend).r1cs
    key = setup_zkey(circuit, draw_trapdoor(seeded(4)), backend)
    witness = read_wtns(vector("multiplier", ".wtns"))
    proof = prove_foreign(key, witness, seeded(5), backend)
    assert verify_foreign(key.verifying, witness[1:2], proof) is Verdict.VALID
    other = FrArray.from_ints([34])
    assert verify_foreign(key.verifying, other, proof) is Verdict.PAIRING_FAILED
    foreign = read_vkey(vector("multiplier", "_vkey.json"))
    assert verify_foreign(foreign, witness[1:2], proof) is Verdict.PAIRING_FAILED


def test_our_layout_is_theirs(keys: dict[str, Zkey], backend: Backend) -> None:
    circuit = read_r1cs(vector("mixed", ".r1cs"), backend).r1cs
    ours, theirs = setup_zkey(circuit, draw_trapdoor(seeded(6)), backend), keys["mixed"]
    assert (ours.lg_n, ours.n_wires, ours.n_public) == (
        theirs.lg_n,
        theirs.n_wires,
        theirs.n_public,
    )
    for name in ("matrix_a", "matrix_b"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.indptr.tolist() == b.indptr.tolist()
        assert a.cols.tolist() == b.cols.tolist()
        assert a.coeffs.tolist() == b.coeffs.tolist()
        assert a.wide.equals(b.wide)
    for name in ("a", "b1", "b2", "c", "h"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.data.any(axis=1).tolist() == b.data.any(axis=1).tolist()


def test_a_circuit_of_nothing_has_a_key(backend: Backend) -> None:
    circuit = build_r1cs([], n_public=0, n_private=0)
    key = setup_zkey(circuit, draw_trapdoor(seeded(7)), backend)
    assert key.lg_n == 1
    one = FrArray.from_ints([1])
    proof = prove_foreign(key, one, seeded(8), backend)
    assert verify_foreign(key.verifying, one[1:], proof) is Verdict.VALID


@pytest.mark.parametrize("change", [{"tau": 1}, {"tau": 0}, {"delta": R}, {"gamma": 0}])
def test_bad_trapdoors_are_refused(change: dict[str, int], backend: Backend) -> None:
    circuit = build_r1cs([({1: 1}, {1: 1}, {1: 1})], n_public=0, n_private=1)
    good: Trapdoor = draw_trapdoor(seeded(9))
    with pytest.raises(TrapdoorInvalid):
        setup_zkey(circuit, replace(good, **change), backend)


# -- larger foreign files, where they are ----------------------------------------------------------


def find_large(root: Path) -> Path:
    named = os.environ.get("ZKPOT_FOREIGN_VECTORS")
    folder = Path(named) if named else root.parent / "shared" / "vectors" / "snarkjs"
    if not all((folder / f"{c}.zkey").exists() for c in LARGE):
        pytest.skip(f"{', '.join(LARGE)} not found: set ZKPOT_FOREIGN_VECTORS to their folder")
    return folder


@pytest.mark.parametrize("circuit", LARGE)
def test_large_foreign_files_are_read(circuit: str, root: Path, backend: Backend) -> None:
    folder = find_large(root)
    r1cs = read_r1cs(folder / f"{circuit}.r1cs", backend).r1cs
    witness = read_wtns(folder / f"{circuit}.wtns")
    assert len(witness) == r1cs.n_wires
    key = read_vkey(folder / f"{circuit}_vkey.json")
    public = read_public(folder / f"{circuit}_public.json")
    proof = read_proof(folder / f"{circuit}_proof.json")
    assert public.equals(witness[1 : 1 + key.n_public])
    assert verify_foreign(key, public, proof) is Verdict.VALID


@pytest.mark.slow
@pytest.mark.parametrize("circuit", LARGE)
def test_large_foreign_keys_prove(circuit: str, root: Path) -> None:
    folder = find_large(root)
    try:
        fast = get_backend("cpu")
    except (BackendUnavailable, ModuleNotFoundError) as error:
        pytest.skip(f"needs the cpu backend: {error}")
    key = read_zkey(folder / f"{circuit}.zkey", fast)
    witness = read_wtns(folder / f"{circuit}.wtns")
    proof = prove_foreign(key, witness, seeded(10), fast)
    exported = read_vkey(folder / f"{circuit}_vkey.json")
    public = read_public(folder / f"{circuit}_public.json")
    assert verify_foreign(exported, public, proof) is Verdict.VALID
