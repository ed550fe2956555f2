"""Vectors of secure aggregation: three clients from fixed roots, and all that follows from these.

`python -m tests.support.aggregation_vectors` writes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from consensus.aggregation.circle import Circle, form_circle
from consensus.aggregation.client_side import RoundClient, RoundSecrets
from consensus.aggregation.dispute import make_revelation
from consensus.aggregation.masks import Masker, expand
from consensus.aggregation.secrets import agree_pair_seed, derive_self_seed
from kernels.backend import get_backend
from kernels.numpy_types import Int64Array
from prover.pedersen.commitment import Committer

PATH = Path(__file__).resolve().parents[1] / "vectors" / "aggregation_v1.json"
MODEL: Int64Array = np.array([1, -2, 127])
RHO, WEIGHT = 5, 300
GENESIS, BEACON = bytes(range(32)), b"beacon"


def make_secrets() -> list[RoundSecrets]:
    return [
        RoundSecrets(
            genesis_digest=GENESIS, learning_round=2, client_key=bytes((i,)) * 32, root=root
        )
        for i, root in enumerate(bytes((0xA0 + i,)) * 32 for i in range(3))
    ]


def make_circle() -> Circle:
    return form_circle(
        genesis_digest=GENESIS,
        learning_round=2,
        n_parameters=len(MODEL),
        beacon=BEACON,
        collusion=1,
        keys={s.client_key: s.public for s in make_secrets()},
    )


def make() -> dict[str, Any]:
    """The file's content."""
    masker, circle, secrets = Masker(get_backend("cpu")), make_circle(), make_secrets()
    kept: list[RoundSecrets] = []
    clients = [RoundClient(s, circle, masker=masker, save=kept.append) for s in secrets]
    everyone = frozenset(circle.graph.order)
    deals = {s.client_key: c.deal() for s, c in zip(secrets, clients, strict=True)}
    first, own = secrets[0].client_key, secrets[0].derive()
    seed = agree_pair_seed(circle, first, own.mask_private, secrets[1].client_key)
    payloads = {
        "deal": deals[first],
        "masked": clients[0].mask(MODEL, rho=RHO, weight=WEIGHT, accepted=everyone),
        "unmasking": clients[0].unmask(accepted=everyone, masked=everyone, deals=deals),
        "attestation": clients[0].attest(
            masked=everyone,
            bad=frozenset(),
            committer=Committer(len(MODEL), masker.backend),
        ),
        "revelation": make_revelation(circle, first, own, [secrets[1].client_key]),
        "secrets": kept[-1],
    }
    return {
        "clients": [
            {
                "client_key": s.client_key.hex(),
                "root": s.root.hex(),
                "sigma": str(s.derive().sigma),
                "self_secret": str(s.derive().self_secret),
                "mask_key": s.public.mask_key.hex(),
                "share_key": s.public.share_key.hex(),
            }
            for s in secrets
        ],
        "order": [client.hex() for client in circle.graph.order],
        "self_seed": derive_self_seed(own.self_secret, circle.place).hex(),
        "pair_seed": seed.hex(),
        "stream": [str(x) for x in expand(seed, 4).to_ints()],
        "payloads": {name: payload.encode().hex() for name, payload in payloads.items()},
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=1) + "\n", encoding="ascii")
