"""The follower of a chain: verified blocks only, in order, from streams that anyone writes to."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import structlog

from api.http.chain.follow import ChainFollower
from api.settings import Settings
from api.valkey.embedded import connect
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState
from consensus.node.stream import FINAL, VOTES, Transport
from consensus.wire.messages import BlockRequest, FinalBlock
from tests.support.certificates import certify
from tests.support.learning import Lab
from tests.support.queue_server import running_server

LAB = Lab()


def finalize(state: ChainState, *, signers: tuple[int, ...] = (0, 1, 2)) -> FinalBlock:
    return certify(LAB, LAB.block(state, LAB.list_due(state)), signers=signers)


def make_chain(n: int) -> list[FinalBlock]:
    state, finals = start(LAB.genesis), []
    for _ in range(n):
        finals.append(finalize(state))
        state = apply(state, finals[-1].block)
    return finals


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("follow")
    with running_server(folder):
        yield folder


@pytest.fixture
def follower(folder: Path) -> Iterator[ChainFollower]:
    with connect(Settings(data_dir=folder)) as redis:
        redis.flushall()
        log = structlog.wrap_logger(structlog.testing.CapturingLogger())
        yield ChainFollower(LAB.genesis, redis, log=log, clock=count().__next__)


@pytest.fixture
def sender(folder: Path, follower: ChainFollower) -> Iterator[Transport]:
    with connect(Settings(data_dir=folder)) as redis:
        yield Transport(redis, LAB.genesis.digest)


def test_blocks_enter_in_their_order(follower: ChainFollower, sender: Transport) -> None:
    first, second, third = make_chain(3)
    for final in (third, first, second):
        sender.send(FINAL, final.encode())
    follower.turn()
    assert follower.history.height == 2
    follower.turn()
    requests = [i.raw for i in sender.read(100) if i.stream == VOTES]
    assert BlockRequest.decode(requests[-1]) == BlockRequest(height=3)
    sender.send(FINAL, third.encode())  # as a node answers
    follower.turn()
    assert follower.history.height == 3


def test_what_no_quorum_signed_does_not_enter(follower: ChainFollower, sender: Transport) -> None:
    sender.send(FINAL, finalize(start(LAB.genesis), signers=(0, 1)).encode())
    sender.send(FINAL, b"\x13\x01 no block")
    sender.send(FINAL, b"")
    follower.turn()
    assert follower.history.height == 0
    sender.send(FINAL, make_chain(1)[0].encode())
    follower.turn()
    assert follower.history.height == 1


def test_streams_that_begin_anew_are_read_anew(
    folder: Path, follower: ChainFollower, sender: Transport
) -> None:
    finals = make_chain(2)
    sender.send(FINAL, finals[0].encode())
    follower.turn()
    with connect(Settings(data_dir=folder)) as redis:
        redis.flushall()
        key = f"zkpot:chain:{LAB.genesis.digest.hex()[:32]}:{FINAL}"
        redis.xadd(key, {"m": finals[1].encode()}, id="1-1")  # by a clock that is behind
    follower.turn()
    follower.turn()
    assert follower.history.height == 2
