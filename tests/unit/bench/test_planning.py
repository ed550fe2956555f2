"""Plans against what then happens, in other processes: exact counts, memory within a quarter.

Seconds depend on what else a machine does: `zkpot bench plan` compares them.
"""

from __future__ import annotations

import pytest

from bench.suites.planning import STAGES, Measured, fit_room, fit_speeds
from prover.costs import Machine, Unit, measure_proving, measure_setup

SHARE = 0.25
SOAK = pytest.mark.soak
NETS = [  # daily: both kinds of layers, keys in memory and in a file
    ("lenet5", 2, False),
    ("mlp-64-32-10", 1024, True),
    pytest.param("mlp-784-32-10", 256, False, marks=SOAK),
    pytest.param("lenet-small", 4, True, marks=SOAK),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_samples", "streams"), NETS)
def test_a_plan_says_what_then_happens(name: str, n_samples: int, streams: bool) -> None:
    net = Measured(name, n_samples, streams)
    for mode, measure in (("setup", measure_setup), ("prove", measure_proving)):
        found = net.found[mode]
        assert found["rows"] == net.sizes.n_rows
        assert found["key_bytes"] == net.key.proving
        assert found["peak_bytes"] == pytest.approx(measure(net.sizes, streams=streams), rel=SHARE)


def make_net(name: str, n_samples: int, machine: Machine, *, streams: bool = False) -> Measured:
    """A net that took what this machine takes."""
    net = Measured(name, n_samples, streams)
    net.found = {"setup": {"stages_s": {}}, "prove": {"stages_s": {}}}
    works = [work for work, _ in net.list_work()]
    known, first = list(STAGES.items()), [*STAGES].index("load")
    for mode, phases, own in (
        ("setup", works[:2], known[:first]),
        ("prove", works[2:], known[first:]),
    ):
        stages = net.found[mode]["stages_s"]
        for unit, n in (pair for work in phases for pair in work.items()):
            stage = next((stage for stage, units in own if unit in units), "C")  # reads its bases
            share = 0.5 if stage == "save" else 1.0  # the other half is hashed beside the stages
            stages[stage] = stages.get(stage, 0.0) + share * machine.time({unit: n})
    return net


def test_speeds_are_found_from_stages_that_consist_of_them() -> None:
    speeds = {unit: 10.0 * (i + 1) for i, unit in enumerate(Unit)}
    machine = Machine(threads=3, memory_bytes=None, speeds_ns=speeds)
    kinds = (("mlp-6-4-3", 8), ("mlp-9-5-2", 40))
    nets, streamed = (
        [make_net(name, n, machine, streams=streams) for name, n in kinds]
        for streams in (False, True)
    )
    found = fit_speeds(nets, streamed, 3)
    assert set(found) == set(Unit)
    plain = (Unit.ADD_G1, Unit.ADD_G2, Unit.FIXED_G2, Unit.LINK, Unit.BUTTERFLY, Unit.WIRE)
    for unit in (*plain, Unit.REREAD):
        assert found[unit] == pytest.approx(speeds[unit])


def test_peaks_are_taken_apart() -> None:
    nets = [Measured(name, n) for name, n in (("mlp-6-4-3", 8), ("mlp-9-5-2", 400), ("mlp-3-2", 9))]
    for net in nets:
        peak = measure_proving(net.sizes, streams=False)
        net.found = {"prove": {"peak_bytes": peak}}
    room = fit_room(nets, "prove")
    assert room.start_mib > 100
    assert room.domain >= 0 <= room.wires
