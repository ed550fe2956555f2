"""The Lua scripts: documented, compiled by a server, called by the names that they declare."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from api.queue import queue
from api.settings import Settings
from api.valkey.embedded import connect
from consensus.node import stream
from kernels.lua import INCLUDES, load_script
from tests.support.lua_globals import find_globals
from tests.support.queue_server import running_server

FIXED = {queue.SCRIPTS: {"prefix"}, stream.SCRIPTS: set[str]()}
SCRIPTS = [(folder, path.stem) for folder in FIXED for path in sorted(folder.glob("*.lua"))]
FILES = [path for folder in FIXED for path in sorted(folder.rglob("*.lua"))]
KNOWN = {"redis", "cjson", "KEYS", "ARGV"} | {
    "ipairs", "math", "string", "tonumber", "tostring", "type", "unpack"
}  # fmt: skip
MAX_LINES = 150


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    folder = tmp_path_factory.mktemp("scripts")
    with running_server(folder), connect(Settings(data_dir=folder)) as client:
        yield client


def list_calls(root: Path, folder: Path) -> Iterator[tuple[str, set[str]]]:
    """(script, names of arguments) of every call of a script of the folder."""
    held = set(load_script(queue.SCRIPTS, "release").params)
    for path in (root / folder.parent).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            match node.func.attr, node.args:
                case ("run", [ast.Constant(value=str(name))]):
                    names = set[str]()
                case ("_stand", [ast.Constant(value=str(name)), _]):
                    names = held
                case _:
                    continue
            own = {k.arg for k in node.keywords if k.arg is not None}
            spread = held if any(k.arg is None for k in node.keywords) else set()
            yield name, names | spread | own | FIXED[folder]


@pytest.mark.parametrize(("folder", "name"), SCRIPTS)
def test_a_script_compiles_and_names_nothing_that_is_not_there(
    redis: Redis, folder: Path, name: str
) -> None:
    """By the server's own compiler: a mistyped name would be found out only when it is reached."""
    source = load_script(folder, name).source
    assert redis.script_load(source)
    chunk = redis.eval("return string.dump(assert(loadstring(ARGV[1])))", 0, source)
    assert isinstance(chunk, bytes)
    read, written = find_globals(chunk)
    assert (read - KNOWN, written) == (set(), set())


def test_a_mistyped_name_is_found(redis: Redis) -> None:
    source = "local a = 1; local function f() return b + a end; c = f() .. string.rep('x', 2)"
    chunk = redis.eval("return string.dump(assert(loadstring(ARGV[1])))", 0, source)
    assert isinstance(chunk, bytes)
    assert find_globals(chunk) == ({"b", "string"}, {"c"})


@pytest.mark.parametrize("folder", FIXED)
def test_every_call_gives_what_its_script_declares(root: Path, folder: Path) -> None:
    called = set()
    for name, given in list_calls(root, folder):
        script = load_script(folder, name)
        assert given == {*script.keys, *script.params}, name
        called.add(name)
    assert called == {path.stem for path in folder.glob("*.lua")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_what_it_is_and_uses_what_it_declares(path: Path) -> None:
    text = path.read_text()
    head, _, code = text.partition("\n\n")
    assert re.match(r"-- [A-Z].{10,}", head)
    assert all(line.startswith("--") for line in head.splitlines())
    assert ("---@return" in head) == (path.parent.name != INCLUDES)
    for name in re.findall(r"^---@(?:key|param) (\w+)", text, re.MULTILINE):
        assert re.search(rf"\b{name}\b", code), name
    lines = text.splitlines()
    assert len(lines) <= MAX_LINES
    assert max(map(len, lines)) <= 100
