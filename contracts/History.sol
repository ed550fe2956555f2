// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// A number that held from `since` on, until that of the next entry.
struct Past {
    uint48 since;
    uint208 value;
}

/// Numbers over time, one storage word for each change. The present one lies with its owner, in a word
/// that has room for it, for `since` and for the count of `past`: so a first value takes no word of its
/// own, where OpenZeppelin's Checkpoints take two.
library History {
    /// Keeps a value that held from `since` until now. Returns the count of entries.
    function keep(
        mapping(uint256 => Past) storage past,
        uint32 count,
        uint48 since,
        uint208 value
    ) internal returns (uint32) {
        // What held for no time needs no entry; and before the first value there was zero.
        if (since == block.timestamp || (count == 0 && value == 0)) return count;
        past[count] = Past(since, value);
        return count + 1;
    }

    /// The value at a time before the present one's; zero before the first. Cost: log2(count) words.
    function find(
        mapping(uint256 => Past) storage past,
        uint256 count,
        uint256 time
    ) internal view returns (uint208) {
        uint256 low = 0; // entries below it began at `time` or before, those from `high` on after it
        uint256 high = count;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (past[middle].since <= time) low = middle + 1;
            else high = middle;
        }
        return low == 0 ? 0 : past[low - 1].value;
    }
}
