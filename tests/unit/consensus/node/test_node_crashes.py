"""A node killed at every effect: it never says two things for one place, and the chain goes on."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from consensus.disk.ledger import VOTES as VOTES_LOG
from consensus.disk.place import SignedPlace, give_up
from consensus.disk.records import Log
from consensus.errors import IdentityError
from consensus.learning.chain_state import Phase
from consensus.node.node import Node
from consensus.wire.messages import Proposal, Step, Vote
from tests.support.learning import ProvenLab
from tests.support.nodes import MayPass, Net, list_contradictions, list_hashes

VICTIM = 1
"""Proposes height 1, votes on height 2."""
SILENT = 3
"""Dead from the beginning where no round must fail: nothing is final without the victim's votes."""
BLIND, MUTE = 2, 3
"""In a scene where rounds fail."""
MAX_POINTS = 400
LAB = ProvenLab(changes={"n_rounds": 1})


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process wrote outlives its end, synchronized or not."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Killed(BaseException):
    """The process is gone: nothing may catch it and go on."""


class CrashNet(Net):
    """Kills the victim at some points. Each write has three: before, half-way, after; each message
    that leaves has two: before and after."""

    def __init__(self, folder: Path, points: Container[int], **arguments: Any) -> None:
        super().__init__(folder, LAB, **arguments)
        self.points, self.n_points, self.n_killed = points, 0, 0
        self.behind: set[int] = set()
        """Points right after an effect."""
        self.forgets = False

    def pass_point(self, *, is_behind: bool = False) -> None:
        self.n_points += 1
        if is_behind:
            self.behind.add(self.n_points)
        if self.n_points in self.points:
            raise Killed

    def prepare(self, index: int, node: Node) -> None:
        if index != VICTIM:
            return
        for log in (node.ledger._votes, node.ledger._files._log, node.ledger._models._log):
            self._break_log(log)
        self._break_place(node)
        send = node._transport.send

        def send_or_die(stream: str, raw: bytes) -> None:
            self.pass_point()
            send(stream, raw)
            self.pass_point(is_behind=True)

        node._transport.send = send_or_die  # type: ignore[method-assign]

    def _break_place(self, node: Node) -> None:
        """Its file is there whole, old or new."""
        place = node.identity.place
        assert place is not None
        write = place._write

        def write_or_die(content: Any) -> None:
            self.pass_point()
            write(content)
            self.pass_point(is_behind=True)

        place._write = write_or_die  # type: ignore[method-assign]

    def _break_log(self, log: Log) -> None:
        append = log.append

        def append_or_die(payload: bytes) -> None:
            self.pass_point()
            before = log._stream.tell()
            append(payload)
            try:
                self.pass_point()
            except Killed:
                whole = log._stream.tell() - before
                log._stream.truncate(before + whole // 2)
                raise
            self.pass_point(is_behind=True)

        log.append = append_or_die  # type: ignore[method-assign]

    def turn_one(self, index: int, node: Node) -> None:
        try:
            super().turn_one(index, node)
        except Killed:
            self.start_again(index)

    def start_again(self, index: int) -> None:
        """As often as it is killed while it starts."""
        while True:
            self.n_killed += 1
            assert self.n_killed < 100, "it is killed before it gets anywhere"
            self.drop(index)
            if self.forgets:
                (self.home(index) / VOTES_LOG).unlink()
            try:
                self.start(index)
            except Killed:
                continue
            return

    @property
    def was_killed(self) -> bool:
        return self.n_killed > 0


@contextmanager
def opened(folder: Path, points: Container[int], scene: str) -> Iterator[CrashNet]:
    net = CrashNet(folder, points)
    net.may_read, net.may_send = SCENES[scene](net)
    for index in range(4):
        if index != SILENT or scene == failing_rounds.__name__:
            net.start(index)
    try:
        yield net
    finally:
        net.close()


def _always(*_: object) -> bool:
    return True


def everything(net: CrashNet) -> tuple[MayPass, MayPass]:
    return _always, _always


def failing_rounds(net: CrashNet) -> tuple[MayPass, MayPass]:
    """Three lock in round 0, and none hears three of it: later rounds must hold to that block."""

    def is_early_precommit(raw: bytes) -> bool:
        vote = Vote.decode(raw)
        return vote is not None and (vote.step, vote.round) == (Step.PRECOMMIT, 0)

    def may_send(sender: int, stream: str, raw: bytes) -> bool:
        return sender != MUTE or not is_early_precommit(raw)

    def may_read(reader: int, stream: str, raw: bytes) -> bool:
        if reader == BLIND:
            return not _is_first_proposal(raw)
        vote = Vote.decode(raw)
        is_last = is_early_precommit(raw) and vote is not None and vote.validator == 0
        return reader != MUTE or not is_last

    return may_read, may_send


def proposals_after(net: CrashNet) -> tuple[MayPass, MayPass]:
    """Round 0: the victim gets no proposal before it is killed, and every one afterwards."""

    def may_read(reader: int, stream: str, raw: bytes) -> bool:
        return reader != VICTIM or net.was_killed or not _is_first_proposal(raw)

    return may_read, _always


def proposals_before(net: CrashNet) -> tuple[MayPass, MayPass]:
    """Round 0: the victim gets every proposal until it is killed, and none afterwards."""

    def may_read(reader: int, stream: str, raw: bytes) -> bool:
        return reader != VICTIM or not net.was_killed or not _is_first_proposal(raw)

    return may_read, _always


def _is_first_proposal(raw: bytes) -> bool:
    proposal = Proposal.decode(raw)
    return proposal is not None and proposal.round == 0


SCENES = {
    scene.__name__: scene
    for scene in (everything, failing_rounds, proposals_after, proposals_before)
}


def run_two_heights(net: CrashNet) -> None:
    net.run_to(2, clients=False, limit_s=200.0)


@pytest.mark.parametrize("at_all", [False, pytest.param(True, marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    "scene",
    [s if s == "everything" else pytest.param(s, marks=pytest.mark.slow) for s in SCENES],
)
def test_killed_at_every_effect_a_node_contradicts_nothing(
    tmp_path: Path, scene: str, at_all: bool
) -> None:
    """Killed behind an effect, a node leaves on disk and in streams what it leaves killed before
    the next one: of the two the second is enough every day."""
    with opened(tmp_path / "whole", (), scene) as net:
        run_two_heights(net)
        rounds = net.nodes[0].ledger.list_finals()[0].certificate.round
        n_points, behind = net.n_points, net.behind - {net.n_points}
    assert 30 < n_points < MAX_POINTS - 1
    assert (rounds > 0) == (scene == failing_rounds.__name__)
    for point in range(1, n_points + 1):
        if point in behind and not at_all:
            continue
        with opened(tmp_path / str(point), {point}, scene) as net:
            run_two_heights(net)
            assert net.was_killed
            assert list_contradictions(net.list_spoken(VICTIM)) == [], point
            assert len({tuple(list_hashes(node)[:2]) for node in net}) == 1


def test_a_node_that_forgets_its_votes_does_not_start(tmp_path: Path) -> None:
    """Its place tells that there were some; once it sits that height out, it harms nobody."""
    n_refused = 0
    for point in range(1, 60):
        with opened(tmp_path / str(point), {point}, "proposals_before") as net:
            net.forgets = True
            refused = ""
            try:
                run_two_heights(net)
            except IdentityError as error:
                refused = error.what
            if refused:
                assert "the votes are not here" in refused, point
                n_refused += 1
                validator = LAB.genesis.validators[VICTIM]
                give_up(net.home(VICTIM), LAB.genesis.digest, validator.key, None)
                net.start(VICTIM)
                net.start(SILENT)  # two others and the victim's silence are no quorum
                run_two_heights(net)
            assert list_contradictions(net.list_spoken(VICTIM)) == [], point
    assert n_refused > 10


def test_a_node_without_its_place_would_contradict_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What both files are for: without them these kills do harm."""
    monkeypatch.setattr(SignedPlace, "resume", lambda self, **_: None)
    monkeypatch.setattr(SignedPlace, "allows", lambda self, message: True)
    found = 0
    for point in range(1, 60):
        with opened(tmp_path / str(point), {point}, "proposals_before") as net:
            net.forgets = True
            run_two_heights(net)
            found += bool(list_contradictions(net.list_spoken(VICTIM)))
    assert found > 0


@pytest.mark.parametrize("every", [61, 89])
def test_killed_again_and_again_through_a_learning_round(tmp_path: Path, every: int) -> None:
    """every : more points than a start has that is locked in a later round (43: votes, polka)"""
    with opened(tmp_path, range(every, 100_000, every), "everything") as net:
        net.run(lambda: all(n.chain.phase is Phase.DONE for n in net), limit_s=300.0)
        assert net.n_killed > 1
        assert list_contradictions(net.list_spoken(VICTIM)) == []
        assert len({tuple(list_hashes(node)) for node in net}) == 1
        assert len(net.chain.unmasked) == 3
