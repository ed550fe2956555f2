"""The places of the settings: where uploads lie, where keys.

ZKPOT_STORE=folder              all in DATA_DIR, which all processes share
ZKPOT_STORE=s3://bucket/prefix  uploads/ and private/ sealed, keys/ and blobs/ public; then
                                DATA_DIR is each machine's own:
    DATA_DIR/fetched/keys       keys that its workers have brought or made
    DATA_DIR/fetched/halves     what its API has brought of them
"""

from __future__ import annotations

from api.settings import Settings
from api.store.keyfolder import KeyFolder
from api.store.keyshelf import KeyShelf
from api.store.sharedkeys import SharedKeys
from api.store.uploads import UploadStore
from consensus.content.s3 import S3Objects
from consensus.content.sealed import Seal

KEYS = "keys"
"""Folder of the data directory with the keys, see `api.store.keyfolder`."""


def open_store(settings: Settings) -> UploadStore:
    """Uploads and private files. Raises StoreFailed, OSError."""
    ttl_s, limit_bytes = settings.upload_ttl_s, settings.upload_limit_bytes
    if settings.bucket is None:
        return UploadStore.in_folder(settings.data_dir, ttl_s=ttl_s, limit_bytes=limit_bytes)
    seal = Seal(settings.load_store_key())
    return UploadStore(
        S3Objects(*settings.bucket, coat=seal),
        settings.data_dir,
        identity=lambda: seal.derive(b"zkpot identity of private files"),
        ttl_s=ttl_s,
        limit_bytes=limit_bytes,
    )


def open_keys(settings: Settings) -> KeyFolder:
    """Keys, for who proves. Raises StoreFailed."""
    limit = settings.keys_limit_bytes
    if settings.bucket is None:
        return KeyFolder(settings.data_dir / KEYS, limit_bytes=limit)
    shared = SharedKeys(S3Objects(*settings.bucket))
    return KeyFolder(settings.data_dir / "fetched" / KEYS, limit_bytes=limit, shared=shared)


def open_shelf(settings: Settings) -> KeyShelf:
    """Their verifying halves, for who does not. Raises StoreFailed."""
    if settings.bucket is None:
        return KeyShelf(settings.data_dir / KEYS)
    shared = SharedKeys(S3Objects(*settings.bucket))
    return KeyShelf(settings.data_dir / "fetched" / "halves", shared)
