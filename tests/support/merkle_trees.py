"""Trees of the npm package `@openzeppelin/merkle-tree`, which `tests/vectors/merkle_v1.json` keeps.

`python -m tests.support.merkle_trees` writes the file; it needs Node.js and a registry.
"""

from __future__ import annotations

import json
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

from consensus.finality.ledger import Leaf
from consensus.wire.ethereum import format_address
from tests.support.npm import install

PACKAGE = "@openzeppelin/merkle-tree@1.0.8"
PATH = Path(__file__).resolve().parent.parent / "vectors" / "merkle_v1.json"
TYPES = ("bytes32", "address", "uint256", "uint256")
SIZES = (1, 2, 3, 4, 5, 11)
_SCRIPT = """
const { StandardMerkleTree } = require(process.argv[1]);
const { types, trees } = JSON.parse(require('fs').readFileSync(0));
const made = trees.map((values) => {
  const tree = StandardMerkleTree.of(values, types);
  const proofs = [];
  for (const [i] of tree.entries()) proofs.push(tree.getProof(i));
  return { root: tree.root, nodes: tree.dump().tree, proofs };
});
console.log(JSON.stringify(made));
"""


def list_leaves(n: int) -> list[Leaf]:
    """Some leaves, with numbers of all lengths among them."""
    seeds = [sha256(b"leaf %d of %d" % (i, n)).digest() for i in range(n)]
    numbers = [0, 1, 8_000_000, 65_536_000_000, (1 << 128) - 1]
    return [
        Leaf(seed, seed[:20], numbers[i % 5], numbers[(i + 2) % 5]) for i, seed in enumerate(seeds)
    ]


def make(root: Path) -> dict[str, Any]:
    """The file's value. root : of the repository"""
    program = install(root, PACKAGE, "dist/index.js")
    values = [[describe(leaf) for leaf in list_leaves(n)] for n in SIZES]
    asked = json.dumps({"types": TYPES, "trees": values})
    words = ["node", "-e", _SCRIPT, str(program)]
    done = subprocess.run(words, input=asked, capture_output=True, text=True, check=True)
    trees = [{"values": v} | tree for v, tree in zip(values, json.loads(done.stdout), strict=True)]
    return {"made_by": PACKAGE, "types": TYPES, "trees": trees}


def describe(leaf: Leaf) -> list[str]:
    """The values of a leaf, as the package takes them."""
    key, account = f"0x{leaf.client_key.hex()}", format_address(leaf.account)
    return [key, account, str(leaf.weight), str(leaf.rewards)]


if __name__ == "__main__":
    made = make(Path(__file__).resolve().parents[2])
    PATH.write_text(json.dumps(made, indent=1) + "\n", "ascii")
