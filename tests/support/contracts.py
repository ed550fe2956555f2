"""The contracts of `contracts/`, compiled once, on a chain of their own inside the process."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from pyrevm import EVM, BlockEnv

from tests.support.npm import install
from tests.support.solidity import SOLC, WORD, run_solc

OPENZEPPELIN = "@openzeppelin/contracts@5.7.0"
DEPLOYER = "0x" + "d0" * 20
START_S = 1_800_000_000
SETTINGS = {
    "evmVersion": "cancun",  # what pyrevm has; neither of both hash functions needs a later one
    "optimizer": {"enabled": True, "runs": 1_000_000},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}},
}
_KECCAK = "365f5f37365f205f5260205ff3"  # the hash of the calldata
_ACCOUNT = re.compile(r"(0x[0-9a-f]{40}): Account \{ info: .*?, storage: \{(.*?)\}, status:")
_SLOT = re.compile(r"(\w+): StorageSlot \{[^}]*present_value: (\w+)")
_REVERT = re.compile(r"Revert \{ gas_used: \d+, output: 0x([0-9a-f]*)")


class Reverted(Exception):
    """A call that a contract refused. name : of its error; words : the error's arguments."""

    def __init__(self, name: str, words: list[int]) -> None:
        self.name, self.words = name, words
        super().__init__(f"{name}{words}")


@dataclass(frozen=True)
class Artifact:
    """Creation code, and what the contract's functions and errors take."""

    code: bytes
    abi: list[dict[str, Any]]

    def find(self, kind: str, name: str) -> dict[str, Any]:
        for entry in self.abi:
            if entry["type"] == kind and entry.get("name", "") == name:
                return entry
        raise KeyError(name)


def compile_contracts(root: Path) -> dict[str, Artifact]:
    """All contracts, those of tests too, by their names. Compiled once for the same sources."""
    program = install(root, SOLC, "solc.js")
    package = install(root, OPENZEPPELIN, "package.json")
    paths = sorted((*root.glob("contracts/*.sol"), *root.glob("tests/contracts/*.sol")))
    sources = {str(path.relative_to(root)): {"content": path.read_text()} for path in paths}
    request = {"language": "Solidity", "sources": sources, "settings": SETTINGS}
    digest = sha256(json.dumps((SOLC, OPENZEPPELIN, request)).encode()).hexdigest()
    cached = root / "build" / "interop" / f"contracts-{digest[:32]}.json"
    with open(cached.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not cached.exists():
            flags = ("--base-path", str(root), "--include-path", str(package.parents[2]))
            answer = run_solc(program, request, *flags)
            ours = [error for error in answer.get("errors", ()) if _is_ours(error)]
            assert not ours, "\n".join(error["formattedMessage"] for error in ours)
            found = {
                name: {"abi": it["abi"], "code": it["evm"]["bytecode"]["object"]}
                for source in sources
                for name, it in answer["contracts"][source].items()
            }
            cached.write_text(json.dumps(found))
    found = json.loads(cached.read_text())
    return {name: Artifact(bytes.fromhex(it["code"]), it["abi"]) for name, it in found.items()}


def _is_ours(error: dict[str, Any]) -> bool:
    """Whether this concerns us: all errors, and warnings about our own sources."""
    place = (error.get("sourceLocation") or {}).get("file", "")
    return error["severity"] == "error" or not place.startswith("@openzeppelin/")


@dataclass(frozen=True)
class Deployed:
    """A contract at an address."""

    address: str
    artifact: Artifact


@dataclass
class World:
    """An EVM with contracts and a clock that tests set."""

    artifacts: dict[str, Artifact]
    time_s: int = START_S
    evm: EVM = field(default_factory=EVM)

    def __post_init__(self) -> None:
        self.move_to(self.time_s)

    def move_to(self, time_s: int) -> None:
        self.time_s = time_s
        self.evm.set_block_env(BlockEnv(timestamp=time_s, number=time_s // 12))

    def wait(self, seconds: int) -> None:
        self.move_to(self.time_s + seconds)

    def deploy(self, name: str, *values: Any) -> Deployed:
        artifact = self.artifacts[name]
        inputs = next((e["inputs"] for e in artifact.abi if e["type"] == "constructor"), [])
        code = artifact.code + encode_values(inputs, values)
        try:
            return Deployed(self.evm.deploy(DEPLOYER, code), artifact)
        except RuntimeError as error:
            raise self._explain(error, artifact) from None

    def send(
        self, contract: Deployed, name: str, *values: Any, caller: str = DEPLOYER
    ) -> list[int]:
        """A transaction; returns the words of its answer. Raises Reverted."""
        calldata = encode_call(contract.artifact, name, values)
        try:
            raw = bytes(self.evm.message_call(caller, contract.address, calldata=calldata))
        except RuntimeError as error:
            raise self._explain(error, contract.artifact) from None
        return _split_words(raw)

    def price(self, contract: Deployed, name: str, *values: Any, caller: str = DEPLOYER) -> int:
        """All gas of a transaction, as a block would have it; it changes nothing here.

        pyrevm goes on with one journal, in which all that was ever touched stays warm; so the state
        is copied into a new machine.
        """
        calldata = encode_call(contract.artifact, name, values)
        fresh = copy_state(self.evm)
        fresh.set_block_env(BlockEnv(timestamp=self.time_s, number=self.time_s // 12))
        fresh.message_call(caller, contract.address, calldata=calldata)
        return int(fresh.result.gas_used)

    def _explain(self, error: RuntimeError, artifact: Artifact) -> Exception:
        found = _REVERT.search(str(error))
        if found is None:
            return error
        raw = bytes.fromhex(found[1])
        for it in (artifact, *self.artifacts.values()):
            for entry in it.abi:
                if entry["type"] == "error" and compute_selector(entry) == raw[:4]:
                    return Reverted(entry["name"], _split_words(raw[4:]))
        return Reverted(raw[:4].hex(), _split_words(raw[4:]))


def copy_state(evm: EVM) -> EVM:
    """A machine with the accounts and words of another, none of them touched yet."""
    fresh = EVM()
    journal = evm.journal_str.partition(", transient_storage:")[0]
    for address, slots in _ACCOUNT.findall(journal):
        fresh.insert_account_info(address, evm.basic(address))
        for slot, value in _SLOT.findall(slots):
            # Reverted is what the insertion does to the journal, where a word would be warm, and
            # zero before; the word itself stays in the database.
            before = fresh.snapshot()
            fresh.insert_account_storage(address, int(slot, 0), int(value, 0))
            fresh.revert(before)
    return fresh


def _split_words(raw: bytes) -> list[int]:
    return [int.from_bytes(raw[i : i + WORD], "big") for i in range(0, len(raw), WORD)]


def keccak256(data: bytes) -> bytes:
    """Keccak-256, as the EVM computes it."""
    evm, address = _hasher()
    return bytes(evm.message_call(DEPLOYER, address, calldata=data))


@cache
def _hasher() -> tuple[EVM, str]:
    evm = EVM()
    return evm, deploy_code(evm, _KECCAK)


def deploy_code(evm: EVM, code: str, *, before: str = "") -> str:
    """The address of a contract of bytecode in hexadecimal. before : what its creation runs"""
    body, head = bytes.fromhex(code), bytes.fromhex(before)
    loader = bytes([0x60, len(body), 0x60, len(head) + 10, 0x5F, 0x39, 0x60, len(body), 0x5F, 0xF3])
    return str(evm.deploy(DEPLOYER, head + loader + body))


def compute_selector(entry: dict[str, Any]) -> bytes:
    """The first four bytes of the hash of a function's or an error's signature."""
    return _hash_signature(f"{entry['name']}({','.join(map(_name_type, entry['inputs']))})")


@cache
def _hash_signature(signature: str) -> bytes:
    return keccak256(signature.encode())[:4]


def _name_type(kind: dict[str, Any]) -> str:
    if not kind["type"].startswith("tuple"):
        return str(kind["type"])
    inside = ",".join(map(_name_type, kind["components"]))
    return f"({inside})" + kind["type"].removeprefix("tuple")


def encode_call(artifact: Artifact, name: str, values: Sequence[Any]) -> bytes:
    """Calldata of a function."""
    entry = artifact.find("function", name)
    return compute_selector(entry) + encode_values(entry["inputs"], values)


def encode_values(kinds: Sequence[dict[str, Any]], values: Sequence[Any]) -> bytes:
    """Values as the contract ABI has them: heads, then what has no fixed length."""
    parts = [
        (_is_dynamic(kind), _encode(kind, value)) for kind, value in zip(kinds, values, strict=True)
    ]
    at = sum(WORD if dynamic else len(raw) for dynamic, raw in parts)
    head = tail = b""
    for dynamic, raw in parts:
        head += (at + len(tail)).to_bytes(WORD, "big") if dynamic else raw
        tail += raw if dynamic else b""
    return head + tail


def _inside(kind: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
    """Kind and length of an array's elements."""
    whole, bracket, length = kind["type"].rpartition("[")
    return ({**kind, "type": whole}, length[:-1]) if bracket else None


def _is_dynamic(kind: dict[str, Any]) -> bool:
    if array := _inside(kind):
        return not array[1] or _is_dynamic(array[0])
    if kind["type"] == "tuple":
        return any(map(_is_dynamic, kind["components"]))
    return kind["type"] in ("bytes", "string")


def _encode(kind: dict[str, Any], value: Any) -> bytes:
    if array := _inside(kind):
        element, length = array
        assert not length or int(length) == len(value)
        count = b"" if length else len(value).to_bytes(WORD, "big")
        return count + encode_values([element] * len(value), value)
    if kind["type"] == "tuple":
        return encode_values(kind["components"], value)
    if kind["type"] in ("bytes", "string"):
        raw = value.encode() if isinstance(value, str) else value
        return len(raw).to_bytes(WORD, "big") + raw + bytes(-len(raw) % WORD)
    if isinstance(value, str):  # an address
        return bytes.fromhex(value.removeprefix("0x")).rjust(WORD, b"\0")
    if isinstance(value, bytes):
        return value.ljust(WORD, b"\0")
    return int(value).to_bytes(WORD, "big")
