// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// Bytes to a point of BN254's G1 whose discrete logarithm nobody knows: the suite
/// BN254G1_XMD:SHA-256_SVDW_RO_ of RFC 9380, as kernels/hash_to_curve.py has it.
///
///     hashToG1(m) = map(u_0) + map(u_1),    (u_0, u_1) = expand_message_xmd(m, tag), 48 bytes each
///
/// Powers are modexp's (EIP-198): one inversion for both maps, and a square root for each candidate
/// that is tried, three to seven in all. p = 3 mod 4, so a^((p+1)/4) is a root of a if there is one.
library HashToCurve {
    uint256 internal constant P = 0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47;
    /// 2^256 mod p
    uint256 private constant WORD = 0x0e0a77c19a07df2f666ea36f7879462c0a78eb28f5c70b3dd35d438dc58f0d9d;
    uint256 private constant INVERSE = P - 2; // exponents
    uint256 private constant ROOT = (P + 1) / 4;
    // Section 6.6.1 with g(x) = x^3 + 3: c1 = g(Z), c2 = -Z/2, c3 = sqrt(-g(Z) 3 Z^2) with even
    // sgn0, c4 = -4 g(Z) / (3 Z^2).
    uint256 private constant Z = 1;
    uint256 private constant C1 = 4;
    uint256 private constant C2 = 0x183227397098d014dc2822db40c0ac2ecbc0b548b438e5469e10460b6c3e7ea3;
    uint256 private constant C3 = 0x00000000000000016789af3a83522eb353c98fc6b36d713d5d8d1cc5dffffffa;
    uint256 private constant C4 = 0x10216f7ba065e00de81ac1e7808072c9dd2b2385cd7b438469602eb24829a9bd;

    error PrecompileFailed();

    /// The point of a message. tag : domain separation tag of at most 255 bytes
    function hashToG1(bytes memory message, bytes memory tag) internal view returns (uint256 x, uint256 y) {
        (uint256 u0, uint256 u1) = hashToField(message, tag);
        return mapToG1(u0, u1);
    }

    /// Two elements of F_p: expand_message_xmd (section 5.3.1) to 96 bytes, 48 for each.
    function hashToField(bytes memory message, bytes memory tag) internal pure returns (uint256 u0, uint256 u1) {
        bytes memory suffix = abi.encodePacked(tag, uint8(tag.length));
        bytes32 b0 = sha256(abi.encodePacked(bytes32(0), bytes32(0), message, uint16(96), uint8(0), suffix));
        bytes32 b1 = sha256(abi.encodePacked(b0, uint8(1), suffix));
        bytes32 b2 = sha256(abi.encodePacked(b0 ^ b1, uint8(2), suffix));
        bytes32 b3 = sha256(abi.encodePacked(b0 ^ b2, uint8(3), suffix));
        u0 = _reduce(uint256(b1) >> 128, (uint256(b1) << 128) | (uint256(b2) >> 128));
        u1 = _reduce(uint128(uint256(b2)), uint256(b3));
    }

    /// The sum of the points of two elements of F_p.
    function mapToG1(uint256 u0, uint256 u1) internal view returns (uint256 x, uint256 y) {
        (uint256 a, uint256 b) = (_denominator(u0), _denominator(u1));
        uint256 inverse = _power(mulmod(a, b, P), INVERSE); // of both: 1/a = b/(ab), 1/b = a/(ab)
        uint256[4] memory points;
        (points[0], points[1]) = _map(u0, mulmod(inverse, b, P));
        (points[2], points[3]) = _map(u1, mulmod(inverse, a, P));
        bool ok;
        assembly ("memory-safe") {
            ok := staticcall(gas(), 6, points, 0x80, points, 0x40) // ECADD, EIP-196
        }
        if (!ok) revert PrecompileFailed();
        return (points[0], points[1]);
    }

    /// (1 - c1 u^2) (1 + c1 u^2), and 1 in place of 0, whose inverse the RFC takes for 0. That is for
    /// u = +-1/2 alone (-1 is no square): then the step is zero and -Z/2 is on the curve, so that no
    /// inverse matters.
    function _denominator(uint256 u) private pure returns (uint256 product) {
        uint256 t = mulmod(C1, mulmod(u, u, P), P);
        product = mulmod(addmod(1, P - t, P), addmod(1, t, P), P);
        if (product == 0) product = 1;
    }

    /// The Shallue-van de Woestijne map of section 6.6.1: the first of three candidates on the curve.
    function _map(uint256 u, uint256 inverse) private view returns (uint256 x, uint256 y) {
        uint256 t = mulmod(C1, mulmod(u, u, P), P);
        uint256 step = mulmod(mulmod(mulmod(u, addmod(1, P - t, P), P), inverse, P), C3, P);
        bool found;
        (found, x, y) = _lift(addmod(C2, P - step, P));
        if (!found) (found, x, y) = _lift(addmod(C2, step, P));
        if (!found) {
            t = addmod(1, t, P);
            t = mulmod(mulmod(t, t, P), inverse, P);
            (, x, y) = _lift(addmod(mulmod(mulmod(t, t, P), C4, P), Z, P)); // now one has to be
        }
        if ((u ^ y) & 1 == 1) y = P - y; // y = 0 is on no point of a group of odd order
    }

    /// Whether a point has this x, and a y of it.
    function _lift(uint256 candidate) private view returns (bool found, uint256 x, uint256 y) {
        x = candidate;
        uint256 square = addmod(mulmod(mulmod(x, x, P), x, P), 3, P);
        y = _power(square, ROOT);
        found = mulmod(y, y, P) == square;
    }

    /// (high 2^256 + low) mod p
    function _reduce(uint256 high, uint256 low) private pure returns (uint256) {
        return addmod(mulmod(high, WORD, P), low, P);
    }

    /// base^exponent mod p
    function _power(uint256 base, uint256 exponent) private view returns (uint256 result) {
        bool ok;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, 0x20)
            mstore(add(free, 0x20), 0x20)
            mstore(add(free, 0x40), 0x20)
            mstore(add(free, 0x60), base)
            mstore(add(free, 0x80), exponent)
            mstore(add(free, 0xa0), P)
            ok := staticcall(gas(), 5, free, 0xc0, 0, 0x20)
            result := mload(0)
        }
        if (!ok) revert PrecompileFailed();
    }
}
