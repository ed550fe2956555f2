// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/// What a final block says of a client that is bound to an account.
///
/// clientKey : Ed25519 key on the chain
/// weight    : voting weight after the last learning round
/// rewards   : what the client has earned since genesis, in whole units
struct Leaf {
    bytes32 clientKey;
    address account;
    uint256 weight;
    uint256 rewards;
}

/// The ledger of a block: a tree as OpenZeppelin's `StandardMerkleTree` makes it.
library Ledger {
    /// The tree of this root holds no such leaf, or the proof is of another root.
    error NotInLedger(bytes32 clientKey);

    /// Returns if the leaf is in the tree. A leaf is the hash of a hash, of 32 bytes, and a node that of
    /// 64: neither is ever taken for the other.
    function check(bytes32 root, Leaf calldata leaf, bytes32[] calldata proof) internal pure {
        bytes32 hash = keccak256(bytes.concat(keccak256(abi.encode(leaf))));
        if (!MerkleProof.verifyCalldata(proof, root, hash)) revert NotInLedger(leaf.clientKey);
    }
}
