"""Key folders made in bad faith: what is not the key's is refused, what is tells no secret.

A forger either leaves verifying.key as it is, then the digests in it tell; or writes it anew for
what lies beside it, then its own digest tells, and a prover asks of its points what hides a secret.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.array import FrArray, G1Array, G2Array
from kernels.bn254 import B2, G1, P, R
from kernels.cpu.words.group import is_in_subgroup_g2, is_on_curve_g1, is_on_curve_g2
from kernels.reference import add_fp2, mul_fp2
from prover.errors import FieldInvalid, FormatError, KeyMismatch
from prover.groth16.setup import pin_files
from prover.keys import proving_file, streamed
from prover.keys.card import KeyCard
from prover.keys.folder import (
    CARD_NAME,
    PROVING_NAME,
    VERIFYING_NAME,
    load_proving_key,
    load_verifying_half,
    load_verifying_key,
    save_key,
)
from prover.keys.halves import ProvingKey, VerifyingKey
from prover.pedersen.bases import load_bases
from prover.pipeline import compile_for_key, require_same_circuit
from prover.wire.verdict import Verdict
from tests.support.forged_points import put_point
from tests.support.learning import BACKEND, accuracy, proving_key
from tests.support.tiny_circuits import seeded
from tests.support.toy_protocol import honest, prove_toy, toy_key, toy_trapdoor, verdict_of

Loader = Callable[[Path, VerifyingKey], ProvingKey]
HIDING = ("a", "b2", "advice", "basis", "link")
"""The bases whose sums hide a secret behind the last one's fresh scalar, and a link's."""
ASKED = ("a", "advice", "basis", "link", "correction")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_key(proving_key(), tmp_path / "key", KeyCard.of(accuracy()))
    return tmp_path / "key"


@pytest.fixture(params=["copied", "streamed"])
def load(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Loader:
    """Of a proving half, into memory or in pieces of two points."""
    monkeypatch.setattr(streamed, "PIECE", 2)
    return partial(load_proving_key, streams=request.param == "streamed")


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    save_key(toy_key(), tmp_path / "toy")
    return tmp_path / "toy"


# -- the card --------------------------------------------------------------------------------------


def edit_card(**changes: Any) -> KeyCard:
    return replace(KeyCard.of(accuracy()), **changes)


def edit_layer(index: int, **changes: Any) -> KeyCard:
    """The card with one hidden layer described otherwise."""
    card = KeyCard.of(accuracy())
    layers = list(card.architecture.layers)
    layers[index] = replace(layers[index], **changes)
    return replace(card, architecture=replace(card.architecture, layers=tuple(layers)))


def requant(**changes: Any) -> Any:
    was = accuracy().architecture.layers[0].requant
    assert was is not None
    return replace(was, **changes)


CARDS: dict[str, Callable[[], KeyCard]] = {
    "narrower": lambda: edit_layer(0, n_out=1),
    "another multiplier": lambda: edit_layer(0, requant=requant(multiplier=2)),
    "another shift": lambda: edit_layer(0, requant=requant(shift=9)),
    "fewer samples": lambda: edit_card(n_samples=2),
    "another circuit": lambda: edit_card(circuit_digest=bytes([7]) * 32),
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_that_the_key_does_not_name_is_refused(name: str, folder: Path) -> None:
    (folder / CARD_NAME).write_bytes(CARDS[name]().encode())
    with pytest.raises(KeyMismatch, match=r"circuit\.json is not the one that verifying\.key"):
        load_verifying_half(folder)


@pytest.mark.parametrize("name", CARDS)
def test_a_key_written_anew_for_another_card_is_another_key(name: str, folder: Path) -> None:
    """And who compiles what it says finds another circuit, or another multiplier in the key."""
    card = CARDS[name]()
    forged = replace(proving_key().verifying, card_digest=card.digest)
    (folder / CARD_NAME).write_bytes(card.encode())
    (folder / VERIFYING_NAME).write_bytes(forged.encode())
    with pytest.raises(KeyMismatch, match="take the key whose digest is"):
        load_verifying_half(folder, expected_digest=proving_key().verifying.digest)
    if name == "another circuit":
        with pytest.raises(KeyMismatch, match="contradicts itself"):
            load_verifying_half(folder)
        return
    verifying, read = load_verifying_half(folder)
    if name != "another multiplier":
        with pytest.raises(KeyMismatch, match="another circuit than"):
            compile_for_key(read, verifying)
        return
    with pytest.raises(KeyMismatch, match="other multipliers"):
        require_same_circuit(accuracy(), load_proving_key(folder, verifying))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null\n",
        b"[" * 100_000,
        KeyCard.of(accuracy()).encode()[:-1],
        KeyCard.of(accuracy()).encode() + b"\n",
        KeyCard.of(accuracy()).encode().replace(b'"n_samples":16', b'"n_samples":16.0'),
        KeyCard.of(accuracy()).encode().replace(b'"n_samples":16', b'"n_samples":true'),
        KeyCard.of(accuracy()).encode().replace(b'"n_samples":16', b'"n_samples":0'),
        KeyCard.of(accuracy()).encode().replace(b'"version":3', b'"version":1'),
        KeyCard.of(accuracy()).encode().replace(b'"version":3', b'"version":3.0'),
        KeyCard.of(accuracy()).encode().replace(b"{", b'{"origin":"multi-party ceremony",', 1),
        b" " * (1 << 17) + KeyCard.of(accuracy()).encode(),
    ],
)
def test_other_bytes_are_no_card(raw: bytes) -> None:
    with pytest.raises(FormatError, match="no card of version 3"):
        KeyCard.decode(raw)


def test_a_card_claims_nothing_that_it_cannot_show() -> None:
    found = json.loads(KeyCard.of(accuracy()).encode())
    assert set(found) == {"architecture", "circuit_digest", "n_samples", "version"}


# -- points that do not hide -----------------------------------------------------------------------


def of_order_three() -> G1Array:
    """(0, y): on a curve of its own, where three times it is nothing."""
    return G1Array.from_ints([(0, 5)])


def of_order_two() -> G1Array:
    return G1Array.from_ints([(5, 0)])


def not_canonical() -> G1Array:
    """(p, p): zero, and infinity to whoever reduces."""
    return G1Array(np.array([[*words(P), *words(P)]], dtype=np.uint64))


def words(x: int) -> list[int]:
    return [x >> 64 * i & (1 << 64) - 1 for i in range(4)]


def off_twist() -> G2Array:
    return G2Array.from_ints([((0, 0), (5, 0))])


def stranger() -> G2Array:
    """On the twist, of another order than r."""
    x = 0
    while True:
        x += 1
        y = root_fp2(add_fp2(mul_fp2(mul_fp2((x, 0), (x, 0)), (x, 0)), B2))
        if y is not None:
            point = G2Array.from_ints([((x, 0), y)])
            if is_on_curve_g2(point).all() and not is_in_subgroup_g2(point).any():
                return point


def root_fp2(a: tuple[int, int]) -> tuple[int, int] | None:
    """A square root of a0 + a1 u, by its norm; p = 3 mod 4."""
    norm = pow(a[0] * a[0] + a[1] * a[1], (P + 1) // 4, P)
    for n in (norm, -norm):
        x = pow((a[0] + n) * pow(2, -1, P), (P + 1) // 4, P)
        if x and mul_fp2(root := (x, a[1] * pow(2 * x, -1, P) % P), root) == a:
            return root
    return None


G1_LIES = {"order 3": of_order_three, "order 2": of_order_two, "not canonical": not_canonical}


@pytest.mark.parametrize("lie", G1_LIES)
@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("at", [-1, 0])
def test_points_off_the_curve_are_refused(
    name: str, lie: str, at: int, tmp_path: Path, load: Loader
) -> None:
    """The blinder, or any base: a sum with it is none of the group, and need not hide."""
    assert not is_on_curve_g1(G1_LIES[lie]()).any()
    forged = put_point(toy_key(), name, at, G1_LIES[lie]())
    save_key(forged, tmp_path)
    with pytest.raises(FormatError, match="not canonical or not on its curve"):
        load(tmp_path, load_verifying_key(tmp_path))


@pytest.mark.parametrize("at", [-1, 0])
def test_points_off_the_twist_are_refused(at: int, tmp_path: Path, load: Loader) -> None:
    save_key(put_point(toy_key(), "b2", at, off_twist()), tmp_path)
    with pytest.raises(FormatError, match="not canonical or not on its curve"):
        load(tmp_path, load_verifying_key(tmp_path))


def test_a_blinder_of_another_order_is_refused(tmp_path: Path, load: Loader) -> None:
    save_key(put_point(toy_key(), "b2", -1, stranger()), tmp_path)
    with pytest.raises(FormatError, match="wrong order"):
        load(tmp_path, load_verifying_key(tmp_path))


def test_a_base_of_another_order_keeps_its_proof_from_leaving(tmp_path: Path, load: Loader) -> None:
    """It is on the twist, so the key loads; B is in G2 or there is no proof (`key_points`)."""
    forged = put_point(toy_key(), "b2", 0, stranger())
    save_key(forged, tmp_path)
    run = prove_toy(random_bytes=seeded(3), key=load(tmp_path, forged.verifying))
    assert is_on_curve_g2(run.points.b).all()
    assert not is_in_subgroup_g2(run.points.b).any()


@pytest.mark.parametrize("name", HIDING)
def test_a_blinder_at_infinity_is_refused(name: str, tmp_path: Path, load: Loader) -> None:
    save_key(put_point(toy_key(), name, -1), tmp_path)
    with pytest.raises(FormatError, match="blinder is the identity"):
        load(tmp_path, load_verifying_key(tmp_path))


def test_a_correction_of_another_blinder_lets_no_blinding_pass(
    tmp_path: Path, load: Loader
) -> None:
    """A proof comes about for rho = 0 alone: a key that fails is no reason to leave rho out."""
    forged = put_point(toy_key(), "correction", 2, G1Array.from_ints([G1]))
    save_key(forged, tmp_path)
    key = load(tmp_path, forged.verifying)
    for model in ((0, 1), (1, 1)):
        for rho in (0, 1, 3, R - 1, None):
            run = prove_toy(model=model, random_bytes=seeded(5), key=key, rho=rho)
            verdict = Verdict.VALID if rho == 0 else Verdict.PAIRING_FAILED
            assert verdict_of(run.envelope, forged.verifying) is verdict


def test_a_key_without_a_group_s_blinder_hides_by_that_of_the_proof(
    tmp_path: Path, load: Loader
) -> None:
    """eta_g may be anything: such a key proves, and two proofs of one commitment differ in D'."""
    h_0 = load_bases(0)
    p_g = BACKEND.msm_g1(FrArray.from_ints([toy_trapdoor().groups[0].k1]), h_0)
    forged = put_point(put_point(toy_key(), "basis", -2), "link", -2, p_g)
    forged = put_point(forged, "correction", 2)
    save_key(forged, tmp_path)
    key = load(tmp_path, forged.verifying)
    runs = [prove_toy(random_bytes=seeded(seed), key=key, rho=41) for seed in (5, 6)]
    assert [verdict_of(run.envelope, forged.verifying) for run in runs] == [Verdict.VALID] * 2
    assert runs[0].d_w.equals(runs[1].d_w)
    assert not runs[0].linked.own.equals(runs[1].linked.own)


def test_why_a_blinder_must_be_on_the_curve() -> None:
    """One scalar in three is no blinding at all."""
    blinder = of_order_three()
    sums = [BACKEND.msm_g1(FrArray.from_ints([rho]), blinder) for rho in (1, 2, 3, 999)]
    assert [bool(point.data.any()) for point in sums] == [True, True, False, False]


@pytest.mark.parametrize("field", ["alpha", "beta", "delta", "delta_a", "links"])
def test_points_of_the_verifying_half_are_checked_too(field: str) -> None:
    lie: G1Array | G2Array = of_order_three() if field == "alpha" else stranger()
    if field == "links":
        lie = G2Array.concat([toy_key().verifying.links[:1], lie])  # type: ignore[list-item]
    with pytest.raises(FormatError, match="not on its curve or of wrong order"):
        VerifyingKey.decode(replace(toy_key().verifying, **{field: lie}).encode())


# -- a file that changes ---------------------------------------------------------------------------


def test_what_becomes_of_the_file_after_loading_is_no_matter(toy: Path) -> None:
    """Written to in place, where a mapped file was read again: a zero blinder, and D_A showed."""
    key = load_proving_key(toy, load_verifying_key(toy))
    path = toy / PROVING_NAME
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(bytes(size - 4096))
    assert prove_toy(random_bytes=seeded(7), key=key).envelope == honest().envelope
    os.truncate(path, 0)  # a mapped page behind the end is a signal
    assert prove_toy(random_bytes=seeded(7), key=key).envelope == honest().envelope


@pytest.mark.parametrize("at", [4096 * 4, 4096 * 9])
def test_a_streamed_file_that_changes_after_it_was_checked_ends_the_proof(
    at: int, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read again for every proof: what it has become by then enters none."""
    monkeypatch.setattr(streamed, "PIECE", 2)
    key = load_proving_key(toy, load_verifying_key(toy), streams=True)
    assert prove_toy(random_bytes=seeded(7), key=key).envelope == honest().envelope
    path = toy / PROVING_NAME
    whole = path.read_bytes()
    assert any(whole[at : at + 64])
    path.write_bytes(whole[:at] + bytes(64) + whole[at + 64 :])
    with pytest.raises(KeyMismatch, match="changed since it was checked"):
        prove_toy(random_bytes=seeded(7), key=key)
    path.write_bytes(whole[:at])
    with pytest.raises(KeyMismatch, match="changed since it was checked"):
        prove_toy(random_bytes=seeded(7), key=key)
    path.write_bytes(whole)
    assert prove_toy(random_bytes=seeded(7), key=key).envelope == honest().envelope


def test_a_file_that_shrinks_while_it_is_read_is_an_error(
    toy: Path, monkeypatch: pytest.MonkeyPatch, load: Loader
) -> None:
    read = proving_file._parse_header

    def read_and_shrink(header: bytes, size: int, path: Path) -> Any:
        found = read(header, size, path)
        os.truncate(path, size - 4096)
        return found

    monkeypatch.setattr(proving_file, "_parse_header", read_and_shrink)
    with pytest.raises(FormatError, match="became shorter while it was read"):
        load(toy, load_verifying_key(toy))


def test_arrays_of_a_key_are_memory_of_their_own(toy: Path) -> None:
    """A prepared key keeps its indices only, not the whole file behind them."""
    key = load_proving_key(toy, load_verifying_key(toy))
    for array in (key.a_wires, key.b_wires, key.c_wires, key.correction.data):
        assert array.base is None


# -- parts of other keys ---------------------------------------------------------------------------


def test_groups_of_the_two_halves_must_agree(toy: Path) -> None:
    """No link where the prover has one, one where it has none, no advice."""
    key = toy_key().verifying
    lies: list[dict[str, G2Array]] = [
        {"links": G2Array.zeros(0)},
        {"links": G2Array.concat([key.links, key.links])},
        {"delta_a": G2Array.zeros(1)},
    ]
    for lie in lies:
        with pytest.raises(FormatError, match="do not fit its counts"):
            load_proving_key(toy, replace(key, **lie))  # type: ignore[arg-type]


@pytest.mark.parametrize("n_bases", [0, 2])
def test_a_group_without_wires_is_refused(n_bases: int, tmp_path: Path) -> None:
    """With blinders, and without."""
    point = G1Array.from_ints([G1])
    bases = G1Array.concat([G1Array.zeros(0)] + [point] * n_bases)
    forged = pin_files(replace(toy_key(), linked=(0,), basis=bases, link=bases))
    save_key(forged, tmp_path)
    with pytest.raises(FormatError, match="header is malformed"):
        load_proving_key(tmp_path, forged.verifying)


@pytest.mark.parametrize("name", ["links", "delta_a"])
def test_a_key_without_a_group_is_none_of_an_accuracy_circuit(name: str) -> None:
    """Without a link there is no model to speak about."""
    none = G2Array.zeros(0 if name == "links" else 1)
    forged = replace(proving_key().verifying, **{name: none})  # type: ignore[arg-type]
    with pytest.raises(KeyMismatch, match="contradicts itself"):
        KeyCard.of(accuracy()).require_key(forged)


@pytest.mark.parametrize("at", [0, 1])
def test_links_with_an_identity_are_refused(at: int) -> None:
    """C1 at infinity links nothing to D, C2 nothing to D'."""
    points = toy_key().verifying.links.data.copy()
    points[at] = 0
    forged = replace(toy_key().verifying, links=G2Array(points))
    with pytest.raises(FormatError, match="is the identity"):
        VerifyingKey.decode(forged.encode())
    with pytest.raises(FieldInvalid, match="one half of a link"):
        replace(toy_key().verifying, links=G2Array(points[:1]))
