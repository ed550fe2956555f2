"""Declared records: a class says by its fields' types what its bytes are and what it refuses.

    record = HEADER | fields in the order of the class; each its length, 4 bytes little-endian,
             and its bytes

A field's type names its kind (`prover.wire.kinds`): `Annotated[bytes, Bytes(32)]`, another record,
or a union of records. A class with a field of no kind cannot be declared. Kinds are asked once,
when a record is made, and decoding makes it: no record is out of its ranges, wherever it comes
from. `BARE` drops a field's length, `WITH_NEXT` puts it under one length with the field after it.
One record has one encoding, and every other byte string is refused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, auto
from hashlib import sha256
from inspect import get_annotations
from types import UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Self,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from prover.errors import FieldInvalid, FormatError

LENGTH_BYTES = 4
SEAL_BYTES = 32
T = TypeVar("T")


class Layout(Enum):
    """How a field departs from length and bytes."""

    BARE = auto()
    WITH_NEXT = auto()


BARE, WITH_NEXT = Layout.BARE, Layout.WITH_NEXT


class Kind(ABC, Generic[T]):
    """What a field may be, and its bytes.

    base  : type of the values, which an annotation with this kind must have
    width : of every encoding, bytes; None when they differ
    ends_itself : whether `take` knows where an encoding ends without a width
    """

    base: Any = None
    width: int | None = None
    ends_itself: bool = False

    def bind(self, base: Any) -> Kind[T]:
        """The kind for this annotated type. TypeError when it is a kind of other values."""
        if base != self.base:
            raise TypeError(f"{type(self).__name__} is no kind of {base}")
        return self

    @abstractmethod
    def find_fault(self, value: T) -> str | None:
        """Why a record cannot have this value, never naming it; None when it can."""

    @abstractmethod
    def encode(self, value: T) -> bytes:
        """The bytes of a value without fault."""

    @abstractmethod
    def decode(self, raw: bytes) -> T:
        """Inverse of `encode`. FieldInvalid for bytes that no value has; ranges are not asked."""

    def take(self, raw: bytes, at: int) -> tuple[T, int]:
        """The value whose bytes begin here without a length, all that is left when they have no
        fixed width, and where they end. Raises FieldInvalid."""
        end = len(raw) if self.width is None else at + self.width
        if end > len(raw):
            raise FieldInvalid("is cut short")
        return self.decode(raw[at:end]), end


# -- field lists -----------------------------------------------------------------------------------


def header(magic: bytes, version: int) -> bytes:
    """The header of a file: magic, and the version in 2 bytes little-endian."""
    return magic + version.to_bytes(2, "little")


def encode_fields(fields: Iterable[bytes]) -> bytes:
    """Each field as its length and its bytes."""
    return b"".join([len(f).to_bytes(LENGTH_BYTES, "little") + f for f in fields])


def split_fields(raw: bytes, most: int) -> list[bytes]:
    """Inverse of `encode_fields`. FieldInvalid for bytes cut short, or more than `most` fields."""
    fields: list[bytes] = []
    at = 0
    while at < len(raw):
        if len(fields) == most:
            raise FieldInvalid(f"has more than {most} elements")
        field, at = _take(raw, at)
        fields.append(field)
    return fields


def _take(raw: bytes, at: int) -> tuple[bytes, int]:
    """The field that begins here, and where the next one does."""
    start = at + LENGTH_BYTES
    end = start + int.from_bytes(raw[at:start], "little")
    if end > len(raw):
        raise FieldInvalid("is cut short")
    return raw[start:end], end


# -- cells: where the fields lie -------------------------------------------------------------------


class _Cell:
    """One field with its length."""

    def __init__(self, name: str, kind: Kind[Any]) -> None:
        self.name, self.kind = name, kind
        self._encode, self._decode = kind.encode, kind.decode  # bound once: a node's hot path

    def write(self, record: Record) -> bytes:
        raw = self._encode(getattr(record, self.name))
        return len(raw).to_bytes(LENGTH_BYTES, "little") + raw

    def read(self, raw: bytes, at: int, values: dict[str, Any]) -> int:
        """Adds the field that begins here; where the next cell does. Raises FieldInvalid."""
        field, end = _take(raw, at)
        values[self.name] = self._decode(field)
        return end


class _Bare(_Cell):
    """One field without a length: of a fixed width, a record's fields, or all that is left."""

    def write(self, record: Record) -> bytes:
        return self._encode(getattr(record, self.name))

    def read(self, raw: bytes, at: int, values: dict[str, Any]) -> int:
        values[self.name], end = self.kind.take(raw, at)
        return end


class _Shared(_Cell):
    """Several bare fields under one length."""

    def __init__(self, cells: list[_Bare]) -> None:
        self.name, self._cells = "", cells

    def write(self, record: Record) -> bytes:
        return encode_fields([b"".join([cell.write(record) for cell in self._cells])])

    def read(self, raw: bytes, at: int, values: dict[str, Any]) -> int:
        inside, end = _take(raw, at)
        if _read(self._cells, inside, 0, values) != len(inside):
            raise FieldInvalid("is too long", where=self._cells[-1].name)
        return end


def _read(cells: Sequence[_Cell], raw: bytes, at: int, values: dict[str, Any]) -> int:
    for cell in cells:
        try:
            at = cell.read(raw, at, values)
        except FieldInvalid as error:
            raise error.within(cell.name) from None
    return at


def _lay_out(fields: dict[str, tuple[Kind[Any], Sequence[Any]]]) -> Iterator[_Cell]:
    """The cells of fields, by name with kind and layout. TypeError where bytes could not be told
    apart."""
    shared: list[_Bare] = []
    for name, (kind, layouts) in fields.items():
        bare = BARE in layouts or WITH_NEXT in layouts
        is_last = name == [*fields][-1]
        if bare and kind.width is None and not (kind.ends_itself or is_last):
            raise TypeError(f"{name}: a bare field has a fixed width, or is the last")
        elif WITH_NEXT in layouts:
            shared.append(_Bare(name, kind))
        elif shared:
            yield _Shared([*shared, _Bare(name, kind)])
            shared = []
        else:
            yield _Bare(name, kind) if bare else _Cell(name, kind)
    if shared:
        raise TypeError(f"{shared[-1].name}: no field is next")


# -- records ---------------------------------------------------------------------------------------


class Record:
    """Base of frozen dataclasses whose fields have kinds.

    HEADER    : the first bytes: magic and version
    MAX_BYTES : longest encoding that is looked at
    ERROR     : what is raised for other values and bytes
    KINDS     : of the fields, in their order
    """

    __slots__ = ()
    HEADER: ClassVar[bytes] = b""
    MAX_BYTES: ClassVar[int] = 1 << 62
    ERROR: ClassVar[type[FieldInvalid]] = FieldInvalid
    KINDS: ClassVar[dict[str, Kind[Any]]] = {}
    _checks: ClassVar[tuple[tuple[str, Callable[[Any], str | None]], ...]] = ()
    _cells: ClassVar[tuple[_Cell, ...]] = ()

    def __init_subclass__(cls) -> None:
        """TypeError for a field without a kind, and for a class that would go round the checks."""
        if "__post_init__" in cls.__dict__:
            raise TypeError(f"{cls.__name__}: say what holds between fields in check_whole")
        if "_cells" in cls.__dict__:  # of the same class without slots, of which dataclass made it
            return
        # Those of its bases were read with them.
        hints: dict[str, Any] = get_annotations(cls, eval_str=True)
        own = {name: hint for name, hint in hints.items() if get_origin(hint) is not ClassVar}
        if not own:
            return
        if cls.KINDS.keys() - own.keys():
            raise TypeError(f"{cls.__name__}: declare inherited fields again, in their order")
        cls.KINDS = {name: find_kind(hint) for name, hint in own.items()}
        layouts = {name: getattr(hint, "__metadata__", ()) for name, hint in own.items()}
        cls._checks = tuple((name, kind.find_fault) for name, kind in cls.KINDS.items())
        cls._cells = tuple(_lay_out({name: (k, layouts[name]) for name, k in cls.KINDS.items()}))

    def __post_init__(self) -> None:
        for name, find_fault in self._checks:
            what = find_fault(getattr(self, name))
            if what is not None:
                raise self.ERROR(what, where=name)
        self.check_whole()

    def check_whole(self) -> None:
        """Asks what holds between the fields, by `require`."""

    def require(self, holds: bool, what: str) -> None:
        """Raises ERROR(what) unless `holds`."""
        if not holds:
            raise self.ERROR(what)

    def encode(self) -> bytes:
        """The one encoding."""
        return self.HEADER + b"".join([cell.write(self) for cell in self._cells])

    @classmethod
    def read(cls, raw: bytes, at: int) -> tuple[Self, int]:
        """The record whose fields begin here, and where they end. Raises FieldInvalid."""
        values: dict[str, Any] = {}
        end = _read(cls._cells, raw, at, values)
        return cls(**values), end

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Inverse of `encode`. Raises ERROR for every other byte string, saying what and where."""
        try:
            if len(raw) > cls.MAX_BYTES:
                raise FieldInvalid(f"is longer than {cls.MAX_BYTES} bytes")
            if not raw.startswith(cls.HEADER):
                raise FieldInvalid("begins with other bytes: of another kind or version")
            last = cls.find_last(raw)
            found, end = cls.read(raw, len(cls.HEADER))
            if end != last:
                raise FieldInvalid("is longer than its fields")
        except FieldInvalid as error:
            raise cls.ERROR(error.what, where=error.where) from None
        return found

    @classmethod
    def find_last(cls, raw: bytes) -> int:
        """Where the fields of an encoding have to end. Raises FieldInvalid."""
        return len(raw)

    @classmethod
    def decode(cls, raw: bytes) -> Self | None:
        """`parse`, with None for every other byte string."""
        try:
            return cls.parse(bytes(raw))
        except FieldInvalid:
            return None

    def list_values(self) -> dict[str, Any]:
        """Fields by name in their order; in place of a bare record its own."""
        bare = {cell.name for cell in self._cells if isinstance(cell, _Bare)}
        values: dict[str, Any] = {}
        for name in self.KINDS:
            value = getattr(self, name)
            inner = name in bare and isinstance(value, Record)
            values |= value.list_values() if inner else {name: value}
        return values


class Document(Record):
    """A record that is a file of its own: who reads another is told what to do.

    NAME : of the file, in words
    """

    __slots__ = ()
    NAME: ClassVar[str]
    NEXT_STEP: ClassVar[str]

    @classmethod
    def decode(cls, raw: bytes, *, where: str | None = None) -> Self:
        """Inverse of `encode`. Raises FormatError for every other byte string."""
        try:
            return cls.parse(bytes(raw))
        except FieldInvalid as error:
            version = int.from_bytes(cls.HEADER[-2:], "little")
            name = f"{cls.NAME} of version {version}" if cls.HEADER else cls.NAME
            what = f"it is no {name}: {error}"
            raise FormatError(what, where=where or cls.NAME, next_step=cls.NEXT_STEP) from None


class Sealed(Document):
    """A document behind which stands the sha256 of all of its bytes: one that was damaged is
    refused when it is read, and not when a proof of what it holds fails."""

    __slots__ = ()

    def encode(self) -> bytes:
        """The one encoding, its checksum included."""
        parts, seal = [self.HEADER, *(cell.write(self) for cell in self._cells)], sha256()
        for part in parts:
            seal.update(part)
        return b"".join([*parts, seal.digest()])

    @classmethod
    def find_last(cls, raw: bytes) -> int:
        """Before the checksum. Raises FieldInvalid where it is another one."""
        last = max(0, len(raw) - SEAL_BYTES)
        if sha256(memoryview(raw)[:last]).digest() != raw[last:]:
            raise FieldInvalid("was damaged, or cut short: its checksum is another")
        return last


class _Nested(Kind[Record]):
    """A record within a record, of one of several classes that their headers tell apart."""

    def __init__(self, choices: tuple[type[Record], ...]) -> None:
        self.choices = choices
        self.ends_itself = len(choices) == 1 and not choices[0].HEADER

    def find_fault(self, value: Record) -> str | None:
        return None if isinstance(value, self.choices) else "is another class"

    def encode(self, value: Record) -> bytes:
        return value.encode()

    def decode(self, raw: bytes) -> Record:
        for choice in self.choices:
            if raw.startswith(choice.HEADER):
                return choice.parse(raw)
        raise FieldInvalid("begins with other bytes: of another kind or version")

    def take(self, raw: bytes, at: int) -> tuple[Record, int]:
        return self.choices[0].read(raw, at) if self.ends_itself else super().take(raw, at)


def find_kind(hint: Any) -> Kind[Any]:
    """The kind that an annotation names. TypeError when it names none."""
    if get_origin(hint) is Annotated:
        kinds = [extra for extra in hint.__metadata__ if isinstance(extra, Kind)]
        if len(kinds) == 1:
            return kinds[0].bind(hint.__origin__)
        hint = hint.__origin__
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if all(isinstance(choice, type) and issubclass(choice, Record) for choice in choices):
        return _Nested(choices)
    raise TypeError(f"{hint} has no declared kind")
