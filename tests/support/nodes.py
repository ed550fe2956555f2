"""Nodes of one chain in one process, over streams in memory and a clock that is told to go on."""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import structlog
from redis.exceptions import ConnectionError, RedisError
from structlog.testing import LogCapture

from consensus.agreement.events import Started
from consensus.content.interface import Blobs
from consensus.disk.identity import Identity
from consensus.disk.ledger import Ledger
from consensus.disk.place import SignedPlace
from consensus.learning.chain_state import ChainState, Phase
from consensus.node.metrics import NodeMetrics
from consensus.node.node import Node
from consensus.node.stream import SCRIPTS, TRANSACTIONS, VOTES, Incoming, Transport
from consensus.wire.codec import Message
from consensus.wire.genesis import Genesis
from consensus.wire.messages import Proposal, Vote
from consensus.wire.transactions import Proof, Transaction
from kernels.lua import load_script
from tests.support.learning import FIRST_MS, Lab, ProvenLab, deal_beacon

TICK_S = 0.02
Entry = tuple[bytes, bytes]
MayPass = Callable[[int, str, bytes], bool]


class MemoryServer:
    """As much of a Redis server as a Transport needs. Ids count up from `first`."""

    def __init__(self) -> None:
        self.streams: dict[str, list[Entry]] = {}
        self.n_sent = 0
        self.is_down = False

    def register_script(self, script: str) -> Callable[..., Any]:
        """What a script of a transport does, in Python."""
        known = {"add": self._add, "fetch": self._fetch, "find_end": self._find_end}
        return {load_script(SCRIPTS, name).source: run for name, run in known.items()}[script]

    def _add(self, keys: list[str], args: list[Any]) -> bytes:
        self._require_up()
        self.n_sent += 1
        entry = b"1-%d" % self.n_sent
        self.streams.setdefault(keys[0], []).append((entry, args[0]))
        return entry

    def _fetch(self, keys: list[str], args: list[Any]) -> list[tuple[bytes, int, list[bytes]]]:
        self._require_up()
        n_most, longest, room, *places = args
        return [
            _read(self.streams.get(key, []), at, n_most, longest, room)
            for key, at in zip(keys, places, strict=True)
        ]

    def _find_end(self, keys: list[str], args: list[Any]) -> bytes:
        self._require_up()
        entries = self.streams.get(keys[0], [])
        return entries[-1][0] if entries else b"0-0"

    def list_raw(self, genesis: Genesis, stream: str) -> list[bytes]:
        """All that was ever sent on a stream of a chain."""
        key = f"zkpot:chain:{genesis.digest.hex()[:32]}:{stream}"
        return [raw for _, raw in self.streams.get(key, [])]

    def _require_up(self) -> None:
        if self.is_down:
            raise ConnectionError("down")


def _read(
    entries: list[Entry], at: bytes, n_most: int, longest: int, room: int
) -> tuple[bytes, int, list[bytes]]:
    first = bisect_right(entries, _number(at), key=lambda entry: _number(entry[0]))
    n_dropped, found = 0, []
    for entry, raw in entries[first : first + n_most]:
        if len(raw) > longest:
            n_dropped += 1
        elif len(raw) > room:
            break
        else:
            found.append(raw)
            room -= len(raw)
        at = entry
    return at, n_dropped, found


def _number(entry: bytes) -> int:
    return int(entry.partition(b"-")[2])


class Net:
    """The validators of a lab. `connect` makes each node's client; default: streams in memory.

    may_send : (sender, stream, bytes) -> whether it leaves; all that was tried is in `tried`
    may_read : (reader, stream, bytes) -> whether it arrives there
    """

    def __init__(
        self,
        folder: Path,
        lab: Lab | None = None,
        *,
        connect: Callable[[], Any] | None = None,
        may_send: MayPass = lambda *_: True,
        may_read: MayPass = lambda *_: True,
    ) -> None:
        self.folder, self.lab = folder, lab or ProvenLab()
        self.ledger_options: dict[str, Any] = {}
        self.server = MemoryServer()
        self.connect = connect or self._connect_to_memory
        self.may_send, self.may_read = may_send, may_read
        self.now = 0.0
        self.nodes: dict[int, Node] = {}
        self.tried: list[tuple[int, str, bytes]] = []
        self.logs: dict[int, LogCapture] = {}
        self.client = Transport(self.connect(), self.lab.genesis.digest)
        self._told: set[tuple[Phase, int]] = set()

    def _connect_to_memory(self) -> Any:
        return self.server

    # -- nodes

    def start(self, index: int, *, observes: bool = False) -> Node:
        """A node from what lies in its folder."""
        lab = self.lab
        identity = Identity() if observes else self._identify(index)
        self.logs[index] = LogCapture()
        ledger = Ledger(self.home(index), lab.genesis, **self.ledger_options)
        try:
            node = self._make(index, identity, ledger)
        except BaseException:
            ledger.close()
            raise
        self.nodes[index] = node
        self.prepare(index, node)
        node._take(Started())
        return node

    def _make(self, index: int, identity: Identity, ledger: Ledger) -> Node:
        lab = self.lab
        return Node(
            lab.genesis,
            identity,
            ledger=ledger,
            blobs=self.make_blobs(index),
            transport=self._watch(index, Transport(self.connect(), lab.genesis.digest)),
            metrics=NodeMetrics(),
            log=structlog.wrap_logger(None, processors=[self.logs[index]]),
            random_bytes=secrets.token_bytes,
            clock=lambda: self.now,
            read_time_ms=lambda: FIRST_MS + int(self.now * 1000),
        )

    def home(self, index: int) -> Path:
        return self.folder / f"node-{index}"

    def _identify(self, index: int) -> Identity:
        """A validator that has signed nothing, when it has no folder yet."""
        lab, home = self.lab, self.home(index)
        place = (lab.genesis.digest, lab.genesis.validators[index].key)
        if not home.exists():
            home.mkdir(parents=True)
            SignedPlace.create(home, *place)
        return Identity(
            index=index,
            key=lab.validators[index],
            beacon_secret=deal_beacon(lab.n_validators).secrets[index],
            place=SignedPlace.load(home, *place),
        )

    def make_blobs(self, index: int) -> Blobs:
        """What a node reads blobs from; all from one store."""
        return getattr(self.lab, "blobs", None)  # type: ignore[return-value]

    def prepare(self, index: int, node: Node) -> None:
        """Before a node begins; for nets that do something to it."""

    def start_all(self) -> Self:
        for index in range(self.lab.n_validators):
            self.start(index)
        return self

    def drop(self, index: int) -> None:
        """As if its process had been killed: nothing in memory is left."""
        node = self.nodes.pop(index, None)
        if node is not None:
            node.ledger.close()

    def close(self) -> None:
        for index in list(self.nodes):
            self.drop(index)

    def _watch(self, index: int, transport: Transport) -> Transport:
        send, read = transport.send, transport.read

        def send_watched(stream: str, raw: bytes) -> None:
            self.tried.append((index, stream, raw))
            if self.may_send(index, stream, raw):
                send(stream, raw)

        def read_at_once(block_ms: int) -> list[Incoming]:
            return [x for x in read(0) if self.may_read(index, x.stream, x.raw)]

        transport.send, transport.read = send_watched, read_at_once  # type: ignore[method-assign]
        return transport

    # -- time

    def turn(self) -> None:
        """Every node's turn; a moment passes when none of them has anything to say."""
        before = len(self.tried)
        for index, node in list(self.nodes.items()):
            self.turn_one(index, node)
        if len(self.tried) == before:
            self.now += TICK_S

    def turn_one(self, index: int, node: Node) -> None:
        with suppress(RedisError):
            node.turn()

    def run(
        self, until: Callable[[], bool], *, clients: bool = True, limit_s: float = 60.0
    ) -> None:
        """Until that holds. limit_s : of the clock of this net"""
        ends_at = self.now + limit_s
        while not until():
            assert self.now < ends_at, [(n.chain.height, n._state.round) for n in self]
            if clients:
                self.send_due()
            self.turn()

    def __iter__(self) -> Iterator[Node]:
        return iter(list(self.nodes.values()))

    def run_to(self, height: int, *, clients: bool = True, limit_s: float = 60.0) -> None:
        """Until every node that runs is there."""
        self.run(
            lambda: all(n.chain.height >= height for n in self), clients=clients, limit_s=limit_s
        )

    # -- clients

    @property
    def chain(self) -> ChainState:
        """Of the node that is farthest on."""
        return max((node.chain for node in self), key=lambda chain: chain.height)

    def send_due(self) -> None:
        """What all clients send in the phase under way, once."""
        chain = self.chain
        if (chain.phase, chain.learning_round) not in self._told:
            self._told.add((chain.phase, chain.learning_round))
            self.send(*self.list_due(chain))

    def list_due(self, chain: ChainState) -> list[Transaction]:
        return _list_due(self.lab, chain)

    def send(self, *messages: Message, stream: str = TRANSACTIONS) -> None:
        for message in messages:
            self.client.send(stream, message.encode())

    # -- what was said

    def list_spoken(self, index: int) -> list[Vote | Proposal]:
        """Own votes and proposals that a validator ever tried to send, in their order."""
        found = []
        for sender, stream, raw in self.tried:
            if sender == index and stream == VOTES:
                message = Vote.decode(raw) or Proposal.decode(raw)
                if message is not None and message.validator == index:
                    found.append(message)
        return found


def list_contradictions(spoken: list[Vote | Proposal]) -> list[tuple[Any, ...]]:
    """Places (kind, height, round) for which a validator named two blocks."""
    named: dict[tuple[Any, ...], set[bytes]] = {}
    for message in spoken:
        is_vote = isinstance(message, Vote)
        kind = message.step if isinstance(message, Vote) else "proposal"
        block = message.block_hash if isinstance(message, Vote) else message.block.hash
        named.setdefault((kind, message.height, message.round, is_vote), set()).add(block)
    return [place for place, blocks in named.items() if len(blocks) > 1]


def list_hashes(node: Node) -> list[bytes]:
    """Of the blocks in its ledger."""
    return [final.block.hash for final in node.ledger.list_finals()]


_made: dict[tuple[Any, ...], tuple[list[Transaction], list[bytes]]] = {}


def _list_due(lab: Lab, chain: ChainState) -> list[Transaction]:
    """What the clients of a lab send; proofs of one beacon are made once for all nets, with their
    deals."""
    if chain.phase is not Phase.PROVE or not isinstance(lab, ProvenLab):
        return lab.list_due(chain)  # payloads go into the blobs of this lab
    place = (chain.phase, chain.learning_round, chain.commit_height, chain.beacon)
    key = (lab.genesis.digest, *place)
    if key not in _made:
        due = lab.list_due(chain)
        named = [d for tx in due if isinstance(tx, Proof) for d in (tx.deal, tx.training) if d]
        blobs = [lab.blobs.get(digest) for digest in named]
        _made[key] = due, blobs
    due, blobs = _made[key]
    for raw in blobs:
        lab.blobs.put(raw)
    return due
