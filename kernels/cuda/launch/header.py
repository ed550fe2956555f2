"""`src/constants.cuh` from `kernels.bn254`; `python -m kernels.cuda.launch.header` prints it."""

from __future__ import annotations

from kernels.array import words_from_ints
from kernels.bn254 import B1, B2, MONT_BITS, P, R

N_LIMBS = 8
LIMB_BITS = 32


def limbs(value: int) -> list[int]:
    """Little-endian 32-bit limbs."""
    words = words_from_ints([value]).astype("<u8")
    return [int(v) for v in words.view("<u4").ravel()]


def build_header() -> str:
    """The text of `constants.cuh`."""
    parts = [
        "// Written by kernels/cuda/launch/header.py from kernels/bn254.py; a test compares them.",
        "",
        "#pragma once",
        '#include "platform.cuh"',
        "",
        *_modulus("ModulusP", "coordinates: F_p", P),
        "",
        *_modulus("ModulusR", "scalars: F_r", R),
        "",
        "// The constants of the curves, times 2^256 mod p.",
        *_constant("b1", B1 << MONT_BITS),
        *_constant("b2_c0", B2[0] << MONT_BITS),
        *_constant("b2_c1", B2[1] << MONT_BITS),
    ]
    return "\n".join(parts) + "\n"


def _modulus(name: str, comment: str, modulus: int) -> list[str]:
    return [
        f"struct {name} {{  // {comment}",
        *_function("modulus", "", modulus),
        *_function("twice", "2 * modulus", 2 * modulus),
        *_function(
            "one", "2^256 mod modulus: the Montgomery form of 1", (1 << MONT_BITS) % modulus
        ),
        *_function("square", "2^512 mod modulus", (1 << 2 * MONT_BITS) % modulus),
        *_function("less_two", "modulus - 2: the exponent of an inverse", modulus - 2),
        f"    static constexpr u32 M0 = 0x{-pow(modulus, -1, 1 << 32) % (1 << 32):08x};"
        "  // -1/modulus mod 2^32",
        "};",
    ]


def _constant(name: str, value: int) -> list[str]:
    return [line.removeprefix("    ") for line in _function(f"limb_{name}", "", value % P)]


def _function(name: str, comment: str, value: int) -> list[str]:
    values = limbs(value)
    cases = ", ".join(f"0x{v:08x}" for v in values[:4]), ", ".join(f"0x{v:08x}" for v in values[4:])
    head = "static " if not name.startswith("limb_") else ""
    return [
        *([f"    // {comment}"] if comment else []),
        f"    {head}ZK_DEVICE constexpr u32 {name}(int i) {{",
        f"        constexpr u32 limbs[8] = {{{cases[0]},",
        f"                                   {cases[1]}}};",
        "        return limbs[i];",
        "    }",
    ]


if __name__ == "__main__":
    print(build_header(), end="")
