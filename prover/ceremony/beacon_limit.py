"""How many hashes the beacons of a file may ask a verifier to repeat."""

from __future__ import annotations

from prover.ceremony.draws import MIN_EXPONENT
from prover.formats.contributions import Origin

DEFAULT_EXPONENT_LIMIT = 24
"""Beacons of 2^24 hashes take some ten seconds to repeat."""
BEACON_BYTES = 255
"""Of a beacon, at most."""


class BeaconLimit:
    """At most 2^exponent hashes for all beacons of a file together.

    holds : together, since the same beacon again costs whoever writes the file nothing
    """

    def __init__(self, exponent: int) -> None:
        self._exponent, self._n_left = exponent, 1 << exponent

    def take(self, origin: Origin) -> str | None:
        """Takes the hashes of an origin from what is left; what is wrong where there are fewer."""
        return None if origin.exponent is None else self.take_hashes(origin.exponent)

    def take_hashes(self, exponent: int) -> str | None:
        """Takes 2^exponent hashes likewise."""
        if exponent < MIN_EXPONENT or 1 << exponent > self._n_left:
            return (
                f"is by a beacon of 2^{exponent} hashes, and the limits are "
                f"2^{MIN_EXPONENT} and, for all beacons together, 2^{self._exponent}"
            )
        self._n_left -= 1 << exponent
        return None
