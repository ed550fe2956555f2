"""`zkpot chain` and what `zkpot node` refuses, with a small chain of real proofs."""

from __future__ import annotations

import json
import shutil
import stat
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.console.chain_report import report_chain
from consensus.content.blobs import FileBlobs
from consensus.disk.block_files import BLOCKS, read_chain
from consensus.disk.development import ADMISSION, BEACON, BLOBS, GENESIS, load_identity, node_home
from consensus.disk.identity import KEY_FILE, create_key, get_public_key, load_key
from consensus.disk.ledger import VOTES, Ledger
from consensus.disk.place import PLACE_FILE, Place, SignedPlace
from consensus.disk.retention import KEEP_BLOCKS
from consensus.disk.snapshots import SPAN, load_snapshot
from consensus.disk.task_keys import check_task_keys, load_norm_key
from consensus.errors import IdentityError
from consensus.learning.chain import apply, start
from consensus.learning.chain_state import ChainState, Phase
from consensus.learning.samples import SamplePool
from consensus.wire.genesis import Genesis
from consensus.wire.messages import Block, FinalBlock, Vote
from consensus.wire.transactions import Proof
from prover.model.update import UpdateBounds
from tests.support.certificates import certify
from tests.support.commands import run
from tests.support.learning import ProvenLab, ed25519, proven_lab

N_SAMPLES = 256  # the least of a genesis


@pytest.fixture(autouse=True)
def _packaged_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No fetched data, whatever this machine has."""
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "no-data"))


def succeed(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refuse(words: str, *arguments: object) -> None:
    """Exit code 1 and the reason, no traceback."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output


# -- init ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key of the smallest network that reads MNIST."""
    folder = tmp_path_factory.mktemp("setup") / "key"
    succeed("setup", "mlp-784-10", "--samples", N_SAMPLES, "--out", folder)
    return folder


def init(folder: Path, key: Path, *options: object, n_pool: int = 300) -> list[object]:
    dataset = f"mnist:test[0:{n_pool}]"
    return ["chain", "init", folder, "--key", key, "--dataset", dataset, *options]


def test_a_chain_is_made_with_all_its_keys(key: Path, tmp_path: Path) -> None:
    folder = tmp_path / "chain"
    shown = succeed(*init(folder, key, "--clients", 3, "--chain-id", "lab", "--margin", 2))
    genesis = Genesis.decode((folder / GENESIS).read_bytes())
    assert genesis.digest.hex()[:16] in shown
    assert (genesis.chain_id, genesis.n_validators, genesis.task.n_expected) == (b"lab", 4, 3)
    assert (genesis.task.margin, genesis.task.n_samples) == (2, N_SAMPLES)

    identities = [load_identity(node_home(folder, i), genesis) for i in range(4)]
    assert [one.index for one in identities] == [0, 1, 2, 3]
    assert len({one.beacon_secret for one in identities}) == 4
    assert get_public_key(load_key(folder, ADMISSION)) == genesis.admission_key

    blobs, task = FileBlobs(folder / BLOBS), genesis.task
    assert len(SamplePool.parse(blobs.get(task.pools[0])).labels) == 300
    assert blobs.get(task.verifying_key_digest)


def test_a_margin_may_be_negative(key: Path, tmp_path: Path) -> None:
    succeed(*init(tmp_path / "chain", key, "--margin", -3))
    assert Genesis.decode((tmp_path / "chain" / GENESIS).read_bytes()).task.margin == -3


def test_a_chain_may_bound_updates(key: Path, tmp_path: Path) -> None:
    folder, norm_key = tmp_path / "chain", tmp_path / "norm"
    succeed("setup", "mlp-784-10", "--norm", "8,2000,50000", "--out", norm_key)
    succeed(*init(folder, key, "--norm-key", norm_key))
    task = Genesis.decode((folder / GENESIS).read_bytes()).task
    assert task.norm is not None
    assert task.norm.bounds == UpdateBounds(weight=8, bias=2000, squares=50_000)
    check_task_keys(task, FileBlobs(folder / BLOBS))
    assert load_norm_key(task, FileBlobs(folder / BLOBS)).digest in task.key_digests

    refuse("no card of version 3 with bounds", *init(tmp_path / "a", key, "--norm-key", key))
    succeed("setup", "mlp-6-3", "--norm", "8,2000,50000", "--out", tmp_path / "small")
    refuse("another architecture", *init(tmp_path / "b", key, "--norm-key", tmp_path / "small"))


def test_keys_are_their_owners_alone(key: Path, tmp_path: Path) -> None:
    folder = tmp_path / "chain"
    succeed(*init(folder, key))
    for place, names in (
        (folder, [ADMISSION]),
        (node_home(folder, 3), [KEY_FILE, BEACON, PLACE_FILE]),
    ):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        for name in names:
            assert stat.S_IMODE((place / name).stat().st_mode) == 0o600


def test_a_chain_is_never_made_over_another(key: Path, tmp_path: Path) -> None:
    folder = tmp_path / "chain"
    succeed(*init(folder, key))
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    refuse("there is a key already", *init(folder, key))
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert after == before


@pytest.mark.parametrize(
    ("options", "n_pool", "why"),
    [
        (["--validators", 5], 300, "validators are not 3f + 1"),
        (["--threshold", N_SAMPLES + 1], 300, "task.threshold is not"),
        (["--chain-id", "two words"], 300, "chain_id is not"),
        ([], N_SAMPLES - 1, "255 samples, the task draws 256"),
    ],
)
def test_what_cannot_be_a_chain_leaves_no_keys(
    options: list[object], n_pool: int, why: str, key: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "chain"
    refuse(why, *init(folder, key, *options, n_pool=n_pool))
    assert not list(folder.rglob("*.key"))
    succeed(*init(folder, key))


def test_a_key_for_too_few_samples_is_refused(tmp_path: Path) -> None:
    """The count of few samples would tell about single ones."""
    succeed("setup", "mlp-784-10", "--samples", 16, "--out", tmp_path / "key")
    refuse("task.n_samples", *init(tmp_path / "chain", tmp_path / "key"))


# -- verify and show -------------------------------------------------------------------------------


def list_states(lab: ProvenLab) -> list[tuple[ChainState, Block]]:
    """The blocks of one learning round, each with the state before it."""
    state, found = start(lab.genesis), []
    while state.learning_round == 0:
        found.append((state, lab.block(state, lab.list_due(state))))
        state = apply(state, found[-1][1])
    return found


def write_chain(
    folder: Path, finals: list[FinalBlock], *, span: int = SPAN, keep_blocks: int = KEEP_BLOCKS
) -> Path:
    """A node's folder with these blocks, genesis and blobs beside it. Returns the node's folder."""
    lab, home = proven_lab(), folder / "node-0"
    ledger = Ledger(home, lab.genesis, span=span, keep_blocks=keep_blocks)
    for final in finals:
        ledger.append(final)
    ledger.close()
    (folder / GENESIS).write_bytes(lab.genesis.encode())
    blobs = FileBlobs(folder / BLOBS)
    for raw in lab.blobs._blobs.values():
        blobs.put(raw)
    return home


@pytest.fixture(scope="module")
def finals() -> list[FinalBlock]:
    lab = proven_lab()
    return [certify(lab, block) for _, block in list_states(lab)]


@pytest.fixture
def home(tmp_path: Path, finals: list[FinalBlock]) -> Path:
    return write_chain(tmp_path / "chain", finals)


def test_an_honest_chain_is_valid(home: Path, finals: list[FinalBlock]) -> None:
    shown = succeed("chain", "verify", home)
    found: dict[str, Any] = json.loads(succeed("chain", "verify", home, "--json"))
    assert found == {
        "genesis": proven_lab().genesis.digest.hex(),
        "first": 1,
        "height": len(finals),
        "head": finals[-1].block.hash.hex(),
        "phase": Phase.COMMIT.value,
        "final_ms": finals[-1].certificate.time_ms,
        "age_s": found["age_s"],
        "sums_not_added_up": 0,
        "trainings_not_checked": 0,
    }
    assert found["age_s"] == pytest.approx(time.time() - found["final_ms"] / 1000, abs=60)
    when = datetime.fromtimestamp(found["final_ms"] / 1000, UTC)
    assert f"{when:%Y-%m-%d %H:%M:%S} UTC" in shown
    assert f"valid: {len(finals)} blocks" in shown
    assert all(str(found[name]) in shown for name in ("genesis", "height", "head"))
    assert shown.count("not compared") == 3, "a part of a chain, or another's, is valid as well"


def test_what_is_here_no_more_is_told(home: Path) -> None:
    chain = read_chain(home, proven_lab().genesis)
    told = json.loads(succeed("chain", "verify", home, "--json"))
    assert "again" not in report_chain(chain, told, ())
    shown = report_chain(chain, told | {"sums_not_added_up": 2, "trainings_not_checked": 5}, ())
    assert "sums of 2 learning rounds were not added up again" in shown
    assert "the training behind 5 proofs was not checked again" in shown


def test_a_chain_is_what_was_asked_for(home: Path, finals: list[FinalBlock]) -> None:
    """A part of it is not, nor none of it, nor the chain of a genesis that lies beside it."""
    genesis, head = proven_lab().genesis.digest.hex(), finals[-1].block.hash.hex()
    asked = ["--genesis-digest", genesis, "--head", head, "--min-height", len(finals)]
    assert "not compared" not in succeed("chain", "verify", home, *asked)
    other = "ab" * 32
    for i, word in ((1, "the genesis is"), (3, "the last block is")):
        refuse(word, "chain", "verify", home, *asked[:i], other, *asked[i + 1 :])
    refuse("blocks are missing", "chain", "verify", home, "--min-height", len(finals) + 1)
    assert run("chain", "verify", home, "--head", "ab").exit_code == 2

    part = write_chain(home.parent.parent / "part", finals[:4])
    assert "valid: 4 blocks" in succeed("chain", "verify", part, "--genesis-digest", genesis)
    refuse(finals[3].block.hash.hex(), "chain", "verify", part, *asked[:4])
    refuse("height 4", "chain", "verify", part, "--min-height", len(finals))


def test_a_pruned_chain_is_valid_from_its_snapshot(
    tmp_path: Path, finals: list[FinalBlock]
) -> None:
    """And says so; the same for what a snapshot's file began."""
    home = write_chain(tmp_path / "chain", finals, span=2, keep_blocks=1)
    shown = succeed("chain", "verify", home)
    assert "valid: 3 blocks" in shown
    assert f"blocks 1 to {len(finals) - 3} are not here" in shown
    told = json.loads(succeed("chain", "verify", home, "--json"))
    assert (told["first"], told["height"]) == (len(finals) - 2, len(finals))
    assert len(succeed("chain", "show", home).splitlines()) == 3

    file, genesis = tmp_path / "state.zks", proven_lab().genesis
    assert genesis.digest.hex() in succeed("chain", "snapshot", home, "--out", file)
    fresh = tmp_path / "chain" / "node-1"
    ledger = Ledger(fresh, genesis, snapshot=load_snapshot(file, genesis))
    ledger.close()
    assert "valid: 1 blocks" in succeed("chain", "verify", fresh)
    identify(home)
    file.write_bytes(file.read_bytes()[:-1])
    refuse("snapshot: ", "node", home, "--snapshot", file)


def test_a_short_chain_has_no_snapshot(home: Path, tmp_path: Path) -> None:
    refuse("no snapshot is there", "chain", "snapshot", home, "--out", tmp_path / "state.zks")


def test_no_block_is_no_valid_chain(tmp_path: Path) -> None:
    home = write_chain(tmp_path / "chain", [])
    refuse("nothing can be verified", "chain", "verify", home)
    assert json.loads(run("chain", "verify", home, "--json").stdout)["refused"] == "no_blocks"


def test_a_copy_of_the_block_file_is_enough(home: Path, tmp_path: Path) -> None:
    """With what the genesis names."""
    copy = tmp_path / "elsewhere" / "copy"
    copy.parent.mkdir()
    shutil.copy(home / BLOCKS, copy)
    chain = home.parent
    options = ["--genesis", chain / GENESIS, "--blobs", chain / BLOBS]
    assert "valid" in succeed("chain", "verify", copy, *options)
    assert "valid" in succeed("chain", "verify", home / BLOCKS)
    refuse("genesis.json", "chain", "verify", copy)


def test_a_record_that_is_being_written_is_not_yet_there(
    home: Path, finals: list[FinalBlock]
) -> None:
    path = home / BLOCKS
    path.write_bytes(path.read_bytes()[:-1])
    before = path.read_bytes()
    assert f"valid: {len(finals) - 1} blocks" in succeed("chain", "verify", home)
    assert path.read_bytes() == before


def test_a_forged_proof_in_a_certified_block_is_found(tmp_path: Path) -> None:
    """2f + 1 validators that lie make a certificate, and no proof."""
    lab = proven_lab()
    states = list_states(lab)
    at = next(i for i, (state, _) in enumerate(states) if state.phase is Phase.PROVE)
    state, block = states[at]
    first = block.transactions[0]
    assert isinstance(first, Proof)
    raw = bytearray(first.envelope)
    raw[-40] ^= 1
    forged = lab.sign(replace(first, envelope=bytes(raw)), lab.clients[0])
    lie = replace(block, transactions=(forged, *block.transactions[1:]))
    honest = [certify(lab, b) for _, b in states[:at]]
    home = write_chain(tmp_path / "chain", [*honest, certify(lab, lie)])
    refuse(f"block {state.height + 1}: ", "chain", "verify", home)
    result = run("chain", "verify", home, "--json")
    assert json.loads(result.stdout)["refused"] == "bad_block"


def test_too_few_votes_are_no_certificate(tmp_path: Path, finals: list[FinalBlock]) -> None:
    lab = proven_lab()
    home = write_chain(
        tmp_path / "chain", [finals[0], certify(lab, finals[1].block, signers=(0, 1))]
    )
    for command in ("verify", "show"):
        refuse("block 2: 2 precommits are no quorum", "chain", command, home)


def test_a_chain_of_another_genesis_is_refused(home: Path) -> None:
    other = replace(proven_lab().genesis, chain_id=b"other-chain")
    (home.parent / GENESIS).write_bytes(other.encode())
    for command in ("verify", "show"):
        refuse("block 1 is of the chain with genesis", "chain", command, home)
    identify(home, other)
    refuse("name the genesis that this folder was made with", "node", home)


def test_files_that_are_none_are_refused(home: Path, tmp_path: Path) -> None:
    blocks, genesis = home / BLOCKS, home.parent / GENESIS
    whole = blocks.read_bytes()
    blocks.write_bytes(whole[:20] + bytes((whole[20] ^ 1,)) + whole[21:])
    refuse("damaged", "chain", "verify", home)
    genesis.write_bytes(b"{}")
    refuse("genesis", "chain", "show", home)
    assert run("chain", "verify", tmp_path / "nowhere").exit_code == 2


def test_a_missing_blob_is_named(home: Path) -> None:
    digest = proven_lab().task.verifying_key_digest.hex()
    (home.parent / BLOBS / digest[:2] / digest).unlink()
    refuse(digest[:8], "chain", "verify", home)


def test_blocks_are_shown_in_a_line_each(home: Path, finals: list[FinalBlock]) -> None:
    lines = succeed("chain", "show", home).splitlines()
    assert len(lines) == len(finals)
    assert all(f.block.hash.hex()[:16] in line for f, line in zip(finals, lines, strict=True))
    assert "3 register" in lines[0]
    assert any("3 proof" in line for line in lines)
    assert proven_lab().client(0).hex()[:8] in lines[-1], "the leader"
    blocks = json.loads(succeed("chain", "show", home, "--json"))["blocks"]
    assert [b["height"] for b in blocks] == list(range(1, len(finals) + 1))


# -- node ------------------------------------------------------------------------------------------


def identify(home: Path, genesis: Genesis | None = None) -> None:
    """All that makes a folder validator 0's."""
    made = genesis or proven_lab().genesis
    create_key(home, ed25519(100).private_bytes_raw())
    create_key(home, bytes(32), BEACON)
    SignedPlace.create(home, made.digest, made.validators[0].key)


def test_a_node_without_its_keys_does_not_start(home: Path) -> None:
    refuse("validator.key", "node", home)


def test_a_node_of_another_chain_does_not_start(home: Path) -> None:
    create_key(home, b"\x01" * 32)
    refuse("is no validator's of this genesis", "node", home)


def test_a_key_that_others_may_read_is_not_used(home: Path) -> None:
    create_key(home, ed25519(100).private_bytes_raw())
    (home / KEY_FILE).chmod(0o644)
    refuse("open to other users", "node", home)


def test_a_validator_needs_its_share_of_the_beacon(home: Path) -> None:
    create_key(home, ed25519(100).private_bytes_raw())
    refuse(BEACON, "node", home)
    with pytest.raises(IdentityError):
        load_identity(home, proven_lab().genesis)


def test_a_folder_in_use_is_not_used_twice(home: Path) -> None:
    """Two processes with one key would sign different votes."""
    identify(home)
    ledger = Ledger(home, proven_lab().genesis)
    refuse("another node uses this folder", "node", home)
    ledger.close()


def test_a_damaged_ledger_stops_the_node_before_it_votes(home: Path) -> None:
    identify(home)
    (home / BLOCKS).write_bytes(bytes(range(1, 200)))
    refuse("damaged", "node", home)


def test_a_validator_that_lost_its_place_sits_out_what_it_may_have_signed(home: Path) -> None:
    """Nothing but the operator's word can say up to where."""
    genesis = proven_lab().genesis
    identify(home)
    (home / PLACE_FILE).unlink()
    refuse("abstain --through HEIGHT", "node", home)
    refuse("abstain --through HEIGHT", "chain", "abstain", home)
    assert "up to height 41" in succeed("chain", "abstain", home, "--through", 41)
    place = SignedPlace.load(home, genesis.digest, genesis.validators[0].key)
    assert place.place == Place.end_of(41)
    assert "up to height 41" in succeed("chain", "abstain", home, "--through", 7), "never back"
    ledger = Ledger(home, genesis)
    refuse("another node uses this folder", "chain", "abstain", home)
    ledger.close()


def test_a_validator_without_its_votes_does_not_start(home: Path) -> None:
    """What it signed is known, what it is locked on is not: it sits that height out."""
    genesis = proven_lab().genesis
    identify(home)
    place = SignedPlace.load(home, genesis.digest, genesis.validators[0].key)
    vote = Vote(step=2, height=12, round=3, block_hash=bytes(32), validator=0)
    place.advance(vote)
    refuse("signed at height 12, and the votes are not here", "node", home)
    (home / VOTES).write_bytes(b"damaged\x00" * 9)
    refuse("chain abstain", "node", home)
    assert "up to height 12" in succeed("chain", "abstain", home)
    assert not (home / VOTES).exists()
