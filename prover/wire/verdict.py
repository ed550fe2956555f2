"""What a verifier says about bytes it did not make. Every byte string gets one of these."""

from enum import StrEnum


class Verdict(StrEnum):
    """The outcome of `prover.groth16.verify.verify`; exactly one of them means "accepted"."""

    VALID = "valid"
    MALFORMED = "malformed"  # not an envelope, or a point in no canonical encoding
    NOT_ON_CURVE = "not_on_curve"
    WRONG_SUBGROUP = "wrong_subgroup"  # B on the twist, but of another order than r
    WRONG_KEY = "wrong_key"  # the statement names another verifying key
    WRONG_STATEMENT = "wrong_statement"  # not a statement this verifier asked about
    PAIRING_FAILED = "pairing_failed"
