"""Suite `consensus`: what a chain costs its nodes.

    finalize   four `zkpot node` processes on this machine: from the last proof sent to all final
    step       events per second of the pure state machine, as a validator sees an honest height
    verify     a chain from its genesis: certificates, beacons, proofs, openings, aggregates
    recovery   a node killed with all its blocks on disk, until its next vote

All clients of a chain have one model: equal work for a verifier, whose batches do not know.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from redis import Redis
from redis.exceptions import RedisError

from bench.chains import ChainLab, Prover
from bench.program import PROGRAM
from bench.proving import AccuracyBench
from bench.registry import BenchCase, Suite, Task
from bench.scratch import Scratch
from bench.settings import child_environment
from bench.suites.kernels import Engine
from consensus.agreement.events import BlockChecked, Config, Event, Received
from consensus.agreement.memory import State, start
from consensus.agreement.state import step
from consensus.disk.ledger import Ledger
from consensus.disk.place import give_up
from consensus.learning.chain_state import Phase
from consensus.learning.samples import SamplePool
from consensus.node.follower import Follower
from consensus.node.stream import FINAL, VOTES, Transport
from consensus.node.verifier import BlockVerifier
from consensus.node.watch import Watch
from consensus.wire.messages import Block, FinalBlock, Proposal, Step, Vote
from consensus.wire.transactions import SentTransaction
from federated.experiments.chains.dealt import N_VALIDATORS
from kernels.backend import get_backend
from prover.circuit.accuracy import compile_accuracy
from prover.groth16.setup import setup_accuracy
from prover.model.layers import Requant
from prover.model.network import Architecture, QuantizedModel

PATIENCE_S = 600.0
_ROUND_BLOCKS = 5


class Sizes(NamedTuple):
    """proofs : in the block that becomes final, of `samples` each; blocks : of the chain that is
    verified and recovered, a learning round of `clients` in each five, so that a block has a fifth
    of them as its share of proofs; heights : of `step`."""

    proofs: int
    samples: int
    blocks: int
    clients: int
    heights: int


FULL = Sizes(proofs=64, samples=1024, blocks=1001, clients=40, heights=2000)
QUICK = Sizes(proofs=4, samples=16, blocks=11, clients=3, heights=50)


# -- circuits --------------------------------------------------------------------------------------


@cache
def mnist_prover(n_samples: int) -> Prover:
    """The trained 784-128-10 model and a pool of test digits."""
    bench = AccuracyBench(n_samples)
    images, labels = bench.samples(2 * n_samples)
    return Prover(
        circuit=bench.circuit,
        key=bench.key,
        model=bench.model,
        pool=SamplePool.of(images=images, labels=labels),
        n_samples=n_samples,
        backend=bench.backend,
    )


@cache
def tiny_prover() -> Prover:
    """A 6-4-3 network of random weights on 16 random samples."""
    rng, n = np.random.default_rng(3), 16
    architecture = Architecture.mlp([6, 4, 3], requant=Requant(shift=10, q_bits=9))
    model = QuantizedModel(
        architecture=architecture,
        weights=tuple(
            rng.integers(-16, 17, size=shape, dtype=np.int8) for shape in architecture.weight_shapes
        ),
        biases=tuple(np.zeros(shape, dtype=np.int32) for shape in architecture.bias_shapes),
    )
    images = rng.integers(0, 256, size=(3 * n, 6), dtype=np.uint8)
    labels = model.logits(images).argmax(axis=1).astype(np.uint8)
    circuit, backend = compile_accuracy(architecture, n), get_backend("cpu")
    key = setup_accuracy(circuit, random_bytes=secrets.token_bytes, backend=backend)
    pool = SamplePool.of(images=images, labels=labels)
    return Prover(
        circuit=circuit,
        key=key,
        model=model,
        pool=pool,
        n_samples=n,
        backend=backend,
    )


@dataclass(frozen=True, slots=True)
class Made:
    """A chain made here, and its blocks."""

    lab: ChainLab
    finals: Sequence[FinalBlock]
    scratch: Scratch


@cache
def make_chain(n_blocks: int, n_clients: int) -> Made:
    scratch = Scratch()
    n_rounds = n_blocks  # more than there are: its nodes never have done
    lab = ChainLab(
        scratch.file("chain"),
        tiny_prover(),
        n_clients=n_clients,
        n_rounds=n_rounds,
        empty_block_ms=100,
    )
    return Made(lab, lab.make_blocks(n_blocks), scratch)


# -- processes -------------------------------------------------------------------------------------


class Network:
    """Four node processes of a chain; the first keeps the server of their streams."""

    def __init__(self, lab: ChainLab, data: Path) -> None:
        self._lab, self._data = lab, data
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, index: int) -> None:
        self._processes[index] = subprocess.Popen(
            [*PROGRAM, "node", str(self._lab.home(index))],
            env=child_environment(ZKPOT_DATA_DIR=str(self._data), ZKPOT_THREADS="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self, index: int) -> None:
        process = self._processes.pop(index)
        process.kill()
        process.wait()

    def list_pids(self) -> list[int]:
        return [process.pid for process in self._processes.values()]

    def connect(self) -> Redis:
        """A client of the server, once it answers."""
        client = Redis(unix_socket_path=str(self._data / "queue" / "server.sock"), protocol=2)
        ends_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_at:
            try:
                client.ping()
            except RedisError:
                time.sleep(0.05)
            else:
                return client
        raise RuntimeError("no server answers")

    def stop(self) -> None:
        for process in reversed(self._processes.values()):
            process.send_signal(signal.SIGTERM)
            process.wait()


@contextmanager
def running(lab: ChainLab, scratch: Scratch) -> Iterator[tuple[Network, Redis]]:
    network = Network(lab, scratch.file("data"))
    with ExitStack() as stack:
        stack.callback(network.stop)
        network.start(0)
        redis = stack.enter_context(network.connect())
        for index in range(1, N_VALIDATORS):
            network.start(index)
        yield network, redis


def follow_to(watch: Watch, phase: Phase) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    while watch.state.phase is not phase:
        if time.monotonic() > ends_at:
            raise RuntimeError(f"the chain does not get to {phase}")
        watch.poll(50)


# -- cases -----------------------------------------------------------------------------------------


def finalize(sizes: Sizes) -> Task[tuple[float, int]]:
    """Seconds from the last proof sent until all proofs are final, as a light client sees it."""
    prover = mnist_prover(sizes.samples)

    def run() -> tuple[float, int]:
        scratch = Scratch()
        lab = ChainLab(scratch.file("chain"), prover, n_clients=sizes.proofs, n_rounds=1)
        with running(lab, scratch) as (_, redis):
            watch = Watch(lab.genesis, Transport(redis, lab.genesis.digest, (FINAL,)))
            for phase in (Phase.REGISTER, Phase.COMMIT):
                follow_to(watch, phase)
                for tx in lab.list_due(watch.state):
                    watch.send(tx)
            follow_to(watch, Phase.PROVE)
            proofs = lab.list_due(watch.state)
            for tx in proofs:
                watch.send(tx)
            begin = time.perf_counter()
            follow_to(watch, Phase.MASK)
            return time.perf_counter() - begin, len(watch.state.proofs)

    return Task(run=run, answer=lambda found: found[1], reading=lambda found: found[0])


@dataclass(frozen=True)
class _Chain:
    height: int = 0
    head: bytes = bytes(32)
    learning_round: int = 0
    phase: str = ""


class _Rules:
    """Any block follows; validators take turns."""

    def apply(self, chain: Any, block: Block) -> Any:
        return _Chain(block.height, block.hash)

    def proposers(self, chain: Any) -> tuple[int, ...]:
        first = chain.height % N_VALIDATORS
        return tuple((first + i) % N_VALIDATORS for i in range(N_VALIDATORS))

    def takes(self, chain: Any, tx: SentTransaction) -> bool:
        return False

    def awaits(self, chain: Any, client_key: bytes) -> bool:
        return False

    def is_full(self, chain: Any, block: Block) -> bool:
        return False


def list_events(n_heights: int) -> list[Event]:
    """What reaches an observer: proposal, verdict, four prevotes and four precommits a height."""
    chain, rules, events = _Chain(), _Rules(), list[Event]()
    for height in range(1, n_heights + 1):
        block = Block(
            height=height,
            parent=chain.head,
            certificate=(),
            proposer=rules.proposers(chain)[0],
            state_root=bytes(32),
            beacon=b"",
            transactions=(),
            evidence=(),
            aggregate=(),
        )
        proposal = Proposal(
            height=height, round=0, valid_round=0, block=block, validator=block.proposer
        )
        events += [Received(proposal), BlockChecked(height, block.hash, None)]
        events += [
            Received(Vote(step=int(s), height=height, round=0, block_hash=block.hash, validator=i))
            for s in (Step.PREVOTE, Step.PRECOMMIT)
            for i in range(N_VALIDATORS)
        ]
        chain = rules.apply(chain, block)
    return events


def count_steps(sizes: Sizes) -> Task[tuple[float, int]]:
    """Events per second."""
    events = list_events(sizes.heights)
    config = Config(n_validators=N_VALIDATORS, validator=None, rules=_Rules())

    def run() -> tuple[float, int]:
        state: State = start(config, _Chain(), None)
        begin = time.perf_counter()
        for event in events:
            state, _ = step(state, event, 0)
        return len(events) / (time.perf_counter() - begin), state.chain.height

    return Task(run=run, answer=lambda found: found[1], reading=lambda found: found[0])


def verify(sizes: Sizes) -> Task[tuple[float, int]]:
    """Seconds of a light client that verifies everything, from nothing but the genesis."""
    made = make_chain(sizes.blocks, sizes.clients)

    def run() -> tuple[float, int]:
        lab = made.lab
        begin = time.perf_counter()
        verifier = BlockVerifier(lab.genesis, lab.blobs, secrets.token_bytes)
        follower = Follower(lab.genesis, verifier)
        for final in made.finals:
            fault = follower.take(final)
            if fault is not None:
                raise RuntimeError(f"block {final.block.height}: {fault}")
        return time.perf_counter() - begin, follower.state.height

    return Task(run=run, answer=lambda found: found[1], reading=lambda found: found[0])


def recover(sizes: Sizes) -> Task[tuple[float, bool]]:
    """Seconds from the start of a killed node's process to its next vote."""
    made = make_chain(sizes.blocks, sizes.clients)
    for index in range(N_VALIDATORS):
        home, genesis = made.lab.home(index), made.lab.genesis
        ledger = Ledger(home, genesis)
        for final in made.finals[ledger.height :]:
            ledger.append(final)
        ledger.close()
        give_up(home, genesis.digest, genesis.validators[index].key, sizes.blocks)
    victim = N_VALIDATORS - 1

    def run() -> tuple[float, bool]:
        with running(made.lab, Scratch()) as (network, redis):
            transport = Transport(redis, made.lab.genesis.digest, (VOTES,))
            await_vote(transport, victim)
            network.kill(victim)
            while transport.read(1):
                pass  # what it had said
            begin = time.perf_counter()
            network.start(victim)
            height = await_vote(transport, victim)
            return time.perf_counter() - begin, height > sizes.blocks

    return Task(run=run, answer=lambda found: found[1], reading=lambda found: found[0])


def await_vote(transport: Transport, validator: int) -> int:
    """The height of the next vote of a validator."""
    ends_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends_at:
        for incoming in transport.read(20):
            vote = Vote.decode(incoming.raw)
            if vote is not None and vote.validator == validator:
                return vote.height
    raise RuntimeError(f"validator {validator} does not vote")


def build_suite(*, quick: bool) -> Suite:
    sizes = QUICK if quick else FULL
    n_rounds = (sizes.blocks - 1) // _ROUND_BLOCKS
    engine = Engine().params()
    chain: dict[str, int | str] = {
        "circuit": "6-4-3, 16 samples",
        "blocks": sizes.blocks,
        "proofs_per_round": sizes.clients,
        "proofs": n_rounds * sizes.clients,
        **engine,
    }
    nodes: dict[str, int | str] = {"nodes": N_VALIDATORS}
    mlp: dict[str, int | str] = {"circuit": "784-128-10", "samples": sizes.samples, **engine}
    return Suite(
        cases=[
            BenchCase(
                id=f"consensus.finalize.p{sizes.proofs}",
                params={**mlp, **nodes},
                unit="s",
                make=lambda: finalize(sizes),
                expect=lambda: sizes.proofs,
                n_max=1,
            ),
            BenchCase(
                id=f"consensus.step.h{sizes.heights}",
                params={**nodes, "events": 10 * sizes.heights},
                unit="events/s",
                make=lambda: count_steps(sizes),
                expect=lambda: sizes.heights,
            ),
            BenchCase(
                id=f"consensus.verify.b{sizes.blocks}",
                params=chain,
                unit="s",
                make=lambda: verify(sizes),
                expect=lambda: sizes.blocks,
                n_max=1,
            ),
            BenchCase(
                id=f"consensus.recovery.b{sizes.blocks}",
                params={**chain, **nodes},
                unit="s",
                make=lambda: recover(sizes),
                expect=lambda: True,
                n_max=3,
            ),
        ]
    )
