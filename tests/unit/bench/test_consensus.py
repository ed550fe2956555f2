"""The suite `consensus`: stable ids, honest feeds, chains that a verifier takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.registry import load_suite
from bench.suites import consensus as suite
from bench.suites.consensus import QUICK, count_steps, make_chain, verify
from bench.suites.growth import Growth


def test_ids_are_stable() -> None:
    """A number of another commit compares by its id."""
    assert [case.id for case in load_suite("consensus", quick=False).cases] == [
        "consensus.finalize.p64",
        "consensus.step.h2000",
        "consensus.verify.b1001",
        "consensus.recovery.b1001",
    ]


def test_ids_of_growth_are_stable() -> None:
    ids = [case.id for case in load_suite("growth", quick=False).cases]
    names = ("round", "cpu", "entries")
    assert ids == [f"growth.{name}.c{n}" for n in (100, 300, 1000) for name in names]


def test_figures_of_growth_are_per_node_and_transaction() -> None:
    found = Growth(n_clients=50, cpu_s=4.0, n_entries=600)
    assert (found.n_transactions, found.cpu_ms, found.entries) == (250, 4.0, 2.4)


def test_the_feed_of_events_finalizes_every_height() -> None:
    _, height = count_steps(QUICK).run()
    assert height == QUICK.heights


def test_the_chain_that_is_verified_holds_its_proofs() -> None:
    made = make_chain(QUICK.blocks, QUICK.clients)
    assert len(made.finals) == QUICK.blocks
    _, height = verify(QUICK).run()
    assert height == QUICK.blocks
    rounds = (QUICK.blocks - 1) // 5
    kinds = [type(tx).__name__ for final in made.finals for tx in final.block.transactions]
    assert kinds.count("Proof") == rounds * QUICK.clients


def test_a_chain_with_a_gap_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is timed does check: nothing is reported for a chain that does not verify."""
    made = make_chain(QUICK.blocks, QUICK.clients)
    gap = replace(made, finals=[*made.finals[:3], *made.finals[4:]])
    monkeypatch.setattr(suite, "make_chain", lambda *_: gap)
    with pytest.raises(RuntimeError, match="block 5: height 5 after height 3"):
        verify(QUICK).run()
