"""Scripts that a Redis server runs in one step, in Lua files that declare what they take.

    -- Appends a message to a stream.
    ---@include basics
    ---@key stream string         of the chain
    ---@param message string      its bytes
    ---@param n_kept number       entries to keep, about
    ---@return string             the id of the entry

A script is the files that it includes, each once and before whoever includes it, and then its own.
Its declarations become its first line, `local message, n_kept = ARGV[1], tonumber(ARGV[2])`, so
neither side counts positions; those of included files come first. A `number` is parsed, a
`string[]`, which stands last, is the list of all that follows, and everything else is text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

INCLUDES = "include"
"""Folder of the files that scripts include, beside the scripts."""
_DECLARATION = re.compile(r"^---@(include|key|param) (\w+)(?: (\S+))?", re.MULTILINE)
_READERS = {"string": "{}[{}]", "number": "tonumber({}[{}])", "string[]": "{{unpack({}, {})}}"}


@dataclass(frozen=True, slots=True)
class Script:
    """A script as the server gets it, and the names of what it takes, in their order.

    lists : those that stand for all that follow
    """

    source: str
    keys: tuple[str, ...]
    params: tuple[str, ...]
    lists: frozenset[str]


class Scripts:
    """The scripts of a folder on one server, called by name."""

    def __init__(self, redis: Any, folder: Path, **fixed: object) -> None:
        """fixed : arguments of every call"""
        self._redis, self._folder, self._fixed = redis, folder, fixed
        self._ready: dict[str, tuple[Script, Any]] = {}

    def run(self, name: str, **arguments: Any) -> Any:
        """What the script answers. Raises redis.RedisError, and TypeError unless the arguments are
        those that it declares, keys and parameters alike."""
        script, call = self._ready.get(name) or self._register(name)
        given = self._fixed | arguments
        try:
            keys, params = _pick(script, script.keys, given), _pick(script, script.params, given)
        except KeyError as error:
            raise TypeError(f"{name}.lua: {error.args[0]} is missing") from None
        if len(given) > len(script.keys) + len(script.params):
            unknown = sorted(given.keys() - {*script.keys, *script.params})
            raise TypeError(f"{name}.lua: {', '.join(unknown)} is unknown")
        return call(keys=keys, args=params)

    def _register(self, name: str) -> tuple[Script, Any]:
        script = load_script(self._folder, name)
        self._ready[name] = script, self._redis.register_script(script.source)
        return self._ready[name]


@cache
def load_script(folder: Path, name: str) -> Script:
    """The script `name`.lua of a folder. Raises OSError, and ValueError for a declaration of
    another kind."""
    names: dict[str, list[str]] = {"key": [], "param": []}
    lists = set[str]()
    parts: dict[Path, str] = {}

    def add(path: Path) -> None:
        text, first = path.read_text("utf-8"), ""
        for kind, declared, type_name in _DECLARATION.findall(text):
            if kind == "include":
                included = folder / INCLUDES / f"{declared}.lua"
                if included not in parts:
                    add(included)
                continue
            if type_name not in _READERS:
                raise ValueError(f"{path.name}: {declared} has no type that scripts know")
            names[kind].append(declared)
            if type_name == "string[]":
                lists.add(declared)
            table = "KEYS" if kind == "key" else "ARGV"
            value = _READERS[type_name].format(table, len(names[kind]))
            first += f"local {declared} = {value}; "
        parts[path] = f"{first}\n{text}"

    add(folder / f"{name}.lua")
    return Script(
        "".join(parts.values()), tuple(names["key"]), tuple(names["param"]), frozenset(lists)
    )


def _pick(script: Script, names: tuple[str, ...], given: dict[str, Any]) -> list[Any]:
    """The arguments of these names, in their order. Raises KeyError."""
    values = [given[name] for name in names]
    if names and names[-1] in script.lists:
        values[-1:] = values[-1]
    return values
