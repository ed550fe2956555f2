"""`verification_key.json`, `proof.json`, `public.json` as snarkjs writes and reads them.

A number is a string of decimal digits, below its modulus, with no sign, space or leading zero. A
point of G1 is [x, y, "1"], a point of G2 is [[x0, x1], [y0, y1], ["1", "0"]]; infinity has 0 for
the last coordinate, 1 for y and 0 for x. Members that Groth16 does not need (such as
`vk_alphabeta_12`) are not looked at.

Tools call the curve bn128, BN254, bn-128 or alt_bn128; snarkjs takes what is left of case and
punctuation, and so do we. A key must name it. A proof need not (rapidsnark's does not): it is read
under a key, as a proof over the key's curve, but one that names another curve is refused.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kernels.array import AffineG1, AffineG2, FrArray, G1Array, G2Array
from kernels.bn254 import P, R, X
from kernels.encoding import is_in_subgroup_g2
from kernels.files import write_whole
from kernels.pairing import Fp12, multi_pairing
from kernels.reference import is_on_curve_g1, mul_g1
from prover.errors import FormatError
from prover.formats.checks import require_finite
from prover.keys.plain import PlainKey
from prover.wire.envelope import Groth16Points

MAX_PROOF_BYTES = 1 << 16
MAX_BYTES = 1 << 24  # of a key or of public inputs: some 90,000 points
CURVES = ("bn128", "bn254", "altbn128")

_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII)
# Fuentes-Castaneda, Knapp, Rodriguez-Henriquez: Faster hashing to G2 (SAC 2011), section 5.
_PAIRING_MULTIPLE = 2 * X * (6 * X**2 + 3 * X + 1) % R
_REGENERATE = "export it again with snarkjs"

Path_ = str | os.PathLike[str]


def read_vkey(path: Path_) -> PlainKey:
    """The verifying key of a file, every point on its curve and of order r.

    raises : FormatError; OSError as `open` does
    """
    where = Path(path).name
    value = _read_object(path, MAX_BYTES)
    if "curve" not in value:
        raise _refuse("the curve is not named", where)
    n_public = value.get("nPublic")
    if type(n_public) is not int:
        raise _refuse("nPublic is no integer", where)
    ic = _member(value, "IC", list, where)
    if not ic or len(ic) != n_public + 1:
        raise _refuse(f"IC has {len(ic)} points, nPublic is {n_public}", where)
    key = PlainKey(
        alpha=_parse_g1([value.get("vk_alpha_1")], f"{where}, vk_alpha_1"),
        beta=_parse_g2([value.get("vk_beta_2")], f"{where}, vk_beta_2"),
        gamma=_parse_g2([value.get("vk_gamma_2")], f"{where}, vk_gamma_2"),
        delta=_parse_g2([value.get("vk_delta_2")], f"{where}, vk_delta_2"),
        public=_parse_g1(ic, f"{where}, IC"),
    )
    for name, point in (("alpha", key.alpha), ("beta", key.beta)):
        require_finite(point, where=f"{where}, {name}")
    for name, point in (("gamma", key.gamma), ("delta", key.delta)):
        require_finite(point, where=f"{where}, {name}")
    return key


def write_vkey(path: Path_, key: PlainKey) -> None:
    """Inverse of `read_vkey`, for `snarkjs groth16 verify`."""
    value = {
        "protocol": "groth16",
        "curve": "bn128",
        "nPublic": key.n_public,
        "vk_alpha_1": _format_g1(key.alpha)[0],
        "vk_beta_2": _format_g2(key.beta)[0],
        "vk_gamma_2": _format_g2(key.gamma)[0],
        "vk_delta_2": _format_g2(key.delta)[0],
        "vk_alphabeta_12": _format_gt(_pair_as_snarkjs(key.alpha, key.beta)),
        "IC": _format_g1(key.public),
    }
    write_whole(Path(path), [_encode(value)])


def read_proof(path: Path_) -> Groth16Points:
    """The proof of a file, every point on its curve and of order r.

    raises : FormatError; OSError as `open` does
    """
    where = Path(path).name
    value = _read_object(path, MAX_PROOF_BYTES)
    return Groth16Points(
        a=_parse_g1([value.get("pi_a")], f"{where}, pi_a"),
        b=_parse_g2([value.get("pi_b")], f"{where}, pi_b"),
        c=_parse_g1([value.get("pi_c")], f"{where}, pi_c"),
    )


def encode_proof(proof: Groth16Points) -> bytes:
    """Inverse of `read_proof`: the bytes of the file."""
    value = {
        "pi_a": _format_g1(proof.a)[0],
        "pi_b": _format_g2(proof.b)[0],
        "pi_c": _format_g1(proof.c)[0],
        "protocol": "groth16",
        "curve": "bn128",
    }
    return _encode(value)


def read_public(path: Path_) -> FrArray:
    """Public outputs and inputs, without the constant one: FrArray[n_public].

    raises : FormatError; OSError as `open` does
    """
    where = Path(path).name
    value = _read_json(path, MAX_BYTES)
    if not isinstance(value, list):
        raise _refuse("is no list", where)
    return FrArray.from_ints([_parse_number(v, R, where) for v in value])


def encode_public(public: FrArray) -> bytes:
    """Inverse of `read_public`: the bytes of the file."""
    return _encode([str(v) for v in public.to_ints()])


# -- points ----------------------------------------------------------------------------------------


def _parse_g1(values: Sequence[object], where: str) -> G1Array:
    """Points from their projective triples."""
    points: list[AffineG1 | None] = []
    for value in values:
        x, y, z = (_parse_number(v, P, where) for v in _items(value, 3, where))
        point = None if z == 0 else (x, y)
        if (x, y, z) != ((0, 1, 0) if point is None else (x, y, 1)):
            raise _refuse("a point is not affine", where)
        if not is_on_curve_g1(point):
            raise _refuse(f"point {len(points)} is not on the curve", where)
        points.append(point)
    return G1Array.from_ints(points)


def _parse_g2(values: Sequence[object], where: str) -> G2Array:
    """Points from their projective triples over F_p2."""
    points: list[AffineG2 | None] = []
    for value in values:
        x, y, z = (_parse_pair(v, where) for v in _items(value, 3, where))
        point = None if z == (0, 0) else (x, y)
        if (x, y, z) != (((0, 0), (1, 0), (0, 0)) if point is None else (x, y, (1, 0))):
            raise _refuse("a point is not affine", where)
        if not is_in_subgroup_g2(point):
            raise _refuse(f"point {len(points)} is not in the group G2", where)
        points.append(point)
    return G2Array.from_ints(points)


def _parse_pair(value: object, where: str) -> tuple[int, int]:
    c0, c1 = (_parse_number(v, P, where) for v in _items(value, 2, where))
    return c0, c1


def _format_g1(points: G1Array) -> list[list[str]]:
    affine = points.to_ints()
    return [["0", "1", "0"] if p is None else [str(p[0]), str(p[1]), "1"] for p in affine]


def _format_g2(points: G2Array) -> list[list[list[str]]]:
    zero, one = ["0", "0"], ["1", "0"]
    return [
        [zero, one, zero] if p is None else [[str(c) for c in p[0]], [str(c) for c in p[1]], one]
        for p in points.to_ints()
    ]


def _pair_as_snarkjs(g1: G1Array, g2: G2Array) -> Fp12:
    """e(P, Q)^m = e(m P, Q): its final exponentiation is a multiple m of the exact one."""
    multiples = [mul_g1(_PAIRING_MULTIPLE, p) for p in g1.to_ints()]
    return multi_pairing(G1Array.from_ints(multiples), g2)


def _format_gt(value: Fp12) -> list[list[list[str]]]:
    """The coefficient of u^k v^j w^i at [i][j][k]."""
    return [[[str(value[6 * i + 2 * j + k]) for k in range(2)] for j in range(3)] for i in range(2)]


# -- JSON ------------------------------------------------------------------------------------------


def _refuse(what: str, where: str) -> FormatError:
    return FormatError(what, where=where, next_step=_REGENERATE)


def _parse_number(value: object, modulus: int, where: str) -> int:
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise _refuse("a number is no string of plain decimal digits", where)
    number = int(value)
    if number >= modulus:
        raise _refuse("a number is not below the field's modulus", where)
    return number


def _items(value: object, n: int, where: str) -> list[object]:
    if not isinstance(value, list) or len(value) != n:
        raise _refuse(f"a list of {n} was expected", where)
    return value


def _member(value: dict[str, Any], name: str, kind: type[list[Any]], where: str) -> list[Any]:
    member = value.get(name)
    if not isinstance(member, kind):
        raise _refuse(f"{name} is missing or of another type", where)
    return member


def _read_object(path: Path_, max_bytes: int) -> dict[str, Any]:
    """A JSON object that says it is of Groth16, and of no other curve than BN254."""
    where = Path(path).name
    value = _read_json(path, max_bytes)
    if not isinstance(value, dict):
        raise _refuse("is no JSON object", where)
    if value.get("protocol") != "groth16":
        raise _refuse("the protocol is not groth16", where)
    if "curve" in value and not _is_bn254(value["curve"]):
        raise FormatError(
            f"the curve is none of {', '.join(CURVES)}, which all mean BN254",
            where=where,
            next_step="use a key and a proof over BN254",
        )
    return value


def _is_bn254(name: object) -> bool:
    """Whether a name of a curve, whatever its case and punctuation, means ours."""
    return isinstance(name, str) and _NOT_ALPHANUMERIC.sub("", name.lower()) in CURVES


def _read_json(path: Path_, max_bytes: int) -> object:
    """Any JSON of bounded size whose objects name each member once."""
    where = Path(path).name
    with open(path, "rb") as file:
        raw = file.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise _refuse(f"is longer than {max_bytes} bytes", where)
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=lambda pairs: _unique(pairs, where),
            parse_int=lambda digits: _small_integer(digits, where),
        )
    except ValueError:  # bad UTF-8 or bad JSON; its text would quote the file
        raise _refuse("is no JSON in UTF-8", where) from None
    except RecursionError:  # the parser counts its depth and stops in time
        raise _refuse("is nested too deep", where) from None


def _unique(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _refuse("a name occurs twice in one object", where)
    return value


def _small_integer(digits: str, where: str) -> int:
    if len(digits) > 10:
        raise _refuse("an integer has more than ten digits", where)
    return int(digits)


def _encode(value: object) -> bytes:
    return json.dumps(value, indent=1).encode("ascii")
