// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {HashToCurve} from "../../contracts/HashToCurve.sol";

/// Opens what the library keeps to itself.
contract MapHarness {
    function hashToG1(bytes calldata message, bytes calldata tag) external view returns (uint256, uint256) {
        return HashToCurve.hashToG1(message, tag);
    }

    function hashToField(bytes calldata message, bytes calldata tag) external pure returns (uint256, uint256) {
        return HashToCurve.hashToField(message, tag);
    }

    function mapToG1(uint256 u0, uint256 u1) external view returns (uint256, uint256) {
        return HashToCurve.mapToG1(u0, u1);
    }
}
