"""Blobs between nodes: kept before a vote, asked for by digest, and left out when they are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from consensus.aggregation.deal import Deal
from consensus.aggregation.masked import Masked
from consensus.aggregation.outcome import Failure
from consensus.content.blobs import FileBlobs, KeptBlobs
from consensus.content.interface import Blobs
from consensus.disk.blob_limits import make_limit
from consensus.disk.ledger import Ledger
from consensus.errors import BlobMissing
from consensus.learning.absence import calls_lost, find_lost
from consensus.learning.aggregate import combine, count_global_bytes
from consensus.learning.chain import find_fault
from consensus.learning.chain_state import NO_MODEL, ChainState, Phase
from consensus.learning.outcome import make_none
from consensus.learning.steps import list_round_blobs
from consensus.node.answers import MAX_PARTS, Answers
from consensus.node.downloads import MAX_DOWNLOADS, PATIENCE_S, Downloads
from consensus.node.follower import Follower
from consensus.node.repetition import LONGEST_PAUSE_S
from consensus.node.stream import BLOBS, FINAL, VOTES, Transport
from consensus.node.verifier import BlockVerifier
from consensus.node.watch import Watch
from consensus.wire.genesis import set_phases
from consensus.wire.gossip_messages import MAX_BLOB_BYTES, PART_BYTES, BlobPart, BlobRequest
from consensus.wire.messages import Block, Proposal
from consensus.wire.transactions import Contribution, Transaction
from kernels.array import FrArray
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.model.zkq import count_model_bytes, encode_model
from tests.support.learning import ProvenLab, proven_lab, proven_state
from tests.support.memory_blobs import MemoryBlobs
from tests.support.models import random_model
from tests.support.nodes import Net
from tests.support.tiny_circuits import seeded

BLOB = bytes(range(256)) * 3000  # three parts
DIGEST = sha256(BLOB).digest()


def cut(raw: bytes, part: int, *, validator: int, digest: bytes = DIGEST) -> BlobPart:
    """A part as a validator would send it."""
    return BlobPart(
        digest=digest,
        part=part,
        size=len(raw),
        data=raw[part * PART_BYTES :][:PART_BYTES],
        validator=validator,
    )


# -- asking ----------------------------------------------------------------------------------------


def test_a_blob_comes_part_by_part_from_one_validator() -> None:
    downloads = Downloads(4, own=0)
    (request,) = downloads.want([DIGEST, DIGEST], 0.0)
    assert request.part == 0
    asked = request.validator
    for part in range(2):
        found = downloads.take(cut(BLOB, part, validator=asked), 0.1)
        assert found == (BlobRequest(digest=DIGEST, part=part + 1, validator=asked), None)
        other = cut(BLOB, part + 1, validator=asked % 3 + 1)
        assert downloads.take(other, 0.1) == (None, None), "of one that was not asked"
        assert downloads.take(cut(BLOB, 0, validator=asked), 0.1) == (None, None), "it has come"
    assert downloads.want([DIGEST], 0.2) == [], "it is under way"
    assert downloads.take(cut(BLOB, 2, validator=asked), 0.3) == (None, BLOB)
    assert downloads.is_idle


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1])
def test_blobs_of_each_size(size: int) -> None:
    raw = bytes(size)
    digest = sha256(raw).digest()
    downloads = Downloads(4, own=None)
    (request,) = downloads.want([digest], 0.0)
    for _ in range(3):
        part = cut(raw, request.part, validator=request.validator, digest=digest)
        following, found = downloads.take(part, 0.0)
        if following is None:
            break
        request = following
    assert found == raw


def test_bytes_of_another_digest_are_not_taken_and_the_next_is_asked() -> None:
    downloads = Downloads(4, own=0)
    (request,) = downloads.want([DIGEST], 0.0)
    seen = {request.validator}
    for _ in range(2):
        false = cut(b"false", 0, validator=request.validator)
        following, raw = downloads.take(false, 0.0)
        assert raw is None
        assert following is not None
        request = following
        seen.add(request.validator)
    assert seen == {1, 2, 3}
    assert request.part == 0


def test_a_size_that_changes_on_the_way_is_a_lie() -> None:
    downloads = Downloads(4, own=0)
    (request,) = downloads.want([DIGEST], 0.0)
    downloads.take(cut(BLOB, 0, validator=request.validator), 0.0)
    following, _ = downloads.take(cut(BLOB * 2, 1, validator=request.validator), 0.0)
    assert following is not None
    assert (following.part, following.validator != request.validator) == (0, True)


def test_a_blob_longer_than_it_may_be_is_not_taken() -> None:
    downloads = Downloads(4, 0, lambda digest: len(BLOB) - 1)
    (request,) = downloads.want([DIGEST], 0.0)
    another, raw = downloads.take(cut(BLOB, 0, validator=request.validator), 0.1)
    assert another is not None
    assert (another.part, raw) == (0, None)
    assert another.validator != request.validator


def test_what_the_genesis_does_not_name_is_no_longer_than_what_clients_send() -> None:
    """A masked model of many weights; a deal where the model is tiny, as long as one can be."""
    task = proven_lab().task
    get_limit = make_limit(task)
    for digest in (task.verifying_key_digest, *task.pools):
        assert get_limit(digest) == MAX_BLOB_BYTES
    assert get_limit(DIGEST) == Deal.MAX_BYTES < 150_000
    assert all(len(raw) <= Deal.MAX_BYTES for raw in proven_lab().blobs._blobs.values())
    wide = Architecture.mlp([784, 128, 10], requant=Requant(shift=10, q_bits=9))
    get_limit = make_limit(replace(task, architecture=wide))
    masked = Masked(scalars=FrArray.zeros(wide.n_parameters + 1))
    assert get_limit(DIGEST) == len(masked.encode())


@pytest.mark.parametrize("sizes", [[6, 4, 3], [20, 7, 5, 2]])
def test_all_models_of_an_architecture_are_as_long(sizes: list[int]) -> None:
    architecture = Architecture.mlp(sizes, requant=Requant(shift=10, q_bits=9))
    model = random_model(architecture, np.random.default_rng(1))
    assert count_model_bytes(architecture) == len(encode_model(model))
    assert count_global_bytes(architecture) == len(combine([(model, 3)]).encode())


def test_what_comes_is_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.node.downloads.MAX_BYTES", 2 * PART_BYTES)
    downloads = Downloads(4, own=0)
    endless = bytes(64 * PART_BYTES)
    (request,) = downloads.want([DIGEST], 0.0)
    for _ in range(200):
        part = cut(endless, request.part, validator=request.validator)
        following, _ = downloads.take(part, 0.0)
        assert following is not None
        request = following
        held = sum(len(p) for d in downloads._under_way.values() for p in d.parts)
        assert held <= 3 * PART_BYTES
    with pytest.raises(ValueError, match="size is out of range"):
        replace(cut(BLOB, 0, validator=1), size=1 << 40)
    with pytest.raises(ValueError, match="wrong length"):
        replace(cut(BLOB, 0, validator=1), data=BLOB[:5])
    with pytest.raises(ValueError, match="beyond the blob"):
        replace(cut(BLOB, 2, validator=1), part=3)


def test_silent_validators_are_passed_over() -> None:
    downloads, asked, now = Downloads(7, own=2), [], 0.0
    while now < 70.0:
        asked += [request.validator for request in downloads.want([DIGEST], now)]
        now += 0.5
    assert set(asked) == {0, 1, 3, 4, 5, 6}
    assert len(asked) <= 7 + 70 / LONGEST_PAUSE_S
    assert Downloads(1, own=0).want([DIGEST], 0.0) == [], "there is nobody to ask"


def test_news_end_the_long_pauses() -> None:
    """Else who was asked last, and has it since, were asked again a minute later."""
    downloads, asked, now = Downloads(4, own=0), [], 0.0
    while now < 70.0:
        downloads.want([DIGEST], now)
        now += 0.5
    for _ in range(3):
        assert downloads.want([DIGEST], now) == []
        downloads.hurry(now)
        assert downloads.want([DIGEST], now) == [], "an answer may be on its way"
        now += PATIENCE_S
        asked += [request.validator for request in downloads.want([DIGEST], now)]
    assert sorted(asked) == [1, 2, 3]
    assert downloads.take(cut(BLOB, 0, validator=asked[-1]), now)[0] is not None
    downloads.hurry(now)
    assert downloads.want([DIGEST], now) == [], "it is under way"


def test_blobs_that_are_nowhere_hold_up_no_other() -> None:
    downloads, now = Downloads(4, own=0), 0.0
    nowhere = [sha256(b"%d" % i).digest() for i in range(3 * MAX_DOWNLOADS)]
    asked: set[bytes] = set()
    while now < 8.0:
        requests = downloads.want([*nowhere, DIGEST], now)
        assert len(downloads._under_way) <= MAX_DOWNLOADS
        asked |= {request.digest for request in requests}
        now += 0.5
    assert asked == {*nowhere, DIGEST}
    assert downloads.want([], now) == []
    assert downloads.is_idle


# -- answering -------------------------------------------------------------------------------------


def test_an_answer_is_of_what_is_kept_and_rare(tmp_path: Path) -> None:
    store = FileBlobs(tmp_path / "blobs")
    digest = store.put(BLOB)
    ledger = Ledger(tmp_path / "home", proven_lab().genesis)
    answers = Answers(ledger, store, 1)

    def ask(part: int, validator: int = 1, named: bytes = digest, now: float = 0.0) -> int | None:
        request = BlobRequest(digest=named, part=part, validator=validator)
        found = answers.find_part(request, now)
        return None if found is None else len(found.data)

    assert [ask(0), ask(2), ask(3), ask(200)] == [PART_BYTES, len(BLOB) % PART_BYTES, None, None]
    assert ask(1, validator=0) is None, "another one is asked"
    assert ask(0, named=bytes(32)) is None
    assert ask(0) is None, "said a moment ago"
    assert ask(0, now=2.0) == PART_BYTES
    many = [store.put(b"%d" % i) for i in range(2 * MAX_PARTS)]
    answered = [ask(0, named=named, now=10.0) for named in many]
    assert sum(found is not None for found in answered) == MAX_PARTS
    with pytest.raises(ValueError, match="part is out of range"):
        BlobRequest(digest=digest, part=1 << 62, validator=1)
    ledger.close()


def test_every_blob_that_a_store_takes_can_be_asked_for(tmp_path: Path) -> None:
    """Anyone may ask for any part, so none may be a message that cannot be made."""
    store = FileBlobs(tmp_path / "blobs")
    place = tmp_path / "blobs" / DIGEST.hex()[:2] / DIGEST.hex()
    place.parent.mkdir(parents=True)
    with place.open("wb") as file:
        file.truncate(MAX_BLOB_BYTES)  # holes: it takes no room
    ledger = Ledger(tmp_path / "home", proven_lab().genesis)
    answers = Answers(ledger, store, 1)
    last = MAX_BLOB_BYTES // PART_BYTES - 1
    for part in (0, last):
        found = answers.find_part(BlobRequest(digest=DIGEST, part=part, validator=1), 0.0)
        assert found is not None
        assert BlobPart.decode(found.encode()) == found
    ledger.close()


# -- keeping ---------------------------------------------------------------------------------------


def test_what_was_read_is_kept(tmp_path: Path) -> None:
    own, shared = FileBlobs(tmp_path / "own"), FileBlobs(tmp_path / "shared")
    kept = KeptBlobs(own, shared)
    digest, other = shared.put(b"read"), shared.put(b"not read")
    assert kept.get(digest) == b"read"
    (path,) = (tmp_path / "shared").rglob(digest.hex())
    path.unlink()
    assert kept.get(digest) == b"read"
    assert kept.read_part(digest, 1, 2) == (4, b"ea")
    assert kept.read_part(other, 0, 9) is None, "nobody has asked for it: it is not ours to show"
    with pytest.raises(BlobMissing):
        kept.get(digest[::-1])
    assert shared.get(kept.put(b"both")) == own.get(sha256(b"both").digest()) == b"both"


def test_a_shared_folder_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("no folder")
    kept = KeptBlobs(FileBlobs(tmp_path / "own"), FileBlobs(tmp_path / "shared"))
    assert kept.get(kept.put(b"x")) == b"x"
    with pytest.raises(BlobMissing):
        kept.get(bytes(32))


def test_what_is_corrupt_here_is_read_anew(tmp_path: Path) -> None:
    kept = KeptBlobs(FileBlobs(tmp_path / "own"), FileBlobs(tmp_path / "shared"))
    digest = kept.put(b"right")
    (path,) = (tmp_path / "own").rglob(digest.hex())
    path.write_bytes(b"wrong")
    assert kept.get(digest) == b"right"
    assert path.read_bytes() == b"right"


# -- the rule --------------------------------------------------------------------------------------


def call_lost(state: ChainState, lost: bytes) -> Block:
    """A right block of the last phase without a sum."""
    aggregate = make_none(state, Failure.LOST, lost=lost)
    return replace(proven_lab().block(state), aggregate=(aggregate,))


def test_a_block_that_calls_a_blob_lost_is_valid() -> None:
    """Whether it may be voted for is another question, which who has the blob answers with no."""
    state = proven_state(Phase.ELECT)
    for lost in list_round_blobs(state):
        block = call_lost(state, lost)
        assert find_fault(state, block) is None
        assert proven_lab().verifier().check(state, block) is None
        assert proven_lab().verifier().list_needed_blobs(state, block) == ()
        assert calls_lost(block, lambda digest: True)
        assert calls_lost(block, lambda digest, lost=lost: digest == lost)  # type: ignore[misc]
        assert not calls_lost(block, lambda digest, lost=lost: digest != lost)  # type: ignore[misc]
        assert find_lost(state, lambda digest, lost=lost: digest != lost) == lost  # type: ignore[misc]
    assert find_lost(state, lambda digest: True) is None
    assert not calls_lost(proven_lab().block(state), lambda digest: True)


# -- nodes with stores of their own ----------------------------------------------------------------


class Apart(Net):
    """Each validator has a store of its own; the folder that clients write to is seen by some.

    sees : who sees it, by index
    """

    sees: frozenset[int] = frozenset(range(4))

    def make_blobs(self, index: int) -> Blobs:
        stores = self.__dict__.setdefault("own", {})
        own = stores.setdefault(index, MemoryBlobs())
        assert isinstance(self.lab, ProvenLab)
        if index in self.sees:
            return KeptBlobs(own, self.lab.blobs)
        for digest in (self.lab.task.verifying_key_digest, *self.lab.task.pools):
            own.put(self.lab.blobs.get(digest))
        return own  # type: ignore[no-any-return]

    def lose(self, digest: bytes, *holders: int) -> None:
        """Clients' folder and these validators' disks have it no more."""
        assert isinstance(self.lab, ProvenLab)
        self.lab.blobs._blobs.pop(digest, None)
        for index in holders:
            self.__dict__["own"][index]._blobs.pop(digest, None)

    def elected(self) -> set[bytes]:
        """Who entered the global model."""
        finals = self.nodes[0].ledger.list_finals()
        return {e.client_key for f in finals for a in f.block.aggregate for e in a.entries}


def new_lab() -> ProvenLab:
    return ProvenLab(changes={"n_rounds": 1}, blobs=MemoryBlobs())


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Apart]:
    made = Apart(tmp_path, new_lab())
    yield made
    made.close()


def all_in(net: Net, phase: Phase) -> Callable[[], bool]:
    return lambda: all(node.chain.phase is phase for node in net)


def assert_done(net: Apart) -> None:
    net.run(all_in(net, Phase.DONE), limit_s=200.0)
    heads = {node.chain.head for node in net}
    assert len(heads) == 1


def test_a_payload_that_one_node_was_shown_reaches_all(tmp_path: Path) -> None:
    """A client could hold a round up with it."""
    lab = ProvenLab(changes={"n_rounds": 1, **set_phases(10**6)}, blobs=MemoryBlobs())
    net = Apart(tmp_path, lab)
    net.sees, net.ledger_options = frozenset({0}), {"keep_blocks": None}
    try:
        net.start_all()
        net.run(all_in(net, Phase.ELECT), limit_s=200.0)
        named = list_round_blobs(net.chain)
        assert len(named) == 9
        assert_done(net)
        assert len(net.elected()) == 3
        for own in net.__dict__["own"].values():
            assert all(own.get(digest) for digest in named), "an archive keeps them"
    finally:
        net.close()


def test_payloads_are_let_go_when_their_round_is_over(net: Apart) -> None:
    net.start_all()
    net.run(all_in(net, Phase.ELECT))
    named = list_round_blobs(net.chain)
    stores = [*net.__dict__["own"].values(), net.lab.blobs]  # type: ignore[attr-defined]
    assert all(digest in store._blobs for digest in named for store in stores)
    assert_done(net)
    assert len(net.elected()) == 3
    assert not any(digest in store._blobs for digest in named for store in stores)
    assert all(net.chain.global_model in store._blobs for store in stores)


@pytest.mark.parametrize("which", ["deal", "masked", "unmasked"])
def test_one_disk_that_kept_a_payload_is_enough(net: Apart, which: str) -> None:
    """The others ask for it, and refuse to go on without before they have tried."""
    net.start_all()
    net.run(all_in(net, Phase.ELECT))
    net.lose(name_blob(net.chain, net.lab.client(1), which), 0, 1, 2)
    assert_done(net)
    assert len(net.elected()) == 3


def name_blob(chain: ChainState, client: bytes, which: str) -> bytes:
    """The digest of what a client has sent."""
    if which == "deal":
        return chain.proofs[client].deal
    found: bytes = getattr(chain, which)[client]
    return found


@pytest.mark.parametrize("which", ["deal", "masked", "unmasked"])
def test_a_round_ends_without_a_sum_when_nobody_has_a_payload(net: Apart, which: str) -> None:
    net.start_all()
    net.run(all_in(net, Phase.ELECT))
    lost = name_blob(net.chain, net.lab.client(1), which)
    net.lose(lost, 0, 1, 2, 3)
    assert_done(net)
    assert (net.elected(), net.chain.global_model) == (set(), NO_MODEL)
    finals = net.nodes[0].ledger.list_finals()
    (aggregate,) = (a for f in finals for a in f.block.aggregate)
    assert (aggregate.failure, aggregate.lost) == (Failure.LOST, (lost,))
    assert net.chain.debtors == (), "by nobody's fault"
    follower = Follower(net.lab.genesis)
    assert all(follower.take(f) is None for f in finals)


def test_a_round_ends_when_all_payloads_are_lost(net: Apart) -> None:
    net.start_all()
    net.run(all_in(net, Phase.ELECT))
    for digest in list_round_blobs(net.chain):
        net.lose(digest, 0, 1, 2, 3)
    assert_done(net)
    assert (net.elected(), net.chain.global_model) == (set(), NO_MODEL)


def test_no_round_is_lost_whose_payloads_are_there(net: Apart) -> None:
    """A proposer that calls one lost gets no block; the next one's has the sum."""
    net.start_all()
    liar = None
    for index, node in net.nodes.items():
        draft = node._desk.draft

        def draft_without(
            chain: ChainState, *, _index: int = index, _draft: object = draft, **options: object
        ) -> Block | None:
            nonlocal liar
            block: Block | None = _draft(chain, **options)  # type: ignore[operator]
            if block is None or chain.phase is not Phase.ELECT or liar not in (None, _index):
                return block
            liar = _index
            lost = make_none(chain, Failure.LOST, lost=chain.masked[net.lab.client(1)])
            return replace(block, aggregate=(lost,))

        node._desk.draft = draft_without  # type: ignore[method-assign,assignment]
    assert_done(net)
    assert liar is not None
    said = (Proposal.decode(raw) for sender, _, raw in net.tried if sender == liar)
    aggregates = [a for p in said if p is not None for a in p.block.aggregate]
    assert any(a.lost for a in aggregates), "it did propose one"
    assert len(net.elected()) == 3


class Elsewhere(Apart):
    """Client 2 names a payload that it shows to nobody."""

    def list_due(self, chain: ChainState) -> list[Transaction]:
        due = super().list_due(chain)
        if chain.phase is not Phase.MASK:
            return due
        for tx in due:
            if isinstance(tx, Contribution) and tx.client_key == self.lab.client(2):
                self.lose(tx.payload)
        return due


def test_a_payload_that_nobody_was_shown_enters_no_block(tmp_path: Path) -> None:
    net = Elsewhere(tmp_path, new_lab())
    try:
        net.start_all()
        assert_done(net)
        assert set(net.chain.masked) == {net.lab.client(0), net.lab.client(1)}
        asked = [BlobRequest.decode(raw) for i, _, raw in net.tried if i == 0]
        assert sum(request is not None for request in asked) < 30
    finally:
        net.close()


# -- a light client --------------------------------------------------------------------------------


def test_a_light_client_asks_for_the_blobs_that_it_lacks(net: Apart) -> None:
    """It has nothing but the genesis; each block waits until what it needs has come."""
    net.start_all()
    mine, genesis = MemoryBlobs(), net.lab.genesis
    verifier = BlockVerifier(genesis, mine, seeded(9))
    transport = Transport(net.server, genesis.digest, (FINAL,))  # type: ignore[arg-type]
    watch = Watch(genesis, transport, verifier=verifier, blobs=mine, clock=lambda: net.now)

    def is_there() -> bool:
        watch.poll(0)
        return watch.state.phase is Phase.DONE

    net.run(is_there, limit_s=200.0)
    assert watch.n_refused == 0
    assert watch.state.head == net.chain.head
    assert net.lab.task.pools[0] in mine._blobs
    parts = net.server.list_raw(genesis, BLOBS)
    assert len(parts) < 20
    assert all(BlobRequest.decode(raw) is None for raw in parts)
    assert any(BlobRequest.decode(raw) for raw in net.server.list_raw(genesis, VOTES))
