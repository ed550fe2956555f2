// Scalars to signed digits, and references to bases sorted by the digits' buckets.
//
// A scalar s becomes min(s, r - s) with a sign, and that becomes signed digits of c bits, lowest
// first (kernels/cuda/msm/plan.py). Nothing is stored of them but what the sort moves: they are
// cheap to compute again. Digit d of window w goes to bucket (w mod S) 2^(c-1) + |d| - 1; zeros leave
// no entry. A reference is record << 1 | negate.
//
// The sort goes by the bucket's upper bits (its part), then by its lower ones (its place in the
// part). Each time a block counts in shared memory, takes room for all it has of a part or bucket by
// one atomic addition, and places its entries there: neighbours of a block stay neighbours, no
// counter in global memory gets more than one addition a block, whatever the scalars are. Few buckets
// are parts themselves: then the first of the two sorts is all.
// The order inside a bucket is free: sums of points do not depend on it.

#include "carry.cuh"
#include "constants.cuh"

typedef unsigned char u8;

struct alignas(16) Scalar {
    u32 limb[8];
};

struct alignas(8) Entry {
    u32 place;  // in its part
    u32 reference;
};

// min(s, r - s), of which one is below r / 2 if s < r. For s > r the difference wraps round to more
// than 2^254, and the lesser of the two is then above r.
struct Magnitude {
    u32 limb[8];
    bool negative;

    ZK_DEVICE explicit Magnitude(Scalar s) {  // by value: loaded as two words of 16 bytes
        Carry cc;
        u32 other[8];
        other[0] = sub_cc(cc, ModulusR::modulus(0), s.limb[0]);
        ZK_UNROLL for (int k = 1; k < 7; k++) {
            other[k] = subc_cc(cc, ModulusR::modulus(k), s.limb[k]);
        }
        other[7] = subc(cc, ModulusR::modulus(7), s.limb[7]);
        sub_cc(cc, other[0], s.limb[0]);
        ZK_UNROLL for (int k = 1; k < 8; k++) subc_cc(cc, other[k], s.limb[k]);
        negative = subc(cc, 0, 0) != 0;
        ZK_UNROLL for (int k = 0; k < 8; k++) limb[k] = negative ? other[k] : s.limb[k];
    }

    // Bits of it; LENGTHS - 1, which no other number below 2^256 has, for s = r: it is not canonical.
    ZK_DEVICE u32 count_bits() const {
        u32 top = 0, below = 0;
        ZK_UNROLL for (u32 k = 0; k < 8; k++) {
            below = limb[k] ? 32 * k : below;
            top = limb[k] ? limb[k] : top;
        }
        if (top == 0) return negative ? 256 : 0;
        while (top >> 1) {
            top >>= 1;
            below++;
        }
        return below + 1;
    }

    ZK_DEVICE void shift_down(u32 n_bits) {
        ZK_UNROLL for (int k = 0; k < 7; k++) {
            limb[k] = (u32)(((u64)limb[k + 1] << 32 | limb[k]) >> n_bits);
        }
        limb[7] >>= n_bits;
    }
};

// What the digits of a scalar are and where they go: kernels/cuda/msm/plan.py, MsmPlan.
struct Digits {
    u32 c, n_windows, n_sets;

    // put(bucket, j, negate) for each nonzero digit; it refers to multiple j of the base.
    template <class Put> ZK_DEVICE void each(const Scalar &scalar, Put put) const {
        Magnitude m(scalar);
        const u32 half = 1u << (c - 1);
        u32 carry = 0, set = 0, j = 0;
        ZK_NO_UNROLL for (u32 w = 0; w < n_windows; w++) {
            u32 digit = (m.limb[0] & (2 * half - 1)) + carry;
            m.shift_down(c);
            carry = digit > half;
            if (carry) digit = 2 * half - digit;
            if (digit != 0) put(set * half + digit - 1, j, m.negative != (carry != 0));
            if (++set == n_sets) {
                set = 0;
                j++;
            }
        }
    }
};

ZK_DEVICE void clear_counts(u32 *counts, u32 n) {
    for (u32 k = threadIdx.x; k < n; k += blockDim.x) counts[k] = 0;
}

constexpr u32 LENGTHS = 257, COPIES = 8;  // of the histogram: equal lengths wait the less

// histogram[b] += how many scalars of finite bases have b bits in min(s, r - s), b < LENGTHS.
// Grid: any. Shared: COPIES * LENGTHS words. Barriers: counters are cleared, then complete.
ZK_KERNEL(256) count_lengths(u32 *histogram, const Scalar *scalars, const u8 *infinite, u64 n) {
    u32 *counts = zk_shared<u32>();
    clear_counts(counts, COPIES * LENGTHS);
    ZK_BARRIER();
    for (u64 i = zk_thread(); i < n; i += zk_n_threads()) {
        if (infinite[i]) continue;
        const u32 bits = Magnitude(scalars[i]).count_bits();
        zk_atomic_add(&counts[(threadIdx.x % COPIES) * LENGTHS + bits], 1);
    }
    ZK_BARRIER();
    for (u32 b = threadIdx.x; b < LENGTHS; b += blockDim.x) {
        u32 count = 0;
        for (u32 k = 0; k < COPIES; k++) count += counts[k * LENGTHS + b];
        if (count) zk_atomic_add(&histogram[b], count);
    }
}
ZK_EXPORT(count_lengths)

// sizes[p] += the entries of part p; bases[block, p] = how many of them other blocks have before.
// A part is 2^lg_places buckets. Grid: a block for every `per_block` scalars. Shared: n_parts words.
// Barriers: counters are cleared, then complete.
ZK_KERNEL(256)
count_parts(u32 *sizes, u32 *bases, const Scalar *scalars, const u8 *infinite, u64 n, u32 per_block,
            u32 c, u32 n_windows, u32 n_sets, u32 lg_places, u32 n_parts) {
    u32 *counts = zk_shared<u32>();
    clear_counts(counts, n_parts);
    ZK_BARRIER();
    const Digits digits = {c, n_windows, n_sets};
    const u64 first = (u64)blockIdx.x * per_block, last = first + per_block;
    for (u64 i = first + threadIdx.x; i < last && i < n; i += blockDim.x) {
        if (infinite[i]) continue;
        digits.each(scalars[i], [&](u32 bucket, u32, bool) {
            zk_atomic_add(&counts[bucket >> lg_places], 1);
        });
    }
    ZK_BARRIER();
    for (u32 p = threadIdx.x; p < n_parts; p += blockDim.x) {
        bases[(u64)blockIdx.x * n_parts + p] = counts[p] ? zk_atomic_add(&sizes[p], counts[p]) : 0;
    }
}
ZK_EXPORT(count_parts)

ZK_DEVICE void put(Entry *entry, u32 place, u32 reference) { *entry = {place, reference}; }
ZK_DEVICE void put(u32 *entry, u32, u32 reference) { *entry = reference; }

template <class E>
ZK_DEVICE void place(E *entries, const u32 *starts, const u32 *bases, const Scalar *scalars,
                     const u8 *infinite, u64 n, u32 per_block, u32 first_record, u32 stride,
                     const Digits &digits, u32 lg_places, u32 n_parts) {
    u32 *next = zk_shared<u32>();
    for (u32 p = threadIdx.x; p < n_parts; p += blockDim.x) {
        next[p] = starts[p] + bases[(u64)blockIdx.x * n_parts + p];
    }
    ZK_BARRIER();
    const u64 first = (u64)blockIdx.x * per_block, last = first + per_block;
    for (u64 i = first + threadIdx.x; i < last && i < n; i += blockDim.x) {
        if (infinite[i]) continue;
        digits.each(scalars[i], [&](u32 bucket, u32 j, bool negate) {
            const u32 at = zk_atomic_add(&next[bucket >> lg_places], 1);
            const u32 record = j * stride + first_record + (u32)i;
            put(&entries[at], bucket & ((1u << lg_places) - 1), record << 1 | (u32)negate);
        });
    }
}

// The entries, part by part: those of part p from starts[p] on. Digit w of scalar i refers to record
// (w / n_sets) * stride + first_record + i. Grid, shared and the rest: as count_parts.
ZK_KERNEL(256)
place_parts(Entry *entries, const u32 *starts, const u32 *bases, const Scalar *scalars,
            const u8 *infinite, u64 n, u32 per_block, u32 first_record, u32 stride, u32 c,
            u32 n_windows, u32 n_sets, u32 lg_places, u32 n_parts) {
    place(entries, starts, bases, scalars, infinite, n, per_block, first_record, stride,
          {c, n_windows, n_sets}, lg_places, n_parts);
}
ZK_EXPORT(place_parts)

// Their references alone, where each bucket is a part: the same with lg_places = 0.
ZK_KERNEL(256)
place_references(u32 *references, const u32 *starts, const u32 *bases, const Scalar *scalars,
                 const u8 *infinite, u64 n, u32 per_block, u32 first_record, u32 stride, u32 c,
                 u32 n_windows, u32 n_sets, u32 lg_places, u32 n_parts) {
    place(references, starts, bases, scalars, infinite, n, per_block, first_record, stride,
          {c, n_windows, n_sets}, lg_places, n_parts);
}
ZK_EXPORT(place_references)

// out[row, i] = starts[row] + counts[row, 0] + ... + counts[row, i - 1], and behind the last row the
// sum of all. Grid: a block for each row of `length` words. Shared: a word per thread; blockDim.x is
// a power of two. Barriers: the threads' own sums, then each doubling of what is summed.
ZK_KERNEL(256) scan_rows(u32 *out, const u32 *counts, const u32 *starts, u32 length) {
    u32 *sums = zk_shared<u32>();
    const u32 each = (length + blockDim.x - 1) / blockDim.x;
    const u32 first = threadIdx.x * each < length ? threadIdx.x * each : length;
    const u32 last = first + each < length ? first + each : length;
    const u64 row = (u64)blockIdx.x * length;
    u32 own = 0;
    for (u32 i = first; i < last; i++) own += counts[row + i];
    u32 sum = own;
    for (u32 step = 1; step < blockDim.x; step *= 2) {
        sums[threadIdx.x] = sum;
        ZK_BARRIER();
        if (threadIdx.x >= step) sum += sums[threadIdx.x - step];
        ZK_BARRIER();
    }
    u32 before = starts[blockIdx.x] + sum - own;
    for (u32 i = first; i < last; i++) {
        out[row + i] = before;
        before += counts[row + i];
    }
    if (blockIdx.x + 1 == gridDim.x && threadIdx.x + 1 == blockDim.x) out[row + length] = before;
}
ZK_EXPORT(scan_rows)

// A block's entries, part by part: those with numbers from ... to - 1 are of part `part`, and `row`
// numbers blocks and parts together, as each step to another part or block makes it greater.
struct Walk {
    const u32 *starts;
    u32 from, to, end, part;

    ZK_DEVICE Walk(const u32 *part_starts, u32 n_parts, u64 n_entries, u32 per_block)
        : starts(part_starts) {
        const u64 first = (u64)blockIdx.x * per_block;
        from = to = (u32)first;
        end = (u32)(first + per_block < n_entries ? first + per_block : n_entries);
        u32 above = n_parts;  // starts[part] <= from < starts[above]
        part = 0;
        while (above - part > 1) {
            const u32 middle = (part + above) / 2;
            if (starts[middle] <= from) {
                part = middle;
            } else {
                above = middle;
            }
        }
    }
    ZK_DEVICE bool go_on() {
        from = to;
        if (from >= end) return false;
        while (starts[part + 1] <= from) part++;
        to = starts[part + 1] < end ? starts[part + 1] : end;
        return true;
    }
    ZK_DEVICE u64 row() const { return (u64)blockIdx.x + part; }
};

// sizes[bucket] += its entries; bases[row, place] = how many of them other rows have before.
// Grid: a block for every `per_block` entries. Shared: 2^lg_places words. Barriers: counters are
// cleared, then complete, then read.
ZK_KERNEL(256)
count_buckets(u32 *sizes, u32 *bases, const Entry *entries, const u32 *starts, u64 n_entries,
              u32 per_block, u32 lg_places, u32 n_parts) {
    u32 *counts = zk_shared<u32>();
    const u32 n_places = 1u << lg_places;
    Walk walk(starts, n_parts, n_entries, per_block);
    while (walk.go_on()) {
        clear_counts(counts, n_places);
        ZK_BARRIER();
        for (u32 i = walk.from + threadIdx.x; i < walk.to; i += blockDim.x) {
            zk_atomic_add(&counts[entries[i].place], 1);
        }
        ZK_BARRIER();
        u32 *part = sizes + ((u64)walk.part << lg_places);
        u32 *row = bases + (walk.row() << lg_places);
        for (u32 k = threadIdx.x; k < n_places; k += blockDim.x) {
            row[k] = counts[k] ? zk_atomic_add(&part[k], counts[k]) : 0;
        }
        ZK_BARRIER();
    }
}
ZK_EXPORT(count_buckets)

// The references, bucket by bucket: those of a bucket from offsets[bucket] on. Grid, shared and the
// rest: as count_buckets.
ZK_KERNEL(256)
place_buckets(u32 *references, const u32 *offsets, const u32 *bases, const Entry *entries,
              const u32 *starts, u64 n_entries, u32 per_block, u32 lg_places, u32 n_parts) {
    u32 *next = zk_shared<u32>();
    const u32 n_places = 1u << lg_places;
    Walk walk(starts, n_parts, n_entries, per_block);
    while (walk.go_on()) {
        const u32 *part = offsets + ((u64)walk.part << lg_places);
        const u32 *row = bases + (walk.row() << lg_places);
        for (u32 k = threadIdx.x; k < n_places; k += blockDim.x) next[k] = part[k] + row[k];
        ZK_BARRIER();
        for (u32 i = walk.from + threadIdx.x; i < walk.to; i += blockDim.x) {
            const Entry entry = entries[i];
            references[zk_atomic_add(&next[entry.place], 1)] = entry.reference;
        }
        ZK_BARRIER();
    }
}
ZK_EXPORT(place_buckets)
