"""Contracts compiled by solc, and called in an EVM with the real precompiles."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrevm import EVM

SOLC = "solc@0.8.37"
CALLER = "0x" + "11" * 20
WORD = 32


@dataclass(frozen=True)
class Compiled:
    """Creation code, and the selectors of functions by their names."""

    code: bytes
    selectors: dict[str, bytes]


def compile_contract(program: Path, source: str) -> Compiled:
    """The one contract of a source. program : `solc.js` of the package"""
    request = {
        "language": "Solidity",
        "sources": {"it.sol": {"content": source}},
        "settings": {
            "optimizer": {"enabled": True, "runs": 1000},
            "outputSelection": {"*": {"*": ["evm.bytecode.object", "evm.methodIdentifiers"]}},
        },
    }
    answer = run_solc(program, request)
    assert not answer.get("errors"), answer["errors"]
    (contract,) = answer["contracts"]["it.sol"].values()
    evm = contract["evm"]
    selectors = {
        signature.partition("(")[0]: bytes.fromhex(selector)
        for signature, selector in evm["methodIdentifiers"].items()
    }
    return Compiled(bytes.fromhex(evm["bytecode"]["object"]), selectors)


def run_solc(program: Path, request: dict[str, Any], *flags: str) -> dict[str, Any]:
    """The answer of the compiler to a request of its standard JSON."""
    words = ["node", str(program), "--standard-json", *flags]
    # By files: through pipes, solc.js gives up on a long request and loses a long answer's end.
    with tempfile.TemporaryFile("w+") as asked, tempfile.TemporaryFile("w+") as answer:
        json.dump(request, asked)
        asked.seek(0)
        subprocess.run(words, stdin=asked, stdout=answer, text=True, timeout=400, check=True)
        answer.seek(0)
        text = answer.read()
    found: dict[str, Any] = json.loads(text[text.index("{") :])
    return found


@dataclass(frozen=True)
class Contract:
    """A deployed contract."""

    evm: EVM
    address: str
    selectors: dict[str, bytes]

    @classmethod
    def deploy(cls, compiled: Compiled) -> Contract:
        evm = EVM()
        evm.set_balance(CALLER, 10**18)
        return cls(evm, evm.deploy(CALLER, compiled.code), compiled.selectors)

    def call(self, name: str, words: list[int], **options: int) -> bytes:
        """What a function answers to arguments of one word each. options : of the call"""
        calldata = self.selectors[name] + b"".join(word.to_bytes(WORD, "big") for word in words)
        return bytes(self.evm.message_call(CALLER, self.address, calldata=calldata, **options))

    def price(self, name: str, words: list[int]) -> int:
        """The gas of a call, without what every transaction and its bytes cost (EIP-2028)."""
        self.call(name, words)
        raw = self.selectors[name] + b"".join(word.to_bytes(WORD, "big") for word in words)
        of_bytes = sum(16 if byte else 4 for byte in raw)
        return int(self.evm.result.gas_used) - 21_000 - of_bytes
