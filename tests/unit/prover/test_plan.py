"""Plans: the fewest shards that fit, keys that stay in files, and refusals that say what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prover.circuit.sizes import compute_sizes
from prover.costs import REFERENCE_NS, SERIAL, Machine, Unit, count_additions
from prover.errors import DoesNotFit
from prover.keys.sizes import count_key_bytes
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.plan import USUAL_SAMPLES, Plan, plan_proofs

NET = Architecture.mlp([784, 128, 10])
LARGE = Machine(threads=2, memory_bytes=64 << 30, speeds_ns=REFERENCE_NS["ifma"])


def plan(n_total: int, memory_mib: int | None = None, n_samples: int | None = None) -> Plan:
    memory_bytes = None if memory_mib is None else memory_mib << 20
    machine = replace(LARGE, memory_bytes=memory_bytes)
    return plan_proofs(NET, n_total, machine, n_samples=n_samples)


@pytest.mark.parametrize(
    ("n_total", "n_samples", "n_shards"),
    [(1, 1, 1), (256, 256, 1), (1024, 1024, 1), (1025, 513, 2), (10_000, 1000, 10)],
)
def test_a_circuit_has_as_many_samples_as_are_asked_for(
    n_total: int, n_samples: int, n_shards: int
) -> None:
    found = plan(n_total)
    assert (found.n_samples, found.n_shards) == (n_samples, n_shards)
    assert found.n_samples <= USUAL_SAMPLES
    assert found.sizes == compute_sizes(NET, n_samples)
    assert found.key == count_key_bytes(found.sizes)


def test_samples_that_do_not_fit_are_cut_into_the_fewest_shards_that_do() -> None:
    whole = plan(1024)
    limit = 480 << 20
    assert whole.peak_bytes > limit
    found = plan(1024, limit >> 20)
    assert found.n_shards > 1
    assert found.n_samples == -(-1024 // found.n_shards)
    assert found.peak_bytes <= limit
    fewer = -(-1024 // (found.n_shards - 1))
    with pytest.raises(DoesNotFit):
        plan(1024, limit >> 20, n_samples=fewer)


def test_a_key_stays_in_its_file_where_it_does_not_fit_beside_the_rest() -> None:
    whole = plan(1024)
    assert not whole.streams
    room = (whole.peak_bytes >> 20) - 1
    found = plan(1024, room)
    assert found.streams
    assert found.n_shards == 1
    assert found.prove_bytes <= whole.prove_bytes - whole.key.bases // 2
    assert found.setup_bytes <= whole.setup_bytes


def test_a_key_of_a_ceremony_has_one_power_of_two_points() -> None:
    own, padded = (plan_proofs(NET, 1024, LARGE, is_padded=x) for x in (False, True))
    assert (own.sizes.domain, padded.sizes.domain) == (598_016, 1 << 20)
    assert padded.key.proving - own.key.proving == 64 * ((1 << 20) - 598_016)
    assert padded.seconds.prove > own.seconds.prove
    assert padded.prove_bytes > own.prove_bytes


def test_a_number_of_samples_that_was_asked_for_is_not_changed() -> None:
    assert plan(100, n_samples=1024).n_samples == 1024
    with pytest.raises(DoesNotFit, match=r"are 600 MiB; take fewer samples, up to \d+ a proof"):
        plan(1024, 600, n_samples=1024)


def test_what_fits_in_no_way_is_refused_with_what_to_change() -> None:
    with pytest.raises(DoesNotFit, match=r"101770 parameters alone take .* take a smaller network"):
        plan(1024, 200)
    requant = Requant(shift=9, multiplier=1, least=0, q_bits=20)
    wide = Architecture.mlp([16, 4, 2], requant=[requant])
    with pytest.raises(DoesNotFit, match=r"tables alone take .* rows: take smaller q_bits"):
        plan_proofs(wide, 16, replace(LARGE, memory_bytes=300 << 20))
    with pytest.raises(DoesNotFit, match="rows, and the limit is 1000"):
        plan_proofs(NET, 16, LARGE, max_rows=1000)
    with pytest.raises(DoesNotFit, match=r"10000 shards of 1, .* take 3 samples a proof, or more"):
        plan_proofs(NET, 10_000, LARGE, n_samples=1)


def test_more_threads_take_less_time_and_a_slower_machine_more() -> None:
    def prove(machine: Machine) -> float:
        return plan_proofs(NET, 256, machine).seconds.prove

    one, two = prove(replace(LARGE, threads=1)), prove(LARGE)
    assert two < one < 2 * two + 1
    slow = {unit: 3 * ns for unit, ns in REFERENCE_NS["ifma"].items()}
    assert prove(replace(LARGE, speeds_ns=slow)) == pytest.approx(3 * two)


def test_shards_take_their_time_each() -> None:
    one, ten = plan(1000), plan(10_000)
    assert ten.seconds.prove == pytest.approx(10 * one.seconds.prove)
    assert ten.seconds.setup == one.seconds.setup


def test_every_lane_has_a_speed_for_every_kind() -> None:
    for speeds in REFERENCE_NS.values():
        assert set(speeds) == set(Unit)
        assert all(ns > 0 for ns in speeds.values())
    assert set(Unit) > SERIAL


def test_larger_sums_take_fewer_additions_a_point() -> None:
    per_point = [count_additions(n) / n for n in (1 << 8, 1 << 12, 1 << 16, 1 << 20)]
    assert per_point == sorted(per_point, reverse=True)
    assert 14 < per_point[-1] < 20


def test_a_plan_is_told_in_one_line_and_as_numbers() -> None:
    text = plan(10_000).describe()
    assert text.startswith("10 proofs of up to 1000 samples: ")
    assert " rows on 589824 points, key " in text
    found = plan(256).to_json()
    assert found["samples_per_proof"] == 256
    assert found["seconds"].keys() == {"compile", "setup", "load", "prove", "verify"}
