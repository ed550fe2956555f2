"""Foreign keys: snarkjs's proofs hold, ours hold, altered ones do not."""

import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from kernels.array import FrArray, G1Array, G2Array
from kernels.backend import Backend, get_backend
from kernels.bn254 import G1, G2, R
from kernels.errors import BackendUnavailable
from kernels.reference import add_g1, negate_g1
from prover.circuit.r1cs import R1CS
from prover.errors import KeyMismatch, SelfCheckFailed, TrapdoorInvalid
from prover.foreign import make_foreign, prove_foreign
from prover.formats.json_io import read_proof, read_public, read_vkey
from prover.formats.r1cs import read_r1cs
from prover.formats.wtns import read_wtns
from prover.formats.zkey import Zkey, read_zkey
from prover.groth16 import prove as groth16_prove
from prover.groth16.plain import verify_plain
from prover.groth16.prove import prepare
from prover.groth16.setup import setup_plain
from prover.groth16.trapdoor import Trapdoor, draw_trapdoor
from prover.keys.halves import list_bases
from prover.keys.plain import PlainKey
from prover.wire.envelope import Groth16Points
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


def setup_zkey(circuit: R1CS, trapdoor: Trapdoor, backend: Backend) -> Zkey:
    key, rows = setup_plain(circuit, trapdoor=trapdoor, backend=backend)
    return Zkey(key=key, circuit=rows)


def shift(point: G1Array) -> G1Array:
    """Another point of the curve."""
    return G1Array.from_ints([add_g1(point.to_ints()[0], G1)])


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_snarkjs_proofs_hold(circuit: str) -> None:
    key = read_vkey(vector(circuit, "_vkey.json"))
    public = read_public(vector(circuit, "_public.json"))
    proof = read_proof(vector(circuit, "_proof.json"))
    assert verify_plain(key, public, proof) is Verdict.VALID


@pytest.mark.parametrize(
    "alter",
    [
        lambda p: replace(p, a=shift(p.a)),
        lambda p: replace(p, c=shift(p.c)),
        lambda p: replace(p, b=G2Array.from_ints([G2])),
        lambda p: replace(p, a=G1Array.from_ints([negate_g1(p.a.to_ints()[0])])),
        lambda p: replace(p, a=p.c, c=p.a),
        lambda p: Groth16Points(a=G1Array.zeros(1), b=G2Array.zeros(1), c=G1Array.zeros(1)),
    ],
    ids=["A", "C", "B", "-A", "A and C", "infinity"],
)
def test_altered_proofs_do_not_hold(alter: Callable[[Groth16Points], Groth16Points]) -> None:
    key = read_vkey(vector("mixed", "_vkey.json"))
    public = read_public(vector("mixed", "_public.json"))
    proof = alter(read_proof(vector("mixed", "_proof.json")))
    assert verify_plain(key, public, proof) is Verdict.PAIRING_FAILED


@pytest.mark.parametrize("index", range(5))
def test_other_public_inputs_do_not_hold(index: int) -> None:
    key = read_vkey(vector("mixed", "_vkey.json"))
    values = read_public(vector("mixed", "_public.json")).to_ints()
    values[index] += 1  # the fourth is in no row of the circuit, and bound all the same
    proof = read_proof(vector("mixed", "_proof.json"))
    verdict = verify_plain(key, FrArray.from_ints(values), proof)
    assert verdict is Verdict.PAIRING_FAILED


@pytest.mark.parametrize("n", [0, 4, 6])
def test_another_number_of_public_inputs(n: int) -> None:
    key = read_vkey(vector("mixed", "_vkey.json"))
    proof = read_proof(vector("mixed", "_proof.json"))
    assert verify_plain(key, FrArray.zeros(n), proof) is Verdict.WRONG_STATEMENT


@pytest.mark.parametrize(
    "alter",
    [
        lambda k: replace(k, alpha=shift(k.alpha)),
        lambda k: replace(k, beta=k.delta),
        lambda k: replace(k, gamma=k.delta),
        lambda k: replace(k, delta=k.gamma),
        lambda k: replace(k, public=G1Array.concat([shift(k.public[:1]), k.public[1:]])),
    ],
)
def test_other_keys_do_not_hold(alter: Callable[[PlainKey], PlainKey]) -> None:
    key = alter(read_vkey(vector("multiplier", "_vkey.json")))
    public = read_public(vector("multiplier", "_public.json"))
    proof = read_proof(vector("multiplier", "_proof.json"))
    assert verify_plain(key, public, proof) is Verdict.PAIRING_FAILED


def test_keys_agree_with_their_zkeys(keys: dict[str, Zkey]) -> None:
    for circuit, zkey in keys.items():
        exported = read_vkey(vector(circuit, "_vkey.json"))
        for field in fields(PlainKey):
            assert getattr(zkey.key.verifying, field.name).equals(getattr(exported, field.name))


def test_our_proof_holds(keys: dict[str, Zkey], backend: Backend) -> None:
    stages: dict[str, list[tuple[int, int]]] = {}
    proof = prove_foreign(
        keys["mixed"],
        read_wtns(vector("mixed", ".wtns")),
        random_bytes=seeded(1),
        backend=backend,
        progress=lambda stage, done, total: stages.setdefault(stage, []).append((done, total)),
    )
    public = read_public(vector("mixed", "_public.json"))
    key = read_vkey(vector("mixed", "_vkey.json"))
    assert verify_plain(key, public, proof) is Verdict.VALID
    assert set(stages) >= {"products", "transforms", "A", "B in G1", "B in G2", "C", "C quotient"}
    for steps in stages.values():
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        assert len({total for _, total in steps}) == 1
        assert steps[-1][0] == steps[-1][1]


def test_each_proof_is_blinded_afresh(keys: dict[str, Zkey], backend: Backend) -> None:
    zkey, source = keys["multiplier"], seeded(2)
    zkey = replace(zkey, key=prepare(zkey.key, backend))
    witness = read_wtns(vector("multiplier", ".wtns"))
    one, two, again = (
        prove_foreign(zkey, witness, random_bytes=random_bytes, backend=backend)
        for random_bytes in (source, source, seeded(2))
    )
    for name in ("a", "b", "c"):
        assert not getattr(one, name).equals(getattr(two, name))
        assert getattr(one, name).equals(getattr(again, name))
    assert verify_plain(zkey.key.verifying, witness[1:2], two) is Verdict.VALID


def test_a_long_witness_gives_the_same_proof(
    keys: dict[str, Zkey], backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its A is summed first, since a device does so while the witness is on its way."""
    witness, made, stages = read_wtns(vector("mixed", ".wtns")), [], []
    for least in (len(witness) + 1, len(witness)):
        monkeypatch.setattr(groth16_prove, "ON_ITS_WAY", least)
        seen = list[str]()
        stages.append(seen)
        made.append(
            make_foreign(
                keys["mixed"],
                witness,
                random_bytes=seeded(3),
                backend=backend,
                progress=lambda stage, done, total, seen=seen: seen.append(stage),
            )
        )
    one, two = (m.points for m in made)
    assert all(getattr(one, name).equals(getattr(two, name)) for name in ("a", "b", "c"))
    assert made[0].public.equals(made[1].public)
    before, after = (list(dict.fromkeys(own)) for own in stages)
    assert (before[0], after[0]) == ("products", "A")
    assert sorted(before) == sorted(after)


def test_a_wrong_witness_gives_no_proof(keys: dict[str, Zkey], backend: Backend) -> None:
    values = read_wtns(vector("multiplier", ".wtns")).to_ints()
    assert values == [1, 33, 3, 11]
    faults = [
        ([1, 34, 3, 11], SelfCheckFailed, r"does not verify .*`snarkjs wtns check`"),
        ([2, 33, 3, 11], KeyMismatch, r"not the constant one; use the \.zkey and the \.wtns"),
        (values[:3], KeyMismatch, r"shape \[3\] for 4 wires; use the \.zkey and the \.wtns"),
    ]
    for wires, error, what in faults:
        with pytest.raises(error, match=what) as caught:
            prove_foreign(
                keys["multiplier"],
                FrArray.from_ints(wires),
                random_bytes=seeded(3),
                backend=backend,
            )
        for word in ("model", "commitment", "blinding", "`setup`"):  # there are none here
            assert word not in str(caught.value)


# -- our own keys in snarkjs's layout --------------------------------------------------------------


def test_our_key_proves(backend: Backend) -> None:
    circuit = read_r1cs(vector("multiplier", ".r1cs"), backend)
    key = setup_zkey(circuit, draw_trapdoor(seeded(4), n_linked=0), backend)
    witness = read_wtns(vector("multiplier", ".wtns"))
    proof = prove_foreign(key, witness, random_bytes=seeded(5), backend=backend)
    assert verify_plain(key.key.verifying, witness[1:2], proof) is Verdict.VALID
    other = FrArray.from_ints([34])
    assert verify_plain(key.key.verifying, other, proof) is Verdict.PAIRING_FAILED
    foreign = read_vkey(vector("multiplier", "_vkey.json"))
    assert verify_plain(foreign, witness[1:2], proof) is Verdict.PAIRING_FAILED


def test_our_layout_is_theirs(keys: dict[str, Zkey], backend: Backend) -> None:
    circuit = read_r1cs(vector("mixed", ".r1cs"), backend)
    ours, theirs = setup_zkey(circuit, draw_trapdoor(seeded(6), n_linked=0), backend), keys["mixed"]
    for name in ("domain", "n_wires", "n_public", "quotient"):
        assert getattr(ours.key, name) == getattr(theirs.key, name)
    for a, b in zip(ours.circuit.matrices[:2], theirs.circuit.matrices, strict=True):
        assert a.indptr.tolist() == b.indptr.tolist()
        assert a.cols.tolist() == b.cols.tolist()
        assert a.coeffs.tolist() == b.coeffs.tolist()
        assert a.wide.equals(b.wide)
    for name in ("a_wires", "b_wires", "c_wires"):
        assert getattr(ours.key, name).tolist() == getattr(theirs.key, name).tolist()
    for mine, others in zip(list_bases(ours.key), list_bases(theirs.key), strict=True):
        assert isinstance(mine, G1Array | G2Array)
        assert isinstance(others, G1Array | G2Array)
        assert mine.data.any(axis=1).tolist() == others.data.any(axis=1).tolist()


def test_a_circuit_of_nothing_has_a_key(backend: Backend) -> None:
    circuit = build_r1cs([], n_public=0, n_private=0)
    key = setup_zkey(circuit, draw_trapdoor(seeded(7), n_linked=0), backend)
    assert key.key.domain == 2
    one = FrArray.from_ints([1])
    proof = prove_foreign(key, one, random_bytes=seeded(8), backend=backend)
    assert verify_plain(key.key.verifying, one[1:], proof) is Verdict.VALID


@pytest.mark.parametrize("change", [{"tau": 1}, {"tau": 0}, {"delta": R}, {"beta": 0}])
def test_bad_trapdoors_are_refused(change: dict[str, int], backend: Backend) -> None:
    circuit = build_r1cs([({1: 1}, {1: 1}, {1: 1})], n_public=0, n_private=1)
    good = draw_trapdoor(seeded(9), n_linked=0)
    with pytest.raises(TrapdoorInvalid):
        setup_zkey(circuit, replace(good, **change), backend)  # type: ignore[arg-type]


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
    r1cs = read_r1cs(folder / f"{circuit}.r1cs", backend)
    witness = read_wtns(folder / f"{circuit}.wtns")
    assert len(witness) == r1cs.n_wires
    key = read_vkey(folder / f"{circuit}_vkey.json")
    public = read_public(folder / f"{circuit}_public.json")
    proof = read_proof(folder / f"{circuit}_proof.json")
    assert public.equals(witness[1 : 1 + key.n_public])
    assert verify_plain(key, public, proof) is Verdict.VALID


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
    proof = prove_foreign(key, witness, random_bytes=seeded(10), backend=fast)
    exported = read_vkey(folder / f"{circuit}_vkey.json")
    public = read_public(folder / f"{circuit}_public.json")
    assert verify_plain(exported, public, proof) is Verdict.VALID
