"""What documents say of the tree is so: links, paths, citations, commands, settings, targets.

Each check is a function from a text to its faults, and has a test with a document that is wrong.
"""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from api.cli import build_app
from api.console.dispatch import DEFAULT
from api.settings import OTHERS, PREFIX, Settings
from tests.support.documents import (
    LINK,
    drop_blocks,
    list_anchors,
    list_code_lines,
    list_documents,
    list_spans,
)

PACKAGES = ("kernels", "prover", "consensus", "federated", "api", "bench", "integrations")
ROOTS = (*PACKAGES, "contracts", "tests", "docs", "deploy", "examples")
MADE = ("bench/out",)  # by a run, not kept
FOREIGN_OPTIONS = {"--profile", "--scale", "--backend", "--help"}  # of docker, pytest, everything

Commands = Mapping[tuple[str, ...], frozenset[str] | None]
"""Options of each command by its words; None of a group."""

CITATION = re.compile(
    r"PROTOCOL(?:(?:\.md)?\]\([^)]*\),)? (?:sections? )?\d[\d.]*(?:(?:,| and| to) \d[\d.]*)*"
)
NUMBER = re.compile(r"\d+(?:\.\d+)?")
PLACE = re.compile(r"([\w.-]+(?:/[\w.-]+)*/?)(?::([A-Za-z_][\w.]*))?")
# Of the program; not the tags of hashes, such as `zkpot block v1`.
COMMAND = re.compile(r"(?:\$ )?(?:[A-Z_]+=\S* )*(zkpot(?: (?!.* v\d$).*)?)")
SETTING_ROW = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \| (.+?) \| .+ \|$", re.MULTILINE)
METRIC = re.compile(r"\bzkpot_[a-z_]+[a-z]")
TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)


# -- links and citations ---------------------------------------------------------------------------


def find_dead_links(text: str, at: Path) -> list[str]:
    """Relative links of a document at a path that lead nowhere, anchors among them."""
    dead = []
    for link in LINK.findall(drop_blocks(text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = at.parent / name if name else at
        if not target.exists() or anchor not in {"", *list_anchors(target)}:
            dead.append(link)
    return dead


def find_dead_citations(text: str, protocol: str) -> list[str]:
    """Sections of the protocol that a text cites and the page has not."""
    numbers = {
        match[1] for match in re.finditer(r"^#+ (\d+(?:\.\d+)?)\.? ", protocol, re.MULTILINE)
    }
    cited = (number for match in CITATION.finditer(text) for number in NUMBER.findall(match[0]))
    return [number for number in cited if number not in numbers]


def test_links(root: Path) -> None:
    documents = list_documents(root)
    dead = {path.name: find_dead_links(text, path) for path, text in documents.items()}
    assert {name: links for name, links in dead.items() if links} == {}


def test_every_page_is_linked(root: Path) -> None:
    links = set(LINK.findall(drop_blocks((root / "README.md").read_text(encoding="utf-8"))))
    pages = {f"docs/{path.name}" for path in (root / "docs").glob("*.md")}
    assert {"docs/PROTOCOL.md", "docs/OPERATIONS.md"} <= pages
    assert pages - {link.partition("#")[0] for link in links} == set()


def test_citations(root: Path) -> None:
    protocol = (root / "docs" / "PROTOCOL.md").read_text(encoding="utf-8")
    sources = [
        path
        for folder in (*PACKAGES, "tests")
        for path in (root / folder).rglob("*")
        if path.suffix in {".py", ".cu", ".cuh"} and path != Path(__file__)
    ]
    texts = {path: path.read_text(encoding="utf-8") for path in sources} | list_documents(root)
    assert sum(len(CITATION.findall(text)) for text in texts.values()) > 15
    dead = {str(path): find_dead_citations(text, protocol) for path, text in texts.items()}
    assert {name: numbers for name, numbers in dead.items() if numbers} == {}


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("[a](other.md) [b](other.md#a-heading-with-code) [c](#here)\n# Here\n", []),
        ("[a](https://example.org/x) [b](mailto:x@example.org)\n\n    [c](nowhere)\n", []),
        ("[a](nowhere.md)", ["nowhere.md"]),
        ("[a](other.md#no-heading) ![b](no.png)", ["other.md#no-heading", "no.png"]),
        ("[c](#there)\n# Here\n", ["#there"]),
    ],
)
def test_dead_links_would_be_seen(tmp_path: Path, text: str, dead: list[str]) -> None:
    (tmp_path / "other.md").write_text("# A heading, with `code`\n")
    (tmp_path / "this.md").write_text(text)
    assert find_dead_links(text, tmp_path / "this.md") == dead


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("(PROTOCOL section 3) PROTOCOL 4.1, and PROTOCOL sections 3 and 4.", []),
        ("[PROTOCOL](PROTOCOL.md), sections 3 to 6", ["6"]),
        ("PROTOCOL section 5.", ["5"]),
        ("(PROTOCOL 3 and 4.7; eprint 2022/1530)", ["4.7"]),
        ("PROTOCOL_VERSION = 7", []),
    ],
)
def test_dead_citations_would_be_seen(text: str, dead: list[str]) -> None:
    assert find_dead_citations(text, "## 3. Proofs\n## 4. Gadgets\n### 4.1 Linear\n") == dead


# -- paths -----------------------------------------------------------------------------------------


@cache
def list_names(path: Path) -> frozenset[str]:
    """What a module defines, methods and fields as CLASS.NAME."""

    def walk(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from walk(node.body, f"{prefix}{node.name}.")
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", 0)]
            yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))

    return frozenset(walk(ast.parse(path.read_text(encoding="utf-8")).body, ""))


def find_dead_paths(text: str, root: Path, modules: frozenset[str]) -> list[str]:
    """Paths in code spans that are not there, and names that a module there has not.

    modules : names of files; one without a folder must be among them
    """
    dead = []
    for span in list_spans(text):
        match = PLACE.fullmatch(span)
        if match is None or span.startswith(MADE):
            continue
        path, name = root / match[1], match[2]
        if "/" not in match[1]:
            if match[1].endswith(".py") and match[1] not in modules:
                dead.append(span)
        elif match[1].split("/")[0] in ROOTS and (
            not path.exists() or (name is not None and name not in list_names(path))
        ):
            dead.append(span)
    return dead


def test_paths(root: Path) -> None:
    modules = frozenset(path.name for p in PACKAGES for path in (root / p).rglob("*.py"))
    dead = {
        path.name: find_dead_paths(text, root, modules)
        for path, text in list_documents(root).items()
    }
    assert {name: paths for name, paths in dead.items() if paths} == {}


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("`api/cli.py`, `api/cli.py:build_app`, `docs/`, `cli.py`, `bench/out/x.json`", []),
        ("`and/or`, `kernels`, `a b`\n\n    `api/nothing.py`\n", []),
        ("`api/settings.py:Settings.from_environment`, `api/settings.py:Settings.device`", []),
        ("`api/nothing.py`", ["api/nothing.py"]),
        ("`api/cli.py:build_nothing`", ["api/cli.py:build_nothing"]),
        ("`api/settings.py:Settings.nothing`", ["api/settings.py:Settings.nothing"]),
        ("`tests/nowhere` and `nothing.py`", ["tests/nowhere", "nothing.py"]),
    ],
)
def test_dead_paths_would_be_seen(root: Path, text: str, dead: list[str]) -> None:
    assert find_dead_paths(text, root, frozenset({"cli.py"})) == dead


# -- the map ---------------------------------------------------------------------------------------


def find_missing_arrows(text: str, contracts: list[dict[str, Any]]) -> list[str]:
    """Layers of import contracts that a document does not draw, from left to right."""
    drawn = " ".join(text.split())
    layers = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return [arrows for arrows in map(" -> ".join, layers) if arrows not in drawn]


def find_missing_rooms(text: str, rooms: list[str]) -> list[str]:
    """Folders of which a document names neither themselves nor anything inside."""
    named = [span for span in list_spans(text) if "/" in span]
    return [room for room in rooms if not any(span.startswith(f"{room}/") for span in named)]


def test_map(root: Path) -> None:
    text = (root / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    rooms = [
        path.parent.relative_to(root).as_posix()
        for package in PACKAGES
        for path in (root / package).rglob("__init__.py")
    ]
    assert len(contracts) > 8
    assert len(rooms) > 30
    assert find_missing_arrows(text, contracts) == []
    assert find_missing_rooms(text, rooms) == []


def test_a_wrong_map_would_be_seen() -> None:
    contracts = [{"type": "layers", "layers": ["a", "b | c", "d"]}, {"type": "forbidden"}]
    assert find_missing_arrows("a -> b | c\n    -> d", contracts) == []
    assert find_missing_arrows("a -> d -> b | c", contracts) == ["a -> b | c -> d"]
    assert find_missing_rooms("`a/b/`, `a/c/d.py`, `a/e`", ["a", "a/b", "a/c", "a/e"]) == ["a/e"]


# -- commands and targets --------------------------------------------------------------------------


@cache
def list_commands() -> Commands:
    found: dict[tuple[str, ...], frozenset[str] | None] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        if isinstance(command, TyperGroup):
            found[words] = None
            for name, one in command.commands.items():
                walk(one, words if name == DEFAULT else (*words, name))
            return
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        found[words] = frozenset(options | {"--help"})

    walk(get_command(build_app()), ())
    return found


def list_calls(text: str) -> list[str]:
    """Calls of the program: in code spans, and at the begin of lines of code."""
    matches = (COMMAND.fullmatch(t) for t in (*list_spans(text), *list_code_lines(text)))
    return [match[1] for match in matches if match is not None]


def find_command_fault(call: str, commands: Commands) -> str | None:
    """The first word of a call that the program does not know."""
    _, *words = shlex.split(call, comments=True)
    path: tuple[str, ...] = ()
    while words and not words[0].startswith("-"):
        if commands[path] is not None and (*path, words[0]) not in commands:
            break
        path = (*path, words.pop(0))
        if path not in commands:
            return path[-1]
    options = commands[path] or {"--help"}
    asked = (word.partition("=")[0] for word in words if word.startswith("--"))
    return next((option for option in asked if option not in options), None)


def find_dead_commands(text: str, commands: Commands) -> list[str]:
    """Calls and options in a document that the program does not know."""
    every = frozenset[str]().union(*(options or () for options in commands.values()))
    dead = [call for call in list_calls(text) if find_command_fault(call, commands)]
    options = (span.partition(" ")[0].partition("=")[0] for span in list_spans(text))
    return dead + [o for o in options if o.startswith("--") and o not in every | FOREIGN_OPTIONS]


def find_dead_targets(text: str, makefile: str) -> list[str]:
    """`make NAME` in a document without such a target."""
    known = TARGET.findall(makefile)
    code = (*list_spans(text), *list_code_lines(text))
    asked = (match[1] for match in (re.match(r"make ([a-z]+)\b", c) for c in code) if match)
    return [name for name in asked if name not in known]


def test_commands(root: Path) -> None:
    documents = list_documents(root)
    assert sum(len(list_calls(text)) for text in documents.values()) > 60
    dead = {p.name: find_dead_commands(t, list_commands()) for p, t in documents.items()}
    assert {name: calls for name, calls in dead.items() if calls} == {}


def test_targets(root: Path) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    assert {"check", "test", "gpu"} <= set(TARGET.findall(makefile))
    dead = {p.name: find_dead_targets(t, makefile) for p, t in list_documents(root).items()}
    assert {name: targets for name, targets in dead.items() if targets} == {}


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("`zkpot`, `zkpot chain`, `zkpot verify --chain ...`, `--archive`, `--scale x=1`", []),
        ("`zkpot block v1`, `curl`, `zkpot\nchain verify home\n--head HEX`, `x`", []),
        ("`zkpot chain\nnothing` and `x`", ["zkpot chain nothing"]),
        ("\n\n    ZKPOT_LANES=auto zkpot prove m.zkq --shards   # all\n    curl zkpot x\n", []),
        ("```console\n$ zkpot data fetch mnist\nzkpot says so\n```\n", ["zkpot says so"]),
        ("`zkpot prove training trained --mode full`, `zkpot prove m.zkq --claim 3`", []),
        ("`zkpot prove training trained --shards`", ["zkpot prove training trained --shards"]),
        ("`zkpot nothing`", ["zkpot nothing"]),
        ("`zkpot chain nothing --out x`", ["zkpot chain nothing --out x"]),
        ("`zkpot verify --archive`, `--nothing`", ["zkpot verify --archive", "--nothing"]),
        ("\n\n    zkpot node home --snapshots=x\n", ["zkpot node home --snapshots=x"]),
    ],
)
def test_dead_commands_would_be_seen(text: str, dead: list[str]) -> None:
    assert find_dead_commands(text, list_commands()) == dead


def test_dead_targets_would_be_seen() -> None:
    text = "`make check`, `make nothing`\n\n    make up # here\n    make coffee\n"
    assert find_dead_targets(text, "check: x\n\tmake nothing\nup:\n") == ["nothing", "coffee"]


# -- settings and metrics --------------------------------------------------------------------------


def find_read_names(source: str) -> set[str]:
    """Names that a module asks a mapping for, if it reads the environment."""
    if "environ" not in source:
        return set()
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    gets = (c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr == "get")
    firsts = (c.args[0] for c in gets if c.args and isinstance(c.args[0], ast.Constant))
    return {f.value for f in firsts if isinstance(f.value, str) and f.value.isupper()}


def list_settings(root: Path) -> set[str]:
    """All names that the program reads from its environment."""
    sources = (
        path.read_text(encoding="utf-8") for p in PACKAGES for path in (root / p).rglob("*.py")
    )
    return {PREFIX + one.name.upper() for one in fields(Settings)}.union(
        OTHERS, *map(find_read_names, sources)
    )


def find_wrong_defaults(table: Mapping[str, str]) -> dict[str, str]:
    """Defaults of a table that are not those of the class."""
    wrong = {}
    for one in fields(Settings):
        name = PREFIX + one.name.upper()
        default = "unset" if one.default is None else f"`{one.default}`"
        if table.get(name) != default:
            wrong[name] = default
    return wrong


def find_dead_metrics(text: str, sources: str) -> list[str]:
    """Metrics that a document asks for and no source names."""
    asked = {re.sub(r"_(total|bucket)$", "", name) for name in METRIC.findall(text)}
    return sorted(name for name in asked if f'"{name}"' not in sources)


def test_settings(root: Path) -> None:
    rows = SETTING_ROW.findall((root / "docs" / "OPERATIONS.md").read_text(encoding="utf-8"))
    table = dict(rows)
    assert len(table) == len(rows)
    assert set(table) == list_settings(root)
    assert find_wrong_defaults(table) == {}


def test_metrics(root: Path) -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (root).glob("*/**/metrics.py"))
    assert "zkpot_node_height" in sources
    text = (root / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
    assert len(METRIC.findall(text)) > 8
    assert find_dead_metrics(text, sources) == []


def test_wrong_settings_would_be_seen(root: Path) -> None:
    assert {"ZKPOT_LANES", "ZKPOT_DEVICE", "EZKL_PYTHON", "ZKPOT_LEASE_MS"} <= list_settings(root)
    assert find_read_names("import os\nos.environ.get('ZKPOT_NEW')") == {"ZKPOT_NEW"}
    assert find_read_names("given.get('ZKPOT_NEW')") == set()
    row = "| `ZKPOT_LEASE_MS` | `1` | a lease |\n"
    assert SETTING_ROW.findall(row) == [("ZKPOT_LEASE_MS", "`1`")]
    assert find_wrong_defaults(dict(SETTING_ROW.findall(row)))["ZKPOT_LEASE_MS"] == "`60000`"


def test_dead_metrics_would_be_seen() -> None:
    text = "`zkpot_jobs > 3`, `rate(zkpot_retries_total[5m])`, `zkpot_nothing`"
    assert find_dead_metrics(text, '("zkpot_jobs", "zkpot_retries")') == ["zkpot_nothing"]
