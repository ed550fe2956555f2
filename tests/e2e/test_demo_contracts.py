"""The demo's chain before contracts: certified, voted with, paid, and what is refused.

All comes from the folders that the demo leaves, by the commands that anybody has; nothing knows a
key but where a test says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from consensus.disk.block_files import read_chain
from consensus.disk.development import BEACON, GENESIS
from consensus.disk.identity import load_seed
from consensus.finality.certificate import Statement, sign_share
from consensus.finality.ledger import read_ledger
from consensus.finality.proof import make_proof, show_group_key, show_signature
from consensus.learning.beacon import combine
from consensus.learning.chain import apply
from consensus.learning.chain_state import ChainState
from consensus.wire.genesis import Genesis
from kernels.bn254 import P
from tests.support.commands import run
from tests.support.contracts import Artifact, Reverted, World, compile_contracts
from tests.support.demo import Demo
from tests.support.proposals import Proposal, State, Vote, find_address
from tests.support.shown_blocks import Leaf, LedgerProof, read_words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
FAULTY = 1
PER_UNIT = 10**9
HONEST, CHEATS = ("client 1", "client 2", "client 3"), ("client 4", "client 5")
WHY = "pay clients what they have earned"


@dataclass(frozen=True)
class Chain:
    """What a demo leaves of its chain. newest : as `zkpot chain proof` prints it"""

    demo: Demo
    newest: LedgerProof

    @cached_property
    def genesis(self) -> Genesis:
        return Genesis.decode((self.demo.folder / "chain" / GENESIS).read_bytes())

    @cached_property
    def states(self) -> list[ChainState]:
        """After each block of the first validator's disk, from none on."""
        return self.replay(self.demo.homes[0])

    def replay(self, home: Path) -> list[ChainState]:
        chain = read_chain(home, self.genesis)
        states = [chain.start]
        for final in chain:
            states.append(apply(states[-1], final.block))
        return states

    @cached_property
    def older(self) -> LedgerProof:
        """True once: of the end of the first learning round, signed as its validators did."""
        state = next(state for state in self.states if state.learning_round == 1)
        signature = self.sign(Statement.of(state).encode(self.genesis.digest))
        certificate = Statement.of(state).certify(signature)
        ledger = read_ledger(state)
        return LedgerProof.read(make_proof(certificate, ledger, ledger.leaves, self.genesis))

    def sign(self, message: bytes, signers: Sequence[int] = range(FAULTY + 1)) -> bytes:
        """Of so many validators together, by the keys in their folders."""
        secrets = {i: load_seed(self.demo.homes[i], BEACON) for i in signers}
        signature = combine({i: sign_share(secret, message) for i, secret in secrets.items()})
        assert signature is not None
        return signature

    def get_key(self, name: str) -> bytes:
        return bytes.fromhex(self.demo.told["earned"][name]["client_key"])

    def get_leaf(self, name: str) -> Leaf:
        leaf, _ = self.newest.find(self.get_key(name))
        return leaf

    def load_account_key(self, name: str) -> bytes:
        folder = self.demo.folder / "clients" / name.removeprefix("client ")
        return load_seed(folder, "account.key")


class Evm:
    """The contracts of one chain, and a governor with all the tokens there are."""

    def __init__(self, world: World, chain: Chain) -> None:
        self.world = world
        key = read_words(show_group_key(chain.genesis))
        self.finality = world.deploy("ZkpotFinality", key, chain.genesis.digest)
        self.votes = world.deploy("ZkpotVotes", self.finality.address)
        self.governor = world.deploy("ClientGovernor", self.votes.address)
        self.funds = chain.newest.block.total_rewards * PER_UNIT
        self.token = world.deploy("PlainToken", self.funds)
        self.rewards = world.deploy(
            "ZkpotRewards", self.finality.address, self.token.address, PER_UNIT
        )
        world.send(self.token, "transfer", self.governor.address, self.funds)

    def show(self, proof: LedgerProof) -> None:
        self.world.send(self.finality, "submit", *proof.words)

    def prove(self, proof: LedgerProof) -> None:
        """All leaves."""
        self.world.send(self.votes, "prove", [leaf.words for leaf in proof.leaves], proof.ways)

    def claim(self, proof: LedgerProof, client_key: bytes) -> None:
        leaf, way = proof.find(client_key)
        self.world.send(self.rewards, "claim", leaf.words, way)

    def get_balance(self, address: str) -> int:
        (balance,) = self.world.send(self.token, "balanceOf", address)
        return balance

    def get_height(self) -> int:
        return self.world.send(self.finality, "head")[0]


@pytest.fixture(scope="module")
def artifacts(root: Path) -> dict[str, Artifact]:
    return compile_contracts(root)


@pytest.fixture(scope="module")
def chain(
    artifacts: Mapping[str, Artifact], demo: Demo, tmp_path_factory: pytest.TempPathFactory
) -> Chain:
    """Of the last validator's folder, and checked by who has the genesis alone."""
    path = tmp_path_factory.mktemp("proof") / "ledger.json"
    printed = run("chain", "proof", demo.homes[-1], "--out", path)
    assert printed.exit_code == 0, printed.output
    genesis = demo.folder / "chain" / GENESIS
    checked = run("chain", "proof", path, "--verify", "--genesis", genesis)
    assert checked.exit_code == 0, checked.output
    assert f"block {demo.told['height']}," in checked.stdout
    return Chain(demo, LedgerProof.read(json.loads(path.read_text())))


@pytest.fixture
def evm(artifacts: dict[str, Artifact], chain: Chain) -> Evm:
    return Evm(World(artifacts), chain)


@pytest.fixture(scope="module")
def other(root: Path) -> LedgerProof:
    """The newest certificate of another chain, with its leaves."""
    found = json.loads((root / "tests/vectors/ledger_v1.json").read_text())
    return LedgerProof.read(found["blocks"][-1]["proof"])


def assert_holds(evm: Evm, state: ChainState) -> None:
    """The EVM's head and everybody's votes are what the nodes' state has."""
    weights = {client: state.weights.get(client, 0) for client in state.accounts}
    paid = sum(state.rewards.get(client, 0) for client in state.accounts)
    height, learning_round, *_, total_weight, total_rewards, block_hash, root = evm.world.send(
        evm.finality, "head"
    )
    assert (height, learning_round) == (state.height, state.learning_round)
    assert (total_weight, total_rewards) == (sum(weights.values()), paid)
    assert block_hash.to_bytes(32, "big") == state.head
    assert root.to_bytes(32, "big") == read_ledger(state).root
    for client, account in state.accounts.items():
        assert evm.world.send(evm.votes, "getVotes", f"0x{account.hex()}") == [weights[client]]
    evm.world.wait(1)
    past = evm.world.send(evm.votes, "getPastTotalSupply", evm.world.time_s - 1)
    assert past == [sum(weights.values())]


def test_all_nodes_lead_to_what_is_certified(chain: Chain) -> None:
    for home in chain.demo.homes:
        last = chain.replay(home)[-1]
        assert (last.head, last.weights, last.rewards, last.accounts) == (
            chain.states[-1].head,
            chain.states[-1].weights,
            chain.states[-1].rewards,
            chain.states[-1].accounts,
        )
        one = run("chain", "proof", home, "--client", chain.get_key(HONEST[0]).hex())
        assert one.exit_code == 0, one.output
        found = LedgerProof.read(json.loads(one.stdout))
        assert found.words == chain.newest.words
        assert found.leaves == [chain.get_leaf(HONEST[0])]
    for name, earned in chain.demo.told["earned"].items():
        leaf = chain.get_leaf(name)
        assert (leaf.weight, leaf.rewards) == (earned["weight"], earned["rewards"])
        assert leaf.address == earned["account"].lower()
        assert bool(leaf.weight) == bool(leaf.rewards) == (name in HONEST)


def test_accounts_are_bound_by_what_a_wallet_would_sign(chain: Chain) -> None:
    for name in (*HONEST, *CHEATS):
        folder = chain.demo.folder / "clients" / name.removeprefix("client ")
        genesis = chain.demo.folder / "chain" / GENESIS
        printed = run("client", "binding", "--genesis", genesis, "--state", folder)
        assert printed.exit_code == 0, printed.output
        message = json.loads(printed.stdout)["message"]
        assert message["clientKey"] == f"0x{chain.get_key(name).hex()}"
        assert message["genesis"] == f"0x{chain.genesis.digest.hex()}"
        assert find_address(chain.load_account_key(name)) == chain.get_leaf(name).address


def test_the_evm_holds_what_the_nodes_hold(evm: Evm, chain: Chain) -> None:
    """After the first round, and after the last, when votes have grown."""
    for proof in (chain.older, chain.newest):
        evm.show(proof)
        evm.prove(proof)
        assert_holds(evm, chain.states[proof.block.height])
    assert chain.newest.block.height == chain.demo.told["height"]
    assert chain.newest.block.total_weight > chain.older.block.total_weight


def test_clients_decide_to_be_paid_and_are(evm: Evm, chain: Chain) -> None:
    """All tokens are a governor's; its clients vote to fund their rewards, and claim them."""
    evm.show(chain.newest)
    evm.prove(chain.newest)
    leader, second, third = map(chain.get_leaf, HONEST)
    with pytest.raises(Reverted, match="Underfunded"):
        evm.claim(chain.newest, leader.client_key)

    proposal = Proposal(
        evm.world, evm.governor, evm.token, "transfer", evm.rewards.address, evm.funds, why=WHY
    )
    proposal.propose(leader.address)
    assert proposal.vote(leader.address, Vote.FOR) == leader.weight
    secret = chain.load_account_key(HONEST[1])
    signature = proposal.sign_ballot(secret, second.address, Vote.AGAINST)
    with pytest.raises(Reverted, match="GovernorInvalidSignature"):  # of another choice
        proposal.vote_signed(second.address, Vote.FOR, signature)
    signature = proposal.sign_ballot(secret, second.address, Vote.FOR)
    assert proposal.vote_signed(second.address, Vote.FOR, signature) == second.weight
    assert proposal.vote(third.address, Vote.AGAINST) == third.weight
    for name in CHEATS:
        assert proposal.vote(chain.get_leaf(name).address, Vote.AGAINST) == 0
    assert proposal.end() == State.SUCCEEDED
    assert evm.get_balance(evm.rewards.address) == 0
    proposal.execute()
    assert proposal.get_state() == State.EXECUTED
    assert evm.get_balance(evm.rewards.address) == evm.funds

    for leaf in (leader, second, third):
        evm.claim(chain.newest, leaf.client_key)
        earned = chain.states[-1].rewards[leaf.client_key]
        assert evm.get_balance(leaf.address) == earned * PER_UNIT > 0
        with pytest.raises(Reverted, match="NothingDue"):
            evm.claim(chain.newest, leaf.client_key)
    for name in CHEATS:
        with pytest.raises(Reverted, match="NothingDue"):
            evm.claim(chain.newest, chain.get_key(name))
    assert evm.get_balance(evm.rewards.address) == 0


def test_without_proven_work_nothing_passes(evm: Evm, chain: Chain) -> None:
    """Two clients of no weight, and one that proves its leaf only after the snapshot."""
    evm.show(chain.newest)
    proposal = Proposal(
        evm.world, evm.governor, evm.token, "transfer", chain.get_leaf(CHEATS[0]).address, 1, why=""
    )
    proposal.propose()
    evm.prove(chain.newest)
    for name in (*CHEATS, HONEST[0]):
        assert proposal.vote(chain.get_leaf(name).address, Vote.FOR) == 0
    assert proposal.end() == State.DEFEATED
    with pytest.raises(Reverted, match="GovernorUnexpectedProposalState"):
        proposal.execute()


def test_a_stale_certificate_is_refused(evm: Evm, chain: Chain) -> None:
    evm.show(chain.newest)
    height = chain.newest.block.height
    for stale in (chain.older, chain.newest):
        with pytest.raises(Reverted) as caught:
            evm.show(stale)
        assert (caught.value.name, caught.value.words) == ("Stale", [stale.block.height, height])
    assert evm.get_height() == height


def list_forged(chain: Chain, other: LedgerProof) -> dict[str, LedgerProof]:
    """Certificates of which each lacks one thing."""
    newest, block = chain.newest, chain.newest.block
    x, y = newest.signature
    named: dict[str, Any] = {
        "height": block.height + 1,
        "learning_round": block.learning_round + 1,
        "block_hash": other.block.block_hash,
        "ledger_root": other.block.ledger_root,
        "total_weight": block.total_weight + 1,
        "total_rewards": block.total_rewards - 1,
    }
    forged = {
        name: replace(newest, block=replace(block, **{name: value}))
        for name, value in named.items()
    }
    signatures = {
        "negated": [x, P - y],
        "no point": [x, y ^ 1],
        "infinity": [0, 0],
        "of an older block": chain.older.signature,
        "of another chain's validators": other.signature,
        "for another genesis": _sign(chain, block.encode(other.genesis)),
        "of too few": _sign(chain, block.encode(chain.genesis.digest), signers=range(FAULTY)),
    }
    forged |= {name: replace(newest, signature=words) for name, words in signatures.items()}
    return forged | {"another chain's": other}


def _sign(chain: Chain, message: bytes, **options: Any) -> list[int]:
    return read_words(show_signature(chain.sign(message, **options)))


def test_a_forged_certificate_is_refused(evm: Evm, chain: Chain, other: LedgerProof) -> None:
    again = _sign(chain, chain.newest.block.encode(chain.genesis.digest), signers=(1, 3))
    assert again == chain.newest.signature  # the ways to sign that are used below are the nodes'
    for name, forged in list_forged(chain, other).items():
        with pytest.raises(Reverted, match="Forged"):
            evm.show(forged)
        assert evm.get_height() == 0, name
    evm.show(chain.newest)


def test_leaves_of_other_ledgers_are_refused(evm: Evm, chain: Chain, other: LedgerProof) -> None:
    evm.show(chain.newest)
    key = chain.get_key(HONEST[0])
    leaf, way = chain.newest.find(key)
    cheat, cheats_way = chain.newest.find(chain.get_key(CHEATS[0]))
    refused = [
        chain.older.find(key),
        (other.leaves[0], other.ways[0]),
        (replace(leaf, weight=leaf.weight + 1), way),
        (replace(leaf, rewards=leaf.rewards + 1), way),
        (replace(leaf, account=cheat.account), way),
        (replace(cheat, weight=leaf.weight, rewards=leaf.rewards), cheats_way),
        (leaf, cheats_way),
        (leaf, []),
    ]
    for false, its_way in refused:
        with pytest.raises(Reverted, match="NotInLedger"):
            evm.world.send(evm.votes, "prove", [false.words], [its_way])
        with pytest.raises(Reverted, match="NotInLedger"):
            evm.world.send(evm.rewards, "claim", false.words, its_way)
    assert evm.world.send(evm.votes, "getVotes", leaf.address) == [0]
    evm.prove(chain.newest)
    assert evm.world.send(evm.votes, "getVotes", leaf.address) == [leaf.weight]
