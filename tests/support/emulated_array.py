"""`EmulatedArray`: NumPy's arrays, as strict and as costly as a device's."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support.cuda_meter import METER
from tests.support.cuda_order import ORDER
from tests.support.emulated_memory import current

IN_CUPY = frozenset(
    {"argwhere", "concatenate", "cumsum", "flatnonzero", "take_along_axis", "zeros_like"}
)  # looked up in cupy 14.2

OF_UNKNOWN_LENGTH = frozenset({"argwhere", "flatnonzero"})
"""The host waits for how long the result is."""


class EmulatedArray(np.ndarray[Any, Any]):
    """An array of the device, which meets host arrays no more than cupy's does: numbers of its type
    it takes, arrays and their items it refuses, and functions that cupy has not."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc is not np.equal:  # tests compare
            refuse_host_arrays(ufunc.__name__, (*inputs, *options.values()))
        _refuse_wide_numbers(inputs)
        _note(ufunc.__name__, reads=inputs, writes=options.get("out", ()))
        found = getattr(ufunc, method)(*_plain(inputs), **_plain(options))
        return _given(options) if "out" in options else _new(found)

    def __array_function__(self, func: Any, types: Any, args: Any, options: Any) -> Any:
        if func.__name__ not in IN_CUPY:
            raise TypeError(f"{func.__name__}: not known to be a function of cupy")
        refuse_host_arrays(func.__name__, (*args, *options.values()))
        waits = func.__name__ in OF_UNKNOWN_LENGTH
        _note(func.__name__, reads=args, writes=options.get("out", ()), waits=waits)
        found = func(*_plain(args), **_plain(options))
        return _given(options) if "out" in options else _new(found)

    def __getitem__(self, key: Any) -> Any:
        refuse_host_arrays("getitem", key if isinstance(key, tuple) else (key,))
        if any(
            isinstance(part, np.ndarray) for part in (key if isinstance(key, tuple) else (key,))
        ):
            _note("take", reads=(self, key))  # anything else is a view
            return _new(_plain(self)[_plain(key)])
        return _view(_plain(self)[_plain(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        refuse_host_arrays("setitem", key if isinstance(key, tuple) else (key,))
        refuse_host_arrays("setitem", (value,))
        _note("put", reads=(key, value), writes=(self,))
        _plain(self)[_plain(key)] = _plain(value)

    def astype(self, *args: Any, **options: Any) -> Any:
        _note("astype", reads=(self,))
        return _new(_plain(self).astype(*args, **options))

    def copy(self, *args: Any, **options: Any) -> Any:
        _note("copy", reads=(self,))
        return _new(_plain(self).copy(*args, **options))

    def __int__(self) -> int:
        METER.bring_down(self.nbytes)
        ORDER.note("item", reads=(self,))
        ORDER.wait_on_host()
        return int(_plain(self))

    def __bool__(self) -> bool:
        METER.bring_down(self.nbytes)
        ORDER.note("item", reads=(self,))
        ORDER.wait_on_host()
        return bool(_plain(self))


def _note(operation: str, *, reads: Any = (), writes: Any = (), waits: bool = False) -> None:
    """One operation; on a tape it would be missing."""
    METER.note(operation, waits=waits)
    ORDER.note(operation, reads=_arrays(reads), writes=_arrays(writes))
    tape = current().arenas.tape
    if tape is not None and not tape.is_spoiled:
        raise TypeError(f"{operation}: an operation on arrays is no launch that a tape has")


def _arrays(value: Any) -> list[Any]:
    """The device's among values, however nested."""
    if isinstance(value, EmulatedArray):
        return [value]
    return [a for v in value for a in _arrays(v)] if isinstance(value, list | tuple) else []


def refuse_host_arrays(what: str, arguments: Any) -> None:
    for argument in arguments:
        if isinstance(argument, list | tuple):
            refuse_host_arrays(what, argument)
        elif isinstance(argument, np.ndarray) and not isinstance(argument, EmulatedArray):
            raise TypeError(f"{what}: an array of the host meets one of the device")


def refuse_device_array(host: Any) -> None:
    """NumPy cannot read cupy's arrays."""
    if isinstance(host, EmulatedArray):
        raise TypeError("an array of the device is no array of the host")


def _refuse_wide_numbers(inputs: Any) -> None:
    """cupy stores a Python int in the type of the array that it meets, comparisons included."""
    types = {x.dtype.type for x in inputs if isinstance(x, np.ndarray) and x.dtype.kind in "iu"}
    for number in inputs:
        if type(number) is int:
            for integer in types:
                integer(number)  # OverflowError


def _plain(value: Any) -> Any:
    """The same without the guard."""
    if isinstance(value, EmulatedArray):
        return value.view(np.ndarray)
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def _view(value: Any) -> Any:
    """Part of an array of the device; a single number as well."""
    return np.asarray(value).view(EmulatedArray)


def _given(options: dict[str, Any]) -> Any:
    """The array that was written to."""
    out = options["out"]
    return out[0] if isinstance(out, tuple) else out


def _new(value: Any) -> Any:
    """Results of the device's arrays in the device's memory, single numbers as well."""
    if isinstance(value, tuple):
        return tuple(map(_new, value))
    if isinstance(value, np.ndarray | np.generic):
        found = np.asarray(value)
        array = current().allocate(found.shape, found.dtype)
        array[...] = found
        return array.view(EmulatedArray)
    return value
