"""`zkpot node`: a consensus node: verifies proofs, votes, finalizes blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from api.console.output import refuse, refuse_error

Home = Annotated[
    Path, typer.Argument(exists=True, file_okay=False, help="Folder of `zkpot chain init`, node-I.")
]
GenesisFile = Annotated[
    Path | None, typer.Option("--genesis", dir_okay=False, help="Default: beside the folder.")
]
BlobFolder = Annotated[
    Path | None,
    typer.Option(
        "--blobs",
        file_okay=False,
        help="Where clients put models; the node keeps what it reads. Default: beside the folder.",
    ),
]
MetricsPort = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Serve /metrics here; 0 takes any free port.")
]
SnapshotFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Begin with it, where blocks before are none."),
]
KeepBlocks = Annotated[
    int | None,
    typer.Option(min=1, help="Keep so many of the last blocks, and what they name; else 16,384."),
]
Archive = Annotated[bool, typer.Option("--archive", help="Keep all blocks and models.")]
MetricsHost = Annotated[str, typer.Option(help="Address of /metrics.")]
Peers = Annotated[
    list[str] | None,
    typer.Option("--peer", help="http://HOST:PORT of a node that serves blobs; may be repeated."),
]
ContentPort = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Serve blobs here, and take some; 0: any port."),
]
ContentHost = Annotated[str, typer.Option(help="Address of what is served to peers.")]


def register(app: typer.Typer) -> None:
    app.command("node")(node)


def node(
    home: Home,
    genesis: GenesisFile = None,
    blobs: BlobFolder = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    snapshot: SnapshotFile = None,
    keep_blocks: KeepBlocks = None,
    archive: Archive = False,
    peer: Peers = None,
    content_port: ContentPort = None,
    content_host: ContentHost = "127.0.0.1",
) -> None:
    """Verify proofs, vote and finalize blocks with the other validators of a chain.

    They talk over ZKPOT_REDIS_URL, which nobody has to trust, or over a server under ZKPOT_DATA_DIR
    that lives as long as any of them. Models come from the folder, from the bucket of ZKPOT_STORE,
    from the peers that are named, and from any validator over the streams. Say what the node
    reports: lines for people, JSON objects into a file.
    """
    import secrets
    import sys
    from contextlib import ExitStack
    from threading import Event

    from api.console.queue_access import open_streams, read_settings
    from api.process.logs import make_log
    from api.process.streams import outlast_output
    from api.process.supervisor import stop_on_signals
    from consensus.content.background import BackgroundBlobs, SeveralBlobs
    from consensus.content.blobs import FileBlobs, KeptBlobs, ObjectBlobs
    from consensus.content.interface import Blobs
    from consensus.disk.blob_limits import make_limit
    from consensus.disk.development import BLOBS, GENESIS, load_identity
    from consensus.disk.ledger import Ledger
    from consensus.disk.retention import KEEP_BLOCKS
    from consensus.disk.snapshots import load_snapshot
    from consensus.disk.task_keys import check_task_keys
    from consensus.errors import ConsensusError, HomeInvalid, PeerInvalid, StoreFailed
    from consensus.node.metrics import NodeMetrics
    from consensus.node.node import Node
    from consensus.node.stream import Transport
    from consensus.wire.genesis import Genesis
    from prover.errors import ProverError

    outlast_output()
    stop = Event()
    stop_on_signals(stop)
    log = make_log(to_people=sys.stderr.isatty()).bind(node=home.name)
    settings = read_settings()
    try:
        made = Genesis.decode((genesis or home.parent / GENESIS).read_bytes())
        limit = make_limit(made.task)
        own = FileBlobs(home / BLOBS, get_limit=limit)
        places: list[Blobs] = [FileBlobs(blobs or home.parent / BLOBS, get_limit=limit)]
        if settings.bucket is not None:
            from consensus.content.s3 import S3Objects

            bucket = ObjectBlobs(S3Objects(*settings.bucket), BLOBS, get_limit=limit)
            places.append(BackgroundBlobs(bucket, own, log=log))
        if peer:
            from consensus.content.peers import PeerBlobs

            there = PeerBlobs(peer, get_limit=limit)
            places.append(BackgroundBlobs(there, own, log=log))
        store = KeptBlobs(own, SeveralBlobs(places))
        identity = load_identity(home, made)
        check_task_keys(made.task, store)
        ledger = Ledger(
            home,
            made,
            keep_blocks=None if archive else keep_blocks or KEEP_BLOCKS,
            snapshot=load_snapshot(snapshot, made) if snapshot else None,
        )
    except PeerInvalid as error:
        raise typer.BadParameter(str(error), param_hint="--peer") from error
    except StoreFailed as error:
        refuse_error(error)
    except (ConsensusError, ProverError) as error:
        refuse_error(error, code="bad_home")
    metrics = NodeMetrics()
    if metrics_port is not None:
        port = metrics.serve(metrics_port, metrics_host)
        log.info("metrics are served", address=f"http://{metrics_host}:{port}/metrics")
    with ExitStack() as serving, open_streams(settings, report=log.warning) as (redis, mend):
        tell_wanted: Callable[[frozenset[bytes]], None] | None = None
        if content_port is not None:
            from consensus.content.peers import BlobServer

            server = serving.enter_context(
                BlobServer(
                    own,
                    genesis=made.encode(),
                    host=content_host,
                    port=content_port,
                    get_limit=limit,
                )
            )
            tell_wanted = server.want
            log.info("blobs are served", address=server.address)
        try:
            one = Node(
                made,
                identity,
                ledger=ledger,
                blobs=store,
                transport=Transport(redis, made.digest),
                metrics=metrics,
                log=log,
                random_bytes=secrets.token_bytes,
                tell_wanted=tell_wanted,
            )
            one.run(stop.is_set, mend=mend)
        except HomeInvalid as error:
            refuse_error(error, code="bad_home")
        except OSError as error:
            refuse(f"{home}: {error.strerror}; the node stops before it votes", code="io_error")
        finally:
            ledger.close()
    log.info("node has stopped", height=ledger.height)
