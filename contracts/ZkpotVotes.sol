// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Votes} from "@openzeppelin/contracts/governance/utils/Votes.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";
import {History, Past} from "./History.sol";
import {Leaf, Ledger} from "./Ledger.sol";
import {ZkpotFinality} from "./ZkpotFinality.sol";

/// Votes by what clients of a zkpot chain have proven, for an OpenZeppelin Governor (IERC5805).
///
/// An account's units are the weight of its leaf when somebody last proved it here, against the head of
/// that time: anybody may prove for anybody, up and down alike. They can't be transferred, and vote for
/// their account itself until it delegates. The clock is the block's time.
///
/// Delegation, signatures and nonces are OpenZeppelin's. Its checkpoints are not used: units, votes,
/// their time and their count lie in one word, so that a proof costs one new word, not three or four.
contract ZkpotVotes is Votes {
    /// units : proven
    /// votes : delegated to the account, since `since`; nPast : how many other numbers before
    struct Account {
        uint88 units;
        uint88 votes;
        uint48 since;
        uint32 nPast;
    }

    ZkpotFinality public immutable finality;

    mapping(address account => Account) private _accounts;
    mapping(address account => mapping(uint256 => Past)) private _past;

    event Proven(address indexed account, bytes32 indexed clientKey, uint256 weight);

    /// Not as many proofs as leaves.
    error LengthMismatch(uint256 nLeaves, uint256 nProofs);

    constructor(ZkpotFinality finality_) EIP712("zkpot votes", "1") {
        finality = finality_;
    }

    /// Sets the units of accounts to the weights of their leaves, which the head's ledger holds.
    ///
    /// A chain binds an account to one client for ever, so it has one leaf. Raises LengthMismatch, and
    /// NotInLedger for a proof of another root, an older head's among them.
    function prove(Leaf[] calldata leaves, bytes32[][] calldata proofs) external {
        if (leaves.length != proofs.length) revert LengthMismatch(leaves.length, proofs.length);
        bytes32 root = finality.ledgerRoot();
        for (uint256 i = 0; i < leaves.length; i++) {
            Leaf calldata leaf = leaves[i];
            Ledger.check(root, leaf, proofs[i]);
            if (_setUnits(leaf.account, SafeCast.toUint88(leaf.weight))) {
                emit Proven(leaf.account, leaf.clientKey, leaf.weight);
            }
        }
    }

    /// The weight that was last proven of an account.
    function unitsOf(address account) external view returns (uint256) {
        return _accounts[account].units;
    }

    function clock() public view override returns (uint48) {
        return Time.timestamp();
    }

    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override returns (string memory) {
        return "mode=timestamp";
    }

    function getVotes(address account) public view override returns (uint256) {
        return _accounts[account].votes;
    }

    function getPastVotes(address account, uint256 timepoint) public view override returns (uint256) {
        uint48 time = _validateTimepoint(timepoint);
        Account storage found = _accounts[account];
        if (time >= found.since) return found.votes;
        return History.find(_past[account], found.nPast, time);
    }

    /// The total weight of the ledger of the head of that time, proven here or not.
    function getPastTotalSupply(uint256 timepoint) public view override returns (uint256) {
        return finality.totalWeightAt(_validateTimepoint(timepoint));
    }

    /// Whom an account votes through: itself, unless it chose somebody.
    function delegates(address account) public view override returns (address) {
        address chosen = super.delegates(account);
        return chosen == address(0) ? account : chosen;
    }

    /// Nobody means oneself, as before the first choice.
    function _delegate(address account, address delegatee) internal override {
        // Its word is new here, if at all: a proof pays for one new word at most, the past of votes.
        if (_accounts[account].since == 0) _accounts[account].since = Time.timestamp();
        super._delegate(account, delegatee == address(0) ? account : delegatee);
    }

    function _moveDelegateVotes(address from, address to, uint256 amount) internal override {
        if (from == to || amount == 0) return;
        uint88 moved = SafeCast.toUint88(amount);
        Account memory giver = _accounts[from];
        _setVotes(from, giver, giver.votes - moved);
        Account memory taker = _accounts[to];
        _setVotes(to, taker, taker.votes + moved);
    }

    function _getVotingUnits(address account) internal view override returns (uint256) {
        return _accounts[account].units;
    }

    /// Whether they were others before.
    function _setUnits(address account, uint88 units) private returns (bool) {
        Account memory owner = _accounts[account];
        uint88 before = owner.units;
        if (before == units) return false;
        owner.units = units;
        address delegatee = delegates(account);
        if (delegatee == account) {
            _setVotes(account, owner, owner.votes - before + units);
        } else {
            _accounts[account] = owner;
            Account memory voter = _accounts[delegatee];
            _setVotes(delegatee, voter, voter.votes - before + units);
        }
        return true;
    }

    /// Stores an account with other votes from now on.
    function _setVotes(address account, Account memory changed, uint88 votes) private {
        emit DelegateVotesChanged(account, changed.votes, votes);
        changed.nPast = History.keep(_past[account], changed.nPast, changed.since, changed.votes);
        changed.since = Time.timestamp();
        changed.votes = votes;
        _accounts[account] = changed;
    }
}
