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
#include "jobs.cuh"

// min(s, r - s), of which one is below r / 2 if s < r. For s > r the difference wraps round.
struct Magnitude {
    u32 limb[8];
    bool negative, canonical;

    ZK_DEVICE explicit Magnitude(Scalar s) {  // by value: loaded as two words of 16 bytes
        Carry cc;
        u32 other[8];
        other[0] = sub_cc(cc, ModulusR::modulus(0), s.limb[0]);
        ZK_UNROLL for (int k = 1; k < 8; k++) {
            other[k] = subc_cc(cc, ModulusR::modulus(k), s.limb[k]);
        }
        canonical = subc(cc, 0, 0) == 0;
        sub_cc(cc, other[0], s.limb[0]);
        ZK_UNROLL for (int k = 1; k < 8; k++) subc_cc(cc, other[k], s.limb[k]);
        negative = subc(cc, 0, 0) != 0;
        ZK_UNROLL for (int k = 0; k < 8; k++) limb[k] = negative ? other[k] : s.limb[k];
        if (negative && is_zero()) canonical = false;  // s = r
    }

    ZK_DEVICE bool is_zero() const {
        u32 any = 0;
        ZK_UNROLL for (int k = 0; k < 8; k++) any |= limb[k];
        return any == 0;
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
    u32 c, n_sets, stride;

    // put(bucket, record, negate) for each nonzero digit of a canonical scalar, whose base is the
    // first record; those of its multiples follow. Short scalars, of which a witness has many, end
    // early.
    template <class Put> ZK_DEVICE void each(Magnitude m, u32 record, Put put) const {
        const u32 half = 1u << (c - 1);
        u32 carry = 0, set = 0;
        ZK_NO_UNROLL while (carry || !m.is_zero()) {
            u32 digit = (m.limb[0] & (2 * half - 1)) + carry;
            m.shift_down(c);
            carry = digit > half;
            if (carry) digit = 2 * half - digit;
            if (digit != 0) put(set * half + digit - 1, record, m.negative != (carry != 0));
            if (++set == n_sets) {
                set = 0;
                record += stride;
            }
        }
    }
};

// put(bucket, record, negate) for all digits of the block's share of its job's scalars; those of
// infinite bases have none. refuse() for each that is not below r, which has none either.
template <class Put, class Refuse>
ZK_DEVICE void each_digit(const Job &job, Put put, Refuse refuse) {
    const Digits digits = {job.c, job.n_sets, job.stride};
    u32 i = (blockIdx.x - job.first_block) * job.per_block;
    const u32 last = job.n - i < job.per_block ? job.n : i + job.per_block;
    for (i += threadIdx.x; i < last; i += blockDim.x) {
        if (job.infinite && job.infinite[i]) continue;
        const Magnitude m(job.scalars[i]);
        if (m.canonical) {
            digits.each(m, job.first_record + i, put);
        } else {
            refuse();
        }
    }
}

// The first of the block's words of `bases`, of which it has one for each part of its job.
ZK_DEVICE u64 bases_of_block(const Job &job) {
    return job.bases_at + (u64)(blockIdx.x - job.first_block) * job.n_parts;
}

ZK_DEVICE void clear_counts(u32 *counts, u32 n) {
    for (u32 k = threadIdx.x; k < n; k += blockDim.x) counts[k] = 0;
}

// sizes[p] += the entries of part p; bases: how many of them other blocks have before, for each part
// of the block's job; refused += scalars that are not below r. A part is 2^lg_places buckets.
// Grid: the blocks of the jobs. Shared: a word for each part of any job. Barriers: counters are
// cleared, then complete.
ZK_KERNEL(256)
count_parts(u32 *sizes, u32 *bases, u32 *refused, const Job *jobs, u32 lg_places) {
    u32 *counts = zk_shared<u32>();
    const Job &job = *job_of_block(jobs);
    clear_counts(counts, job.n_parts);
    ZK_BARRIER();
    each_digit(
        job, [&](u32 bucket, u32, bool) { zk_atomic_add(&counts[bucket >> lg_places], 1); },
        [&] { zk_atomic_add(refused, 1); });
    ZK_BARRIER();
    u32 *part_sizes = sizes + (job.first_bucket >> lg_places);
    u32 *own = bases + bases_of_block(job);
    for (u32 p = threadIdx.x; p < job.n_parts; p += blockDim.x) {
        own[p] = counts[p] ? zk_atomic_add(&part_sizes[p], counts[p]) : 0;
    }
}
ZK_EXPORT(count_parts)

// put(at, bucket, reference) for the block's entries; those of part p are from starts[p] on.
template <class Put>
ZK_DEVICE void place(const u32 *starts, const u32 *bases, const Job &job, u32 lg_places, Put put) {
    u32 *next = zk_shared<u32>();
    const u32 *part_starts = starts + (job.first_bucket >> lg_places);
    const u32 *own = bases + bases_of_block(job);
    for (u32 p = threadIdx.x; p < job.n_parts; p += blockDim.x) next[p] = part_starts[p] + own[p];
    ZK_BARRIER();
    each_digit(
        job,
        [&](u32 bucket, u32 record, bool negate) {
            put(zk_atomic_add(&next[bucket >> lg_places], 1), bucket, record << 1 | (u32)negate);
        },
        [] {});
}

// The entries, part by part: those of part p from starts[p] on. Digit w of scalar i refers to record
// (w / n_sets) * stride + first_record + i of its job's table. Of a place, which is below
// 2^lg_places, a word of 16 bits is kept. Grid, shared and the rest: as count_parts.
ZK_KERNEL(256)
place_parts(u32 *references, u16 *places, const u32 *starts, const u32 *bases, const Job *jobs,
            u32 lg_places) {
    const u32 mask = (1u << lg_places) - 1;
    place(starts, bases, *job_of_block(jobs), lg_places, [&](u32 at, u32 bucket, u32 reference) {
        references[at] = reference;
        places[at] = (u16)(bucket & mask);
    });
}
ZK_EXPORT(place_parts)

// Their references alone, where each bucket is a part.
ZK_KERNEL(256)
place_references(u32 *references, const u32 *starts, const u32 *bases, const Job *jobs) {
    place(starts, bases, *job_of_block(jobs), 0,
          [&](u32 at, u32, u32 reference) { references[at] = reference; });
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

    ZK_DEVICE Walk(const u32 *part_starts, u32 n_parts, u32 per_block) : starts(part_starts) {
        const u32 n_entries = starts[n_parts];
        const u64 first = (u64)blockIdx.x * per_block;
        from = to = first < n_entries ? (u32)first : n_entries;
        end = n_entries - from < per_block ? n_entries : from + per_block;
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
// Grid: a block for every `per_block` entries, of which there may be fewer. Shared: 2^lg_places
// words. Barriers: counters are cleared, then complete, then read.
ZK_KERNEL(256)
count_buckets(u32 *sizes, u32 *bases, const u16 *places, const u32 *starts, u32 per_block,
              u32 lg_places, u32 n_parts) {
    u32 *counts = zk_shared<u32>();
    const u32 n_places = 1u << lg_places;
    Walk walk(starts, n_parts, per_block);
    while (walk.go_on()) {
        clear_counts(counts, n_places);
        ZK_BARRIER();
        for (u32 i = walk.from + threadIdx.x; i < walk.to; i += blockDim.x) {
            zk_atomic_add(&counts[places[i]], 1);
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
place_buckets(u32 *references, const u32 *offsets, const u32 *bases, const u32 *by_part,
              const u16 *places, const u32 *starts, u32 per_block, u32 lg_places, u32 n_parts) {
    u32 *next = zk_shared<u32>();
    const u32 n_places = 1u << lg_places;
    Walk walk(starts, n_parts, per_block);
    while (walk.go_on()) {
        const u32 *part = offsets + ((u64)walk.part << lg_places);
        const u32 *row = bases + (walk.row() << lg_places);
        for (u32 k = threadIdx.x; k < n_places; k += blockDim.x) next[k] = part[k] + row[k];
        ZK_BARRIER();
        for (u32 i = walk.from + threadIdx.x; i < walk.to; i += blockDim.x) {
            references[zk_atomic_add(&next[places[i]], 1)] = by_part[i];
        }
        ZK_BARRIER();
    }
}
ZK_EXPORT(place_buckets)
