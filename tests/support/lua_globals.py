"""Names that a Lua 5.1 chunk asks the environment for, read from what the compiler made of it."""

from __future__ import annotations

import struct
from io import BytesIO

HEADER = b"\x1bLua\x51\x00\x01\x04\x08\x04\x08\x00"
"""Of a chunk: little-endian, 4-byte integers, 8-byte sizes, 4-byte instructions, 8-byte numbers."""
GET_GLOBAL, SET_GLOBAL = 5, 7
_CONSTANT_BYTES = {0: 0, 1: 1, 3: 8}  # nil, boolean, number


def find_globals(chunk: bytes) -> tuple[set[str], set[str]]:
    """Globals that are read and those that are set, by `string.dump` of the function."""
    stream = BytesIO(chunk)
    assert stream.read(len(HEADER)) == HEADER
    read, written = set[str](), set[str]()
    _walk(stream, read, written)
    assert stream.read() == b""
    return read, written


def _walk(stream: BytesIO, read: set[str], written: set[str]) -> None:
    """One function with those inside it."""
    _string(stream)
    stream.read(4 + 4 + 4)  # lines; numbers of upvalues, parameters, registers
    code = struct.unpack(f"<{(n := _integer(stream))}I", stream.read(4 * n))
    constants = []
    for _ in range(_integer(stream)):
        kind = stream.read(1)[0]
        constants.append(_string(stream) if kind == 4 else stream.read(_CONSTANT_BYTES[kind]))
    for instruction in code:
        if instruction & 63 in (GET_GLOBAL, SET_GLOBAL):
            names = read if instruction & 63 == GET_GLOBAL else written
            names.add(constants[instruction >> 14].rstrip(b"\0").decode())
    for _ in range(_integer(stream)):
        _walk(stream, read, written)
    stream.read(4 * _integer(stream))  # lines of instructions
    for _ in range(_integer(stream)):  # local variables
        _string(stream)
        stream.read(8)
    for _ in range(_integer(stream)):  # upvalues
        _string(stream)


def _integer(stream: BytesIO) -> int:
    return int.from_bytes(stream.read(4), "little")


def _string(stream: BytesIO) -> bytes:
    return stream.read(int.from_bytes(stream.read(8), "little"))
