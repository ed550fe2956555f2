// Multi-scalar multiplications over F (Fp: G1, Fp2: G2): what follows once the digits are sorted.
//
// An entry is one nonzero digit: a reference to its base, sorted by bucket (sort.cu); the offsets
// say where each bucket begins. Each thread sums a slice of equally many entries, so one bucket with
// all entries (equal scalars) is as quick as many small ones. A bucket that lies inside
// a slice is done; the sum of one that crosses an end of the slice is a piece, which `merge_pieces`
// adds to its neighbours, block by block, until one block is left.
//
// How many entries there are only the offsets tell: launches are as large as they may have to be, and
// threads that find nothing to do end. All sums of a group go together: their buckets are numbered
// one after the other, and a bucket's job (jobs.cuh) has the table that its references are of.
//
// Buckets and pieces are zero words (infinity) until they are written. The order of the entries of
// a bucket is free: sums of points do not depend on it.
//
// Definition: kernels.reference.Reference.msm_g1, msm_g2.

#pragma once
#include "curve.cuh"
#include "jobs.cuh"

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

// Where the sum of a run of pieces goes: one that may go on in another block is a piece of this one.
template <class F>
ZK_DEVICE void put_run(Xyzz<F> *sums, const Pieces<F> &above, bool is_only, u32 first_of_block,
                       u32 last_of_block, u32 bucket, const Xyzz<F> &sum) {
    Xyzz<F> *target = &sums[bucket];
    if (!is_only && (bucket == first_of_block || bucket == last_of_block)) {
        const u32 piece = 2 * blockIdx.x + (bucket == first_of_block ? 0 : 1);
        above.buckets[piece] = bucket;
        target = &above.sums[piece];
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

// Entries of each thread's slice for n of them: as few waves of equal threads as slices of at most
// `most` make possible. As kernels.cuda.msm.plan.choose_slice.
ZK_DEVICE u32 slice_length(u32 n, u32 n_resident, u32 least, u32 most) {
    const u32 wave = n_resident * most;
    const u32 n_waves = n > wave ? n / wave + (n % wave != 0) : 1;
    const u32 n_threads = n_resident * n_waves, length = n / n_threads + (n % n_threads != 0);
    return length > least ? length : least;
}

// Grid: at least one thread per slice. sums[b - first_bucket] of every bucket b inside a slice,
// pieces of the others: two for each of n_slices threads, there or not.
// What is cheap to find again is not kept: registers are short.
//
// offsets : bucket b has the references offsets[b] ... offsets[b + 1] - 1, first_bucket <= b <
//           n_buckets
template <class F>
ZK_DEVICE void sum_entries(Xyzz<F> *sums, Pieces<F> pieces, const u32 *references,
                           const u32 *offsets, const Job *job, u32 first_bucket, u32 n_buckets,
                           u32 n_slices, u32 n_resident, u32 least, u32 most) {
    if (zk_thread() >= n_slices) return;
    clear_pieces(pieces);
    const u32 begin = offsets[first_bucket], n = offsets[n_buckets] - begin;
    const u32 length = slice_length(n, n_resident, least, most);
    const u64 before_all = zk_thread() * length;
    if (before_all >= n) return;
    const u32 start = begin + (u32)before_all;
    const u32 last = n - (u32)before_all < length ? begin + n : start + length;
    u32 at = start;
    u32 bucket = find_bucket(offsets, first_bucket, n_buckets, at), end = offsets[bucket + 1];
    u32 reference = references[at];
    job = job_of_bucket(job, bucket);
    u32 job_end = offsets[job[1].first_bucket];
    Xyzz<F> sum = Xyzz<F>::infinity();
    while (at < last) {
        const Affine<F> *table = (const Affine<F> *)job->table;
        Affine<F> point = table[reference >> 1];
        if (reference & 1) point = -point;
        at++;
        if (at < last) {
            reference = references[at];
            if (at < job_end) prefetch(&table[reference >> 1]);
        }
        sum = sum.add_mixed(point);
        if (at == last || at == end) {
            put_sum(sums, pieces, offsets[bucket] < start, end > last, bucket - first_bucket, sum);
            sum = Xyzz<F>::infinity();
            if (at == last) return;
            bucket++;
            if (offsets[bucket + 1] <= at) bucket = find_bucket(offsets, bucket, n_buckets, at);
            end = offsets[bucket + 1];
            if (at >= job_end) {
                job = job_of_bucket(job, bucket);
                job_end = offsets[job[1].first_bucket];
            }
        }
    }
}

// Grid: one block for every blockDim.x * per_thread pieces, in whose order buckets ascend. Sums of
// buckets that lie inside a block are done; the first and the last of it become its pieces 2 b and
// 2 b + 1 above, unless it is the only block.
//
// A thread adds up runs of equal buckets: those between its first and its last run are whole, its
// first one waits in `heads` for what threads before have of it, its last one goes on. Last runs are
// joined along the block in doubling steps: `chains` of a thread is the sum of what it and threads
// before have of its last bucket, `keys`; a thread without pieces takes over those before it. A chain
// ends where the next thread's pieces begin with another bucket.
// Shared: heads, chains and a key for each of the block's threads, whose number is a power of two,
// and a word. Barriers: chains are stored before they are read, and read before they are replaced.
template <class F>
ZK_DEVICE void merge_pieces(Xyzz<F> *sums, Pieces<F> above, Pieces<F> below, u32 n_pieces,
                            u32 per_thread, u32 lg_block) {
    const u32 t = threadIdx.x, n_threads = blockDim.x;
    Xyzz<F> *heads = zk_shared<Xyzz<F>>(), *chains = heads + n_threads;
    u32 *keys = (u32 *)(chains + n_threads), *first_of_block = keys + n_threads;
    const bool is_only = gridDim.x == 1;
    if (t == 0) *first_of_block = NO_BUCKET;
    if (t == 0 && !is_only) {
        above.buckets[2 * blockIdx.x] = NO_BUCKET;
        above.buckets[2 * blockIdx.x + 1] = NO_BUCKET;
    }
    u32 first = NO_BUCKET, key = NO_BUCKET;  // of the thread's runs, the first and the last
    Xyzz<F> sum = Xyzz<F>::infinity();
    ZK_NO_UNROLL for (u32 k = 0; k <= per_thread + lg_block; k++) {
        const Xyzz<F> *other = nullptr;
        if (k < per_thread) {
            const u64 i = zk_thread() * per_thread + k;
            const u32 here = i < n_pieces ? below.buckets[i] : NO_BUCKET;
            if (here == NO_BUCKET) continue;
            if (first == NO_BUCKET) first = here;
            if (key != NO_BUCKET && key != here) {
                if (key == first) {
                    heads[t] = sum;
                } else {
                    sums[key] = sum;
                }
                sum = Xyzz<F>::infinity();
            }
            key = here;
            other = &below.sums[i];
        } else {
            const bool is_end = k == per_thread + lg_block;
            const u32 step = is_end ? 1 : 1u << (k - per_thread);
            if (k == per_thread && first != NO_BUCKET) zk_atomic_min(first_of_block, first);
            ZK_BARRIER();
            chains[t] = sum;
            keys[t] = key;
            ZK_BARRIER();
            const u32 before = t >= step ? keys[t - step] : NO_BUCKET;
            if (!is_end && before == NO_BUCKET) continue;
            if (!is_end) {
                if (key == before) {
                    other = &chains[t - step];
                } else if (key == NO_BUCKET) {
                    key = before;
                    sum = chains[t - step];
                }
            } else {
                if (t + 1 == n_threads && key != NO_BUCKET) {
                    put_run(sums, above, is_only, *first_of_block, key, key, sum);
                }
                if (first == NO_BUCKET) return;
                if (before != NO_BUCKET && before != first) {
                    put_run(sums, above, is_only, *first_of_block, keys[n_threads - 1], before,
                            chains[t - 1]);
                }
                if (key == first) return;  // its only run: a later thread ends it
                sum = heads[t];
                if (before == first) other = &chains[t - 1];
            }
        }
        if (other) sum = sum.add(*other);
    }
    put_run(sums, above, is_only, *first_of_block, keys[n_threads - 1], first, sum);
}

// The sums of one set at one stage of the reduction: they begin at `first`, and those of the next
// stage at `first_after`.
struct Set {
    u32 first, first_after, n, lg_chunk;
};

// One step of sum_i (i + 1) B_i over the n sums B of each set, K = 2^lg_chunk, n a multiple of K:
//   sum_i (i + 1) B_i = sum_t A_t + K sum_(t >= 1) t S_t,
//   S_t = sum_j B_(K t + j), A_t = sum_j (j + 1) B_(K t + j), j < K,
// and the last sum has the same form over n / K sums. The plain sums of all A so far are carried on
// as lists. First step: offset 0. Later: B_i = sums[i + 1], so chunks are shifted by one; the last
// one is short.
//
// Grid: x over n / K chunks of the longest set, y over lists (the last one is the weighted sum), z
// over sets.
// lists_in  : of each set [gridDim.y - 1, n]    lists_out : of each set [gridDim.y, n / K]
// sums_in   : of each set [n]                   sums_out  : of each set [n / K]
template <class F>
ZK_DEVICE void reduce_step(Xyzz<F> *lists_out, Xyzz<F> *sums_out, const Xyzz<F> *lists_in,
                           const Xyzz<F> *sums_in, const Set *sets, u32 offset) {
    const Set set = sets[blockIdx.z];
    const u32 n = set.n, lg_chunk = set.lg_chunk;
    u32 t = (u32)zk_thread(), n_after = n >> lg_chunk;
    if (t >= n_after) return;
    u32 list = blockIdx.y, n_lists = gridDim.y;
    bool weighted = list == n_lists - 1;
    const Xyzz<F> *in = weighted ? sums_in + set.first
                                 : lists_in + ((u64)set.first * (n_lists - 1) + (u64)list * n);
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
    u64 at = (u64)set.first_after * n_lists + (u64)list * n_after + t;
    lists_out[at] = weighted ? total : running;
    if (weighted) sums_out[set.first_after + t] = running;
}

// Plain sums of lists, and those that weight a last one: sum_t t S_t = sum_j 2^j T_j, T_j the sum of
// all S_t whose t has bit j. Each block sums a share of one list; blocks' sums are lists again.
//
// Grid: x over blocks, y over n_lists + n_bits sums, z over sets. A thread adds `per_thread` elements
// at most, then its block's threads join in halves; blockDim.x = 2^lg_block, shared memory has a
// point for each thread. Barriers: a half is stored before it is added.
// lists    : of each set [n_lists, n]    weighted : of each set [n], n = 2^k, k <= n_bits, if n_bits
// out      : [n_sets, n_lists + n_bits, gridDim.x], infinity for bits that a set has not
template <class F>
ZK_DEVICE void sum_lists(Xyzz<F> *out, const Xyzz<F> *lists, const Xyzz<F> *weighted,
                         const Set *sets, u32 n_lists, u32 per_thread, u32 lg_block) {
    Xyzz<F> *shared = zk_shared<Xyzz<F>>();
    const bool plain = blockIdx.y < n_lists;
    const u32 first = sets[blockIdx.z].first, n = sets[blockIdx.z].n, bit = blockIdx.y - n_lists;
    const u32 size = plain ? n : n >> bit > 1 ? n / 2 : 0;
    const Xyzz<F> *in =
        plain ? lists + ((u64)first * n_lists + (u64)blockIdx.y * n) : weighted + first;
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
