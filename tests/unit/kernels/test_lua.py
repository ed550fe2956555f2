"""Scripts in Lua files: what is put together from their declarations, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernels.lua import Scripts, load_script


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "include").mkdir()
    (tmp_path / "include/base.lua").write_text("---@param prefix string\n-- base\n")
    (tmp_path / "include/more.lua").write_text("---@include base\n---@key jobs string\n-- more\n")
    (tmp_path / "act.lua").write_text(
        "-- Acts.\n---@include more\n---@include base\n---@param n number\n"
        "---@param ids string[]   all\nreturn n\n"
    )
    return tmp_path


class Server:
    """Remembers what it is asked."""

    def __init__(self) -> None:
        self.sources: list[str] = []
        self.calls: list[tuple[list[Any], list[Any]]] = []

    def register_script(self, source: str) -> Callable[..., str]:
        self.sources.append(source)

        def run(keys: list[Any], args: list[Any]) -> str:
            self.calls.append((keys, args))
            return "answer"

        return run


def test_included_files_come_once_and_first(folder: Path) -> None:
    script = load_script(folder, "act")
    assert (script.keys, script.params) == (("jobs",), ("prefix", "n", "ids"))
    lines = [line for line in script.source.splitlines() if not line.startswith("---@")]
    assert lines == [
        "local prefix = ARGV[1]; ",
        "-- base",
        "local jobs = KEYS[1]; ",
        "-- more",
        "local n = tonumber(ARGV[2]); local ids = {unpack(ARGV, 3)}; ",
        "-- Acts.",
        "return n",
    ]


def test_arguments_are_given_by_name(folder: Path) -> None:
    server = Server()
    scripts = Scripts(server, folder, prefix="p:")
    for _ in range(2):
        assert scripts.run("act", ids=["a", "b"], n=3, jobs="j") == "answer"
    assert server.calls == [(["j"], ["p:", 3, "a", "b"])] * 2
    assert len(server.sources) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"ids": [], "n": 1}, "jobs is missing"),
        ({"jobs": "j", "ids": []}, "n is missing"),
        ({"ids": [], "n": 1, "jobs": "j", "more": 1}, "more is unknown"),
    ],
)
def test_other_arguments_are_refused(
    folder: Path, arguments: dict[str, object], named: str
) -> None:
    with pytest.raises(TypeError, match=rf"act\.lua: {named}$"):
        Scripts(Server(), folder, prefix="p:").run("act", **arguments)


@pytest.mark.parametrize("declared", ["---@param n integer", "---@param n"])
def test_a_declaration_without_a_known_type_is_refused(folder: Path, declared: str) -> None:
    (folder / "odd.lua").write_text(f"{declared}\nreturn n\n")
    with pytest.raises(ValueError, match=r"odd\.lua: n has no type"):
        load_script(folder, "odd")
