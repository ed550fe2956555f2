"""Keys on disk: a folder with a file for each of those who read it.

    key/verifying.key  `VerifyingKey.encode`: what a verifier reads; names all other files
    key/circuit.json   `prover.keys.card.KeyCard.encode`: what a verifier reads beside it
    key/proving.key    `prover.keys.proving_file`: what a prover reads
    key/ceremony.transcript  of a key of a ceremony: how it came about (`prover.ceremony.own`)

The digest of every other file stands in verifying.key, and who reads one compares. So a file that
was cut, altered or taken from another key is refused, and the digest of verifying.key, which
statements and a genesis name, names the whole folder.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from kernels.files import write_whole
from prover.errors import FormatError, KeyMismatch
from prover.keys.card import MAX_CARD_BYTES, Card, KeyCard, UpdateCard
from prover.keys.halves import NO_FILE, ProvingKey, VerifyingKey
from prover.keys.proving_file import list_chunks, read_proving_half

VERIFYING_NAME = "verifying.key"
CARD_NAME = "circuit.json"
PROVING_NAME = "proving.key"
TRANSCRIPT_NAME = "ceremony.transcript"
MAX_VERIFYING_BYTES = 1 << 27
C = TypeVar("C", bound=Card)


# -- writing ---------------------------------------------------------------------------------------


def save_key(key: ProvingKey, directory: Path, card: Card | None = None) -> None:
    """Writes every part; the verifying half last, so an interrupted save leaves no usable key.

    card : that the key was set up with; None for a circuit of no kind that has one
    Raises KeyMismatch for another card than the key names; OSError, and then leaves no part.
    """
    if key.verifying.card_digest != (NO_FILE if card is None else card.digest):
        raise KeyMismatch("the key was set up with another card")
    directory.mkdir(parents=True, exist_ok=True)
    names = (VERIFYING_NAME, CARD_NAME, PROVING_NAME)
    verifying, circuit, proving = parts = [directory / name for name in names]
    for path in parts[:2]:
        path.unlink(missing_ok=True)
    try:
        write_whole(proving, list_chunks(key))
        if card is not None:
            write_whole(circuit, [card.encode()])
        write_whole(verifying, [key.verifying.encode()])
    except BaseException:
        for path in parts:
            path.unlink(missing_ok=True)
        raise


# -- reading ---------------------------------------------------------------------------------------


def load_verifying_key(directory: Path, *, expected_digest: bytes | None = None) -> VerifyingKey:
    """The verifying half. Raises FormatError, KeyMismatch for another key than expected, OSError.

    expected_digest : of the key that it must be; None: whatever key this is
    """
    path = directory / VERIFYING_NAME
    key = VerifyingKey.decode(_read(path, MAX_VERIFYING_BYTES), where=str(path))
    key.require_digest(expected_digest)
    return key


def load_card(directory: Path, key: VerifyingKey) -> KeyCard:
    """The card of a key. Raises FormatError, KeyMismatch for any other card, OSError."""
    return _load_card(directory, key, KeyCard)


def load_verifying_half(
    directory: Path, *, expected_digest: bytes | None = None
) -> tuple[VerifyingKey, KeyCard]:
    """All that a verifier reads of a key folder; the proving half is not opened.

    Raises as `load_verifying_key` and `load_card`.
    """
    return load_half(directory, KeyCard, expected_digest=expected_digest)


def load_update_half(
    directory: Path, *, expected_digest: bytes | None = None
) -> tuple[VerifyingKey, UpdateCard]:
    """`load_verifying_half` of a key of bounds on updates."""
    return load_half(directory, UpdateCard, expected_digest=expected_digest)


def load_half(
    directory: Path, kind: type[C], *, expected_digest: bytes | None = None
) -> tuple[VerifyingKey, C]:
    """`load_verifying_half` of a key whose circuit is of the kind that this card describes."""
    key = load_verifying_key(directory, expected_digest=expected_digest)
    return key, _load_card(directory, key, kind)


def load_proving_key(directory: Path, key: VerifyingKey, *, streams: bool = False) -> ProvingKey:
    """The proving half of a key, copied into memory: what becomes of the file later is no matter.

    streams : the bases stay in the file; a proof reads them again, and ends with KeyMismatch when
              they are other ones by then
    Raises FormatError for a malformed file and for points that a prover must not use, KeyMismatch
    for any file that the key does not name, OSError.
    cost : one SHA-256 over the file, and what `prover.keys.points` asks of its points
    """
    path = directory / PROVING_NAME
    require_part(path)
    return read_proving_half(path, key, streams=streams)


def _load_card(directory: Path, key: VerifyingKey, kind: type[C]) -> C:
    path = directory / CARD_NAME
    raw = _read(path, MAX_CARD_BYTES)
    _require_pinned(raw, key.card_digest, path)
    card = kind.decode(raw, where=str(path))
    card.require_key(key)
    return card


def require_part(path: Path) -> None:
    """FormatError when a file of a key folder is not there."""
    if not path.is_file():
        raise FormatError(
            "this part of the key is not there",
            where=str(path),
            next_step="give the folder of a key, fetch the whole key, or run `zkpot setup`",
        )


def _read(path: Path, max_bytes: int) -> bytes:
    """A whole part. Raises FormatError when it is not there or too large, OSError."""
    require_part(path)
    with path.open("rb") as file:
        raw = file.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise FormatError(
            f"it is longer than {max_bytes} bytes",
            where=str(path),
            next_step="copy the key again, or run setup again",
        )
    return raw


def _require_pinned(raw: bytes, digest: bytes, path: Path) -> None:
    if sha256(raw).digest() != digest:
        raise KeyMismatch(
            f"{path.name} is not the one that {VERIFYING_NAME} beside it names",
            next_step="copy the whole key again from whom you trust, and compare its digest",
        )
