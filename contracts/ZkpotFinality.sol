// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {HashToCurve} from "./HashToCurve.sol";
import {History, Past} from "./History.sol";

/// The newest final block of a zkpot chain that somebody has shown here.
///
/// A block is shown by one BLS signature of the validators' group key over BN254 (Boneh, Lynn, Shacham
/// 2001; shared as in Boldyreva 2003). Any f + 1 shares make it, and an honest validator signs a share
/// when the block is final for it, never before: so one honest validator at least holds the block for
/// final, as long as no more than f of the 3f + 1 are faulty. Nobody can change the key or the head
/// otherwise. Whoever dealt the key's shares can sign anything.
contract ZkpotFinality {
    /// learningRound : of the block
    /// submittedAt   : when it was shown here, seconds
    /// weightSince   : when its total weight was first shown, seconds
    /// nPast         : how many other totals there were before
    struct Head {
        uint64 height;
        uint64 learningRound;
        uint48 submittedAt;
        uint48 weightSince;
        uint32 nPast;
        uint128 totalWeight;
        uint128 totalRewards;
        bytes32 blockHash;
        bytes32 ledgerRoot;
    }

    bytes private constant TAG = "zkpot-v1-finality-BN254G1_XMD:SHA-256_SVDW_RO_";
    uint256 private constant P = HashToCurve.P;
    // The generator of G2, the coefficients of u first, as EIP-197 has them.
    uint256 private constant G2_X1 = 0x198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2;
    uint256 private constant G2_X0 = 0x1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed;
    uint256 private constant G2_Y1 = 0x090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b;
    uint256 private constant G2_Y0 = 0x12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa;

    uint256 private immutable KEY_X1;
    uint256 private immutable KEY_X0;
    uint256 private immutable KEY_Y1;
    uint256 private immutable KEY_Y0;
    /// The digest of the chain's genesis.
    bytes32 public immutable genesis;

    Head private _head;
    mapping(uint256 => Past) private _totals;

    event Finalized(
        uint64 indexed height,
        uint64 indexed learningRound,
        bytes32 blockHash,
        bytes32 ledgerRoot,
        uint128 totalWeight,
        uint128 totalRewards
    );

    /// The group key is no point of G2, or the identity.
    error BadKey();
    /// The head is of this height already, or of a greater one.
    error Stale(uint64 height, uint64 headHeight);
    /// The signature is none of the group's under this message.
    error Forged();
    /// The time has not passed yet.
    error FutureLookup(uint256 time, uint256 now_);

    /// key : x_1, x_0, y_1, y_0
    constructor(uint256[4] memory key, bytes32 genesis_) {
        (KEY_X1, KEY_X0, KEY_Y1, KEY_Y0) = (key[0], key[1], key[2], key[3]);
        // e(generator, K) is one for the identity alone; the precompile refuses what is not in G2.
        uint256[6] memory pair = [1, 2, key[0], key[1], key[2], key[3]];
        bool ok;
        uint256 isOne;
        assembly ("memory-safe") {
            ok := staticcall(gas(), 8, pair, 0xc0, 0, 0x20)
            isOne := mload(0)
        }
        if (!ok || isOne == 1) revert BadKey();
        genesis = genesis_;
        _head.blockHash = genesis_; // what stands before the first block
        _head.submittedAt = uint48(block.timestamp);
    }

    /// Takes a block for the head, from anybody, if its certificate holds and it is newer.
    ///
    /// Raises Stale or Forged. signature : the sum of f + 1 shares in G1, x and y
    function submit(
        uint64 height,
        uint64 learningRound,
        bytes32 blockHash,
        bytes32 root,
        uint128 totalWeight,
        uint128 totalRewards,
        uint256[2] calldata signature
    ) external {
        Head memory next = _head;
        if (height <= next.height) revert Stale(height, next.height);
        bytes memory message = abi.encodePacked(
            "zkpot finality v1", genesis, height, learningRound, blockHash, root, totalWeight, totalRewards
        );
        if (!_isSigned(message, signature)) revert Forged();
        if (totalWeight != next.totalWeight) {
            next.nPast = History.keep(_totals, next.nPast, next.weightSince, next.totalWeight);
            next.weightSince = uint48(block.timestamp);
        }
        (next.height, next.learningRound, next.submittedAt) = (height, learningRound, uint48(block.timestamp));
        (next.blockHash, next.ledgerRoot) = (blockHash, root);
        (next.totalWeight, next.totalRewards) = (totalWeight, totalRewards);
        _head = next;
        emit Finalized(height, learningRound, blockHash, root, totalWeight, totalRewards);
    }

    /// The newest block that was shown; of height 0 before the first.
    function head() external view returns (Head memory) {
        return _head;
    }

    /// The root of the head's ledger; zero when it is empty.
    function ledgerRoot() external view returns (bytes32) {
        return _head.ledgerRoot;
    }

    /// The total weight of the block that was the head at the end of a second that has passed.
    function totalWeightAt(uint256 time) external view returns (uint256) {
        if (time >= block.timestamp) revert FutureLookup(time, block.timestamp);
        if (time >= _head.weightSince) return _head.totalWeight;
        return History.find(_totals, _head.nPast, time);
    }

    /// The validators' key: x_1, x_0, y_1, y_0.
    function groupKey() external view returns (uint256[4] memory) {
        return [KEY_X1, KEY_X0, KEY_Y1, KEY_Y0];
    }

    /// Whether e(S, G2) e(-H(m), K) = 1. For any two words: the precompile refuses what is no point.
    function _isSigned(bytes memory message, uint256[2] calldata signature) private view returns (bool) {
        (uint256 x, uint256 y) = HashToCurve.hashToG1(message, TAG);
        uint256[12] memory pairs = [
            signature[0], signature[1], G2_X1, G2_X0, G2_Y1, G2_Y0,
            x, P - y, KEY_X1, KEY_X0, KEY_Y1, KEY_Y0
        ];
        bool ok;
        assembly ("memory-safe") {
            ok := staticcall(gas(), 8, pairs, 0x180, 0, 0x20)
            ok := and(ok, eq(mload(0), 1))
        }
        return ok;
    }
}
