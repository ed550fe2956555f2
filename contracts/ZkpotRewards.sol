// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Leaf, Ledger} from "./Ledger.sol";
import {ZkpotFinality} from "./ZkpotFinality.sol";

/// Pays clients of a zkpot chain, in an ERC-20 token, what its ledger says they have earned.
///
/// Whoever wants them paid transfers tokens to this contract; nobody takes them out otherwise.
contract ZkpotRewards {
    using SafeERC20 for IERC20;

    ZkpotFinality public immutable finality;
    IERC20 public immutable token;
    /// The token's smallest parts for a unit of the ledger.
    uint256 public immutable perUnit;

    /// Units of the ledger that were paid to a client.
    mapping(bytes32 clientKey => uint256) public claimed;

    event Claimed(bytes32 indexed clientKey, address indexed account, uint256 units, uint256 amount);

    /// All that the head's ledger says was paid.
    error NothingDue(bytes32 clientKey);
    /// The contract holds fewer tokens than it would pay; nothing was paid.
    error Underfunded(uint256 amount, uint256 balance);

    /// A unit would be worth nothing: claims would pay nothing, and count as paid.
    error ZeroPerUnit();

    /// Raises ZeroPerUnit.
    constructor(ZkpotFinality finality_, IERC20 token_, uint256 perUnit_) {
        if (perUnit_ == 0) revert ZeroPerUnit();
        (finality, token, perUnit) = (finality_, token_, perUnit_);
    }

    /// Pays a client's account what it has earned and was not paid. Anybody may ask for anybody.
    ///
    /// Raises NotInLedger, NothingDue or Underfunded.
    function claim(Leaf calldata leaf, bytes32[] calldata proof) external {
        Ledger.check(finality.ledgerRoot(), leaf, proof);
        uint256 before = claimed[leaf.clientKey];
        if (leaf.rewards <= before) revert NothingDue(leaf.clientKey);
        uint256 units = leaf.rewards - before;
        uint256 amount = units * perUnit;
        uint256 balance = token.balanceOf(address(this));
        if (balance < amount) revert Underfunded(amount, balance);
        claimed[leaf.clientKey] = leaf.rewards; // before any call that could come back here
        token.safeTransfer(leaf.account, amount);
        emit Claimed(leaf.clientKey, leaf.account, units, amount);
    }
}
