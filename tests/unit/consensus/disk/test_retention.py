"""A long chain on disk: what is kept, what is let go, where a node begins, what it remembers."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.disk import block_files
from consensus.disk.block_files import BLOCKS, list_sealed, read_chain, read_finals
from consensus.disk.ledger import N_RECENT, Ledger
from consensus.disk.retention import MODELS, find_floor, list_named, list_needed, list_spent
from consensus.disk.snapshots import Snapshot, list_snapshots, save_snapshot
from consensus.errors import LedgerError
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import Phase
from consensus.learning.steps import STEPS
from consensus.node.follower import Follower
from consensus.wire.messages import FinalBlock
from consensus.wire.transactions import Contribution, Refusal
from tests.support.certificates import certify
from tests.support.learning import Lab
from tests.support.stored import grow, make_finals

SPAN = 8
LAB = Lab(changes={"n_rounds": 1 << 10})
GENESIS = LAB.genesis


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def open_ledger(home: Path, keep_blocks: int | None = 16, **options: object) -> Ledger:
    return Ledger(home, GENESIS, keep_blocks=keep_blocks, span=SPAN, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finals() -> list[FinalBlock]:
    return make_finals(LAB, 60)


def fill(home: Path, finals: list[FinalBlock], keep_blocks: int | None = 16) -> list[bytes]:
    """Returns what was let go."""
    ledger, gone = open_ledger(home, keep_blocks), list[bytes]()
    for final in finals[ledger.height :]:
        gone += ledger.append(final)
    ledger.close()
    return gone


# -- what is kept ----------------------------------------------------------------------------------


def test_an_archive_keeps_everything(tmp_path: Path, finals: list[FinalBlock]) -> None:
    assert fill(tmp_path, finals, None) == []
    assert [(s.first, s.height) for s in list_sealed(tmp_path)] == [
        (first, first + SPAN - 1) for first in range(1, 56, SPAN)
    ]
    ledger = open_ledger(tmp_path, None)
    assert ledger.first == 1
    assert ledger.list_finals() == finals
    assert ledger.get(17) == finals[16]
    assert ledger.state == apply_all(finals)
    ledger.close()
    assert read_finals(tmp_path, GENESIS) == finals
    assert [h for h, _ in list_snapshots(tmp_path)] == list(range(SPAN, 57, SPAN))


def apply_all(finals: list[FinalBlock]) -> object:
    state = start(GENESIS)
    for final in finals:
        state = apply(state, final.block)
    return state


@pytest.mark.parametrize("keep_blocks", [1, 16, 17, 18, 1000])
def test_the_last_blocks_and_those_after_the_second_newest_snapshot_are_kept(
    tmp_path: Path, finals: list[FinalBlock], keep_blocks: int
) -> None:
    ledger = open_ledger(tmp_path, keep_blocks)
    for height, final in enumerate(finals, 1):
        ledger.append(final)
        heights = [h for h, _ in list_snapshots(tmp_path)]
        kept = ledger.list_finals()
        assert kept == finals[ledger.first - 1 : height]
        assert len(kept) >= min(height, keep_blocks)
        assert len(kept) <= max(keep_blocks, SPAN) + 2 * SPAN
        if ledger.first > 1:
            assert ledger.first - 1 == heights[0], "what is here can be checked"
            assert len(heights) >= 2
            snapshot = ledger.find_snapshot()
            assert snapshot is not None
            assert ledger.get(snapshot.height + 1) == snapshot.final
    assert ledger.first == (
        1 if keep_blocks == 1000 else {1: 49, 16: 41, 17: 41, 18: 33}[keep_blocks]
    )
    ledger.close()


def test_a_pruned_chain_is_read_and_verified_from_its_snapshot(
    tmp_path: Path, finals: list[FinalBlock]
) -> None:
    fill(tmp_path, finals)
    chain = read_chain(tmp_path, GENESIS)
    assert (chain.start.height, chain.height, chain.is_whole) == (40, 60, False)
    follower = Follower(GENESIS, start=chain.start)
    assert [follower.take(final) for final in chain] == [None] * 20
    assert follower.state == apply_all(finals)
    newest = list_snapshots(tmp_path)
    newest[0][1].write_bytes(b"")
    assert read_chain(tmp_path, GENESIS).start.height == 48, "the next one that holds"
    for _, path in newest:
        path.unlink()
    for read_it in (read_chain, Ledger):
        with pytest.raises(LedgerError, match="begins with block 41, and no snapshot"):
            read_it(tmp_path, GENESIS)


def test_global_models_that_only_blocks_let_go_named_are_let_go(
    tmp_path: Path, finals: list[FinalBlock]
) -> None:
    gone = fill(tmp_path, finals)
    named = [{a.model_digest for a in final.block.aggregate} for final in finals]
    kept = set[bytes]().union(*named[40:])
    models = set[bytes]().union(*named[:40]) - kept
    assert models <= set(gone)
    assert kept.isdisjoint(gone)
    assert all(gone.count(model) == 1 for model in models)
    assert (tmp_path / MODELS).stat().st_size < 60 * 4 * 32


def test_payloads_go_with_the_block_that_ends_their_round(
    tmp_path: Path, finals: list[FinalBlock]
) -> None:
    """Not before: who is behind asks for them."""
    ledger, of_round = open_ledger(tmp_path, 1000), set[bytes]()
    for final in finals[:30]:
        gone = set(ledger.append(final))
        aggregates = {a.model_digest for a in final.block.aggregate}
        of_round |= set(list_named(final.block)) - aggregates
        if aggregates:
            assert gone == of_round
            assert len(gone) == 9, "three deals, masked models and unmaskings"
            of_round = set()
        else:
            assert of_round.isdisjoint(gone)
    ledger.close()


def test_payloads_of_a_dispute_are_kept_until_it_is_over(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    gone: list[bytes] = []
    while ledger.state.learning_round == 0:
        assert gone == []
        state = ledger.state
        changes = {}
        if state.phase is Phase.ELECT and state.closed is Phase.UNMASK:
            changes = {"aggregate": (LAB.dispute(state),)}
        elif state.phase is Phase.ELECT and state.closed is Phase.ATTEST:
            changes = {"aggregate": (LAB.ask_for_seeds(state),)}
        block = LAB.block(state, LAB.list_due(state), **changes)
        gone += ledger.append(certify(LAB, block))
    assert set(gone) >= {LAB.contribute(0, phase).payload for phase in STEPS}
    assert len(gone) == 15
    ledger.close()


def test_batches_outlast_their_round_and_what_is_shown_of_training_does_not() -> None:
    """Until the last round is over."""
    client, (batches, trajectory, training) = LAB.client(0), (bytes([i]) * 32 for i in (1, 2, 3))
    state = LAB.reach(Phase.ELECT)
    before = replace(
        state,
        batches={client: batches},
        commits={client: replace(state.commits[client], trajectory=trajectory)},
        proofs=state.proofs | {client: replace(state.proofs[client], training=training)},
    )
    after = apply(before, LAB.block(before))
    assert {trajectory, training} <= set(list_needed(before)) - set(list_needed(after))
    assert {trajectory, training} <= set(list_spent(before, after))
    assert batches in list_needed(after)
    assert batches not in list_spent(before, after)
    assert batches in list_spent(after, replace(after, phase=Phase.DONE))


def test_a_block_names_all_that_clients_have_sent() -> None:
    """Also what is refused: it is let go with the block."""
    state = LAB.reach(Phase.PROVE)
    one, two, three, four = (bytes([i]) * 32 for i in (1, 2, 3, 4))
    proof = LAB.prove(0, state)
    txs = [
        replace(LAB.register(0), batches=one),
        replace(LAB.commit(0), trajectory=two),
        replace(proof, training=three),
        Refusal(proof=replace(proof, training=four)),
        LAB.contribute(0, Phase.MASK),
    ]
    payload = LAB.contribute(0, Phase.MASK).payload
    assert list_named(LAB.block(state, txs)) == [one, two, proof.deal, three, four, payload]
    bare = [LAB.register(0), LAB.commit(0), proof, Refusal(proof=proof)]
    assert list_named(LAB.block(state, bare)) == [proof.deal]


def test_what_is_named_again_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload may be any blob: also one that the chain still needs."""
    pool = LAB.task.pools[0]

    def name_the_pool(self: Lab, i: int, phase: Phase, learning_round: int = 0) -> Contribution:
        return self.sign_payload(i, phase, learning_round, pool)

    monkeypatch.setattr(Lab, "contribute", name_the_pool)
    finals = make_finals(LAB, 60)
    assert any(pool in list_named(final.block) for final in finals)
    assert pool not in fill(tmp_path, finals)


def test_the_global_model_is_kept_however_long_ago_it_was_made(tmp_path: Path) -> None:
    """A round ends, and then nothing happens."""
    finals = make_finals(LAB, 7)
    ledger = open_ledger(tmp_path)
    gone: list[bytes] = []
    for final in finals:
        gone += ledger.append(final)
    model = ledger.state.global_model
    assert ledger.state.phase is Phase.COMMIT
    for _ in range(60):
        gone += ledger.append(certify(LAB, LAB.block(ledger.state)))
    assert ledger.first > 7
    assert model not in gone
    gone += grow(ledger, LAB, 6)
    for _ in range(60):
        gone += ledger.append(certify(LAB, LAB.block(ledger.state)))
    assert gone.count(model) == 1, "another has taken its place"
    ledger.close()


def test_a_lost_index_of_models_lets_nothing_go(tmp_path: Path, finals: list[FinalBlock]) -> None:
    fill(tmp_path, finals[:40], None)
    (tmp_path / MODELS).unlink()
    ledger = open_ledger(tmp_path)
    models = {a.model_digest for final in finals for a in final.block.aggregate}
    assert all(models.isdisjoint(ledger.append(final)) for final in finals[40:50])
    ledger.close()


# -- where it begins -------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Heights of blocks that were decoded from the disk."""
    heights: list[int] = []
    decode = block_files.decode_block

    def note(raw: bytes, height: int, path: Path) -> FinalBlock:
        heights.append(height)
        return decode(raw, height, path)

    monkeypatch.setattr(block_files, "decode_block", note)
    return heights


def test_a_start_replays_what_follows_the_newest_snapshot(
    tmp_path: Path, finals: list[FinalBlock], counted: list[int]
) -> None:
    fill(tmp_path, finals, None)
    counted.clear()
    ledger = open_ledger(tmp_path, None)
    assert counted == [57, 58, 59, 60]
    assert ledger.state == apply_all(finals)
    ledger.close()


@pytest.mark.parametrize("n_damaged", [1, 2, 7])
def test_a_damaged_snapshot_is_passed_over(
    tmp_path: Path, finals: list[FinalBlock], counted: list[int], n_damaged: int
) -> None:
    fill(tmp_path, finals, None)
    for _, path in list_snapshots(tmp_path)[-n_damaged:]:
        raw = path.read_bytes()
        path.write_bytes(raw[:50] + bytes((raw[50] ^ 1,)) + raw[51:])
    counted.clear()
    ledger = open_ledger(tmp_path, None)
    assert counted == list(range(57 - SPAN * n_damaged, 61))
    assert ledger.state == apply_all(finals)
    ledger.close()


def test_a_new_node_begins_with_a_snapshot_and_goes_on(
    tmp_path: Path, finals: list[FinalBlock]
) -> None:
    fill(tmp_path / "old", finals)
    old = open_ledger(tmp_path / "old")
    snapshot = old.find_snapshot()
    assert snapshot is not None
    new = open_ledger(tmp_path / "new", snapshot=snapshot)
    assert (new.first, new.height) == (57, 57)
    for final in old.list_finals(58):
        new.append(final)
    assert new.state == old.state
    old.close()
    new.close()
    again = open_ledger(tmp_path / "new", snapshot=snapshot)
    assert again.height == 60, "it is behind what is here by now"
    again.close()
    assert len(read_chain(tmp_path / "new", GENESIS)) == 4


@pytest.mark.parametrize("n_here", [3, 20, 56])
def test_a_node_far_behind_jumps(tmp_path: Path, finals: list[FinalBlock], n_here: int) -> None:
    """An archive does not: it would have a gap, unless nothing is missing."""
    fill(tmp_path, finals[:n_here])
    snapshot = Snapshot(apply_all(finals[:56]), finals[56])  # type: ignore[arg-type]
    if n_here < 56:
        with pytest.raises(LedgerError, match=f"an archive that ends with block {n_here}"):
            open_ledger(tmp_path, None, snapshot=snapshot)
    ledger = open_ledger(tmp_path, snapshot=snapshot)
    assert ledger.height == 57
    assert ledger.first == (57 if n_here < 56 else 33)
    ledger.append(finals[57])
    ledger.close()
    again = open_ledger(tmp_path)
    assert again.state == apply_all(finals[:58])
    again.close()


@pytest.mark.parametrize("n_sealed", [0, 1, 2])
def test_a_jump_that_a_crash_cut_short_is_finished(
    tmp_path: Path, finals: list[FinalBlock], n_sealed: int
) -> None:
    """The snapshot came first, then old blocks go, the lowest first."""
    fill(tmp_path, finals[:20])
    save_snapshot(tmp_path, Snapshot(apply_all(finals[:56]), finals[56]))  # type: ignore[arg-type]
    for one in list_sealed(tmp_path)[:n_sealed]:
        one.path.unlink()
    ledger = open_ledger(tmp_path)
    assert (ledger.first, ledger.height) == (57, 57)
    ledger.close()


# -- damage ----------------------------------------------------------------------------------------


def test_a_file_that_was_sealed_is_whole(tmp_path: Path, finals: list[FinalBlock]) -> None:
    fill(tmp_path, finals[:20], None)
    sealed = list_sealed(tmp_path)
    raw = sealed[0].path.read_bytes()
    for other, why in ((raw[:-1], "cut short"), (raw[:30] + b"\xff" + raw[31:], "damaged")):
        sealed[0].path.write_bytes(other)
        for read_it in (read_chain, Ledger):
            with pytest.raises(LedgerError, match=why):
                read_it(tmp_path, GENESIS)
    sealed[0].path.write_bytes(raw)
    shutil.move(sealed[1].path, tmp_path / "away")
    for read_it in (read_chain, Ledger):
        with pytest.raises(LedgerError, match="it begins with block 17, not 9"):
            read_it(tmp_path, GENESIS)
    shutil.move(tmp_path / "away", sealed[1].path)
    sealed[0].path.unlink()
    assert read_chain(tmp_path, GENESIS).start.height == 8
    open_ledger(tmp_path).close()


def test_blocks_that_name_another_state_are_refused(
    tmp_path: Path, finals: list[FinalBlock]
) -> None:
    """Also where their checksums and hashes fit: the replay must lead where the chain was."""
    ledger = open_ledger(tmp_path)
    for final in finals[:2]:
        ledger.append(final)
    ledger.append(certify(LAB, LAB.block(ledger.state, state_root=bytes(32))))
    ledger.close()
    with pytest.raises(LedgerError, match="block 3 names another state"):
        open_ledger(tmp_path)


@pytest.mark.parametrize("n_before", [0, 3, 20])
def test_blocks_that_nobody_signed_are_refused(
    tmp_path: Path, finals: list[FinalBlock], n_before: int
) -> None:
    """They follow one another as well as any: whoever copies them could be led astray."""
    ledger = open_ledger(tmp_path)
    for final in finals[:n_before]:
        ledger.append(final)
    for _ in range(3):
        forged = {"keys": [1, 2, 3]}  # validators 0 to 2 signed nothing
        ledger.append(certify(LAB, LAB.block(ledger.state), **forged))
    ledger.close()
    with pytest.raises(LedgerError, match=f"block {n_before + 3} is not final: the signature"):
        open_ledger(tmp_path)


def test_a_ledger_of_another_genesis_is_refused(tmp_path: Path, finals: list[FinalBlock]) -> None:
    """From its first parent on, whether its snapshots are there or not, and by every reader."""
    other = replace(GENESIS, chain_id=b"other")
    fill(tmp_path, finals[:20], None)
    for _ in range(2):
        for read_it in (Ledger, read_finals):
            with pytest.raises(LedgerError, match="block 1 is of the chain with genesis") as error:
                read_it(tmp_path, other)
            assert GENESIS.digest.hex() in str(error.value)
            assert "name the genesis" in error.value.next_step
        for _, path in list_snapshots(tmp_path):
            path.unlink()
    pruned = tmp_path / "pruned"
    fill(pruned, finals)
    for read_it in (Ledger, read_finals):
        with pytest.raises(LedgerError, match="no snapshot leads there"):
            read_it(pruned, other)


def test_a_reader_sees_one_chain_while_its_node_goes_on(
    tmp_path: Path, finals: list[FinalBlock]
) -> None:
    """The file that it began to read is sealed meanwhile, and another takes its name."""
    ledger = open_ledger(tmp_path, None)
    for final in finals[:20]:
        ledger.append(final)
    chain = read_chain(tmp_path, GENESIS)
    for final in finals[20:30]:
        ledger.append(final)
    assert list(chain) == finals[:20]
    assert read_finals(tmp_path, GENESIS) == finals[:30]
    assert read_finals(tmp_path / BLOCKS, GENESIS) == finals[24:30]
    ledger.close()


def test_a_reader_of_what_is_let_go_meanwhile_says_so(
    tmp_path: Path, finals: list[FinalBlock]
) -> None:
    fill(tmp_path, finals[:20], None)
    blocks = iter(read_chain(tmp_path, GENESIS))
    assert next(blocks) == finals[0]
    list_sealed(tmp_path)[0].path.unlink()
    with pytest.raises(LedgerError, match="let it go meanwhile"):
        next(blocks)


def test_the_floor_is_a_snapshot_that_holds(tmp_path: Path, finals: list[FinalBlock]) -> None:
    fill(tmp_path, finals, None)
    assert find_floor(tmp_path, GENESIS, height=60, keep_blocks=16) == 40
    list_snapshots(tmp_path)[4][1].write_bytes(b"damaged")
    assert find_floor(tmp_path, GENESIS, height=60, keep_blocks=16) == 32
    assert find_floor(tmp_path, GENESIS, height=60, keep_blocks=1) == 48
    assert find_floor(tmp_path, GENESIS, height=60, keep_blocks=None) == 0


# -- how much it remembers -------------------------------------------------------------------------

N_SHORT, N_LONG = 1500, 100_000
MEMORY_BYTES, START_S = 250 << 20, 3.0


def test_memory_does_not_grow_with_the_chain(tmp_path: Path) -> None:
    """Empty blocks, by the thousand: what is in memory after them is what was before them."""
    ledger = Ledger(tmp_path, GENESIS, keep_blocks=256, span=64)
    append_empty(ledger, N_SHORT // 2)
    gc.collect()
    n_before = count_blocks()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    append_empty(ledger, N_SHORT // 2)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count_blocks() <= n_before
    # The recent ones are replaced by traced ones: 64 of about 6 KB.
    assert after - before < N_RECENT * 8192
    kept = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert kept < 1 << 20
    ledger.close()


def count_blocks() -> int:
    """Of all that is in memory, of other tests too."""
    return sum(type(x) is FinalBlock for x in gc.get_objects())  # asks no object anything


def append_empty(ledger: Ledger, n_blocks: int) -> None:
    for _ in range(n_blocks):
        ledger.append(certify(LAB, LAB.block(ledger.state)))


PROGRAM = """
import os, sys, time
from pathlib import Path
from consensus.disk.ledger import Ledger
from tests.unit.consensus.disk.test_retention import LAB, append_empty

home, n_blocks, keep = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) or None
os.fsync = lambda handle: None
LAB.genesis.digest
begin = time.perf_counter()
ledger = Ledger(home, LAB.genesis, keep_blocks=keep)
took = time.perf_counter() - begin
append_empty(ledger, n_blocks - ledger.height)
lines = Path("/proc/self/status").read_text().splitlines()
(peak,) = (int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))
print(ledger.height, peak, took)
"""


@pytest.mark.soak
@pytest.mark.parametrize("keep_blocks", [0, 16_384])
def test_a_hundred_thousand_blocks(tmp_path: Path, keep_blocks: int) -> None:
    """Made, then opened again, by processes of their own; 0 is an archive."""
    arguments = [str(tmp_path), str(N_LONG), str(keep_blocks)]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
        )
        height, peak, took = done.stdout.split()
        assert int(height) == N_LONG
        assert int(peak) < MEMORY_BYTES
        assert float(took) < START_S
