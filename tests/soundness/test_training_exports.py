"""Exports of masters: as a circuit, through whole proofs, and their keys beside those of steps."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from prover.circuit.constraints import check_independence
from prover.circuit.training.export import compile_export, list_export_wires
from prover.circuit.training.inputs import ExportInputs
from prover.errors import (
    CircuitTooLarge,
    FormatError,
    KeyMismatch,
    RangeExceeded,
    SelfCheckFailed,
)
from prover.groth16.setup_training import setup_export
from prover.groth16.verify_training import verify_exports
from prover.keys.folder import load_half, load_proving_key, save_key
from prover.keys.training_card import ExportCard, StepCard
from prover.steps import (
    ProvedExport,
    compile_export_for_key,
    prove_export,
)
from prover.training.masters import export, start
from prover.wire.training import ExportEnvelope
from prover.wire.verdict import Verdict
from tests.support.assignments import Assignment, draw_scalars
from tests.support.detectors import vacuous
from tests.support.tiny_circuits import seeded
from tests.support.training import make_small_recipe
from tests.support.trajectories import (
    BACKEND,
    FAILED,
    OCCASION,
    VALID,
    chain,
    commit,
    export_circuit,
    export_key,
    public_model,
    recipe,
    step_circuit,
    step_key,
)


def prove_last(**change: Any) -> ProvedExport:
    last = chain()[-1]
    ticks = count()
    given = {
        "masters": last.trace.after,
        "of_masters": last.after,
        "of_model": commit(export(recipe(), last.trace.after).wires, 21),
    } | change
    return prove_export(
        export_circuit(),
        export_key(),
        given.pop("masters"),
        occasion=OCCASION,
        random_bytes=seeded(8),
        backend=BACKEND,
        clock=lambda: float(next(ticks)),
        **given,
    )


def judge_exports(*raws: bytes) -> list[Verdict]:
    return verify_exports(
        raws,
        key=export_key().verifying,
        inputs=ExportInputs(plan=export_circuit().plan),
        random_bytes=seeded(9),
    )


def restate_export(raw: bytes, **change: Any) -> bytes:
    envelope = ExportEnvelope.decode(raw)
    assert envelope is not None
    return replace(envelope, statement=replace(envelope.statement, **change)).encode()


def test_the_export_of_the_last_masters_passes() -> None:
    """Its D_M is the D_M(t+1) of the last step, its D_W what accuracy is proven of."""
    proven = prove_last()
    assert judge_exports(proven.envelope) == [VALID]
    assert proven.statement.masters == chain()[-1].proven.statement.after
    assert len(proven.envelope[-224:]) == 224
    wrong = [
        restate_export(proven.envelope, masters=chain()[0].proven.statement.after),
        restate_export(proven.envelope, model=proven.statement.masters),
        restate_export(proven.envelope, occasion=replace(OCCASION, round_index=2)),
    ]
    assert judge_exports(*wrong) == [FAILED] * 3
    assert judge_exports(restate_export(proven.envelope, verifying_key_digest=bytes(32))) == [
        Verdict.WRONG_KEY
    ]
    assert judge_exports(chain()[0].proven.envelope) == [Verdict.MALFORMED]


def test_the_export_of_other_masters_is_refused() -> None:
    """Of the public model; of the last masters under the commitment to another model."""
    masters = start(recipe(), public_model())
    with pytest.raises(SelfCheckFailed):
        prove_last(masters=masters)
    with pytest.raises(SelfCheckFailed):
        prove_last(of_model=commit(public_model().wires, 22))


def test_masters_beyond_their_range_have_no_export() -> None:
    """A step may end at such masters; then the chain is at its end."""
    masters = chain()[-1].trace.after.copy()
    masters[0] = recipe().master_range[1] + 1
    with pytest.raises(RangeExceeded, match="layer 0: master weight"):
        prove_last(masters=masters)


@pytest.mark.parametrize(
    ("label", "by"),
    [
        ("model/layer 0/weights", 1),
        ("model/layer 1/weights", -1),
        ("model/layer 0/biases", 1),
        ("model/layer 0/biases", 128),
        ("layer 0/biases/seen", 1),
        ("masters/layer 1/weights", 1 << 12),
        ("masters/layer 0/biases", -(1 << 12)),
    ],
)
def test_an_export_with_any_number_changed_is_refused(label: str, by: int, rng: Random) -> None:
    """By less than a rounding a master may move: it is the model's all the same."""
    circuit = export_circuit()
    wires = {
        name: np.array(values, dtype=object)
        for name, values in list_export_wires(circuit, chain()[-1].trace.after).items()
    }
    challenges = draw_scalars(rng, circuit.n_challenges)
    named = {f"challenge/{n}": c for n, c in zip(circuit.plan.challenges, challenges, strict=True)}
    assert Assignment.of(circuit.circuit, named | wires).failing(BACKEND) == []
    wires[label].reshape(-1)[0] += by
    assert Assignment.of(circuit.circuit, named | wires).failing(BACKEND)


def test_the_export_circuit_passes_the_detectors(rng: Random) -> None:
    circuit = export_circuit()
    check_independence(circuit.r1cs)
    assert vacuous(circuit.circuit, rng) == []
    sizes, r1cs = circuit.plan.sizes, circuit.r1cs
    found = (sizes.n_rows, sizes.n_public, sizes.n_model, sizes.n_advice, sizes.n_private)
    assert found == (r1cs.n_rows, r1cs.n_public, r1cs.n_linked, r1cs.n_advice, r1cs.n_private)
    assert sizes.nnz == tuple(m.nnz for m in r1cs.matrices)
    for most, m in zip(sizes.occurring, r1cs.matrices, strict=True):
        assert most >= len(np.unique(m.cols))
    report = circuit.explain()
    assert sum(line.rows for line in report.lines) == report.rows == sizes.n_rows
    with pytest.raises(CircuitTooLarge, match="an export of mlp-4-3-2 has"):
        compile_export(recipe(), max_rows=100)


def test_folders_of_keys_say_their_recipe(tmp_path: Path) -> None:
    """Cards are read, compared and pinned like others; none is taken for another kind."""
    cards = (StepCard.of(step_circuit()), ExportCard.of(export_circuit()))
    for card, key, other in ((cards[0], step_key(), cards[1]), (cards[1], export_key(), cards[0])):
        folder = tmp_path / card.FIELD
        save_key(key, folder, card)
        verifying, found = load_half(folder, type(card))
        assert found == card
        assert found.recipe == recipe()
        assert load_proving_key(folder, verifying).linked == key.linked
        with pytest.raises(KeyMismatch):
            save_key(key, folder, other)
        with pytest.raises(FormatError, match=f"with {other.FIELD}"):
            type(other).decode(card.encode())
        for bent in (card.encode().replace(b'"rate":1', b'"rate":0'), card.encode()[:-1]):
            with pytest.raises(FormatError):
                type(card).decode(bent)
        faster = type(card).decode(card.encode().replace(b'"rate":1', b'"rate":2'))
        with pytest.raises(KeyMismatch, match="another recipe of training"):
            faster.require_key(verifying)


def test_keys_of_exports_belong_to_their_recipe() -> None:
    other = compile_export(make_small_recipe([4, 3, 2], master_bits=13))
    key = setup_export(other, random_bytes=seeded(5), backend=BACKEND)
    with pytest.raises(KeyMismatch, match="another circuit than an export of mlp-4-3-2"):
        compile_export_for_key(ExportCard.of(export_circuit()), key.verifying)
    assert compile_export_for_key(ExportCard.of(other), key.verifying).digest == other.digest
