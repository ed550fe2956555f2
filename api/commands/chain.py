"""`zkpot chain`: make a development chain, verify one, show one, care for a node's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console.ceremony.required import (
    RequireCeremony,
    require_ceremonies_of,
    require_ceremony_of,
)
from api.console.options import KeyDigest, KeyFolder, SamplesRef
from api.console.output import AsJson, emit_json, refuse, refuse_error
from api.console.task_parts import Mode

if TYPE_CHECKING:
    from api.http.chain.schemas import BlockView
    from consensus.disk.block_files import StoredChain
    from consensus.wire.genesis import Genesis

NewFolder = Annotated[Path, typer.Argument(help="Folder to make.")]
Home = Annotated[
    Path, typer.Argument(exists=True, help="Folder of a node, or a copy of its blocks.log.")
]
NodeFolder = Annotated[
    Path, typer.Argument(exists=True, file_okay=False, help="Folder of `zkpot chain init`, node-I.")
]
GenesisFile = Annotated[
    Path | None, typer.Option("--genesis", dir_okay=False, help="Default: beside the folder.")
]
BlobFolder = Annotated[
    Path | None, typer.Option("--blobs", file_okay=False, help="Default: beside the folder.")
]


def parse_digest(text: str) -> bytes:
    """32 bytes in hexadecimal; a usage error for anything else."""
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise typer.BadParameter("is not 64 hexadecimal digits")
    return digest


GenesisDigest = Annotated[
    bytes | None,
    typer.Option(parser=parse_digest, metavar="HEX", help="Digest that the genesis must have."),
]
Head = Annotated[
    bytes | None,
    typer.Option(parser=parse_digest, metavar="HEX", help="Hash that the last block must have."),
]
MinHeight = Annotated[
    int | None, typer.Option(min=1, help="Height that the last block must have at least.")
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Make a development chain, verify one, show one.")
    for command in (init, permit, verify, show, proof, snapshot, abstain):
        group.command(command.__name__)(command)
    app.add_typer(group, name="chain", no_args_is_help=True)


def init(
    folder: NewFolder,
    key: KeyFolder,
    dataset: SamplesRef,
    chain_id: Annotated[str, typer.Option(help="Name of the chain.")] = "zkpot",
    task_id: Annotated[str, typer.Option(help="Name of the task.")] = "accuracy",
    validators: Annotated[int, typer.Option(min=1, max=256, help="3f + 1 of them.")] = 4,
    clients: Annotated[int, typer.Option(min=3, max=1024, help="Clients at most.")] = 5,
    collusion: Annotated[
        int, typer.Option(min=0, help="Clients of a round that may work together.")
    ] = 1,
    rounds: Annotated[int, typer.Option(min=1, max=65536, help="Learning rounds.")] = 3,
    threshold: Annotated[int, typer.Option(min=1, help="Least count that counts.")] = 1,
    margin: Annotated[
        int | None,
        typer.Option(help="More than the global model by this count; or less, below 0."),
    ] = None,
    phase_ms: Annotated[int, typer.Option(min=1, help="How long a phase waits.")] = 60_000,
    block_ms: Annotated[int, typer.Option(min=1, help="An empty block after this.")] = 1000,
    longest_block_ms: Annotated[
        int | None, typer.Option(min=1, help="Waits for empty blocks double up to this; else 64 x.")
    ] = None,
    timeout_ms: Annotated[int, typer.Option(min=1, help="Of a step of a round.")] = 1000,
    warm_up: Annotated[
        str | None,
        typer.Option(help="Samples in public that the scales of clients are found with."),
    ] = None,
    norm_key: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder of `zkpot setup --norm`: updates must lie within its bounds.",
        ),
    ] = None,
    training: Annotated[
        Mode, typer.Option(help="Whether clients prove drawn steps of their training, or each.")
    ] = "off",
    steps: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Of a round of training; default 4.")
    ] = None,
    drawn: Annotated[
        int | None, typer.Option(min=1, help="Of --training sampled: so many are proven.")
    ] = None,
    training_keys: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of `zkpot setup --training`."),
    ] = None,
    key_digest: KeyDigest = None,
    require_ceremony: RequireCeremony = False,
) -> None:
    """Deal all keys of a chain for a demonstration; whoever runs this knows them all.

    Clients of `zkpot client join` divide by the same scales, which --warm-up finds: so many samples
    in public, such as 'mnist:train[0:500]', as make a network that has begun to learn. With
    --training they take exact integer steps instead, and prove them.
    """
    import secrets

    from api.console.queue_access import read_settings
    from api.console.refusals import refusing
    from api.console.task_parts import TrainingOptions, find_scales, read_norm, read_training
    from consensus.content.blobs import FileBlobs
    from consensus.disk.development import BLOBS, create_chain
    from consensus.errors import GenesisInvalid, IdentityError, PoolInvalid
    from consensus.learning.samples import SamplePool
    from consensus.wire.genesis import MAX_TIMEOUT_MS, Task, Timeouts, set_phases
    from federated.data import DatasetRef, load_samples
    from prover.circuit.public_inputs import ShardInputs
    from prover.keys.folder import load_verifying_half, load_verifying_key
    from prover.pipeline import compile_for_key

    asked = TrainingOptions(mode=training, keys=training_keys, steps=steps, drawn=drawn)
    if training != "off" and warm_up is not None:
        raise typer.BadParameter("is of tasks without --training", param_hint="--warm-up")
    with refusing(as_json=False):
        verifying, card = load_verifying_half(key, expected_digest=key_digest)
        halves = [(key, verifying, key_digest is not None)]
        if norm_key is not None:
            halves.append((norm_key, load_verifying_key(norm_key), False))
        of_training = read_training(asked, card.architecture)
        transcripts: list[bytes] = []
        if require_ceremony:
            transcripts = [
                require_ceremony_of(path, half, is_pinned=is_pinned)
                for path, half, is_pinned in halves
            ]
            if training_keys is not None and of_training is not None:
                transcripts += require_ceremonies_of(training_keys, of_training, is_pinned=False)
        compile_for_key(card, verifying)
        samples = load_samples(DatasetRef.parse(dataset), read_settings().data_dir)
        try:
            pool = SamplePool.of(images=samples.images, labels=samples.labels)
            ShardInputs.of(card.layout, *pool.draw(b"any", card.n_samples))
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # keys will lie there
            blobs = FileBlobs(folder / BLOBS)
            task = Task(
                task_id=task_id.encode(),
                architecture=card.architecture,
                circuit_digest=card.circuit_digest,
                verifying_key_digest=blobs.put(verifying.encode()),
                sealed=False,
                pools=(blobs.put(pool.encode()),),
                n_samples=card.n_samples,
                threshold=threshold,
                margin=margin,
                n_rounds=rounds,
                n_expected=clients,
                collusion=collusion,
                **set_phases(phase_ms),
                norm=None if norm_key is None else read_norm(norm_key, card.architecture, blobs),
                training=None if of_training is None else asked.store(of_training, blobs),
                ceremonies=tuple(map(blobs.put, transcripts)),
                scales=() if warm_up is None else find_scales(warm_up, card.architecture),
            )
            timeouts = Timeouts(
                propose_ms=timeout_ms,
                prevote_ms=timeout_ms,
                precommit_ms=timeout_ms,
                increase_ms=timeout_ms,
                empty_block_ms=block_ms,
                longest_empty_ms=longest_block_ms or min(64 * block_ms, MAX_TIMEOUT_MS),
            )
            genesis = create_chain(
                folder,
                chain_id=chain_id.encode(),
                task=task,
                timeouts=timeouts,
                n_validators=validators,
                random_bytes=secrets.token_bytes,
            )
        except GenesisInvalid as error:
            refuse(f"{error.where} {error.what}", code="bad_chain")
        except PoolInvalid as error:
            refuse(f"--dataset {dataset}: {error}", code="bad_chain")
        except IdentityError as error:
            refuse_error(error, code="bad_chain")
    typer.echo(f"chain {genesis.digest.hex()[:16]} with {validators} validators in {folder}")
    typer.echo(f"key digest {verifying.digest.hex()}")
    if training != "off":
        typer.echo(asked.describe())
    typer.echo(f"start each: zkpot node {folder}/node-0")


def permit(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Folder of `zkpot chain init`.")
    ],
    client_key: Annotated[
        bytes,
        typer.Argument(parser=parse_digest, metavar="HEX", help="What `zkpot client key` prints."),
    ],
) -> None:
    """Let a client in: print a permit of the admission key for the client's public key."""
    from api.console.refusals import refusing
    from consensus.disk.development import ADMISSION, GENESIS, sign_permit
    from consensus.disk.identity import get_public_key, load_key
    from consensus.wire.genesis import Genesis

    with refusing(as_json=False):
        genesis = Genesis.decode((folder / GENESIS).read_bytes())
        admission = load_key(folder, ADMISSION)
        if get_public_key(admission) != genesis.admission_key:
            reason = f"{folder / ADMISSION} is the key of another task than {folder / GENESIS}"
            refuse(reason, code="another_genesis")
        typer.echo(sign_permit(admission, genesis.digest, client_key).hex())


def verify(
    home: Home,
    genesis: GenesisFile = None,
    blobs: BlobFolder = None,
    genesis_digest: GenesisDigest = None,
    head: Head = None,
    min_height: MinHeight = None,
    as_json: AsJson = False,
) -> None:
    """Check every block, vote and proof from the genesis on; exit code 1 at the first fault.

    A part of a chain is valid, and so is the chain of anyone's own genesis: compare what is shown
    with what others tell you, or give it as an option.
    """
    import secrets
    import time

    from api.console.chain_report import describe_chain, report_chain
    from api.console.progress import show_steps
    from api.console.refusals import refusing
    from consensus.content.blobs import FileBlobs, KeptBlobs
    from consensus.disk.development import BLOBS
    from consensus.disk.task_keys import check_task_keys
    from consensus.node.follower import Follower
    from consensus.node.verifier import BlockVerifier

    made, chain = _load(home, genesis, as_json=as_json)
    if genesis_digest not in (None, made.digest):
        reason = f"the genesis is {made.digest.hex()}: this is another chain than you ask for"
        refuse(reason, code="another_genesis", as_json=as_json)
    shared = FileBlobs(blobs or _find_chain(home) / BLOBS)
    store = KeptBlobs(shared, FileBlobs(home / BLOBS))  # what is lost there, the node may have kept
    with refusing(as_json=as_json):
        check_task_keys(made.task, store)
    if not len(chain):
        reason = f"no block of genesis {made.digest.hex()} is there: nothing can be verified"
        refuse(reason, code="no_blocks", as_json=as_json)
    verifier = BlockVerifier(made, store, secrets.token_bytes, may_lack_payloads=True)
    follower, final_ms = Follower(made, verifier, start=chain.start), 0
    with refusing(code="bad_chain", as_json=as_json), show_steps() as update:
        for index, final in enumerate(chain):
            fault = follower.take(final)
            if fault is not None:
                reason = f"block {final.block.height}: {fault}"
                refuse(reason, code="bad_block", as_json=as_json)
            final_ms = final.certificate.time_ms
            update("blocks", index + 1, len(chain))
    state = follower.state
    if head not in (None, state.head):
        reason = f"the last block is {state.head.hex()}, of height {state.height}"
        refuse(reason, code="another_head", as_json=as_json)
    if min_height is not None and state.height < min_height:
        reason = f"the last block is of height {state.height}: blocks are missing, or not made yet"
        refuse(reason, code="too_low", as_json=as_json)
    now_ms = time.time_ns() // 1_000_000
    told = describe_chain(chain, state, final_ms=final_ms, now_ms=now_ms)
    told["sums_not_added_up"] = verifier.n_sums_unchecked
    told["trainings_not_checked"] = verifier.n_trainings_unchecked
    if as_json:
        emit_json(told)
    else:
        given = {"genesis": genesis_digest, "head": head, "height": min_height}
        typer.echo(report_chain(chain, told, {name for name, x in given.items() if x is not None}))


def show(home: Home, genesis: GenesisFile = None, as_json: AsJson = False) -> None:
    """The blocks of a node, in a line each."""
    from api.console.refusals import refusing
    from api.http.chain.history import view_block
    from consensus.node.follower import Follower

    made, chain = _load(home, genesis, as_json=as_json)
    follower, views = Follower(made, start=chain.start), []
    with refusing(code="bad_chain", as_json=as_json):
        for final in chain:
            before = follower.state
            fault = follower.take(final)
            if fault is not None:
                refuse(f"block {final.block.height}: {fault}", code="bad_block", as_json=as_json)
            view = view_block(final, before, follower.state)
            if as_json:
                views.append(view.model_dump(mode="json"))
            else:
                typer.echo(_summarize(view))
    if as_json:
        emit_json({"blocks": views})


def _summarize(block: BlockView) -> str:
    kinds = [tx.kind for tx in block.transactions]
    content = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    leader = (block.leader or "none")[:8]
    return (
        f"{block.height:5} {block.hash[:16]} by {block.proposer}, leader {leader}, "
        f"then {block.phase}: {content or 'no transactions'}"
    )


def proof(
    home: Annotated[
        Path, typer.Argument(exists=True, help="Folder of a node; with --verify a file of proofs.")
    ],
    genesis: GenesisFile = None,
    client: Annotated[
        bytes | None,
        typer.Option(parser=parse_digest, metavar="HEX", help="Of this client alone; else of all."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="File to write; else standard output.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check such a file instead; exit code 1 if it is none.")
    ] = False,
) -> None:
    """Print the newest finality certificate and paths of the ledger, as contracts take them.

    JSON with one signature for all validators, the root over weights and rewards of clients with an
    account, and for each of them its leaf and path. Nobody has to trust who shows it.
    """
    import json

    from api.console.chain_report import report_proof
    from api.console.files import write_public
    from api.console.refusals import refusing
    from consensus.disk.certificates import build_proof, read_proof

    made = _load_genesis(home, genesis, as_json=False)
    with refusing(as_json=False):
        if verify:
            typer.echo(report_proof(*read_proof(home, made)))
            return
        found = json.dumps(build_proof(home, made, client), indent=1)
    if out is None:
        typer.echo(found)
    else:
        write_public(out, found.encode("ascii") + b"\n")
        typer.echo(f"wrote {out}")


def snapshot(
    home: NodeFolder,
    out: Annotated[Path, typer.Option(dir_okay=False, help="File to write.")],
    genesis: GenesisFile = None,
) -> None:
    """Write a node's newest snapshot: another node starts with it (`zkpot node --snapshot`).

    Nobody has to trust it: 2f + 1 validators of the genesis signed the block that names its state.
    """
    from api.console.files import write_public
    from consensus.disk.snapshots import find_snapshots

    made, chain = _load(home, genesis, as_json=False)
    found = next(find_snapshots(home, made, newest_first=True), None)
    if found is None:
        reason = f"no snapshot is there after {chain.height} blocks; copy blocks*.log instead"
        refuse(reason, code="no_snapshot")
    write_public(out, found.encode())
    typer.echo(f"wrote {out}: the state after block {found.height} of genesis {made.digest.hex()}")


def abstain(
    home: NodeFolder,
    genesis: GenesisFile = None,
    through: Annotated[
        int | None,
        typer.Option(min=1, help="Where validator.signed is lost: the chain's height, plus 1."),
    ] = None,
) -> None:
    """Let a validator that lost its votes sit out every height that it may have signed at.

    Until then it must not sign: it could contradict what it has forgotten. Its votes.log is emptied
    and validator.signed set behind those heights; it catches up and votes again after them.
    """
    from api.console.refusals import refusing
    from consensus.disk.identity import get_public_key, load_key
    from consensus.disk.ledger import VOTES, lock_home
    from consensus.disk.place import give_up

    made = _load_genesis(home, genesis, as_json=False)
    with refusing(code="bad_home", as_json=False):
        key = get_public_key(load_key(home))
        with lock_home(home):
            height = give_up(home, made.digest, key, through)
            (home / VOTES).unlink(missing_ok=True)
    typer.echo(f"signs nothing up to height {height}; it can be started")


def _load(home: Path, genesis: Path | None, *, as_json: bool) -> tuple[Genesis, StoredChain]:
    from api.console.refusals import refusing
    from consensus.disk.block_files import read_chain

    made = _load_genesis(home, genesis, as_json=as_json)
    with refusing(code="bad_chain", as_json=as_json):
        return made, read_chain(home, made)


def _load_genesis(home: Path, genesis: Path | None, *, as_json: bool) -> Genesis:
    from api.console.refusals import refusing
    from consensus.disk.development import GENESIS
    from consensus.wire.genesis import Genesis

    with refusing(code="bad_chain", as_json=as_json):
        return Genesis.decode((genesis or _find_chain(home) / GENESIS).read_bytes())


def _find_chain(home: Path) -> Path:
    """The folder of `zkpot chain init` that a node's folder, or a file of it, lies in."""
    return home.resolve().parent if home.is_dir() else home.resolve().parent.parent
