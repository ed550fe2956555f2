"""Blobs that a desk lacks: what waits for them, which are looked for, and when."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from consensus.aggregation.outcome import Failure
from consensus.agreement.events import BlockChecked, Check
from consensus.errors import BlobMissing, BlobTooLarge, PoolInvalid
from consensus.learning.absence import PATIENT_ROUNDS
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.outcome import make_none
from consensus.learning.steps import STEPS, list_round_blobs, list_sent
from consensus.node.pool import PER_CLIENT
from consensus.wire.transactions import Contribution, Transaction
from tests.support.desks import LAB, Office, extend, reach

KEY, POOL = sha256(b"a key").digest(), sha256(b"a pool").digest()


def mask(i: int) -> Contribution:
    return LAB.contribute(i, Phase.MASK)


@pytest.fixture
def office() -> Office:
    return Office()


# -- models that are lacked ------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.PROVE, *STEPS])
def test_a_transaction_waits_for_its_blob(office: Office, phase: Phase) -> None:
    chain, txs = reach(phase), LAB.list_due(reach(phase))
    (lacked,) = list_sent(txs[1])
    office.judge.absent = {lacked}
    assert office.hold(chain, *txs) == [txs[0], txs[2]]
    assert office.judge.batches == [[txs[0], txs[2]]]
    assert office.list_wanted(chain) == [lacked]
    assert office.draft(chain).transactions == (txs[0], txs[2])
    office.judge.absent.clear()
    assert office.desk.judge_pending(chain) == [], "it is looked for now and then"
    office.desk.look_again()
    assert office.desk.judge_pending(chain) == [txs[1]]
    assert office.list_wanted(chain) == []


def test_the_pool_of_a_round_is_kept_before_any_proof_comes(office: Office) -> None:
    """Clients elsewhere ask nodes for it: else all would wait for the first proof."""
    pool = LAB.task.get_pool(0)
    office.judge.absent = {pool}
    before, after = reach(Phase.BEACON), reach(Phase.PROVE)
    assert pool not in office.list_wanted(before)
    office.desk.move_on(before, after)
    assert office.list_wanted(after) == [pool]


def test_a_model_is_not_looked_for_whenever_anybody_asks(office: Office) -> None:
    """Each time it reads the disk: once, and once when the node looks again."""
    chain, tx = reach(Phase.MASK), mask(0)
    office.judge.absent = {tx.payload}
    for n_looked in (1, 2):
        for _ in range(3):
            assert office.hold(chain, tx) == []
        assert office.judge.looked_for == [tx.payload] * n_looked
        office.desk.look_again()
    assert office.judge.batches == [], "and nothing is judged"
    assert office.measure("verify_seconds_count", what="pending") is None


def test_what_is_lacked_is_of_this_phase_and_in_no_block(office: Office) -> None:
    chain, txs = reach(Phase.MASK), [mask(i) for i in range(3)]
    digests = [tx.payload for tx in txs]
    office.judge.absent = set(digests)
    assert office.hold(chain, *txs) == []
    assert office.list_wanted(chain) == digests
    after = extend(office, chain, txs[1])
    assert office.list_wanted(after) == [digests[1], digests[0], digests[2]], "final ones first"
    office.judge.absent.clear()
    office.desk.look_again()
    assert office.desk.judge_pending(after) == [txs[0], txs[2]]
    office.judge.absent = set(digests)
    office.desk.move_on(after, reach(Phase.ELECT))
    assert office.list_wanted(reach(Phase.ELECT)) == digests, "all are looked for once more"
    office.desk.move_on(reach(Phase.ELECT), reach(Phase.COMMIT, 1))
    assert office.list_wanted(reach(Phase.COMMIT, 1)) == []


def test_nobody_without_a_proof_has_its_model_looked_for(office: Office) -> None:
    chain, tx = reach(Phase.MASK), mask(0)
    others = {client: proven for client, proven in chain.proofs.items() if client != tx.client_key}
    office.judge.absent = {tx.payload}
    office.add(chain, tx)
    office.desk.judge_pending(chain)
    assert office.list_wanted(replace(chain, proofs=others)) == []
    assert office.list_wanted(chain) == [tx.payload]


def test_one_blob_of_each_client_is_looked_for_at_a_time(office: Office) -> None:
    """Few downloads are under way at once: who names many blobs that are nowhere delays nobody by
    more than one."""
    chain = reach(Phase.MASK)
    made_up = [sha256(b"%d" % i).digest() for i in range(PER_CLIENT)]
    flood = [LAB.sign_payload(0, Phase.MASK, 0, payload) for payload in made_up]
    office.judge.absent = {*made_up, mask(1).payload}
    assert office.hold(chain, *flood, mask(1)) == []
    assert office.list_wanted(chain) == [made_up[0], mask(1).payload]


@pytest.mark.parametrize("error", [BlobMissing(KEY), PoolInvalid("no pool")])
def test_what_cannot_be_judged_waits(office: Office, error: Exception) -> None:
    chain, txs = reach(Phase.PROVE), [LAB.prove(i, reach(Phase.PROVE)) for i in range(2)]
    office.judge.error, office.judge.absent = error, {KEY}
    assert office.hold(chain, *txs) == []
    assert office.desk.judge_pending(chain) == []
    assert office.judge.batches == [txs], "not again at once"
    assert office.list_wanted(chain) == ([KEY] if isinstance(error, BlobMissing) else [])
    assert office.draft(chain).transactions == ()
    office.judge.error = None
    office.desk.look_again()
    assert office.desk.judge_pending(chain) == txs


def test_what_final_blocks_name_is_wanted_until_it_was_here(office: Office) -> None:
    """The global model and this round's models, whichever of them are lacked."""
    chain = reach(Phase.ELECT, 1)
    models = list(chain.masked.values())
    office.desk.move_on(reach(Phase.UNMASK, 1), chain)
    assert office.list_wanted(chain) == []
    office.judge.absent = {chain.global_model, models[2]}
    assert office.list_wanted(chain) == [], "they were here"
    office.desk.move_on(reach(Phase.UNMASK, 1), chain)
    assert office.list_wanted(chain) == [models[2], chain.global_model]
    office.judge.absent = {models[2]}
    assert office.list_wanted(chain) == [models[2]]
    first = reach(Phase.COMMIT)
    office.judge.absent.add(first.global_model)
    office.desk.move_on(reach(Phase.REGISTER), first)
    assert office.list_wanted(first) == [], "no model is named before the first aggregate"


def test_a_blob_of_a_peer_is_kept_and_what_lacked_it_looked_at(office: Office) -> None:
    chain = reach(Phase.MASK)
    digest = sha256(b"a model").digest()
    tx = LAB.sign(replace(mask(0), payload=digest), LAB.clients[0])
    office.judge.absent = {digest}
    assert office.hold(chain, tx) == []
    office.judge.absent.clear()
    office.desk.keep_blob(b"a model")
    assert office.blobs.get(digest) == b"a model"
    assert office.desk.judge_pending(chain) == [tx]


def test_a_blob_that_no_store_takes_is_dropped(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(raw: bytes) -> bytes:
        raise BlobTooLarge("more than this store takes")

    monkeypatch.setattr(office.blobs, "put", refuse)
    office.desk.keep_blob(b"a model")
    assert office.blobs._blobs == {}


# -- blocks of others ------------------------------------------------------------------------------


def make_check(chain: ChainState, *transactions: Transaction, **changes: Any) -> Check:
    block = LAB.block(chain, transactions, **changes)
    return Check(block, block.hash)


def test_a_block_waits_for_what_it_needs_and_has_not_been_here(office: Office) -> None:
    chain = reach(Phase.MASK)
    check = make_check(chain)
    office.judge.needed = (KEY, POOL)
    office.judge.absent = {KEY, POOL}
    assert office.desk.check(chain, check) is None
    assert office.list_wanted(chain) == [KEY, POOL]
    office.judge.absent = {POOL}
    assert office.desk.check(chain, check) is None
    assert office.list_wanted(chain) == [POOL]
    office.judge.absent = {KEY}  # the verifier may remember what it needed this for
    expected = BlockChecked(check.block.height, check.block_hash, None)
    assert office.desk.check(chain, check) == expected
    assert office.list_wanted(chain) == []


def test_what_a_block_needs_is_wanted_at_its_height_only(office: Office) -> None:
    chain = reach(Phase.MASK)
    office.judge.needed = (KEY,)
    office.judge.absent = {KEY}
    office.desk.check(chain, make_check(chain))
    assert office.list_wanted(chain) == [KEY]
    assert office.list_wanted(extend(office, chain)) == []


def test_a_block_that_needs_nothing_more_is_judged(office: Office) -> None:
    chain, check = reach(Phase.COMMIT), make_check(reach(Phase.COMMIT))
    office.judge.block_fault = "it is false"
    expected = BlockChecked(check.block.height, check.block_hash, "it is false")
    assert office.desk.check(chain, check) == expected
    (said,) = office.log.entries
    assert (said["event"], said["height"]) == ("block refused", check.block.height)
    assert said["fault"] == "it is false"


def test_a_block_is_not_at_fault_when_a_blob_is_gone_meanwhile(office: Office) -> None:
    chain, check = reach(Phase.COMMIT), make_check(reach(Phase.COMMIT))
    office.judge.needed, office.judge.lost = (KEY,), {KEY}
    office.judge.block_fault = "blob is not here"
    assert office.desk.check(chain, check) is None
    assert office.log.entries == []
    assert office.list_wanted(chain) == [KEY]
    office.judge.absent, office.judge.lost, office.judge.block_fault = set(), set(), None
    expected = BlockChecked(check.block.height, check.block_hash, None)
    assert office.desk.check(chain, check) == expected


def test_what_the_rules_forbid_needs_nothing(office: Office) -> None:
    chain = reach(Phase.COMMIT)
    office.judge.needed, office.judge.absent = (KEY,), {KEY}
    office.judge.block_fault = "the parent is another block"
    forbidden = make_check(chain, parent=bytes(32))
    checked = office.desk.check(chain, forbidden)
    assert checked is not None
    assert checked.fault == "the parent is another block"
    assert office.list_wanted(chain) == []
    assert office.desk.check(chain, make_check(chain)) is None
    assert office.list_wanted(chain) == [KEY]


def test_an_aggregate_that_calls_lost_what_is_here_is_told(office: Office) -> None:
    chain = reach(Phase.ELECT)
    lost = chain.masked[LAB.client(0)]
    check = make_check(chain, aggregate=(make_none(chain, Failure.LOST, lost=lost),))
    for is_here in (True, False):
        office.judge.absent = set() if is_here else {lost}
        checked = office.desk.check(chain, check)
        assert checked is not None
        assert (checked.fault, checked.leaves_out) == (None, is_here)


@pytest.mark.parametrize("number", [0, PATIENT_ROUNDS - 1, PATIENT_ROUNDS, PATIENT_ROUNDS + 1])
def test_only_late_rounds_call_lost_what_is_not_here(office: Office, number: int) -> None:
    """Early ones ask for it; the judge stands for a verifier that has all."""
    chain = reach(Phase.ELECT)
    for lost in list_round_blobs(chain):
        office.judge.absent = {lost}
        (aggregate,) = office.draft(chain, round=number).aggregate
        assert aggregate.lost == ((lost,) if number >= PATIENT_ROUNDS else ())
    office.judge.absent.clear()
    (aggregate,) = office.draft(chain, round=number).aggregate
    assert aggregate.lost == ()


def test_a_round_of_too_few_lacks_nothing(office: Office) -> None:
    """It ends without a sum, whatever is here."""
    chain = LAB.reach(Phase.PROVE)
    chain = LAB.wait(LAB.extend(chain, [LAB.prove(i, chain) for i in (0, 1)]))
    assert chain.phase is Phase.ELECT
    office.judge.absent = set(list_round_blobs(chain))
    (aggregate,) = office.draft(chain, round=PATIENT_ROUNDS).aggregate
    assert aggregate.lost == ()


def test_a_payload_that_is_gone_again_is_not_put_into_a_draft(office: Office) -> None:
    chain, txs = reach(Phase.MASK), [mask(i) for i in range(2)]
    assert office.hold(chain, *txs) == txs
    office.judge.absent = {txs[0].payload}
    assert office.draft(chain).transactions == (txs[1],)
