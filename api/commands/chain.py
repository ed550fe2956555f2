"""`zkpot chain`: make a development chain, verify one from its genesis, show one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.console import AsJson, emit_json, refuse
from api.options import KeyDigest, KeyFolder, SamplesRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consensus.genesis import Genesis
    from consensus.messages import FinalBlock

NewFolder = Annotated[Path, typer.Argument(help="Folder to make.")]
Home = Annotated[
    Path, typer.Argument(exists=True, help="Folder of a node, or a copy of its blocks.log.")
]
GenesisFile = Annotated[
    Path | None, typer.Option("--genesis", dir_okay=False, help="Default: beside the folder.")
]
BlobFolder = Annotated[
    Path | None, typer.Option("--blobs", file_okay=False, help="Default: beside the folder.")
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Make a development chain, verify one, show one.")
    group.command("init")(init)
    group.command("verify")(verify)
    group.command("show")(show)
    app.add_typer(group, name="chain", no_args_is_help=True)


def init(
    folder: NewFolder,
    key: KeyFolder,
    dataset: SamplesRef,
    chain_id: Annotated[str, typer.Option(help="Name of the chain.")] = "zkpot",
    task_id: Annotated[str, typer.Option(help="Name of the task.")] = "accuracy",
    validators: Annotated[int, typer.Option(min=1, max=256, help="3f + 1 of them.")] = 4,
    clients: Annotated[int, typer.Option(min=1, max=1024, help="Clients at most.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, max=65536, help="Learning rounds.")] = 3,
    threshold: Annotated[int, typer.Option(min=1, help="Least count that counts.")] = 1,
    margin: Annotated[
        int | None, typer.Option(min=1, help="More than the global model by this count.")
    ] = None,
    phase_ms: Annotated[int, typer.Option(min=1, help="How long a phase waits.")] = 60_000,
    block_ms: Annotated[int, typer.Option(min=1, help="An empty block after this.")] = 1000,
    timeout_ms: Annotated[int, typer.Option(min=1, help="Of a step of a round.")] = 1000,
    key_digest: KeyDigest = None,
) -> None:
    """Deal all keys of a chain for a demonstration; whoever runs this knows them all."""
    import secrets

    from api.queue_access import read_settings
    from api.refusals import refusing
    from consensus.blobs import FileBlobs
    from consensus.development import BLOBS, create_chain
    from consensus.genesis import GenesisInvalid, Task, Timeouts
    from consensus.identity import IdentityError
    from consensus.samples import PoolInvalid, SamplePool
    from federated.data import DatasetRef, load_samples
    from prover.keyfile import load_commitment_key, load_verifying_half
    from prover.pipeline import compile_for_key

    with refusing(as_json=False):
        verifying, card = load_verifying_half(key, expected_digest=key_digest)
        compile_for_key(card, verifying)
        commitment = load_commitment_key(key, verifying)
        samples = load_samples(DatasetRef.parse(dataset), read_settings().data_dir)
        try:
            pool = SamplePool(images=samples.images, labels=samples.labels)
            card.layout.check_shard(*pool.draw(b"any", card.n_samples))
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # keys will lie there
            blobs = FileBlobs(folder / BLOBS)
            task = Task(
                task_id=task_id.encode(),
                architecture=card.architecture,
                circuit_digest=card.circuit_digest,
                verifying_key_digest=blobs.put(verifying.encode()),
                commitment_key_digest=blobs.put(commitment.encode()),
                sealed=False,
                pools=(blobs.put(pool.encode()),),
                n_samples=card.n_samples,
                threshold=threshold,
                margin=margin,
                n_rounds=rounds,
                n_expected=clients,
                register_ms=phase_ms,
                commit_ms=phase_ms,
                prove_ms=phase_ms,
                update_ms=phase_ms,
            )
            timeouts = Timeouts(
                propose_ms=timeout_ms,
                prevote_ms=timeout_ms,
                precommit_ms=timeout_ms,
                increase_ms=timeout_ms,
                empty_block_ms=block_ms,
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
            refuse(str(error), code="bad_chain")
    typer.echo(f"chain {genesis.digest.hex()[:16]} with {validators} validators in {folder}")
    typer.echo(f"key digest {verifying.digest.hex()}")
    typer.echo(f"start each: zkpot node {folder}/node-0")


def verify(
    home: Home, genesis: GenesisFile = None, blobs: BlobFolder = None, as_json: AsJson = False
) -> None:
    """Check every block, vote and proof from the genesis on; exit code 1 at the first fault."""
    import secrets

    from api.progress import show_steps
    from api.refusals import refusing
    from consensus.blobs import FileBlobs, KeptBlobs
    from consensus.development import BLOBS
    from consensus.follower import Follower
    from consensus.task_keys import check_task_keys
    from consensus.verifier import BlockVerifier

    made, finals = _load(home, genesis, as_json=as_json)
    shared = FileBlobs(blobs or _find_chain(home) / BLOBS)
    store = KeptBlobs(shared, FileBlobs(home / BLOBS))  # what is lost there, the node may have kept
    with refusing(as_json=as_json):
        check_task_keys(made.task, store)
    follower = Follower(made, BlockVerifier(made, store, secrets.token_bytes))
    with show_steps() as update:
        for index, final in enumerate(finals):
            fault = follower.take(final)
            if fault is not None:
                refuse(f"block {index + 1}: {fault}", code="bad_block", as_json=as_json)
            update("blocks", index + 1, len(finals))
    state = follower.state
    if as_json:
        emit_json({"height": state.height, "head": state.head.hex(), "phase": state.phase.value})
    else:
        typer.echo(f"valid: {state.height} blocks from genesis {made.digest.hex()[:16]}")


def show(home: Home, genesis: GenesisFile = None, as_json: AsJson = False) -> None:
    """The blocks of a node, in a line each."""
    from api.chain_history import ChainHistory
    from consensus.follower import Follower

    made, finals = _load(home, genesis, as_json=as_json)
    follower, history = Follower(made), ChainHistory(made)
    for index, final in enumerate(finals):
        fault = follower.take(final)
        if fault is not None:
            refuse(f"block {index + 1}: {fault}", code="bad_block", as_json=as_json)
        history.append(final, follower.state)
    blocks = [history.get_block(height + 1) for height in range(history.height)]
    if as_json:
        emit_json({"blocks": [b.model_dump(mode="json") for b in blocks if b is not None]})
        return
    for block in blocks:
        if block is not None:
            kinds = [tx.kind for tx in block.transactions]
            content = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
            leader = (block.leader or "none")[:8]
            typer.echo(
                f"{block.height:5} {block.hash[:16]} by {block.proposer}, leader {leader}, "
                f"then {block.phase}: {content or 'no transactions'}"
            )


def _load(
    home: Path, genesis: Path | None, *, as_json: bool
) -> tuple[Genesis, Sequence[FinalBlock]]:
    from consensus.development import GENESIS
    from consensus.genesis import Genesis, GenesisInvalid
    from consensus.ledger import LedgerError, read_finals

    try:
        raw = (genesis or _find_chain(home) / GENESIS).read_bytes()
        return Genesis.decode(raw), read_finals(home)
    except (GenesisInvalid, LedgerError) as error:
        refuse(str(error), code="bad_chain", as_json=as_json)


def _find_chain(home: Path) -> Path:
    """The folder of `zkpot chain init` that a node's folder, or a file of it, lies in."""
    return home.resolve().parent if home.is_dir() else home.resolve().parent.parent
