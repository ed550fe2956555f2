"""`zkpot ceremony`, and keys of ceremonies where one can be asked for."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from consensus.disk.task_keys import check_task_keys, load_task_key
from consensus.errors import BlobUnavailable
from kernels.backend import get_backend
from kernels.files import write_whole
from prover.ceremony.beacon_limit import DEFAULT_EXPONENT_LIMIT
from prover.ceremony.own.finish import make_verifying, read_transcript
from prover.ceremony.own.record import Change, Transcript
from prover.ceremony.own.shares import apply, prove
from prover.errors import KeyMismatch
from prover.keys.folder import (
    PROVING_NAME,
    TRANSCRIPT_NAME,
    VERIFYING_NAME,
    load_verifying_key,
)
from prover.model.layers import Requant
from prover.model.network import Architecture
from prover.model.zkq import encode_model
from tests.support.commands import refuse, run, succeed
from tests.support.known_powers import write_powers
from tests.support.learning import make_task
from tests.support.memory_blobs import MemoryBlobs
from tests.support.models import random_model
from tests.support.own_ceremonies import SHARES
from tests.support.tiny_circuits import seeded

ARCHITECTURE = Architecture.mlp([784, 4, 10], requant=Requant(shift=14, q_bits=10))
SAMPLES = "mnist:test[0:8]"
LG_N = 13


@pytest.fixture(autouse=True)
def _packaged_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No fetched data, whatever this machine has."""
    monkeypatch.setenv("ZKPOT_DATA_DIR", str(tmp_path / "no-data"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Powers, a model, a ceremony of two, and the key that it ended in."""
    folder = tmp_path_factory.mktemp("ceremony")
    write_powers(folder / "powers.ptau", LG_N + 1, LG_N)
    model = random_model(ARCHITECTURE, np.random.default_rng(4))
    write_whole(folder / "model.zkq", [encode_model(model)])
    powers, begun = ["--ptau", folder / "powers.ptau"], folder / "begun"
    circuit = [folder / "model.zkq", "--samples", 8]
    found = succeed("ceremony", "new", *circuit, *powers, "--out", begun)
    assert found["domain"] == 1 << LG_N
    places = found["places"]
    for name in ("alice", "bob"):
        after = succeed("ceremony", "contribute", begun, "--name", name)
        assert after["places"][:-1] == places
        places = after["places"]
    assert sorted(path.name for path in begun.iterdir()) == [
        "ceremony.transcript",
        "circuit.json",
        "first.key",
        "state-2.key",
    ]
    found = succeed("ceremony", "finish", begun, "--beacon", "0a0b", "--out", folder / "key")
    assert found["places"][:-1] == places
    assert [one["name"] for one in found["contributions"]] == ["alice", "bob", "beacon"]
    return folder


def test_everybody_verifies_a_ceremony_and_its_key(desk: Path) -> None:
    powers = ["--ptau", desk / "powers.ptau", "--no-powers"]
    begun = succeed("ceremony", "verify", desk / "begun")
    assert begun["verdict"] == "valid"
    assert begun["key_digest"] is None
    for place in begun["places"]:
        succeed("ceremony", "verify", desk / "key", "--place", place)
    reason = refuse("ceremony_invalid", "ceremony", "verify", desk / "key", "--place", "00" * 32)
    assert "place that was asked for" in reason
    key = succeed("ceremony", "verify", desk / "key", *powers)
    assert key["not_verified"] == ["who contributed to the powers of tau"]
    assert len(succeed("ceremony", "verify", desk / "key")["not_verified"]) == 2
    reason = refuse("ceremony_invalid", "ceremony", "verify", desk / "key", *powers[:2])
    assert "nobody contributed to the powers of tau" in reason


def test_other_powers_and_another_circuit_are_refused(desk: Path, tmp_path: Path) -> None:
    """What the head says of a first key that is not the circuit's shows when it is made again."""
    key = tmp_path / "key"
    shutil.copytree(desk / "key", key)
    transcript = read_transcript(key / TRANSCRIPT_NAME)
    card_digest = load_verifying_key(key).card_digest
    lie = replace(transcript, head=replace(transcript.head, alpha=transcript.head.public[:1]))
    write_whole(key / TRANSCRIPT_NAME, [lie.encode()])
    refuse("ceremony_invalid", "ceremony", "verify", key)
    write_whole(key / VERIFYING_NAME, [make_verifying(lie, card_digest).encode()])
    reason = refuse("ceremony_invalid", "ceremony", "verify", key)
    assert "contribution 1" in reason  # a head is under every proof


def test_a_proof_under_a_key_of_a_ceremony(desk: Path, tmp_path: Path) -> None:
    model, commitment = desk / "model.zkq", tmp_path / "model.commit"
    succeed("commit", model, "--out", commitment)
    key = ["--key", desk / "key", "--require-ceremony"]
    samples, proof = ["--dataset", SAMPLES], tmp_path / "proof.zkp"
    succeed("prove", model, *key, "--commitment", commitment, *samples, "--out", proof)
    found = succeed("verify", proof, *key, *samples)
    assert "forgot its shares" in found["not_proven"][-1]
    bare = tmp_path / "bare"
    shutil.copytree(desk / "key", bare)
    (bare / "ceremony.transcript").unlink()
    succeed("verify", proof, "--key", bare, *samples)
    refuse("bad_format", "verify", proof, "--key", bare, "--require-ceremony", *samples)


def test_what_proofs_take_is_told_of_the_points_that_the_key_has(desk: Path) -> None:
    """One power of two, also where a key by one party has fewer."""
    rows = succeed("inspect", desk / "key")
    assert rows["domain"] == 1 << (rows["rows"] - 1).bit_length()
    key = rows["plan"]
    assert (key["domain"], key["key_bytes"], key["verifying_key_bytes"]) == (
        rows["domain"],
        *((desk / "key" / name).stat().st_size for name in (PROVING_NAME, VERIFYING_NAME)),
    )


def test_a_key_that_no_beacon_closes_is_taken_by_its_digest_alone(
    desk: Path, tmp_path: Path
) -> None:
    """The commands end none so; alice and bob may by hand, and whoever knows their key takes it."""
    key, commitment = tmp_path / "key", tmp_path / "model.commit"
    shutil.copytree(desk / "key", key)
    transcript = read_transcript(desk / "begun" / TRANSCRIPT_NAME)
    verifying = make_verifying(transcript, load_verifying_key(key).card_digest)
    write_whole(key / TRANSCRIPT_NAME, [transcript.encode()])
    write_whole(key / VERIFYING_NAME, [verifying.encode()])
    succeed("commit", desk / "model.zkq", "--out", commitment)
    proof = tmp_path / "proof.zkp"
    proof.write_bytes(b"any")
    samples = ["--key", key, "--dataset", SAMPLES]
    verify = ["verify", proof, *samples, "--require-ceremony"]
    prove = ["prove", desk / "model.zkq", *samples, "--commitment", commitment]
    prove = [*prove, "--out", tmp_path / "new.zkp", "--require-ceremony"]
    init = ["chain", "init", tmp_path / "chain", *samples, "--require-ceremony"]
    known = ["--key-digest", verifying.digest.hex()]
    for command, behind in (
        (verify, "refused (malformed)"),
        (prove, "refused (key_mismatch)"),  # its proving half is still the one with a beacon
        (init, "n_samples"),
    ):
        found = run(*command)
        assert "refused (ceremony_invalid): no beacon closes" in found.stderr
        found = run(*command, *known)
        assert "ceremony" not in found.stderr
        assert behind in found.output
    refuse("key_mismatch", *verify, "--key-digest", "00" * 32)


def test_a_chain_of_a_key_of_a_ceremony(desk: Path, tmp_path: Path) -> None:
    """Its genesis names the transcript, and a node refuses a key that did not come from it."""
    blobs, key = MemoryBlobs(), load_verifying_key(desk / "key")
    transcript = (desk / "key" / TRANSCRIPT_NAME).read_bytes()
    alone = replace(key, ceremony_digest=bytes(32))
    task = make_task(
        architecture=ARCHITECTURE,
        n_samples=8,
        circuit_digest=key.circuit_digest,
        verifying_key_digest=blobs.put(key.encode()),
        ceremonies=(key.ceremony_digest,),
    )
    with pytest.raises(BlobUnavailable):
        load_task_key(task, blobs)  # a key whose transcript is not there is not used
    assert blobs.put(transcript) == key.ceremony_digest
    assert load_task_key(task, blobs).digest == key.digest
    other = replace(task, verifying_key_digest=blobs.put(alone.encode()))
    check_task_keys(replace(other, ceremonies=()), blobs)
    with pytest.raises(KeyMismatch, match="of another ceremony, or of none"):
        check_task_keys(other, blobs)


def test_a_chain_that_asks_for_ceremonies_takes_no_other_key(desk: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    shutil.copytree(desk / "key", key)
    init = ["chain", "init", tmp_path / "chain", "--key", key, "--dataset", "mnist:test[0:1024]"]
    few = run(*init, "--require-ceremony")
    assert "n_samples" in few.output  # 8 of them: refused behind the key, which was taken
    (key / TRANSCRIPT_NAME).write_bytes(b"")
    other = run(*init, "--require-ceremony")
    assert "refused (ceremony_invalid)" in other.stderr


def test_a_setup_of_one_party_is_refused(desk: Path, tmp_path: Path) -> None:
    key = tmp_path / "alone"
    succeed("setup", desk / "model.zkq", "--samples", 8, "--out", key)
    reason = refuse("ceremony_invalid", "ceremony", "verify", key)
    assert "one party's setup" in reason


def test_an_interrupted_contribution_leaves_a_ceremony_that_holds(
    desk: Path, tmp_path: Path
) -> None:
    """A state without a transcript that names it is no matter; one that is altered is refused."""
    begun = tmp_path / "begun"
    shutil.copytree(desk / "begun", begun)
    (begun / "state-3.key").write_bytes(b"half of it")
    succeed("ceremony", "contribute", begun, "--name", "carol")
    state = begun / "state-3.key"
    raw = bytearray(state.read_bytes())
    raw[5000] ^= 1
    state.write_bytes(raw)
    refuse("bad_format", "ceremony", "contribute", begun)
    refuse("bad_format", "ceremony", "verify", begun)


# -- what contributors return ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def returned(desk: Path) -> Path:
    """What carol and dave made of the ceremony; circuit and first key in it are a stranger's."""
    folder = desk / "returned"
    shutil.copytree(desk / "begun", folder)
    for name in ("carol", "dave"):
        succeed("ceremony", "contribute", folder, "--name", name)
    for name in ("first.key", "circuit.json"):
        (folder / name).write_bytes(b"a stranger's")
    return folder


@pytest.fixture
def own(desk: Path, tmp_path: Path) -> Path:
    """The ceremony of who collects contributions."""
    shutil.copytree(desk / "begun", tmp_path / "own")
    return tmp_path / "own"


def list_contents(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def contribute_alone(before: Transcript) -> Transcript:
    """With a contribution whose proof holds, and whose state is that of the one before."""
    backend = get_backend("cpu")
    after = apply(SHARES, before.anchors, backend)
    change = Change(
        name=b"mallory",
        beacon=b"",
        exponent=0,
        delta=after.delta,
        delta_a=after.delta_a,
        links=after.links,
        state=before.state,
    )
    return before.behind(prove(SHARES, before.anchors, change, before.place, seeded(8), backend))


def test_what_is_returned_is_verified_and_taken(own: Path, returned: Path) -> None:
    kept, places = list_contents(own), read_transcript(returned / TRANSCRIPT_NAME).list_places()
    told = [place.hex() for place in places]
    found = succeed("ceremony", "accept", returned, "--into", own, "--place", told[3])
    assert (found["accepted"], found["places"]) == (2, told)
    assert [one["name"] for one in found["contributions"]] == ["alice", "bob", "carol", "dave"]
    after = list_contents(own)
    assert after == {
        **{name: kept[name] for name in ("first.key", "circuit.json")},
        **{name: list_contents(returned)[name] for name in (TRANSCRIPT_NAME, "state-4.key")},
    }
    assert succeed("ceremony", "verify", own)["places"] == told
    refuse("ceremony_invalid", "ceremony", "accept", returned, "--into", own)  # nothing is new
    assert list_contents(own) == after


def test_what_does_not_go_on_from_here_is_refused(
    desk: Path, own: Path, returned: Path, tmp_path: Path
) -> None:
    """Another place, a beacon, contributions behind another place, an older ceremony, another."""
    kept, other = list_contents(own), tmp_path / "other"

    def refuse_of(folder: Path, why: str, *more: object) -> None:
        accept = ["ceremony", "accept", folder, "--into", own]
        assert why in refuse("ceremony_invalid", *accept, *more)
        assert list_contents(own) == kept

    refuse_of(returned, "place that was asked for", "--place", "00" * 32)
    refuse_of(desk / "key", "of a beacon")
    refuse_of(desk / "begun", "no contribution that is not here")
    shutil.copytree(returned, other)
    said = read_transcript(other / TRANSCRIPT_NAME)
    alice, bob, *added = said.contributions
    head = replace(said.head, alpha=said.head.public[:1])
    for told in (
        replace(said, contributions=(alice, *added)),
        replace(said, contributions=(bob, alice, *added)),
        replace(said, contributions=(alice,)),
        replace(said, head=head),
    ):
        (other / TRANSCRIPT_NAME).write_bytes(told.encode())
        refuse_of(other, "does not go on from the last place here")
    skipped = replace(said, contributions=(alice, bob, added[1]))
    (other / TRANSCRIPT_NAME).write_bytes(skipped.encode())
    refuse_of(other, "does not prove, at this place")


def test_a_state_that_is_returned_altered_leaves_nothing(
    own: Path, returned: Path, tmp_path: Path
) -> None:
    """Altered, cut, longer than its ceremony's, a hole, not there; and one that the transcript
    names, but no shares lead to."""
    back, kept = tmp_path / "back", list_contents(own)
    shutil.copytree(returned, back)
    state, raw = back / "state-4.key", (back / "state-4.key").read_bytes()
    accept = ["ceremony", "accept", back, "--into", own]
    altered = raw[:5000] + bytes([raw[5000] ^ 1]) + raw[5001:]
    for wrong in (altered, raw[:-4096], raw + bytes(1)):
        state.write_bytes(wrong)
        refuse("bad_format", *accept)
    os.truncate(state, 1 << 40)
    refuse("bad_format", *accept)
    state.unlink()
    refuse("bad_format", *accept)
    state.write_bytes((own / "state-2.key").read_bytes())
    before, after = (read_transcript(folder / TRANSCRIPT_NAME) for folder in (own, back))
    state.rename(back / "state-3.key")
    (back / TRANSCRIPT_NAME).write_bytes(contribute_alone(before).encode())
    assert "is not the first key's under these shares" in refuse("ceremony_invalid", *accept)
    assert list_contents(own) == kept
    (back / TRANSCRIPT_NAME).write_bytes(after.encode())
    state.write_bytes(raw)
    (own / "state-4.key").symlink_to(tmp_path / "precious")
    assert "is a link" in refuse("bad_format", *accept)


def test_links_in_a_folder_lead_a_contribution_nowhere(desk: Path, tmp_path: Path) -> None:
    """A folder comes from strangers: in the place of a state to be written is a link to a file of
    the contributor's own, or in that of the transcript."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"kept")
    for name in ("state-3.key", "ceremony.transcript"):
        begun = tmp_path / name
        shutil.copytree(desk / "begun", begun)
        if name == TRANSCRIPT_NAME:
            (begun / name).rename(precious)
        raw = precious.read_bytes()
        (begun / name).symlink_to(precious)
        assert "is a link" in refuse("bad_format", "ceremony", "contribute", begun)
        assert precious.read_bytes() == raw


def test_a_beacon_is_one_that_everybody_repeats(desk: Path, tmp_path: Path) -> None:
    """More hashes than nodes and `--require-ceremony` take would end a ceremony in no key."""
    finish = ["ceremony", "finish", desk / "begun", "--beacon", "0a", "--out", tmp_path / "key"]
    assert run(*finish, "--iterations", DEFAULT_EXPONENT_LIMIT + 1).exit_code == 2
    assert not (tmp_path / "key").exists()


def test_circuits_that_tasks_share_are_listed() -> None:
    listed = succeed("keys", "list")["circuits"]
    circuits = {(c["circuit"], c["architecture"], c["samples"]): c for c in listed}
    one = circuits["accuracy", "mlp-784-128-10", 1024]
    assert (one["rows"], one["power"]) == (594_906, 21)
    assert circuits["accuracy", "vgg11", 1024]["rows"] is None
    step, export = (circuits[x, "mlp-784-128-10", 64] for x in ("step", "export"))
    assert [(one["rows"], one["power"]) for one in (step, export)] == [(618_342, 21), (269_471, 20)]
