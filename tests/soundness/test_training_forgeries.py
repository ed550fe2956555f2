"""Forged training steps: each is consistent but for the one lie that it needs.

Whoever lies about one number recomputes all that follows from it, the masters after the step above
all, so that a single equation, range or table is left to refuse it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import numpy as np
import pytest

from kernels.backend import get_backend
from kernels.bn254 import R
from kernels.numpy_types import Int64Array
from prover.circuit.training.step import StepCircuit, compile_step
from prover.circuit.training.witness import list_step_wires
from prover.model.layers import Requant
from prover.training.loss import EXP_TABLE
from prover.training.masters import split_masters
from prover.training.step import StepTrace
from tests.support.training import assign_step, draw_step, make_small_recipe

BACKEND = get_backend("cpu")
N_REAL = 3
Wires = dict[str, Any]


@cache
def step() -> StepCircuit:
    return compile_step(
        make_small_recipe([6, 5, 3], requant=Requant(shift=7, q_bits=10), logit_shift=9)
    )


@cache
def honest() -> StepTrace:
    """A step of three samples and one of padding, in which units are closed, open and saturated."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        trace = draw_step(step().recipe, rng, N_REAL, most=60)
        hidden = trace.hidden[0]
        cases = (hidden.q[:N_REAL] <= 0, hidden.gate[:N_REAL] == 1, hidden.q[:N_REAL] >= 255)
        if all(case.any() for case in cases) and trace.loss.delta[:N_REAL].all():
            return trace
    raise AssertionError("no step has all cases")


def draw_wires() -> Wires:
    return {
        label: np.array(values, dtype=object)
        for label, values in list_step_wires(step(), honest()).items()
    }


def follow(wires: Wires) -> None:
    """Masters after the step, from the errors and activations as they are."""
    recipe = step().recipe
    inputs = [wires["data/images"], wires["layer 0/activation/a"]]
    deltas = [wires["layer 0/error/delta"], wires["loss/error/delta"]]
    for layer, (x, delta) in enumerate(zip(inputs, deltas, strict=True)):
        for kind, change in (
            ("weights", delta.T @ x),
            ("biases", recipe.bias_input * delta.sum(axis=0)),
        ):
            label = f"layer {layer}/{kind}"
            wires[f"after/{label}"] = wires[f"before/{label}"] - recipe.rate * change


def go_back(wires: Wires) -> None:
    """Errors of the hidden layer and masters, from those of the logits."""
    recipe = step().recipe
    shift = recipe.backward_shift
    v = wires["loss/error/delta"] @ wires["layer 1/weights/seen"] + (1 << (shift - 1))
    w = v // (1 << shift)
    wires["layer 0/error/w"], wires["layer 0/error/w_rem"] = w, v - w * (1 << shift)
    wires["layer 0/error/delta"] = wires["layer 0/activation/gate"] * w
    follow(wires)


def find_failing(wires: Wires, *, n_real: int = N_REAL, seed: int = 1) -> list[str]:
    return assign_step(step(), wires, Random(seed), n_real=n_real).failing(BACKEND)


def test_a_forger_of_the_truth_is_none() -> None:
    """The forger's own tools make an accepted step: they are not what fails."""
    wires = draw_wires()
    go_back(wires)
    assert find_failing(wires) == []
    assert (
        wires["after/layer 0/weights"] == split_masters(step().recipe, honest().after)[0][0]
    ).all()


# -- the gradient ----------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [1, -1, R // 2, pow(2, -1, R)])
@pytest.mark.parametrize("label", ["layer 0/weights", "layer 0/biases", "layer 1/weights"])
def test_a_step_and_one_more_in_one_weight_is_refused(label: str, by: int) -> None:
    wires = draw_wires()
    wires[f"after/{label}"].reshape(-1)[2] += by
    assert find_failing(wires) == [f"{label.split('/')[0]}/gradient/equation"]


def test_moves_that_would_cancel_at_a_known_point_are_refused() -> None:
    """What y = 1, or equal weights of rows and columns, would let pass."""
    for changes in ({(0, 0): 1, (0, 1): -1}, {(0, 1): 1, (1, 0): -1}, {(0, 0): 1, (1, 1): -1}):
        wires = draw_wires()
        for place, by in changes.items():
            wires["after/layer 0/weights"][place] += by
        assert find_failing(wires) == ["layer 0/gradient/equation"]


def test_no_step_at_all_is_refused() -> None:
    wires = draw_wires()
    for layer in (0, 1):
        for kind in ("weights", "biases"):
            wires[f"after/layer {layer}/{kind}"] = wires[f"before/layer {layer}/{kind}"].copy()
    assert find_failing(wires) == ["layer 0/gradient/equation", "layer 1/gradient/equation"]


def test_another_rate_is_refused() -> None:
    wires = draw_wires()
    for layer in (0, 1):
        for kind in ("weights", "biases"):
            before, after = (f"{x}/layer {layer}/{kind}" for x in ("before", "after"))
            wires[after] = 2 * wires[after] - wires[before]
    assert find_failing(wires) == ["layer 0/gradient/equation", "layer 1/gradient/equation"]


# -- masters and data ------------------------------------------------------------------------------


def test_a_weight_that_is_not_its_masters_is_refused() -> None:
    """One more or less with its remainder beyond the range, or any weight with none."""
    u = step().recipe.master_bits
    for by, of_master in ((1, 0), (-1, 0), (0, 1 << u), (0, -(1 << u))):
        wires = draw_wires()
        wires["layer 0/weights/seen"][0, 0] += by
        wires["before/layer 0/weights"][0, 0] += of_master
        wires["after/layer 0/weights"][0, 0] += of_master
        assert f"range {step().plan.ranges.table_bits} table/sum" in find_failing(wires)


@pytest.mark.parametrize("weight", [128, -128, R // 2, pow(2, -1, R), 127 + R - (1 << 20)])
def test_masters_of_no_int8_weight_are_refused(weight: int) -> None:
    """A weight out of range under masters that suit it, by multiples of r and fractions, too."""
    wires, u = draw_wires(), step().recipe.master_bits
    master = (weight << u) % R
    for kind in ("before", "after"):
        old = wires["before/layer 1/weights"][0, 0]
        wires[f"{kind}/layer 1/weights"][0, 0] += master - old if kind == "before" else 0
    wires["layer 1/weights/seen"][0, 0] = weight
    assert "weight table/sum" in find_failing(wires)


def test_a_master_and_a_fraction_is_refused() -> None:
    wires, half = draw_wires(), pow(2, -1, R)
    for kind in ("before", "after"):
        wires[f"{kind}/layer 0/weights"][1, 1] += half
    assert any(label.startswith("range ") for label in find_failing(wires))


@pytest.mark.parametrize("pixel", [256, -1, R // 2, pow(2, -1, R), 1 << 40])
def test_samples_that_are_no_bytes_are_refused(pixel: int) -> None:
    """Even of padding, which moves nothing."""
    wires = draw_wires()
    wires["data/images"][3, 0] = pixel
    assert any(label.startswith("range ") for label in find_failing(wires))


# -- forward ---------------------------------------------------------------------------------------


def test_another_quotient_is_refused() -> None:
    """q one more, with the remainder that keeps the product true."""
    shift = step().recipe.hidden[0].shift
    for by in (1, -1):
        wires = draw_wires()
        wires["layer 0/activation/q"][0, 0] += by
        wires["layer 0/activation/rem"][0, 0] -= by << shift
        q = wires["layer 0/activation/q"][0, 0]
        wires["layer 0/activation/a"][0, 0] = min(max(q, 0), 255)
        wires["layer 0/activation/gate"][0, 0] = int(0 < q < 255)
        assert any(x.startswith("range ") and x.endswith("table/sum") for x in find_failing(wires))


def test_outputs_of_another_sample_are_refused() -> None:
    """What a hidden layer makes of two samples, exchanged: all tables and ranges hold."""
    wires = draw_wires()
    for name in ("q", "rem", "a", "gate"):
        tensor = wires[f"layer 0/activation/{name}"]
        tensor[[0, 1]] = tensor[[1, 0]]
    assert "layer 0/forward/equation" in find_failing(wires)


def find_units(case: Callable[[Int64Array], Any]) -> tuple[int, int]:
    place = np.argwhere(case(honest().hidden[0].q[:N_REAL]))[0]
    return int(place[0]), int(place[1])


@pytest.mark.parametrize(
    ("case", "gate"),
    [(lambda q: q <= 0, 1), (lambda q: q >= 255, 1), (lambda q: (q > 0) & (q < 255), 0)],
    ids=["closed unit open", "saturated unit open", "open unit closed"],
)
def test_a_free_gate_is_refused(case: Callable[[Int64Array], Any], gate: int) -> None:
    wires = draw_wires()
    place = find_units(case)
    for value in (gate, 2, R - 1):
        wires["layer 0/activation/gate"][place] = value
        go_back(wires)
        assert find_failing(wires) == ["clamp table 0/sum"]


@pytest.mark.parametrize("a", [1, 255, 256, -1])
def test_a_free_activation_is_refused(a: int) -> None:
    """Of a closed unit, with logits, loss and masters that follow the lie."""
    wires = draw_wires()
    wires["layer 0/activation/a"][find_units(lambda q: q <= 0)] = a
    follow(wires)
    assert "clamp table 0/sum" in find_failing(wires)


# -- loss ------------------------------------------------------------------------------------------


def set_probabilities(wires: Wires) -> None:
    """Shares' probabilities, errors and all that comes of them."""
    recipe = step().recipe
    share = wires["loss/softmax/share"]
    total = share.sum(axis=1)[:, None]
    raised = share * (1 << (recipe.loss_bits + 1)) + total
    p = raised // (2 * np.maximum(total, 1))
    wires["loss/softmax/p"], wires["loss/softmax/p_rem"] = p, raised - 2 * total * p
    set_errors(wires)


def set_errors(wires: Wires) -> None:
    hit = wires["loss/labels/hit"]
    scaled = hit * (1 << step().recipe.loss_bits)
    wires["loss/error/delta"] = wires["loss/softmax/p"] * hit.sum(axis=1)[:, None] - scaled
    go_back(wires)


def set_top(wires: Wires, by: int) -> None:
    """Another greatest logit of sample 0, with distances, shares and the rest that suit it."""
    recipe = step().recipe
    logits = honest().logits[0]
    top = int(logits.max()) + by
    far, rem = np.divmod(top - logits, 1 << recipe.logit_shift)
    at = np.minimum(far, 255)
    wires["loss/softmax/top"][0] = top
    for name, values in {"step": at, "excess": far - at, "rem": rem}.items():
        wires[f"loss/softmax/{name}"][0] = values.tolist()
    wires["loss/softmax/share"][0] = EXP_TABLE[np.maximum(at, 0)].tolist()
    set_probabilities(wires)


def test_the_forger_of_losses_is_honest_with_the_truth() -> None:
    wires = draw_wires()
    set_top(wires, 0)
    assert find_failing(wires) == []


@pytest.mark.parametrize("by", [1, 64, 5000])
def test_a_greatest_logit_too_large_is_refused(by: int) -> None:
    wires = draw_wires()
    set_top(wires, by)
    assert find_failing(wires) == ["loss/distance/product is zero"]


def test_shares_that_are_all_zero_are_refused() -> None:
    """A greatest logit so large that every share is T[255] = 0, and S = 0 divides anything."""
    wires = draw_wires()
    set_top(wires, 257 << step().recipe.logit_shift)
    assert not wires["loss/softmax/share"][0].any()
    failing = find_failing(wires)
    assert "loss/distance/product is zero" in failing
    assert any(x.startswith("range ") for x in failing), "p_rem < 2 S"


@pytest.mark.parametrize("by", [-1, -64])
def test_a_greatest_logit_too_small_is_refused(by: int) -> None:
    wires = draw_wires()
    set_top(wires, by)
    assert find_failing(wires)


@pytest.mark.parametrize("by", [1, -1])
def test_a_probability_off_by_one_is_refused(by: int) -> None:
    wires = draw_wires()
    total = wires["loss/softmax/share"][0].sum()
    wires["loss/softmax/p"][0, 0] += by
    wires["loss/softmax/p_rem"][0, 0] -= 2 * total * by
    set_errors(wires)
    failing = find_failing(wires)
    assert failing
    assert all(x.startswith("range ") for x in failing)


def test_a_probability_that_is_no_integer_is_refused() -> None:
    """The quotient mod r that has remainder 0."""
    wires = draw_wires()
    total = int(wires["loss/softmax/share"][0].sum())
    raised = int(wires["loss/softmax/share"][0, 0]) * (1 << (step().recipe.loss_bits + 1)) + total
    wires["loss/softmax/p"][0, 0] = raised * pow(2 * total, -1, R) % R
    wires["loss/softmax/p_rem"][0, 0] = 0
    wires["loss/error/delta"][0, 0] = wires["loss/softmax/p"][0, 0] - int(
        wires["loss/labels/hit"][0, 0]
    ) * (1 << step().recipe.loss_bits)
    follow(wires)
    assert any(x.startswith("range ") for x in find_failing(wires))


def test_a_distance_that_is_not_saturated_is_refused() -> None:
    """The same distance, in the table's steps and in what is beyond them, split otherwise."""
    for step_by in (-1, -5):
        wires = draw_wires()
        place = tuple(np.argwhere(wires["loss/softmax/step"][:N_REAL] > 6)[0])
        wires["loss/softmax/step"][place] += step_by
        wires["loss/softmax/excess"][place] -= step_by
        at = int(wires["loss/softmax/step"][place])
        wires["loss/softmax/share"][place] = int(EXP_TABLE[at])
        set_probabilities(wires)
        assert find_failing(wires) == ["loss/exponential/saturation"]


def test_a_share_that_is_not_of_the_table_is_refused() -> None:
    wires = draw_wires()
    wires["loss/softmax/share"][0, 0] += 1
    set_probabilities(wires)
    assert find_failing(wires) == ["exp table/sum"]


# -- labels and padding ----------------------------------------------------------------------------


def test_a_label_changed_between_data_and_loss_is_refused() -> None:
    wires = draw_wires()
    wires["loss/labels/hit"][0] = np.roll(wires["loss/labels/hit"][0], 1)
    set_errors(wires)
    assert find_failing(wires) == ["loss/labels/hit is the label"]


@pytest.mark.parametrize("hit", [[1, 1, 0], [2, 0, 0], [R - 1, 1, 0], [3, R - 1, 0]])
def test_hits_that_are_no_label_are_refused(hit: list[int]) -> None:
    """With the y that suits them: two classes, or a weight of a class."""
    wires = draw_wires()
    wires["loss/labels/hit"][0] = np.array(hit, dtype=object)
    wires["data/y"][0] = sum((c + 1) * x for c, x in enumerate(hit))
    set_errors(wires)
    failing = find_failing(wires)
    assert {"loss/labels/hit is boolean", "loss/labels/one hit at most"} & set(failing)


def test_padding_with_an_error_is_refused() -> None:
    wires = draw_wires()
    wires["loss/error/delta"][3] = wires["loss/softmax/p"][3]
    go_back(wires)
    assert find_failing(wires) == ["loss/error/of real samples"]


def test_a_real_sample_that_is_passed_over_is_refused() -> None:
    """Its error left out; or called padding, by hits or by the batch itself."""
    wires = draw_wires()
    wires["loss/error/delta"][0] = 0
    go_back(wires)
    assert find_failing(wires) == ["loss/error/of real samples"]
    wires["loss/labels/hit"][0] = 0
    set_errors(wires)
    failing = ["loss/labels/count", "loss/labels/hit is the label"]
    assert find_failing(wires) == failing
    assert find_failing(wires, n_real=N_REAL - 1) == failing[1:]
    wires["data/y"][0] = 0
    assert find_failing(wires) == failing[:1]
    assert find_failing(wires, n_real=N_REAL - 1) == [], "then it is a batch of fewer samples"


# -- backward --------------------------------------------------------------------------------------


def test_errors_of_another_sample_are_refused() -> None:
    """Those of the logits, and those that come back: all ranges hold."""
    wires = draw_wires()
    delta = wires["loss/error/delta"]
    delta[[0, 1]] = delta[[1, 0]]
    go_back(wires)
    assert find_failing(wires) == ["loss/error/of real samples"]
    wires = draw_wires()
    for name in ("w", "w_rem"):
        tensor = wires[f"layer 0/error/{name}"]
        tensor[[0, 1]] = tensor[[1, 0]]
    wires["layer 0/error/delta"] = wires["layer 0/activation/gate"] * wires["layer 0/error/w"]
    follow(wires)
    assert find_failing(wires) == ["layer 1/backward/equation"]


@pytest.mark.parametrize("by", [1, -1])
def test_an_error_rounded_otherwise_is_refused(by: int) -> None:
    wires, shift = draw_wires(), step().recipe.backward_shift
    place = find_units(lambda q: (q > 0) & (q < 255))
    wires["layer 0/error/w"][place] += by
    wires["layer 0/error/w_rem"][place] -= by << shift
    wires["layer 0/error/delta"] = wires["layer 0/activation/gate"] * wires["layer 0/error/w"]
    follow(wires)
    failing = find_failing(wires)
    assert failing
    assert all(x.startswith("range ") for x in failing)


def test_an_error_past_a_closed_gate_is_refused() -> None:
    wires = draw_wires()
    place = find_units(lambda q: q <= 0)
    wires["layer 0/error/delta"][place] = wires["layer 0/error/w"][place] or 1
    follow(wires)
    assert find_failing(wires) == ["layer 0/error/gate"]


# -- tables and challenges -------------------------------------------------------------------------


def test_columns_that_cancel_at_a_known_point_are_refused() -> None:
    """A closed gate opened, and s less in the activation: the same entry at this s only."""
    known, wires = 10**9, draw_wires()
    place = find_units(lambda q: q <= 0)
    wires["layer 0/activation/gate"][place] = 1
    wires["layer 0/activation/a"][place] = -known
    go_back(wires)
    for point, is_refused in ((known, False), (known + 1, True)):
        forged = assign_step(step(), wires, Random(2), n_real=N_REAL)
        forged["challenge/point"] = point
        assert ("clamp table 0/sum" in forged.failing(BACKEND)) == is_refused


def test_one_challenge_for_columns_and_fractions_would_not_do() -> None:
    """X + t + s E at X = s: (0, 2 (1 + E) - 1) is at twice the place of (0, E), half of which is
    then its multiplicity. At an X of its own the table refuses it."""
    wires = draw_wires()
    place = tuple(np.argwhere(wires["loss/softmax/step"][:N_REAL] == 0)[0])
    wires["loss/softmax/share"][place] = 2 * (1 + int(EXP_TABLE[0])) - 1
    set_probabilities(wires)
    point = 10**9
    for lookup, failing in ((point, []), (point + 1, ["exp table/sum"])):
        forged = assign_step(step(), wires, Random(2), n_real=N_REAL)
        forged["challenge/lookup"], forged["challenge/point"] = lookup, point
        forged["exp table/multiplicity"][0] += pow(2, -1, R) - 1
        assert forged.failing(BACKEND) == failing


def test_forged_multiplicities_are_refused() -> None:
    names = [f"range {bits}" for bits in step().plan.ranges.tables]
    for name in (*(f"{x} table" for x in names), "weight table", "clamp table 0", "exp table"):
        forged = assign_step(step(), draw_wires(), Random(1), n_real=N_REAL)
        forged[f"{name}/multiplicity"][0] += 1
        assert forged.failing(BACKEND) == [f"{name}/sum"]
