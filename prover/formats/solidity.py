"""A Solidity contract that verifies Groth16 proofs of one key, by Ethereum's precompiles.

It computes X = IC_0 + sum_i s_i IC_i by ECMUL and ECADD (EIP-196), then asks ECPAIRING (EIP-197)
whether

    e(-A, B) e(alpha, beta) e(X, gamma) e(C, delta) = 1            (Groth16, eprint 2016/260)

The precompiles refuse coordinates that are not below p, points off their curves, and points of G2
of another order; the contract refuses inputs that are not below r, which would be second names of
others. Arguments are those of `snarkjs zkey export soliditycalldata`: of G2 the coefficient of u
comes first.
"""

from __future__ import annotations

import re

from kernels.array import G2Array
from kernels.bn254 import P, R
from prover.errors import FormatError
from prover.keys.plain import PlainKey

MAX_INPUTS = 192
"""A contract has 24,576 bytes (EIP-170), of which an input takes about a hundred."""
GAS = (181_000, 6_150)
"""What the precompiles take: of a proof, and of each public input (EIP-1108)."""
_MOVE_GAS = 500  # more than what a point is arranged for, and its precompile called
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,63}", re.ASCII)

_CONTRACT = """// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// Verifies Groth16 proofs over BN254 of one circuit with {n} public inputs (eprint 2016/260).
/// Whoever knows the trapdoor of the key can prove anything under it.
contract {name} {{
    uint256 private constant P = {p};
    uint256 private constant R = {r};

    /// Whether the proof (a, b, c) holds for the public inputs. False for any other arguments.
    /// Reverts where the gas is too little for an answer.
    /// Of b the coefficients of u come first: [[x1, x0], [y1, y0]].
    function verifyProof(
        uint256[2] calldata a,
        uint256[2][2] calldata b,
        uint256[2] calldata c,
        uint256[{n}] calldata inputs
    ) external view returns (bool valid) {{
        assembly ("memory-safe") {{
            // Adds s (x, y) to the point at `at`, with 0x60 bytes of room behind it.
            function accumulate(at, x, y, s) -> ok {{
                mstore(add(at, 0x40), x)
                mstore(add(at, 0x60), y)
                mstore(add(at, 0x80), s)
                ok := and(
                    staticcall(gas(), 6, at, 0x80, at, 0x40),
                    staticcall(gas(), 7, add(at, 0x40), 0x60, add(at, 0x40), 0x40)
                ) // the right one is evaluated first
                ok := and(ok, lt(s, R))
            }}
            function put_g2(at, x1, x0, y1, y0) {{
                mstore(at, x1)
                mstore(add(at, 0x20), x0)
                mstore(add(at, 0x40), y1)
                mstore(add(at, 0x60), y0)
            }}
            // A precompile without its gas fails as for a point that is none: whoever calls
            // would choose the answer.
            if lt(gas(), {least_gas}) {{ revert(0, 0) }}
            let free := mload(0x40)
            let sum := add(free, 0x180) // where the pairing takes X
            mstore(sum, {x0})
            mstore(add(sum, 0x20), {y0})
            valid := lt(calldataload(add(a, 0x20)), P)
{terms}
            // -A, B
            mstore(free, calldataload(a))
            mstore(add(free, 0x20), mod(sub(P, calldataload(add(a, 0x20))), P))
            calldatacopy(add(free, 0x40), b, 0x80)
            // alpha, beta
            mstore(add(free, 0xc0), {alpha[0]})
            mstore(add(free, 0xe0), {alpha[1]})
            put_g2(add(free, 0x100), {beta})
            // X, gamma
            put_g2(add(sum, 0x40), {gamma})
            // C, delta
            calldatacopy(add(free, 0x240), c, 0x40)
            put_g2(add(free, 0x280), {delta})
            mstore(0, 0) // what is read where nothing answers: a chain without the precompile
            valid := and(valid, staticcall(gas(), 8, free, 0x300, 0, 0x20))
            valid := and(valid, eq(mload(0), 1))
        }}
    }}
}}
"""


def write_contract(key: PlainKey, *, name: str = "Groth16Verifier") -> str:
    """The source of a contract with `verifyProof(a, b, c, inputs)`, for Solidity 0.8.20 and later.

    raises : FormatError for more than `MAX_INPUTS` public inputs, or a name that is no identifier
    """
    require_name(name)
    if not 1 <= key.n_public <= MAX_INPUTS:
        raise FormatError(
            f"{key.n_public} public inputs; a contract has room for 1 to {MAX_INPUTS}",
            where="key",
            next_step="hash the inputs in the circuit, and make the digest public",
        )
    public = key.public.to_ints()
    (x0, y0), *bases = [point or (0, 0) for point in public]
    terms = [
        f"            valid := and(valid, accumulate(sum, {show_word(x)}, {show_word(y)}, "
        f"calldataload(add(inputs, {32 * i:#x}))))"
        for i, (x, y) in enumerate(bases)
    ]
    (alpha,) = key.alpha.to_ints()
    assert alpha is not None, "alpha is no identity"
    beta, gamma, delta = show_g2(G2Array.concat([key.beta, key.gamma, key.delta]))
    pairing, each = GAS
    return _CONTRACT.format(
        name=name,
        n=key.n_public,
        least_gas=count_least_gas(each * key.n_public, pairing, n_points=2 * key.n_public + 5),
        p=show_word(P),
        r=show_word(R),
        x0=show_word(x0),
        y0=show_word(y0),
        terms="\n".join(terms),
        alpha=tuple(map(show_word, alpha)),
        beta=beta,
        gamma=gamma,
        delta=delta,
    )


def count_least_gas(sums: int, pairing: int, *, n_points: int) -> int:
    """What has to be left before the sums, so that no precompile fails for want of gas.

    sums, pairing : what the precompiles take; a call is given 63 parts of 64 (EIP-150)
    n_points      : that are arranged, or computed
    """
    return sums + -(-pairing * 64 // 63) + _MOVE_GAS * n_points


def require_name(name: str) -> None:
    """Raises FormatError for a name of a contract that is no identifier."""
    if not _NAME.fullmatch(name):
        raise FormatError(f"{name!r} is no name of a contract", where="name", next_step="rename it")


def show_word(number: int) -> str:
    """A literal of a whole word."""
    return f"{number:#066x}"


def show_g2(points: G2Array) -> list[str]:
    """Coordinates of each as the precompile takes them, those of u first; zeros for infinity."""
    shown = []
    for point in points.to_ints():
        (x0, x1), (y0, y1) = point or ((0, 0), (0, 0))
        shown.append(", ".join(map(show_word, (x1, x0, y1, y0))))
    return shown
