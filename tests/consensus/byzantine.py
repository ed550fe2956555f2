"""Validators that break rules: an honest node inside, and habits that twist what it says.

They see all that is sent to them, sign only for themselves, and conspire through `World`.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from consensus.wire.messages import (
    NIL,
    Block,
    FinalBlock,
    Proposal,
    QuorumCertificate,
    Receipt,
    Step,
    Vote,
)
from consensus.wire.transactions import Register
from tests.consensus import toy_chain
from tests.consensus.sim_node import CLOCK_MS, Node
from tests.consensus.simulator import World
from tests.consensus.toy_chain import BEACON, ELECT, PROVE, ToyBlock

HABITS = (
    "equivocate",  # two votes, two proposals for one place, to different validators
    "withhold votes",
    "bad aggregate",
    "bad proof",
    "bad beacon",
    "stale certificate",
    "wrong leader",
    "replay",
    "censor",
    "withhold shares",
    "forget polka",  # a new block where it should propose the one that has a polka
    "false polka",  # proposals that claim prevotes which nobody cast
    "false time",  # precommits of long ago or far ahead, another to each validator
    "yes to all",  # votes for every block in every round, whatever it is locked on
)
N_OVERHEARD = 64


class Byzantine(Node):
    """A validator with some of HABITS. sides : which of two stories each validator is told"""

    def __init__(self, world: World, index: int, habits: frozenset[str]) -> None:
        super().__init__(world, index)
        self.habits = habits
        self.random = Random(f"byzantine {world.seed} {world.n} {index}")
        self.heard: deque[Any] = deque(maxlen=N_OVERHEARD)
        self.said_yes: set[tuple[int, int, bytes]] = set()
        self.loss = self.random.choice((0.2, 0.6, 1.0))
        self.victim = toy_chain.make_client(self.random.randrange(world.n))

    # -- what it hears -------------------------------------------------------------------------

    def deliver(self, message: Any) -> None:
        self.heard.append(message)
        if "yes to all" in self.habits:
            self.say_yes(message)
        super().deliver(message)

    def say_yes(self, message: Any) -> None:
        """Prevote and precommit for whatever block is spoken of."""
        match message:
            case Proposal():
                block_hash = message.block.hash
            case Vote() if message.block_hash != NIL:
                block_hash = message.block_hash
            case _:
                return
        place = (message.height, message.round, block_hash)
        if place in self.said_yes:
            return
        self.said_yes.add(place)
        for step in (Step.PREVOTE, Step.PRECOMMIT):
            vote = self.make_vote(step, *place)
            for peer in self.world.others(self.index):
                if self.world.is_told(peer, block_hash):
                    self.world.send(self.index, peer, vote)

    def tick(self, life: int) -> None:
        super().tick(life)
        if "replay" in self.habits:
            self.replay()
        if "stale certificate" in self.habits:
            self.spread(self.forge_final())
        if "wrong leader" in self.habits:
            self.spread(self.make_proposal(self.state.round, self.make_own_block(self.index)))

    # -- what it says --------------------------------------------------------------------------

    def spread(self, message: Any) -> None:
        for peer in self.world.others(self.index):
            self.world.send(self.index, peer, message)

    def broadcast(self, message: Any) -> None:
        own = getattr(message, "validator", None) == self.index
        for peer in self.world.others(self.index):
            twisted = self.twist(message, peer) if own else message
            if twisted is not None:
                self.world.send(self.index, peer, twisted)

    def twist(self, message: Any, peer: int) -> Any:
        """What this peer is told instead of the truth; None: nothing."""
        silent = "withhold votes" in self.habits and isinstance(message, Vote)
        if silent and self.random.random() < self.loss:
            return None
        if "censor" in self.habits and isinstance(message, Receipt):
            return None
        if isinstance(message, Proposal) and {"forget polka", "false polka"} & self.habits:
            number = message.round
            note = toy_chain.make_note(self.world.n + number)  # another block in every round
            message = self.make_proposal(number, self.make_own_block(self.index, note))
        if "false time" in self.habits and isinstance(message, Vote):
            place = (message.step, message.height, message.round, message.block_hash)
            message = self.make_vote(*place)
        if "equivocate" in self.habits and self.world.sides[peer]:
            match message:
                case Vote():
                    other = self.choose_other(message)
                    return self.make_vote(message.step, message.height, message.round, other)
                case Proposal() if message.valid_round == 0:
                    return self.make_proposal(message.round, self.make_twin(message.block))
        return message

    def choose_other(self, vote: Vote) -> bytes:
        """A block that this vote does not name, or none."""
        others = [h for h in self.state.candidates if h != vote.block_hash]
        return self.random.choice(others) if others and vote.block_hash != NIL else NIL

    def make_vote(self, step: int, height: int, number: int, block_hash: bytes) -> Any:
        vote = Vote(
            step=step,
            height=height,
            round=number,
            block_hash=block_hash,
            time_ms=self.read_clock() if step == Step.PRECOMMIT else 0,
            validator=self.index,
        )
        return self.world.sign(self, vote)

    def make_proposal(self, number: int, block: Block) -> Any:
        """A new block, or one with a polka of the round before that nobody saw."""
        proposal = Proposal(
            height=block.height,
            round=number,
            valid_round=number if "false polka" in self.habits else 0,
            block=block,
            validator=self.index,
        )
        return self.world.sign(self, proposal)

    def make_twin(self, block: Block) -> Block:
        """As good a block under another hash, for the other side."""
        twin = dataclasses.replace(
            block, transactions=(*block.transactions, toy_chain.make_note(self.index))
        )
        self.world.sided[block.hash], self.world.sided[twin.hash] = 0, 1
        if "yes to all" in self.habits:
            self.say_yes(self.make_proposal(self.state.round, twin))
        return twin

    def read_clock(self) -> int:
        if "false time" in self.habits:
            return self.random.choice((0, CLOCK_MS // 2, 2 * CLOCK_MS, 1 << 62))
        return super().read_clock()

    def share_beacon(self) -> None:
        if "withhold shares" in self.habits:
            share = self.world.scene.make_share(self.chain, self.index)
            if share is not None:
                self.spread(dataclasses.replace(share, share=bytes(32)))
        else:
            super().share_beacon()

    # -- its blocks ----------------------------------------------------------------------------

    def make_block(self) -> ToyBlock | None:
        return self.make_own_block(self.index)

    def make_own_block(self, proposer: int, *notes: Register) -> ToyBlock:
        """A block that breaks the rules where a habit says so."""
        proofs = self.list_fit()
        if "censor" in self.habits:
            proofs = tuple(p for p in proofs if p.client_key != self.victim)
        certificate = self.state.certificate
        block = toy_chain.make_block(
            self.chain, proposer, (*proofs, *notes), certificate=certificate
        )
        spoil = {
            ELECT: ("bad aggregate", self.spoil_aggregate),
            PROVE: ("bad proof", self.spoil_proof),
            BEACON: ("bad beacon", self.spoil_beacon),
        }
        habit, change = spoil[self.chain.phase]
        return change(block) if habit in self.habits else block

    def spoil_aggregate(self, block: ToyBlock) -> ToyBlock:
        wrong = dataclasses.replace(block.aggregate[0], model_digest=bytes(32))
        return dataclasses.replace(block, aggregate=(wrong,))

    def spoil_beacon(self, block: ToyBlock) -> ToyBlock:
        return dataclasses.replace(block, beacon=self.random.choice((b"", bytes(32))))

    def spoil_proof(self, block: ToyBlock) -> ToyBlock:
        """A claim that the proof does not bear, or a proof of the round before."""
        client = toy_chain.make_client(self.index)
        best = toy_chain.make_proof(client, self.chain.learning_round, 9)
        old = toy_chain.make_proof(client, max(self.chain.learning_round - 1, 0), 9)
        raised = best.envelope[:-1] + bytes((255,))
        bad = self.random.choice((dataclasses.replace(best, envelope=raised), old))
        others = tuple(p for p in block.transactions if p.client_key != client)
        return dataclasses.replace(block, transactions=(*others, bad))

    # -- attacks -------------------------------------------------------------------------------

    def replay(self) -> None:
        """Old messages again, and with another round under the old signature."""
        for message in self.random.sample(list(self.heard), min(3, len(self.heard))):
            self.spread(message)
            if isinstance(message, Vote):
                moved = dataclasses.replace(message, round=message.round + 1)
                self.spread(moved)
                later = dataclasses.replace(message, height=self.state.height)
                self.spread(later)

    def forge_final(self) -> FinalBlock:
        """A block of its own, under votes that are too few or somebody else's."""
        block = self.make_own_block((self.index + 1) % self.world.n)
        place = (Step.PRECOMMIT, block.height, self.state.round, block.hash)
        own = self.make_vote(*place)
        forged = [
            dataclasses.replace(own, validator=i, signature=self.random.randbytes(64))
            for i in self.world.others(self.index)
        ]
        votes = self.random.choice(([own], [own, *forged]))
        return FinalBlock(block=block, certificate=QuorumCertificate.of(votes))


def make_with(*habits: str) -> Callable[[World, int], Node]:
    """Byzantine validators that all have these habits."""
    return lambda world, index: Byzantine(world, index, frozenset(habits))


def make_any(world: World, index: int) -> Node:
    """A Byzantine validator with one to four habits drawn from the seed."""
    random = Random(f"habits {world.seed} {world.n} {index}")
    return Byzantine(world, index, frozenset(random.sample(HABITS, random.randint(1, 4))))
