// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// What `zkpot groth16 solidity` writes for a key of training steps.
interface IStepVerifier {
    struct Occasion {
        bytes chainId;
        bytes taskId;
        uint64 roundIndex;
        uint64 commitHeight;
        bytes clientKey;
    }

    /// commitments : to the masters before and after the step, and to its batch
    struct Statement {
        Occasion occasion;
        uint64 step;
        uint64 nReal;
        uint256[2][3] commitments;
    }

    struct Proof {
        uint256[2] a;
        uint256[2][2] b;
        uint256[2] c;
        uint256[2] own;
        uint256[2] link;
        uint256[2] advice;
    }

    function verify(Statement calldata statement, Proof calldata proof) external view returns (bool);
}

/// Training that is verified step by step: from a commitment, on committed batches in a given order.
///
/// A trajectory is named by what it is expected to be: its occasion, the commitment that it starts from, and its batches.
/// These are a chain of hashes, the last one first:
///
///     left_T = 0        left_t = keccak256(x, y, nReal, left_(t+1)), x and y those of D_X of step t, a word each
///
/// so a step shows its own batch and left_(t+1) alone. Whoever relies on a trajectory computes its name; anybody may
/// begin one, and anybody who has the proofs may lead it on. From each commitment it goes on by one step, whichever is
/// shown first: proofs of two runs on the same batches, for the same occasion, make one trajectory that may end nowhere.
contract ZkpotTraining {
    IStepVerifier public immutable verifier;
    /// Where a trajectory is: a hash of occasion, next step, commitment and what is left.
    mapping(bytes32 id => bytes32) public places;

    /// A trajectory begins.
    event Begun(bytes32 indexed id, bytes32 left);
    /// A trajectory has come to a commitment. left : 0 at its end
    event Led(bytes32 indexed id, uint64 step, uint256 x, uint256 y, bytes32 left);

    error AlreadyBegun();
    error NotNext(); // the step does not begin where the trajectory is, or is not on its batch
    error Forged();

    constructor(IStepVerifier verifier_) {
        verifier = verifier_;
    }

    /// Begins the trajectory of this name. start : D_M(0); left : left_0
    function begin(IStepVerifier.Occasion calldata occasion, uint256[2] calldata start, bytes32 left)
        external
        returns (bytes32 id)
    {
        id = _place(occasion, 0, start, left);
        if (places[id] != 0) revert AlreadyBegun();
        places[id] = id;
        emit Begun(id, left);
    }

    /// Leads a trajectory on by one step. left : left_(t+1)
    function lead(
        bytes32 id,
        IStepVerifier.Statement calldata statement,
        IStepVerifier.Proof calldata proof,
        bytes32 left
    ) external {
        uint256[2][3] calldata d = statement.commitments;
        bytes32 from = keccak256(abi.encode(d[2], uint256(statement.nReal), left));
        if (places[id] != _place(statement.occasion, statement.step, d[0], from)) revert NotNext();
        if (!verifier.verify(statement, proof)) revert Forged();
        places[id] = _place(statement.occasion, statement.step + 1, d[1], left);
        emit Led(id, statement.step, d[1][0], d[1][1], left);
    }

    /// Whether a trajectory is at its end, after so many steps, at this commitment.
    function hasEnded(bytes32 id, IStepVerifier.Occasion calldata occasion, uint64 steps, uint256[2] calldata end)
        external
        view
        returns (bool)
    {
        return places[id] == _place(occasion, steps, end, 0);
    }

    function _place(IStepVerifier.Occasion calldata occasion, uint64 step, uint256[2] calldata point, bytes32 left)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(occasion, step, point, left));
    }
}
