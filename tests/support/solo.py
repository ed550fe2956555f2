"""One node by itself, with parts that note what they are told in place of those that act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consensus.agreement.events import TimeoutFired
from consensus.content.interface import Blobs
from consensus.node.node import Node
from consensus.node.stream import Incoming
from consensus.wire.codec import Message
from consensus.wire.messages import NIL, Step, Vote
from tests.support.learning import Lab
from tests.support.memory_blobs import MemoryBlobs
from tests.support.nodes import Net

LAB = Lab(longest_empty_ms=8_000)


class Part:
    """Stands for a part of a node. answers : what its methods return, None where nothing is said"""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def tell(*args: Any, **options: Any) -> Any:
            self.told.append((name, *args, *options.values()))
            answer = self._answers.get(name)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return tell

    def list_told(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of every call of this method."""
        return [told[1:] for told in self.told if told[0] == name]


class Solo(Net):
    """A net of which one node runs. It hears what `hear` gives it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, LAB)
        self.blobs = MemoryBlobs()

    def make_blobs(self, index: int) -> Blobs:
        return self.blobs

    def begin(self, index: int = 0, *, observes: bool = False) -> Node:
        """A node whose voice is silent, and signs; its desk is its own."""
        node = self.start(index, observes=observes)
        sign = node._voice.sign
        self.voice = Part(get_due_time=float("inf"))
        self.voice.sign = sign  # type: ignore[attr-defined]
        node._voice = self.voice  # type: ignore[assignment]
        return node

    def put_desk(self, node: Node, **answers: Any) -> Part:
        """In place of its desk, one on which nothing is."""
        empty: dict[str, Any] = {"judge_pending": [], "list_pending": [], "list_wanted": []}
        desk = Part(**{"is_anything_due": False, **empty} | answers)
        node._desk = desk  # type: ignore[assignment]
        return desk

    def list_events(self, index: int = 0) -> list[dict[str, Any]]:
        """What the node has logged."""
        return list(self.logs[index].entries)  # type: ignore[arg-type]


def hear(node: Node, stream: str, *messages: Message | bytes) -> None:
    for message in messages:
        raw = message if isinstance(message, bytes) else message.encode()
        node._receive(Incoming(stream, raw))


def measure(node: Node, name: str, **labels: str) -> float | None:
    """A number that the node tells Prometheus."""
    return node._metrics.registry.get_sample_value(f"zkpot_node_{name}", labels)


def list_timers(node: Node) -> list[tuple[float, TimeoutFired]]:
    """When which timer is due."""
    return [(at, fired) for at, _, fired in sorted(node._timers._waiting)]


def make_vote(validator: int, **changes: Any) -> Vote:
    """A prevote for nil in the first round, or something else, signed by its validator."""
    place = {"step": int(Step.PREVOTE), "height": 1, "round": 0, "block_hash": NIL}
    return LAB.sign(Vote(**place | changes, validator=validator), LAB.validators[validator])
