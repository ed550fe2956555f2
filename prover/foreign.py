"""Proofs under keys of circom and snarkjs, whose files `prover.formats` reads.

    A = alpha + sum z_k A_k + a delta               B = beta + sum z_k B_k + b delta, in G1 and G2
    C = sum_private z_k C_k + sum_i (a~_i b~_i - c~_i) H_i + b A + a B - a b delta
    e(A, B) = e(alpha, beta) e(sum_public z_k IC_k, gamma) e(C, delta)

It is the proof of `prover.groth16` without committed groups, and with a WHOLE quotient. A zkey has
no matrix C, so a witness that satisfies no circuit of the key gives a proof that does not verify,
and is not returned.

Source: Groth16 (eprint 2016/260); snarkjs 0.7.6, src/groth16_prove.js and groth16_verify.js.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernels.array import FrArray
from kernels.backend import Backend
from prover.errors import KeyMismatch, SelfCheckFailed
from prover.formats.zkey import Zkey
from prover.groth16.plain import verify_plain
from prover.groth16.prove import compute_points
from prover.keys.plain import PlainKey
from prover.progress import StageProgress
from prover.randomness import RandomBytes
from prover.wire.envelope import Groth16Points
from prover.wire.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MadeForeign:
    """A proof that nobody has verified yet: it leaves by `check`, which takes nothing of the
    device."""

    points: Groth16Points
    public: FrArray
    key: PlainKey

    def check(self) -> Groth16Points:
        """The proof; SelfCheckFailed when it does not verify, which is what a wrong witness leads
        to."""
        verdict = verify_plain(self.key, self.public, self.points)
        if verdict is not Verdict.VALID:
            raise SelfCheckFailed(
                verdict.value,
                next_step="the witness most likely solves another circuit than this key's, or "
                "none: make it again (`snarkjs wtns calculate`), compare it with the circuit "
                "(`snarkjs wtns check`), or prove again on another device",
            )
        return self.points


def prove_foreign(
    zkey: Zkey,
    witness: FrArray,
    *,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress | None = None,
) -> Groth16Points:
    """A proof for all wires of the circuit, [n_wires], verified before it is returned.

    raises : as `make_foreign`; SelfCheckFailed
    """
    return make_foreign(
        zkey, witness, random_bytes=random_bytes, backend=backend, progress=progress
    ).check()


def make_foreign(
    zkey: Zkey,
    witness: FrArray,
    *,
    random_bytes: RandomBytes,
    backend: Backend,
    progress: StageProgress | None = None,
) -> MadeForeign:
    """A proof for all wires of the circuit, [n_wires], not verified.

    zkey         : for many proofs, its key prepared by `prover.groth16.prove.prepare`
    witness      : of the host, where it stays as it is meanwhile
    random_bytes : cryptographic; zero knowledge rests on it
    raises       : KeyMismatch for a witness of another circuit
    """
    key = zkey.key
    try:
        points = compute_points(
            key,
            zkey.circuit,
            witness,
            blindings=(),
            rho_a=0,
            random_bytes=random_bytes,
            backend=backend,
            progress=progress,
        )
    except KeyMismatch as error:
        raise KeyMismatch(
            error.what, next_step="use the .zkey and the .wtns of one circuit"
        ) from None
    return MadeForeign(points=points, public=witness[1 : 1 + key.n_public], key=key.verifying)
