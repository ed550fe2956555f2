"""The tensor-level builder: forms, rows, blocks, digest, independence."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest

from kernels.array import FrMont, SparseMatrix
from kernels.bn254 import R
from kernels.reference import Reference
from prover.circuit.advice import solve_advice
from prover.circuit.constraints import Circuit, Group, System, check_independence, compute_digest
from prover.circuit.csr import pack_rows, stack_rows
from prover.circuit.linear_form import LinearForm
from prover.circuit.r1cs import R1CS
from prover.circuit.witness import check
from prover.errors import DependentColumns, ShapeMismatch, UnsatisfiedConstraint
from tests.support.assignments import Assignment


def rows_of(m: SparseMatrix) -> list[dict[int, int]]:
    ends = m.indptr
    return [
        dict(zip(m.cols[i:j].tolist(), m.coeffs[i:j].tolist(), strict=True))
        for i, j in pairwise(ends)
    ]


def build_square() -> Circuit:
    """y = x^2 + 3 x + 5 over a 2 x 3 tensor of advice x, y public."""
    system = System()
    y = system.public("y", (2, 3))
    x = system.advice("x", (2, 3))
    square = system.product("square/x/times", x, x)
    system.require("square/y/tie", a=y, b=LinearForm.constant(1), c=square + x * 3 + 5)
    return system.build({})


def test_rows_are_written_as_stated() -> None:
    r1cs = build_square().r1cs
    assert (r1cs.n_public, r1cs.linked, r1cs.n_advice, r1cs.n_private) == (6, (), 6, 6)
    y, x, square = 1, 7, 13
    assert rows_of(r1cs.a) == [{x + i: 1} for i in range(6)] + [{y + i: 1} for i in range(6)]
    assert rows_of(r1cs.b) == [{x + i: 1} for i in range(6)] + [{0: 1}] * 6
    assert rows_of(r1cs.c)[:6] == [{square + i: 1} for i in range(6)]
    assert rows_of(r1cs.c)[6:] == [{0: 5, x + i: 3, square + i: 1} for i in range(6)]


def test_failing_row_is_named_by_block_and_index() -> None:
    circuit = build_square()
    x = np.arange(6).reshape(2, 3)
    honest = Assignment.of(circuit, {"x": x, "y": x * x + 3 * x + 5})
    check(circuit, honest.complete(), Reference())
    forged = honest.copy()
    forged["y"][1, 0] += 1
    forged["y"][1, 2] = 123456789
    with pytest.raises(UnsatisfiedConstraint) as caught:
        check(circuit, forged.complete(), Reference())
    error = caught.value
    assert (error.label, error.index, error.n_failing) == ("square/y/tie", (1, 0), 2)
    assert "123456789" not in str(error)
    with pytest.raises(IndexError):
        circuit.locate(12)


def test_forms_broadcast_add_scale_and_sum() -> None:
    system = System()
    a, b = system.advice("a", (4, 1)), system.advice("b", (3,))
    form = (a * 2 - b + np.array([10, 20, 30])) * -1
    values = np.array([1, 2, 3, 4, 5, 6, 7])
    read = lambda wires: np.where(wires == 0, 1, values[wires & 0xFF])  # noqa: E731
    left, right = values[:4].reshape(4, 1), values[4:]
    expected = -(2 * left - right + np.array([10, 20, 30]))
    assert form.shape == (4, 3)
    assert np.array_equal(form.evaluate(read), expected)
    assert np.array_equal(form.sum(0).evaluate(read), expected.sum(0))
    assert np.array_equal(form.sum(1).evaluate(read), expected.sum(1))
    assert np.array_equal(form.flat().evaluate(read), expected.reshape(-1))
    assert np.array_equal(form[1:3, None, 2].evaluate(read), expected[1:3, None, 2])
    joined = LinearForm.concat([form, form[:2]])
    assert np.array_equal(joined.evaluate(read), np.concatenate([expected, expected[:2]]))


def test_coefficients_stay_below_the_limit_of_the_matrix() -> None:
    wire = System().advice("a", (1,)) * (1 << 40)
    assert (wire * (1 << 21)).terms()[1].max() == 1 << 61
    with pytest.raises(OverflowError, match=r"2\^62"):
        _ = wire * (1 << 22)


def test_pack_rows_sorts_adds_and_drops() -> None:
    cols = np.array([[5, 2, 5], [1, 0, 1], [3, 3, 3]])
    coeffs = np.array([[1, 7, 2], [4, 0, -4], [1, 1, 1]])
    counts, flat, values, _ = pack_rows(cols, coeffs)
    assert counts.tolist() == [2, 0, 1]
    assert flat.tolist() == [2, 5, 3]
    assert values.tolist() == [7, 3, 3]


def test_slices_are_the_rows() -> None:
    m = build_square().r1cs.c
    assert rows_of(m.rows(4, 9)) == rows_of(m)[4:9]
    assert rows_of(m.rows(5, 5)) == []
    empty = stack_rows([], n_cols=3)
    assert (empty.n_rows, empty.nnz) == (0, 0)


def test_powers_and_totals_define_their_wires(rng: Random) -> None:
    system = System()
    s, t = system.public("s"), system.public("t")
    powers = system.powers("powers/s/power", s, 6)
    total = system.total("powers/s/sum", powers.sum(0))
    ratio = system.quotient("powers/s/ratio", total, t)
    system.require("powers/s/tie", a=ratio, b=s, c=ratio * 7)
    circuit = system.build({})
    base, divisor = rng.randrange(R), rng.randrange(R)
    z = Assignment.of(circuit, {"s": base, "t": divisor}).complete().to_ints()
    expected = [pow(base, i, R) for i in range(6)]
    assert z[3:7] == expected[2:]
    assert z[7] == sum(expected) % R
    assert z[8] * divisor % R == z[7]
    with pytest.raises(ValueError, match="at least two"):
        system.powers("powers/s/one", s, 1)


def test_division_by_zero_is_named() -> None:
    system = System()
    t = system.public("t")
    system.quotient("a/b/ratio", LinearForm.constant(1), t)
    with pytest.raises(UnsatisfiedConstraint, match="a/b/ratio"):
        Assignment.of(system.build({}), {"t": 0}).complete()


def test_labels_are_used_once() -> None:
    system = System()
    x = system.advice("x", (2,))
    with pytest.raises(ValueError, match="wires are called 'x'"):
        system.advice("x", (2,))
    system.require("a/b/c", a=x)
    with pytest.raises(ValueError, match="rows are called 'a/b/c'"):
        system.require("a/b/c", a=x)


def test_columns_follow_the_groups() -> None:
    system = System()
    private = system.total("a/b/private", system.advice("advice", (3,)))
    system.model("model", (2,))
    system.public("public", (4,))
    system.require("a/b/use", a=private, b=LinearForm.constant(1), c=private)
    with pytest.raises(DependentColumns):
        system.build({})
    system.require("a/b/model", a=LinearForm.of_wires(np.array([(1 << 40), (1 << 40) + 1])))
    system.require("a/b/public", a=LinearForm.of_wires(np.arange(1, 5)))
    circuit = system.build({})
    starts = {label: circuit.columns(b) for label, b in circuit.wire_blocks.items()}
    assert starts["public"] == slice(1, 5)
    assert starts["model"] == slice(5, 7)
    assert starts["advice"] == slice(7, 10)
    assert starts["a/b/private"] == slice(10, 13)
    assert circuit.wire_blocks["model"].group is Group.LINKED


def test_linked_groups_follow_each_other() -> None:
    """Each has a commitment of its own; blocks of one group lie side by side."""

    def build(second: str) -> Circuit:
        system = System()
        parts = [
            system.linked(group, label, (n,))
            for group, label, n in (("before", "a", 2), ("before", "b", 1), (second, "c", 4))
        ]
        for i, part in enumerate(parts):
            system.require(f"a/b/{i}", a=part)
        return system.build({})

    circuit = build("after")
    assert circuit.r1cs.linked == (3, 4)
    assert [x.start for x in circuit.r1cs.linked_groups] == [1, 4]
    assert circuit.columns(circuit.wire_blocks["c"]) == circuit.r1cs.linked_groups[1]
    assert circuit.digest != build("before").digest
    system = System()
    system.linked("before", "a", (1,))
    system.linked("after", "b", (1,))
    with pytest.raises(ValueError, match="'before' after those of another"):
        system.linked("before", "c", (1,))


def test_digest_covers_matrices_labels_groups_and_parameters() -> None:
    def build(*, factor: int = 3, label: str = "a/b/c", parameters: object = 1) -> bytes:
        system = System()
        x = system.advice("x", (2,))
        system.require(label, a=x, b=x * factor)
        return system.build({"p": parameters}).digest

    def build_model() -> bytes:
        system = System()
        x = system.model("x", (2,))
        system.require("a/b/c", a=x, b=x * 3)
        return system.build({"p": 1}).digest

    digests = [build(), build(factor=4), build(label="a/b/d"), build(parameters=2), build_model()]
    assert build() == digests[0]
    assert len(set(digests)) == 5
    assert all(len(d) == 32 for d in digests)


def test_digest_covers_wide_coefficients() -> None:
    """A coefficient beyond 2^62 tells circuits apart, and so does a table of other length."""
    entries = {
        "indptr": np.array([0, 1], dtype=np.int64),
        "cols": np.array([1], dtype=np.uint32),
        "n_cols": 2,
    }

    def digest(*wide: int, coeff: int = SparseMatrix.WIDE) -> bytes:
        coeffs = np.array([coeff], dtype=np.int64)
        m = SparseMatrix(**entries, coeffs=coeffs, wide=FrMont.from_ints(wide))
        r1cs = R1CS(n_public=1, linked=(), n_advice=0, n_private=0, a=m, b=m, c=m)
        return compute_digest(r1cs, (), {}, {})

    assert digest(1 << 80) == digest(1 << 80)
    assert len({digest(1 << 80), digest(1 << 81), digest(1 << 80, 1), digest(coeff=1)}) == 4


# -- independence ----------------------------------------------------------------------------------


def two_wires(group: str, rows: list[dict[str, tuple[int, int]]]) -> System:
    """Two wires of a group, and rows whose sides are given by the coefficients of both."""
    system = System()
    wires = system.model("x", (2,)) if group == "linked" else system.public("x", (2,))
    for i, sides in enumerate(rows):
        forms = {side: (wires * np.array(c)).sum(0) for side, c in sides.items()}
        system.require(f"row/{i}/x", a=forms.get("a"), b=forms.get("b"), c=forms.get("c"))
    return system


@pytest.mark.parametrize("group", ["linked", "public"])
@pytest.mark.parametrize(
    ("rows", "independent"),
    [
        ([], False),
        ([{"a": (1, 0)}], False),
        ([{"a": (1, 0)}, {"a": (0, 1)}], True),
        ([{"a": (1, 0), "b": (0, 1)}], True),
        ([{"a": (1, 2), "b": (2, 4)}], False),
        ([{"a": (1, 2)}, {"c": (0, 1)}], True),  # peeled: the second wire, then the first
        ([{"a": (1, 0)}, {"b": (0, 0)}], False),
    ],
)
def test_independence_within_a_group(
    group: str, rows: list[dict[str, tuple[int, int]]], independent: bool
) -> None:
    system = two_wires(group, rows)
    if independent:
        check_independence(system.build({}).r1cs)
    else:
        with pytest.raises(DependentColumns) as caught:
            system.build({})
        assert caught.value.group == group


def test_public_wires_are_judged_modulo_the_rest() -> None:
    """A public wire that only ever occurs beside an advice wire can be traded for it."""
    system = System()
    x, y = system.public("x"), system.advice("y", ())
    system.require("a/b/sum", a=x + y, b=x + y)
    with pytest.raises(DependentColumns, match="1 public wires"):
        system.build({})
    system.require("a/b/mend", a=x)
    check_independence(system.build({}).r1cs)


def test_zero_entries_give_no_place() -> None:
    """A foreign matrix may write zeros down, small or wide."""
    ends, col = np.array([0, 1], dtype=np.int64), np.array([1], dtype=np.uint32)
    none = SparseMatrix(
        indptr=np.zeros(2, dtype=np.int64),
        cols=np.zeros(0, dtype=np.uint32),
        coeffs=np.zeros(0, dtype=np.int64),
        n_cols=2,
        wide=FrMont.zeros(0),
    )
    wide = FrMont.from_ints([0, 7])
    for coefficient, independent in (
        (0, False),
        (1, True),
        (1 << 62, False),
        ((1 << 62) + 1, True),
    ):
        a = SparseMatrix(indptr=ends, cols=col, coeffs=np.array([coefficient]), n_cols=2, wide=wide)
        r1cs = R1CS(n_public=1, linked=(), n_advice=0, n_private=0, a=a, b=none, c=none)
        if independent:
            check_independence(r1cs)
        else:
            with pytest.raises(DependentColumns):
                check_independence(r1cs)


def test_model_wires_are_judged_among_themselves() -> None:
    """What advice does in the same row does not matter to the model commitment."""
    system = System()
    x, y = system.model("x", (2,)), system.advice("y", (2,))
    system.require("a/b/sum", a=x + y, b=x + y)
    check_independence(system.build({}).r1cs)


def test_unknown_inputs_are_refused() -> None:
    circuit = build_square()
    with pytest.raises(ShapeMismatch, match="expected inputs"):
        solve_advice(circuit, {})
    with pytest.raises(ShapeMismatch, match="shape"):
        solve_advice(circuit, {"x": np.zeros((3, 2), dtype=np.int64)})
