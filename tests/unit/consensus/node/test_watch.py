"""Following a chain over streams that anyone can write to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from api.settings import Settings
from api.valkey.embedded import connect
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState
from consensus.node.stream import BLOBS, FINAL, TRANSACTIONS, VOTES, Transport
from consensus.node.watch import Watch
from consensus.wire.gossip_messages import BlobPart, BlobRequest
from consensus.wire.messages import BlockRequest, FinalBlock, QuorumCertificate
from consensus.wire.transactions import decode_transaction
from tests.support.certificates import certify
from tests.support.learning import Lab
from tests.support.memory_blobs import MemoryBlobs
from tests.support.queue_server import running_server

N_BLOCKS = 5
LAB = Lab()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("watch")
    with running_server(path):
        yield path


@pytest.fixture
def server(data_dir: Path) -> Iterator[Transport]:
    """The other end of the streams, which starts empty."""
    redis = connect(Settings(data_dir=data_dir))
    redis.flushall()
    yield Transport(redis, LAB.genesis.digest)
    redis.close()


@pytest.fixture
def watch(data_dir: Path, server: Transport) -> Iterator[Watch]:
    redis = connect(Settings(data_dir=data_dir))
    yield Watch(LAB.genesis, Transport(redis, LAB.genesis.digest, (FINAL,)), clock=Ticking())
    redis.close()


class Ticking:
    """Each look at it is a second later."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 1.0
        return self._now


@pytest.fixture(scope="module")
def chain() -> list[tuple[FinalBlock, ChainState]]:
    """Final blocks, each with the state after it."""
    state, found = start(LAB.genesis), []
    for _ in range(N_BLOCKS):
        final = certify(LAB, LAB.block(state, LAB.list_due(state)))
        state = apply(state, final.block)
        found.append((final, state))
    return found


Chain = list[tuple[FinalBlock, ChainState]]


def poll_until(watch: Watch, height: int) -> list[FinalBlock]:
    found: list[FinalBlock] = []
    for _ in range(100):
        found += [final for final, _ in watch.poll(10)]
        if watch.state.height == height:
            return found
    raise AssertionError(f"height {watch.state.height}, not {height}")


def test_blocks_come_in_order(watch: Watch, server: Transport, chain: Chain) -> None:
    for final, _ in chain:
        server.send(FINAL, final.encode())
    assert poll_until(watch, N_BLOCKS) == [final for final, _ in chain]
    assert watch.state.digest == chain[-1][1].digest


def test_later_blocks_wait_for_earlier_ones(watch: Watch, server: Transport, chain: Chain) -> None:
    for final, _ in reversed(chain):
        server.send(FINAL, final.encode())
    watch.poll(10)
    assert watch.state.height == 1
    for final, _ in chain:
        server.send(FINAL, final.encode())
    assert poll_until(watch, N_BLOCKS)[-1] == chain[-1][0]


def test_it_asks_for_what_it_lacks(watch: Watch, server: Transport, chain: Chain) -> None:
    """Also for the first block, which it never heard of."""

    def list_asked() -> list[int]:
        heard = [BlockRequest.decode(x.raw) for x in server.read(10) if x.stream == VOTES]
        return [request.height for request in heard if request is not None]

    watch.poll(10)
    assert list_asked() == [1]
    server.send(FINAL, chain[0][0].encode())
    poll_until(watch, 1)
    watch.poll(10)
    assert 2 in list_asked()


def test_what_validators_did_not_sign_is_dropped(
    watch: Watch, server: Transport, chain: Chain
) -> None:
    block = chain[0][0].block
    few = certify(LAB, block, signers=(0, 1))
    foreign = replace(chain[0][0].certificate.votes[2], validator=3)
    certificate = QuorumCertificate.of((*few.certificate.votes, foreign))
    for raw in (
        b"",
        b"noise",
        few.encode(),
        replace(few, certificate=certificate).encode(),
        certify(LAB, replace(block, parent=bytes(32))).encode(),
    ):
        server.send(FINAL, raw)
    for _ in range(3):
        assert watch.poll(10) == []
    assert watch.n_refused == 3
    server.send(FINAL, chain[0][0].encode())
    poll_until(watch, 1)


def test_an_emptied_server_is_read_again(
    data_dir: Path, watch: Watch, server: Transport, chain: Chain
) -> None:
    for final, _ in chain[:2]:
        server.send(FINAL, final.encode())
    poll_until(watch, 2)
    redis = connect(Settings(data_dir=data_dir))
    redis.flushall()
    key = f"zkpot:chain:{LAB.genesis.digest.hex()[:32]}:{FINAL}"
    for i, (final, _) in enumerate(chain):
        redis.xadd(key, {b"m": final.encode()}, id=f"1-{i + 1}")  # ids begin anew, below the old
    assert poll_until(watch, N_BLOCKS) == [final for final, _ in chain[2:]]
    redis.close()


def test_transactions_reach_the_validators(watch: Watch, server: Transport) -> None:
    tx = LAB.register(0)
    watch.send(tx)
    heard = [x for x in server.read(10) if x.stream == TRANSACTIONS]
    assert [decode_transaction(x.raw) for x in heard] == [tx]


def test_blobs_are_looked_for_until_a_validator_sends_them(
    data_dir: Path, server: Transport
) -> None:
    """Also by who checks no proofs; what somebody else sends is none."""
    redis, blobs = connect(Settings(data_dir=data_dir)), MemoryBlobs()
    transport = Transport(redis, LAB.genesis.digest, (FINAL,))
    now_s = [0.0]
    watch = Watch(LAB.genesis, transport, blobs=blobs, clock=lambda: now_s[0])
    raw, digest = b"pool", LAB.task.get_pool(0)
    watch.look_for([blobs.put(b"a key"), digest])  # of which one is there
    watch.poll(10)
    asked = [BlobRequest.decode(x.raw) for x in server.read(10) if x.stream == VOTES]
    (request,) = [r for r in asked if r is not None]
    part = BlobPart(digest=digest, part=0, size=len(raw), data=raw, validator=request.validator)
    for key in (LAB.clients[0], LAB.validators[request.validator]):
        server.send(BLOBS, LAB.sign(part, key).encode())
        watch.poll(10)
        assert (blobs.read_part(digest, 0, 1) is None) == (key is LAB.clients[0])
    server.read(10)
    now_s[0] = 1000.0
    watch.poll(10)
    assert [x for x in server.read(10) if BlobRequest.decode(x.raw) is not None] == []
    redis.close()
