"""From a ceremony that has ended to a key, and from a key back to its ceremony."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from kernels.backend import Backend
from prover.ceremony.beacon_limit import DEFAULT_EXPONENT_LIMIT
from prover.ceremony.own.check import require_chain, require_contributors, require_secret
from prover.ceremony.own.record import Transcript
from prover.errors import CeremonyInvalid
from prover.keys.folder import TRANSCRIPT_NAME, require_part
from prover.keys.halves import VerifyingKey


def make_verifying(transcript: Transcript, card_digest: bytes) -> VerifyingKey:
    """The verifying half of the key that a ceremony ends with; nothing is verified.

    card_digest : sha256 of circuit.json, which may name any multipliers: no point depends on them
    """
    head, anchors = transcript.head, transcript.anchors
    return VerifyingKey(
        circuit_digest=head.circuit_digest,
        card_digest=card_digest,
        proving_digest=transcript.state,
        ceremony_digest=transcript.digest,
        n_challenges=head.n_challenges,
        alpha=head.alpha,
        public=head.public,
        beta=head.beta,
        delta=anchors.delta,
        delta_a=anchors.delta_a,
        links=anchors.links,
    )


def read_transcript(path: Path) -> Transcript:
    """The transcript of a file. Raises FormatError, OSError."""
    return Transcript.decode(_read(path), where=str(path))


def _read(path: Path) -> bytes:
    require_part(path)
    with path.open("rb") as file:
        return file.read(Transcript.MAX_BYTES + 1)


def require_ceremony(
    directory: Path,
    key: VerifyingKey,
    backend: Backend,
    *,
    exponent_limit: int = DEFAULT_EXPONENT_LIMIT,
) -> Transcript:
    """The ceremony behind a key: its transcript, which lies beside it, whose chain led to it.

    What this does not ask is whether the first key was the circuit's, made of powers that many
    parties made, and whether the proving half is right: that takes the powers (`zkpot ceremony
    verify`), and is the same for all, so a digest of a key that was verified once can be pinned.
    raises : CeremonyInvalid, FormatError, OSError
    """
    path, raw = directory / TRANSCRIPT_NAME, b""
    if key.is_of_ceremony:
        raw = _read(path)
    return require_transcript(raw, key, backend, exponent_limit=exponent_limit, where=str(path))


def require_transcript(
    raw: bytes,
    key: VerifyingKey,
    backend: Backend,
    *,
    exponent_limit: int = DEFAULT_EXPONENT_LIMIT,
    where: str | None = None,
) -> Transcript:
    """The transcript of these bytes, which a key names, whose chain led to the key.

    raises : as `require_ceremony`
    """
    if not key.is_of_ceremony:
        raise CeremonyInvalid("the key is of one party's setup, which could forge proofs")
    if sha256(raw).digest() != key.ceremony_digest:
        raise CeremonyInvalid("the transcript is not the one that the key names")
    transcript = Transcript.decode(raw, where=where)
    require_contributors(transcript)
    require_secret(require_chain(transcript, backend, exponent_limit=exponent_limit))
    if make_verifying(transcript, key.card_digest).digest != key.digest:
        raise CeremonyInvalid("the transcript leads to another key")
    return transcript
