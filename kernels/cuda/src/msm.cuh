// Multi-scalar multiplication over F (Fp: G1, Fp2: G2): what follows once the digits are sorted.
//
// An entry is one nonzero digit: a reference to its base, sorted by bucket (sort.cu); the offsets
// say where each bucket begins. Each thread sums a slice of equally many entries, so one bucket with
// all entries (equal scalars) is as quick as many small ones. A bucket that lies inside
// a slice is done; the sum of one that crosses an end of the slice is a piece, which `merge_pieces`
// adds to its neighbours, again slice by slice, until one slice is left.
//
// Buckets and pieces are zero words (infinity) until they are written. The order of the entries of
// a bucket is free: sums of points do not depend on it.
//
// Definition: kernels.reference.Reference.msm_g1, msm_g2.

#pragma once
#include "curve.cuh"

constexpr u32 NO_BUCKET = 0xffffffff;

// Asks for the cache lines of a record that will be read soon. (Kept in registers until then, it
// would take them from the addition.)
template <class T> ZK_DEVICE void prefetch(const T *record) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    ZK_UNROLL for (u32 at = 0; at < sizeof(T); at += 64) {
        asm volatile("prefetch.global.L1 [%0];" ::"l"((const char *)record + at));
    }
#else
    (void)record;
#endif
}

// Piece 2 s of slice s: of the bucket that began in an earlier slice; piece 2 s + 1: of the bucket
// that goes on in a later one, unless it is the same. A piece that is not there has NO_BUCKET.
template <class F> struct Pieces {
    u32 *buckets;
    Xyzz<F> *sums;
};

// Where a thread's sum goes. `before` and `after`: whether the bucket begins before its slice or goes
// on after it.
template <class F>
ZK_DEVICE void put_sum(Xyzz<F> *sums, const Pieces<F> &pieces, bool before, bool after, u32 bucket,
                       const Xyzz<F> &sum) {
    Xyzz<F> *target = &sums[bucket];
    if (before || after) {
        u64 piece = 2 * zk_thread() + (before ? 0 : 1);
        pieces.buckets[piece] = bucket;
        target = &pieces.sums[piece];
    }
    *target = sum;
}

template <class F> ZK_DEVICE void clear_pieces(const Pieces<F> &pieces) {
    pieces.buckets[2 * zk_thread()] = NO_BUCKET;
    pieces.buckets[2 * zk_thread() + 1] = NO_BUCKET;
}

// The bucket that entry `at` is in, of those from `low` on: offsets[low] <= at < offsets[n_sums].
ZK_DEVICE u32 find_bucket(const u32 *offsets, u32 low, u32 n_sums, u32 at) {
    while (n_sums - low > 1) {
        const u32 middle = low + (n_sums - low) / 2;
        if (offsets[middle] <= at) {
            low = middle;
        } else {
            n_sums = middle;
        }
    }
    return low;
}

// Grid: one thread per slice. sums[bucket] of every bucket inside a slice, pieces of the others.
// What is cheap to find again is not kept: registers are short.
//
// offsets : bucket b < n_sums has the references offsets[b] ... offsets[b + 1] - 1 of n_entries
template <class F>
ZK_DEVICE void sum_entries(Xyzz<F> *sums, Pieces<F> pieces, const u32 *references,
                           const u32 *offsets, const Affine<F> *table, u64 n_entries, u32 n_sums,
                           u32 length) {
    if (zk_thread() * length >= n_entries) return;
    clear_pieces(pieces);
    u32 at = (u32)zk_thread() * length;
    const u32 last = n_entries - at < length ? (u32)n_entries : at + length;
    u32 bucket = find_bucket(offsets, 0, n_sums, at), end = offsets[bucket + 1];
    u32 reference = references[at];
    Xyzz<F> sum = Xyzz<F>::infinity();
    while (at < last) {
        Affine<F> point = table[reference >> 1];
        if (reference & 1) point = -point;
        at++;
        if (at < last) {
            reference = references[at];
            prefetch(&table[reference >> 1]);
        }
        sum = sum.add_mixed(point);
        if (at == last || at == end) {
            const bool before = offsets[bucket] < (u32)zk_thread() * length;
            put_sum(sums, pieces, before, end > last, bucket, sum);
            sum = Xyzz<F>::infinity();
            if (at == last) return;
            bucket++;
            if (offsets[bucket + 1] <= at) bucket = find_bucket(offsets, bucket, n_sums, at);
            end = offsets[bucket + 1];
        }
    }
}

// Grid: one thread per slice of `length` (even) pieces, from the second on: a bucket of two pieces
// is then never cut. The pieces of slices below, 2 n of them, become buckets or 2 pieces a slice.
//
// holds : a piece with an odd number is the first of its bucket, so the slice continues a bucket
//         only if that piece is missing and the next one is there.
template <class F>
ZK_DEVICE void merge_pieces(Xyzz<F> *sums, Pieces<F> above, Pieces<F> below, u64 n_pieces,
                            u32 length) {
    u64 slice = zk_thread();
    u64 first = 1 + slice * length;
    if (first >= n_pieces) return;
    u64 last = first + length < n_pieces ? first + length : n_pieces;
    u32 ends[2];
    ZK_UNROLL for (int k = 0; k < 2; k++) {
        u64 at = k == 0 ? first : last;
        bool goes_on = at + 1 < n_pieces && below.buckets[at] == NO_BUCKET;
        ends[k] = goes_on ? below.buckets[at + 1] : NO_BUCKET;
    }
    clear_pieces(above);
    u32 bucket = NO_BUCKET;
    Xyzz<F> sum = Xyzz<F>::infinity();
    ZK_NO_UNROLL for (u64 i = first; i <= last; i++) {
        u32 here = i < last ? below.buckets[i] : NO_BUCKET;
        if (here == NO_BUCKET && i < last) continue;
        if (here != bucket) {
            if (bucket != NO_BUCKET) {
                put_sum(sums, above, bucket == ends[0], bucket == ends[1], bucket, sum);
            }
            bucket = here;
            sum = Xyzz<F>::infinity();
        }
        if (i < last) sum = sum.add(below.sums[i]);
    }
}

// One step of sum_i (i + 1) B_i over the n sums B of each set, K = 2^lg_chunk, n a multiple of K:
//   sum_i (i + 1) B_i = sum_t A_t + K sum_(t >= 1) t S_t,
//   S_t = sum_j B_(K t + j), A_t = sum_j (j + 1) B_(K t + j), j < K,
// and the last sum has the same form over n / K sums. The plain sums of all A so far are carried on
// as lists. First step: offset 0. Later: B_i = sums[i + 1], so chunks are shifted by one; the last
// one is short.
//
// Grid: x over n / K chunks, y over lists (the last one is the weighted sum), z over sets.
// lists_in  : [n_sets, gridDim.y - 1, n]    lists_out : [n_sets, gridDim.y, n / K]
// sums_in   : [n_sets, n]                   sums_out  : [n_sets, n / K]
template <class F>
ZK_DEVICE void reduce_step(Xyzz<F> *lists_out, Xyzz<F> *sums_out, const Xyzz<F> *lists_in,
                           const Xyzz<F> *sums_in, u32 n, u32 lg_chunk, u32 offset) {
    u32 t = (u32)zk_thread(), n_after = n >> lg_chunk;
    if (t >= n_after) return;
    u32 list = blockIdx.y, n_lists = gridDim.y;
    u64 set = blockIdx.z;
    bool weighted = list == n_lists - 1;
    const Xyzz<F> *in =
        weighted ? sums_in + set * n : lists_in + (set * (n_lists - 1) + list) * n;
    u32 first = (t << lg_chunk) + (weighted ? offset : 0);
    u32 last = first + (1u << lg_chunk) < n ? first + (1u << lg_chunk) : n;
    Xyzz<F> running = Xyzz<F>::infinity(), total = Xyzz<F>::infinity();
    ZK_NO_UNROLL for (u32 i = last; i > first; i--) {
        // One addition in the code for both sums: half the code, and fewer registers.
        ZK_NO_UNROLL for (u32 k = 0; k < (weighted ? 2 : 1); k++) {
            Xyzz<F> left = k == 0 ? in[i - 1] : total;
            Xyzz<F> sum = running.add(left);
            if (k == 0) {
                running = sum;
            } else {
                total = sum;
            }
        }
    }
    u64 at = (set * n_lists + list) * n_after + t;
    lists_out[at] = weighted ? total : running;
    if (weighted) sums_out[set * n_after + t] = running;
}

// Plain sums of lists, and those that weight a last one: sum_t t S_t = sum_j 2^j T_j, T_j the sum of
// all S_t whose t has bit j. Each block sums a share of one list; blocks' sums are lists again.
//
// Grid: x over blocks, y over n_lists + n_bits sums, z over sets. A thread adds `per_thread` elements
// at most, then its block's threads join in halves; blockDim.x = 2^lg_block, shared memory has a
// point for each thread. Barriers: a half is stored before it is added.
// lists    : [n_sets, n_lists, n]    weighted : [n_sets, n] if n_bits, which is lg n
// out      : [n_sets, n_lists + n_bits, gridDim.x]
template <class F>
ZK_DEVICE void sum_lists(Xyzz<F> *out, const Xyzz<F> *lists, const Xyzz<F> *weighted, u32 n,
                         u32 n_lists, u32 per_thread, u32 lg_block) {
    Xyzz<F> *shared = zk_shared<Xyzz<F>>();
    const bool plain = blockIdx.y < n_lists;
    const u32 bit = blockIdx.y - n_lists, size = plain ? n : n / 2;
    const Xyzz<F> *in =
        plain ? lists + ((u64)blockIdx.z * n_lists + blockIdx.y) * n : weighted + (u64)blockIdx.z * n;
    Xyzz<F> sum = Xyzz<F>::infinity();
    ZK_NO_UNROLL for (u32 k = 0; k < per_thread + lg_block; k++) {
        const Xyzz<F> *other;
        bool adds;
        if (k < per_thread) {
            u32 i = (u32)zk_thread() + k * (u32)zk_n_threads();
            adds = i < size;
            if (!plain) i = (i >> bit) << (bit + 1) | 1u << bit | (i & ((1u << bit) - 1));
            other = &in[i];
        } else {
            const u32 half = blockDim.x >> (k - per_thread + 1);
            if (threadIdx.x >= half && threadIdx.x < 2 * half) shared[threadIdx.x] = sum;
            ZK_BARRIER();
            adds = threadIdx.x < half;
            other = &shared[threadIdx.x + half];
        }
        if (adds) sum = sum.add(*other);
    }
    if (threadIdx.x == 0) {
        out[((u64)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] = sum;
    }
}

// Grid: one thread per point. out[i] = 2^n_doublings in[i].
template <class F>
ZK_DEVICE void double_points(Xyzz<F> *out, const Affine<F> *in, u64 n, u32 n_doublings) {
    u64 i = zk_thread();
    if (i >= n) return;
    Xyzz<F> point = Xyzz<F>::from(in[i]);
    ZK_NO_UNROLL for (u32 k = 0; k < n_doublings; k++) point = point.twice();
    out[i] = point;
}

// Grid: any number of threads; thread t takes points t, t + threads, ... and one inversion.
// out[i] = in[i], canonical and affine. products: n elements of scratch.
template <class F>
ZK_DEVICE void normalize_points(Affine<F> *out, F *products, const Xyzz<F> *in, u64 n) {
    u64 t = zk_thread(), step = zk_n_threads();
    F product = F::one();
    u64 i = t;
    for (; i < n; i += step) {
        products[i] = product;
        if (!in[i].is_infinity()) product = product * in[i].zzz;
    }
    F inverse = product.inverse();
    while (i > t) {
        i -= step;
        Xyzz<F> point = in[i];
        if (point.is_infinity()) {
            out[i] = Affine<F>::infinity();
            continue;
        }
        F own = inverse * products[i];  // 1 / zzz of this point
        inverse = inverse * point.zzz;
        F ratio = point.zz * own;  // 1 / zz = (zz / zzz)^2, as zz^3 = zzz^2
        out[i] = {(point.x * ratio.sqr()).canonical(), (point.y * own).canonical()};
    }
}

// Grid: one thread per scalar. out[i] = scalars[i] * P from the multiples of one base P:
// table[w 2^c + d] = d 2^(c w) P, where c = 2^lg_width divides 32, so that no digit crosses limbs.
// scalars : 8 limbs each, canonical
template <class F>
ZK_DEVICE void multiply_base(Xyzz<F> *out, const u32 *scalars, const Affine<F> *table, u64 n,
                             u32 lg_width) {
    u64 i = zk_thread();
    if (i >= n) return;
    u32 width = 1u << lg_width, n_windows = 256 >> lg_width;
    Xyzz<F> sum = Xyzz<F>::infinity();
    ZK_NO_UNROLL for (u32 w = 0; w < n_windows; w++) {
        u32 bit = w << lg_width;
        u32 digit = scalars[8 * i + (bit >> 5)] >> (bit & 31) & ((1u << width) - 1);
        if (digit != 0) sum = sum.add_mixed(table[((u64)w << width) + digit]);
    }
    out[i] = sum;
}
