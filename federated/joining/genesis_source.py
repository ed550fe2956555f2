"""A genesis from a file or over HTTP. It is all that a client has to trust: know its digest.

FILE                 as `zkpot chain init` wrote it
http://HOST:PORT     of an API or a node, which serve it as /genesis.json; https:// likewise
http://HOST/PATH     a file, served by anyone
"""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlsplit

from consensus.wire.genesis import MAX_GENESIS_BYTES, Genesis
from federated.errors import GenesisUnavailable
from federated.proxies import SCHEMES, open_url

PATH = "/genesis.json"
TIMEOUT_S = 20.0


def load_genesis(source: str, *, expected: bytes | None = None) -> Genesis:
    """The genesis that lies there. Raises GenesisUnavailable, GenesisInvalid, ProxyUnusable.

    expected : digest that it must have; None: whatever is there
    """
    genesis = Genesis.decode(_read(source))
    if expected not in (None, genesis.digest):
        raise GenesisUnavailable(
            source,
            f"has digest {genesis.digest.hex()}: it is another one than you ask for",
            "take the genesis from where the digest came",
        )
    return genesis


def _read(source: str) -> bytes:
    """At most a byte more than a genesis may have."""
    parts = urlsplit(source)
    if parts.scheme not in SCHEMES:
        try:
            with Path(source).expanduser().open("rb") as file:
                return file.read(MAX_GENESIS_BYTES + 1)
        except OSError as error:
            what = f"cannot be read ({error.strerror})"
            raise GenesisUnavailable(source, what, "name a file or a URL") from None
    url = source if parts.path.strip("/") else source.rstrip("/") + PATH
    try:
        with open_url(url, timeout_s=TIMEOUT_S) as response:
            return bytes(response.read(MAX_GENESIS_BYTES + 1))
    except (OSError, http.client.HTTPException, ValueError) as error:
        what = f"does not answer with a genesis ({error})"
        raise GenesisUnavailable(url, what, "name an API, a node, or a file") from None
