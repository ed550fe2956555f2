"""What others have published about the networks that `zkpot bench cnn` proves, with conditions.

No figure here was measured by us. Where two conditions differ from ours the table says both: a
reader must not take a ratio across machines for more than an order of magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One system's figures for one network.

    seconds             : for one sample
    private, hiding     : whether weights are secret, whether the proof is zero knowledge
    memory, verify, proof : as texts with their units; "?" where the source does not say
    conditions          : machine, what was left out, who measured
    """

    network: str
    system: str
    seconds: float
    threads: str
    memory: str = UNKNOWN
    verify: str = UNKNOWN
    proof: str = UNKNOWN
    private: str = UNKNOWN
    hiding: str = UNKNOWN
    conditions: str


MLP = "mlp-784-2000-60-4000-10"
_ONE_TABLE = "the table of Bionetta's README"

PUBLISHED = (
    Published(
        network=MLP,
        system="Bionetta",
        seconds=3.05,
        threads="16",
        memory="0.27 GB",
        verify="10 ms",
        private="no",
        hiding="yes",
        conditions=f"{_ONE_TABLE}; a circuit for these weights, which are public",
    ),
    Published(
        network=MLP,
        system="zkCNN",
        seconds=3.45,
        threads="16",
        memory="1.0 GB",
        verify="1.0 s",
        private="yes",
        conditions=_ONE_TABLE,
    ),
    Published(
        network=MLP,
        system="DeepProve",
        seconds=3.66,
        threads="16",
        memory="1.6 GB",
        verify="0.52 s",
        conditions=_ONE_TABLE,
    ),
    Published(
        network=MLP,
        system="zkml",
        seconds=1_100,
        threads="16",
        memory="40 GB",
        verify="10 ms",
        conditions=_ONE_TABLE,
    ),
    Published(
        network=MLP,
        system="ezkl",
        seconds=1_310,
        threads="16",
        memory="21 GB",
        verify="5.4 s",
        conditions=_ONE_TABLE,
    ),
    Published(
        network="lenet5",
        system="zkCNN",
        seconds=0.56,
        threads="1",
        proof="71 KB",
        private="yes",
        hiding="not fully",
        conditions="a third party's rerun: 0.30 s and 0.26 s of commitment",
    ),
    Published(
        network="lenet-small",
        system="ZEN",
        seconds=41.2,
        threads=UNKNOWN,
        verify="0.80 s",
        private="yes",
        hiding="yes",
        conditions="its paper, Groth16 on BLS12-381, 2.00 M rows; its circuit is unsound",
    ),
)
