"""A Solidity contract that verifies proofs of training under one key, by Ethereum's precompiles.

It does with its arguments what `prover.groth16.verify` does with an envelope: encodes the
statement, draws the challenges from it and the proof (`prover.groth16.transcript`) by SHA-256, sums
X = IC_0 + sum_i s_i IC_i over the public inputs, and asks ECPAIRING (EIP-197) once whether

    e(-A, B) e(alpha, beta) e(C, delta) e(D_A, delta_A) e(X + D' - t pi, [1]_2)
        e(t D', C2) prod_g e(t D_g, C1_g) = 1

which is the equation of the proof times the t-th power of that of the link (PROTOCOL section 3).

holds : t is a hash mod r of all bytes of statement and proof, and not zero. All points have order
        r, so where an equation is false, one t at most makes the product one: who tries proofs
        needs about r of them. A verifier with secret randomness needs weights of 128 bits; an EVM
        has none, so t has the whole width.
        Each point is given to a precompile as it came, and they refuse coordinates that are not
        below p, points off their curves, and points of G2 of another order. So x and the sign of
        y, which the transcript has of a point of G1, name it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from string import Template

from kernels.array import G2Array
from kernels.bn254 import G2, P, R
from prover.errors import FormatError
from prover.formats.solidity import count_least_gas, require_name, show_g2, show_word
from prover.groth16.transcript import CHALLENGE_BYTES, DOMAIN
from prover.keys.card import Card, KeyCard
from prover.keys.halves import VerifyingKey
from prover.keys.training_card import ExportCard, StepCard
from prover.wire.statement import MAX_NAME_BYTES
from prover.wire.training import ExportStatement, StepStatement

MAX_TRANSACTION_GAS = 1 << 24
"""EIP-7825."""
_SCALE_GAS, _ADD_GAS, _PAIR_GAS, _CALL_GAS = 6_000, 150, 34_000, 45_000  # EIP-1108
_INPUT_GAS = _SCALE_GAS + _ADD_GAS
_SUM_GAS = 16  # of a product and a sum mod r
_N_PAIRS = 6  # and one of each group
_BLOCK_BYTES, _PAIR_BYTES = 32, 0xC0


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What contracts of one kind of statement have of their own.

    name    : of the contract, unless another one is given
    what    : is proven, and groups : what is committed to, in words
    head    : the first bytes of statements
    numbers : of a statement, behind the digest of the key; public : those that are public inputs
    """

    name: str
    what: str
    groups: str
    head: bytes
    numbers: tuple[str, ...] = ()
    public: tuple[str, ...] = ()


STEP = Kind(
    name="StepVerifier",
    what="steps of training",
    groups="the masters before and after the step, and to its batch",
    head=StepStatement.HEADER,
    numbers=("step", "nReal"),
    public=("nReal",),
)
EXPORT = Kind(
    name="ExportVerifier",
    what="exports of trained models",
    groups="the masters and to the int8 model",
    head=ExportStatement.HEADER,
)


def write_training_contract(key: VerifyingKey, card: Card, *, name: str | None = None) -> str:
    """The source of a contract with `verify(statement, proof)`, for Solidity 0.8.24 and later.

    card   : the key's
    name   : of the contract; None: that of the kind
    raises : FormatError for a key of another statement than those of training and for a name that
             is no identifier, KeyMismatch for a card of another key
    """
    card.require_key(key)
    if isinstance(card, StepCard):
        return _fill(key, STEP, name=name, most=card.recipe.batch_size)
    if isinstance(card, ExportCard):
        return _fill(key, EXPORT, name=name)
    raise _refuse(key, card)


def _refuse(key: VerifyingKey, card: Card) -> FormatError:
    """Why no contract is written for a key of another statement."""
    if isinstance(card, KeyCard):
        n_sums = card.n_samples * prod(card.architecture.input_shape)
        what = (
            f"a proof of accuracy has {key.n_public} public inputs, {key.n_public * _INPUT_GAS:,} "
            f"gas, and they are sums of {n_sums:,} values of its samples, "
            f"{n_sums * _SUM_GAS:,} gas at least, of {MAX_TRANSACTION_GAS:,} that a transaction "
            "may take"
        )
    else:
        what = "a proof of bounds is about a public model, whose commitment no contract computes"
    return FormatError(
        what,
        where="key",
        next_step="let validators verify it, or take a key of training: keys/step, keys/export",
    )


def count_gas(key: VerifyingKey) -> int:
    """What the precompiles of curves take of one proof (EIP-1108)."""
    return _count_sums_gas(key) + _count_pairing_gas(key)


def _count_sums_gas(key: VerifyingKey) -> int:
    n_scaled = key.n_linked + 2  # D_g, D', pi; X takes the last two besides
    return _INPUT_GAS * key.n_public + _SCALE_GAS * n_scaled + 2 * _ADD_GAS


def _count_pairing_gas(key: VerifyingKey) -> int:
    return _PAIR_GAS * (key.n_linked + _N_PAIRS) + _CALL_GAS


def _fill(key: VerifyingKey, kind: Kind, *, name: str | None, most: int = 0) -> str:
    """The template with the key's numbers. most : samples of a batch, where there is one"""
    name = kind.name if name is None else name
    require_name(name)
    n_bytes = CHALLENGE_BYTES * key.n_challenges
    least_gas = count_least_gas(
        _count_sums_gas(key),
        _count_pairing_gas(key),
        n_points=2 * key.n_public + 2 * key.n_linked + _N_PAIRS,
    )
    tag = DOMAIN + bytes([len(DOMAIN)])
    return _read_template().substitute(
        _list_points(key),
        **_write_numbers(kind, most),
        put_fields=_put_fields(kind, key.n_linked),
        name=name,
        what=kind.what,
        groups=kind.groups,
        key=f"0x{key.digest.hex()}",
        head=_show_bytes(kind.head),
        n_head=len(kind.head),
        tag_first=_show_bytes(tag[:32]),
        tag_rest=_show_bytes(tag[32:]),
        block_bytes=33 + len(tag),
        tail_bytes=3 * 32 + 3 + len(tag),
        half_p=show_word(P // 2),
        least_gas=least_gas,
        max_name=MAX_NAME_BYTES,
        n_groups=key.n_linked,
        n_public=key.n_public,
        n_bytes=n_bytes,
        n_blocks=-(-n_bytes // _BLOCK_BYTES),
        challenges_at=f"{32 * len(kind.public):#x}",
        inputs_bytes=f"{32 * key.n_public:#x}",
        commitments_bytes=f"{64 * key.n_linked:#x}",
        p=show_word(P),
        r=show_word(R),
        word=show_word(2**256 % R),
        **{f"mask{bits}": show_word(_mask(bits)) for bits in (8, 16, 32, 64)},
    )


@cache
def _read_template() -> Template:
    return Template(Path(__file__).with_name("verifier.sol.template").read_text())


def _mask(bits: int) -> int:
    """The lower half of every 2 * bits of a word."""
    return sum(((1 << bits) - 1) << at for at in range(0, 256, 2 * bits))


def _write_numbers(kind: Kind, most: int) -> dict[str, str]:
    """Declarations, tests and uses of a statement's numbers. most : samples of a batch"""
    check = f"if (statement.nReal == 0 || statement.nReal > {most}) return false;"
    inputs = (f"inputs[{i}] = statement.{name};" for i, name in enumerate(kind.public))
    return {
        "fields": _indent((f"uint64 {name};" for name in kind.numbers), 8),
        "check_real": _indent([check] if "nReal" in kind.numbers else [], 8),
        "set_numbers": _indent(inputs, 8),
    }


def _put_fields(kind: Kind, n_groups: int) -> str:
    """What puts the fields of a statement behind the digest of the key."""
    numbers = [
        f"to := put_number(to, calldataload({_place('statement', 32 * i)}))"
        for i in range(1, 1 + len(kind.numbers))
    ]
    first = 32 * (1 + len(kind.numbers))
    points = [
        f"to := put_word(to, compress({_place('statement', first + 64 * i)}))"
        for i in range(n_groups)
    ]
    return _indent([*numbers, *points], 12)


def _list_points(key: VerifyingKey) -> dict[str, str]:
    """The key's points as arguments of the contract's functions, and what is done for each."""
    alpha_x, alpha_y = key.alpha.to_ints()[0] or (0, 0)
    (x0, y0), *bases = [point or (0, 0) for point in key.public.to_ints()]
    *c1, c2 = show_g2(key.links)
    inputs = (
        f"add_input(at, {show_word(x)}, {show_word(y)}, mload({_place('inputs', 32 * i)}))"
        for i, (x, y) in enumerate(bases)
    )
    groups = (
        line
        for group, point in enumerate(c1)
        for line in (
            "at := add(at, 0xc0)",
            f"calldatacopy(at, {_place('commitments', 64 * group)}, 0x40)",
            "multiply(at, t)",
            f"put_g2(at, {point})",
        )
    )
    (beta,), (delta,), (delta_a,) = map(show_g2, (key.beta, key.delta, key.delta_a))
    (one,) = show_g2(G2Array.from_ints([G2]))
    return {
        "alpha_x": show_word(alpha_x),
        "alpha_y": show_word(alpha_y),
        "x0": show_word(x0),
        "y0": show_word(y0),
        "beta": beta,
        "delta": delta,
        "delta_a": delta_a,
        "one": one,
        "c2": c2,
        "add_inputs": _indent(inputs, 12),
        "put_groups": _indent(groups, 12),
        "pairs_bytes": f"{_PAIR_BYTES * (key.n_linked + _N_PAIRS):#x}",
    }


def _show_bytes(raw: bytes) -> str:
    """At most 32 bytes, as the first ones of a word."""
    return show_word(int.from_bytes(raw.ljust(32, b"\0"), "big"))


def _place(name: str, offset: int) -> str:
    return f"add({name}, {offset:#x})" if offset else name


def _indent(lines: Iterable[str], width: int) -> str:
    return "".join(f"{' ' * width}{line}\n" for line in lines)
