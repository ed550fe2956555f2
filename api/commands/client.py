"""`zkpot client`: take part in a task with one's own data; one's own key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.commands.chain import GenesisDigest
from api.console.options import BackendName
from api.console.output import AsJson, emit_json, refuse

if TYPE_CHECKING:
    from api.client.joining import Membership
    from api.console.progress import Update
    from consensus.wire.genesis import Genesis
    from federated.client import Learn, Prover
    from federated.data import LabeledImages
    from federated.joining.account import Account

FOLDER = "client"
STATUS = {
    "task_over": 3,
    "missed": 4,
    "not_admitted": 5,
    "account_invalid": 5,
    "expelled": 6,
    "nodes_silent": 7,
    "queue_unavailable": 7,
    "bad_data": 8,
    "dataset_missing": 8,
    "dataset_corrupt": 8,
    "dataset_ref_invalid": 8,
    "network_unsupported": 8,
    "range_exceeded": 8,
    "proving_failed": 9,
}
"""Exit codes by the code of a refusal; 1 of every other."""

State = Annotated[
    Path | None,
    typer.Option(
        "--state", file_okay=False, help="The client's private folder; else client in the data."
    ),
]
GenesisSource = Annotated[
    str | None,
    typer.Option("--genesis", help="File, or URL of an API or a node; else that of the folder."),
]
Permit = Annotated[str | None, typer.Option(help="What `zkpot chain permit` prints; once.")]
AddressKey = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="File with the private key of the account to be paid."
    ),
]
AddressText = Annotated[
    str | None, typer.Option("--address", help="0x...: the account to be paid, signed elsewhere.")
]
AddressSignature = Annotated[
    str | None, typer.Option(help="Of that account over what `zkpot client binding` prints.")
]
ProverUrl = Annotated[
    str | None, typer.Option("--prover", help="URL of a service that may see the model.")
]
ProverKeyFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="File with that service's API key."),
]
ProvingKey = Annotated[
    Path | None,
    typer.Option("--key", exists=True, file_okay=False, help="Folder of the task's key."),
]
NormKey = Annotated[
    Path | None,
    typer.Option(
        "--norm-key", exists=True, file_okay=False, help="Folder of its key of bounds on updates."
    ),
]
TrainingKeys = Annotated[
    Path | None,
    typer.Option(
        "--training-keys",
        exists=True,
        file_okay=False,
        help="Folder of its keys of training, of a task that asks for proofs of that.",
    ),
]
SharedBlobs = Annotated[
    Path | None,
    typer.Option("--blobs", exists=True, file_okay=False, help="Folder that nodes read too."),
]
Peers = Annotated[
    list[str] | None,
    typer.Option(
        "--peer", help="http://HOST:PORT of a node that serves blobs; else that of --genesis."
    ),
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Take part in a task with data of one's own.", no_args_is_help=True)
    group.command()(key)
    group.command()(binding)
    group.command()(join)
    app.add_typer(group, name="client")


def key(state: State = None, as_json: AsJson = False) -> None:
    """Print the client's public key, for a permit; made now when there is none."""
    import secrets

    from api.console.refusals import refusing
    from consensus.disk.identity import get_public_key
    from federated.joining.folder import take_key

    folder = _find_folder(state)
    with refusing(as_json=as_json):
        public = get_public_key(take_key(folder, secrets.token_bytes)).hex()
    if as_json:
        emit_json({"client_key": public, "folder": str(folder)})
    else:
        typer.echo(public)


def binding(
    genesis: GenesisSource = None,
    genesis_digest: GenesisDigest = None,
    state: State = None,
) -> None:
    """Print what an account of the EVM signs to be this client's: typed data of EIP-712, JSON.

    Have a wallet sign it (eth_signTypedData_v4), and give `zkpot client join` its address and the
    signature. Contracts pay that account what this client earns, and its votes are the account's.
    """
    import secrets

    from api.console.refusals import refusing
    from consensus.disk.identity import get_public_key
    from consensus.learning.binding import describe_typed_data
    from federated.joining.folder import take_key

    folder = _find_folder(state)
    with refusing(as_json=False):
        found = _find_genesis(folder, genesis, genesis_digest, quiet=True)
        public = get_public_key(take_key(folder, secrets.token_bytes))
        emit_json(describe_typed_data(public, found.digest))


def join(
    data: Annotated[str, typer.Option(help="Folder of images, an .npz file, or a data set.")],
    genesis: GenesisSource = None,
    genesis_digest: GenesisDigest = None,
    state: State = None,
    permit: Permit = None,
    address_key: AddressKey = None,
    address: AddressText = None,
    address_signature: AddressSignature = None,
    key: ProvingKey = None,
    norm_key: NormKey = None,
    training_keys: TrainingKeys = None,
    prover: ProverUrl = None,
    prover_key_file: ProverKeyFile = None,
    blobs: SharedBlobs = None,
    peer: Peers = None,
    validator: Annotated[int | None, typer.Option(min=0, help="Home; else by the key.")] = None,
    once: Annotated[bool, typer.Option("--once", help="One learning round, then end.")] = False,
    patience: Annotated[float, typer.Option(min=1, help="Seconds to wait for a block.")] = 120,
    backend: BackendName = "cpu",
    as_json: AsJson = False,
) -> None:
    """Train on own samples, commit, prove and enter the mean, until the task is over.

    A task may ask for proofs of training: then samples are committed to when the client registers,
    and it trains by the task's own recipe, step by step. Nobody sees samples or model, except a
    service that --prover names. What is under way is in the client's folder: ended at any point and
    started again, it goes on. Exit codes beyond 2: 3 the task was over, 4 in no global model, 5 not
    admitted, 6 expelled, 7 no nodes, 8 data that do not fit, 9 no proof.
    """
    from api.client.joining import Membership, Places
    from api.console.progress import show_steps
    from api.console.queue_access import read_settings
    from api.console.refusals import load_backend
    from api.errors import Audience, describe
    from federated.joining.participation import Outcome
    from kernels.errors import ZkpotError

    folder, settings = _find_folder(state), read_settings()
    device = load_backend(backend)
    try:
        with show_steps() as progress:
            found = _find_genesis(folder, genesis, genesis_digest, quiet=as_json)
            if validator is not None and validator >= found.n_validators:
                most = f"the task has validators 0 to {found.n_validators - 1}"
                raise typer.BadParameter(most, param_hint="--validator")
            me = Membership(
                genesis=found,
                folder=folder,
                settings=settings,
                permit=permit,
                account=_find_account(folder, found, address_key, address, address_signature),
                key=key,
                norm_key=norm_key,
                training_keys=training_keys,
                prover=_find_prover(prover, prover_key_file),
                places=Places(folder=blobs, peers=peer or find_peers(genesis)),
                validator=validator,
                backend=device,
                report=(lambda line: None) if as_json else typer.echo,
                progress=progress,
                patience_s=patience,
            )
            ending = me.take_part(_make_learner(me, data, progress, as_json=as_json), once=once)
    except (ZkpotError, OSError, MemoryError) as error:
        told = describe(error, Audience.OWNER)
        refuse(told.text, code=told.code, as_json=as_json, status=STATUS.get(told.code, 1))
    if ending.outcome is not Outcome.DONE:
        reason = {
            Outcome.OVER: "the task was over before this client could take part",
            Outcome.MISSED: "this client is in no global model; the log of a node says why, if it "
            "sent in time",
            Outcome.EXPELLED: "this client is out of the task: a block says that it has cheated",
        }[ending.outcome]
        code = ending.outcome.value
        refuse(reason, code=code, as_json=as_json, status=STATUS[code])
    rounds = [learning_round + 1 for learning_round in ending.rounds]
    if as_json:
        emit_json({"outcome": ending.outcome.value, "rounds": rounds})
    else:
        typer.echo(f"done: in the global model of rounds {', '.join(map(str, rounds))}")


def _find_folder(state: Path | None) -> Path:
    from api.console.queue_access import read_settings

    return state or read_settings().data_dir / FOLDER


def _find_genesis(
    folder: Path, source: str | None, digest: bytes | None, *, quiet: bool
) -> Genesis:
    """The genesis, and how far it is trusted; a usage error where nobody names one."""
    from federated.joining.folder import GENESIS
    from federated.joining.genesis_source import load_genesis

    path = folder / GENESIS
    known = path.read_bytes() if path.exists() else None
    if source is None and known is None:
        what = "name the task: a file, or the URL of an API or a node"
        raise typer.BadParameter(what, param_hint="--genesis")
    found = load_genesis(source or str(path), expected=digest)
    if not quiet:
        why = "trusted from now on: compare it with what others tell you"
        if digest is not None:
            why = "as given"
        elif known == found.encode():
            why = "as this folder knows it"
        typer.echo(f"genesis {found.digest.hex()} ({why})")
    return found


def find_peers(source: str | None) -> list[str]:
    """The node that a genesis comes from, if it may be one: what it does not serve, it refuses."""
    from urllib.parse import urlsplit

    parts = urlsplit(source or "")
    is_bare = parts.scheme in ("http", "https") and parts.path in ("", "/")
    return [f"{parts.scheme}://{parts.netloc}"] if is_bare else []


def _find_account(
    folder: Path, genesis: Genesis, key_file: Path | None, address: str | None, signed: str | None
) -> Account | None:
    """The account that the caller gives; a usage error for halves of one, or two."""
    import secrets

    from consensus.disk.identity import get_public_key
    from federated.joining.account import Account, sign_with
    from federated.joining.folder import take_key

    if (address is None) != (signed is None):
        raise typer.BadParameter("go together", param_hint="--address, --address-signature")
    if key_file is not None and address is not None:
        raise typer.BadParameter("makes the signature itself", param_hint="--address-key")
    if key_file is not None:
        public = get_public_key(take_key(folder, secrets.token_bytes))
        return sign_with(key_file, public, genesis)
    return None if address is None or signed is None else Account.parse(address, signed)


def _find_prover(url: str | None, key_file: Path | None) -> Prover | None:
    from api.client.prover import ServiceProver

    if url is None:
        return None
    api_key = None if key_file is None else key_file.read_text(encoding="utf-8").strip()
    return ServiceProver(url, key=api_key)


def _make_learner(
    me: Membership, data: str, progress: Update, *, as_json: bool
) -> Learn | LabeledImages:
    """What a client takes part with: of a task that asks for proofs of training samples alone."""
    import secrets

    from federated.joining.own_data import load_own_data

    try:
        samples = load_own_data(data, me.task.architecture, me.settings.data_dir)
        if me.task.training is not None:
            if not as_json:
                typer.echo(_describe_samples(me, len(samples), data))
            return samples
        from federated.joining.learners import learn_from_samples
    except ModuleNotFoundError as error:
        refuse(
            f"training needs {error.name}: pip install 'zkpot[federated]'",
            code="missing_package",
            as_json=as_json,
        )
    if not as_json:
        typer.echo(f"{len(samples)} own samples from {data}; they stay on this machine")
    return learn_from_samples(samples, me.task, random_bytes=secrets.token_bytes, progress=progress)


def _describe_samples(me: Membership, n: int, data: str) -> str:
    """What becomes of them in a task that asks for proofs of training."""
    training = me.task.training
    assert training is not None, "asked before"
    return (
        f"{n} own samples from {data}, which stay on this machine; others see commitments to "
        f"batches of them. A round is {training.n_steps} steps, of which {training.n_drawn} are "
        "proven"
    )
