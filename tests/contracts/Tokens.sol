// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Leaf} from "../../contracts/Ledger.sol";
import {ZkpotRewards} from "../../contracts/ZkpotRewards.sol";

/// A plain token, all of it its deployer's.
contract PlainToken is ERC20 {
    constructor(uint256 supply) ERC20("plain", "PLN") {
        _mint(msg.sender, supply);
    }
}

/// A token whose transfers come back to the contract that pays, with the same claim.
contract ReenteringToken is ERC20 {
    bytes private _again;

    constructor(uint256 supply) ERC20("reentering", "RNT") {
        _mint(msg.sender, supply);
    }

    function arm(Leaf calldata leaf, bytes32[] calldata proof) external {
        _again = abi.encodeCall(ZkpotRewards.claim, (leaf, proof));
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (_again.length != 0) {
            (bool ok, bytes memory why) = msg.sender.call(_again);
            if (!ok) assembly ("memory-safe") { revert(add(why, 0x20), mload(why)) }
        }
    }
}

/// A token of the kind that answers false in place of reverting.
contract RefusingToken is ERC20 {
    constructor(uint256 supply) ERC20("refusing", "RFS") {
        _mint(msg.sender, supply);
    }

    function transfer(address, uint256) public pure override returns (bool) {
        return false;
    }
}
