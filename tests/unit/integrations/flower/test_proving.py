"""A client's side: what it proves, what it refuses to, and what it keeps to itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from integrations.errors import ArraysUnsupported, TicketInvalid, TooFewCorrect
from integrations.flower.tickets import Mode
from prover.pedersen.commitment import Blinding
from prover.wire.envelope import Envelope
from tests.support.flower_task import N_CORRECT, N_SAMPLES, FlowerLab, draw_arrays, get_wires


def test_in_the_open_it_claims_all_that_it_has(lab: FlowerLab) -> None:
    proven = lab.make_prover().prove(draw_arrays(1), lab.make_ticket(), node=3)
    envelope = Envelope.decode(proven.envelope)
    assert envelope is not None
    assert envelope.statement.claimed_correct == N_SAMPLES
    assert envelope.statement.occasion == lab.make_ticket().get_occasion(3)
    assert proven.blinding is not None
    assert [array.dtype for array in proven.arrays] == [np.int8, np.int32] * 2


def test_masked_it_claims_what_is_asked_and_shows_no_blinding(lab: FlowerLab) -> None:
    prover = lab.make_prover(Mode.MASKED)
    proven = prover.prove(draw_arrays(1), lab.make_ticket(Mode.MASKED), node=3)
    envelope = Envelope.decode(proven.envelope)
    assert envelope is not None
    assert envelope.statement.claimed_correct == N_CORRECT
    assert proven.blinding is None
    assert [array.dtype for array in proven.arrays] == [np.float64] * 5


def test_each_proof_has_a_blinding_of_its_own(lab: FlowerLab) -> None:
    prover = lab.make_prover()
    made = [prover.prove(draw_arrays(1), lab.make_ticket(), node=3) for _ in range(2)]
    assert np.array_equal(get_wires(made[0]), get_wires(made[1]))
    blindings = {Blinding.decode(one.blinding or b"").rho for one in made}
    assert len(blindings) == 2
    assert "blinding" not in repr(made[0])
    assert "arrays" not in repr(made[0])


def test_it_proves_for_its_own_task_only(lab: FlowerLab) -> None:
    ticket = replace(lab.make_ticket(), task=bytes(32))
    with pytest.raises(TicketInvalid, match="give both the same folder"):
        lab.make_prover().prove(draw_arrays(1), ticket, node=3)


@pytest.mark.parametrize(("own", "asked"), [(Mode.OPEN, Mode.MASKED), (Mode.MASKED, Mode.OPEN)])
def test_a_server_does_not_choose_how_models_travel(lab: FlowerLab, own: Mode, asked: Mode) -> None:
    with pytest.raises(TicketInvalid, match="secure=True"):
        lab.make_prover(own).prove(draw_arrays(1), lab.make_ticket(asked), node=3)


def test_a_model_that_is_not_good_enough_is_not_proven(lab: FlowerLab) -> None:
    poor = [0 * array for array in draw_arrays(1)]  # every class ties: none is right
    with pytest.raises(TooFewCorrect, match=f"fewer than {N_CORRECT} of {N_SAMPLES}"):
        lab.make_prover().prove(poor, lab.make_ticket(), node=3)


def test_what_a_server_hears_of_a_range_tells_no_weight(lab: FlowerLab) -> None:
    """Flower sends the text of what a client raises; a chain of errors would be in its log."""
    arrays = draw_arrays(1)
    arrays[1][0] = 1e9  # clipped to the greatest bias, beyond what the circuit rounds
    with pytest.raises(ArraysUnsupported) as caught:
        lab.make_prover().prove(arrays, lab.make_ticket(), node=3)
    assert caught.value.__context__ is None
    assert "8388607" not in str(caught.value)
