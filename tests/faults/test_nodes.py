"""Real node processes: killed in each phase, without a server, f of them for good, their streams
emptied and rewritten. Never two blocks at one height, and they go on by themselves."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from api.valkey.embedded import answers
from consensus.learning.chain_state import Phase
from consensus.node.stream import FINAL, STREAMS, TRANSACTIONS, VOTES
from consensus.wire.genesis import set_phases
from consensus.wire.messages import FinalBlock, QuorumCertificate
from tests.support.node_processes import Cluster

PATIENT = {"n_rounds": 1} | set_phases(10**8)
"""A phase ends when all clients have done their part, and not before."""
LAST_ID = "18446744073709551615-18446744073709551615"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, **PATIENT)
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.mark.slow
def test_a_node_killed_in_each_phase_comes_back(cluster: Cluster) -> None:
    """Killed while the phase waits for clients; what closes the phase happens without it."""
    cluster.start(0, 1, 2, 3)
    phases = (Phase.REGISTER, Phase.COMMIT, Phase.PROVE, Phase.MASK, Phase.UNMASK, Phase.DONE)
    for i, (phase, after) in enumerate(pairwise(phases)):
        victim = i % 4
        cluster.await_phase(phase)
        cluster.await_height(cluster.get_height() + 1)
        cluster.send_due()
        cluster.kill(victim)
        cluster.await_phase(after)
        cluster.start(victim)
    cluster.await_height(cluster.get_height())
    cluster.assert_one_chain()
    assert len(cluster.follow().unmasked) == 3


@pytest.mark.slow
def test_a_server_that_dies_and_forgets_and_f_nodes_gone_for_good(cluster: Cluster) -> None:
    cluster.start(0, 1, 2, 3)
    cluster.await_height(1)
    cluster.kill(2)  # for good
    cluster.send_due()
    cluster.await_phase(Phase.COMMIT)
    cluster.kill_server()
    height = cluster.get_height()
    cluster.server.start()
    cluster.await_height(height + 2)
    cluster.send_due()
    cluster.redis.flushall()  # perhaps before anyone has read it: clients send again
    cluster.await_height(cluster.get_height() + 1)
    if cluster.follow().phase is Phase.COMMIT:
        cluster.send_due()
    cluster.await_phase(Phase.PROVE)
    cluster.redis.flushall()
    cluster.send_due()
    for phase in (Phase.MASK, Phase.UNMASK):
        cluster.await_phase(phase)
        cluster.send_due()
    cluster.await_phase(Phase.DONE)
    cluster.await_height(cluster.get_height())
    cluster.assert_one_chain()


def key_of(cluster: Cluster, stream: str) -> str:
    return f"zkpot:chain:{cluster.lab.genesis.digest.hex()[:32]}:{stream}"


def list_said(cluster: Cluster) -> list[tuple[str, bytes]]:
    entries = [
        (stream, fields[b"m"])
        for stream in STREAMS
        for _, fields in cluster.redis.xrange(key_of(cluster, stream))
        if b"m" in fields
    ]
    return entries


def rewrite(cluster: Cluster, entries: list[tuple[str, bytes]], first: int = 1) -> None:
    """The streams hold these entries and nothing else, under ids of the attacker's choice."""
    pipe: Any = cluster.redis.pipeline()
    for stream in STREAMS:
        pipe.delete(key_of(cluster, stream))
    for i, (stream, raw) in enumerate(entries):
        pipe.xadd(key_of(cluster, stream), {"m": raw}, id=f"{first + i}-0")
    pipe.execute()


def forge_finals(cluster: Cluster) -> list[tuple[str, bytes]]:
    """Blocks that do not follow, and certificates that nobody signed."""
    final = cluster.finals(0)[-1]
    lab, state = cluster.lab, cluster.follow()
    block = lab.block(state) if state.phase is Phase.REGISTER else final.block
    certificate = QuorumCertificate.of(
        lab.sign(replace(vote, height=block.height, block_hash=block.hash), lab.clients[0])
        for vote in final.certificate.votes
    )
    return [(FINAL, FinalBlock(block=block, certificate=certificate).encode())]


@pytest.mark.slow
def test_nodes_with_nothing_configured_keep_a_server_among_them(tmp_path: Path) -> None:
    """Killed: the one that started it, then the server; the last one that ends, ends it."""
    cluster = Cluster(tmp_path, is_shared=True, **PATIENT)
    try:
        cluster.start(0)
        cluster.await_that(lambda: answers(cluster.server.socket))
        cluster.start(1, 2, 3)
        cluster.await_height(1)
        first = cluster.find_server()
        cluster.kill(0)
        cluster.await_height(cluster.get_height() + 2)
        assert cluster.find_server() == first
        os.kill(first, signal.SIGKILL)
        cluster.await_height(cluster.get_height() + 2)
        assert cluster.find_server() != first
        cluster.start(0)
        cluster.await_height(cluster.get_height() + 1)
        cluster.assert_one_chain()
        for index in range(3):
            cluster.stop(index)
        assert answers(cluster.server.socket)
        cluster.stop(3)
        cluster.await_that(lambda: not answers(cluster.server.socket))
    finally:
        cluster.close()


@pytest.mark.slow
def test_streams_rewritten_by_an_attacker(cluster: Cluster) -> None:
    cluster.start(0, 1, 2, 3)
    cluster.await_height(2)
    said = list_said(cluster)
    noise = [(stream, bytes((i, 1)) + b"noise" * i) for i in range(40) for stream in STREAMS]
    swapped = [(VOTES if s == FINAL else FINAL, raw) for s, raw in said]
    early = [(FINAL, tx.encode()) for tx in cluster.lab.list_due(cluster.follow())]
    attacks = (
        noise,
        said[::-1],
        swapped + early,
        forge_finals(cluster),
        [(stream, b"last") for stream in STREAMS],
    )
    for i, entries in enumerate(attacks):
        rewrite(cluster, entries, first=1 if i < 4 else (1 << 64) - 4)
        cluster.await_height(cluster.get_height() + 2)
        cluster.assert_one_chain()
    for stream in STREAMS:
        cluster.redis.delete(key_of(cluster, stream))
        cluster.redis.xadd(key_of(cluster, stream), {"m": b"last"}, id=LAST_ID)
    cluster.await_height(cluster.get_height() + 2)
    for stream in STREAMS:
        cluster.redis.set(key_of(cluster, stream), "no stream")
    cluster.await_height(cluster.get_height() + 2)
    cluster.send_due()
    cluster.await_phase(Phase.COMMIT)
    cluster.redis.delete(key_of(cluster, TRANSACTIONS))
    cluster.await_height(cluster.get_height() + 1)
    cluster.assert_one_chain()
    assert len(cluster.follow().clients) == 3
