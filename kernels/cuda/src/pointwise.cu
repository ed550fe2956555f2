// F_r elementwise. The reference of each kernel is named at it (kernels/reference.py).
//
// Mapping : a one-dimensional grid of any size; each thread takes every zk_n_threads()-th element,
//           unless the kernel says otherwise.
// Form    : elements are 8 limbs, canonical in arrays that go to the host; see field.cuh.

#include "field.cuh"

#define EACH(n) for (u64 i = zk_thread(); i < n; i += zk_n_threads())

// out = a + b (Reference.add).
ZK_KERNEL(256) add_all(Fr *out, const Fr *a, const Fr *b, u64 n) {
    EACH(n) out[i] = (a[i] + b[i]).canonical();
}
ZK_EXPORT(add_all)

// out = a - b (Reference.sub).
ZK_KERNEL(256) sub_all(Fr *out, const Fr *a, const Fr *b, u64 n) {
    EACH(n) out[i] = (a[i] - b[i]).canonical();
}
ZK_EXPORT(sub_all)

// out = a b / 2^256, of Montgomery forms the product (Reference.mul).
ZK_KERNEL(256) mul_all(Fr *out, const Fr *a, const Fr *b, u64 n) {
    EACH(n) out[i] = (a[i] * b[i]).canonical();
}
ZK_EXPORT(mul_all)

// out = a * factor / 2^256 (Reference.scale, to_mont, from_mont: the factor decides).
ZK_KERNEL(256) mul_one(Fr *out, const Fr *a, const Fr *factor, u64 n) {
    const Fr f = *factor;
    EACH(n) out[i] = (a[i] * f).canonical();
}
ZK_EXPORT(mul_one)

// out[i] = sum_q a[q n + i] level^q, i < n <= m elements of a, by Horner (Reference.fold).
ZK_KERNEL(256) fold_all(Fr *out, const Fr *a, const Fr *level, u64 n, u64 m) {
    const Fr c = *level;
    EACH(n) {
        u64 j = (m - 1 - i) / n * n + i;
        Fr sum = a[j];
        while (j >= n) {
            j -= n;
            sum = sum * c + a[j];
        }
        out[i] = sum.canonical();
    }
}
ZK_EXPORT(fold_all)

// out[i] = first * base^i (Reference.powers); squares[k] = base^(2^k) for every k with 2^k < n.
// A thread makes `run` neighbours: one power by the bits of its first index, then single steps.
ZK_KERNEL(256) powers_all(Fr *out, const Fr *first, const Fr *squares, u32 run, u64 n) {
    u64 i = zk_thread() * run;
    if (i >= n) return;
    u64 end = i + run < n ? i + run : n;
    Fr power = *first;
    for (u32 k = 0; i >> k; k++) {
        if (i >> k & 1) power = power * squares[k];
    }
    const Fr base = squares[0];
    out[i] = power.canonical();
    for (i++; i < end; i++) {
        power = power * base;
        out[i] = power.canonical();
    }
}
ZK_EXPORT(powers_all)

// -- inversion: Montgomery's trick over chains ----------------------------------------------------
// Chain t < n_chains is a[t], a[t + n_chains], a[t + 2 n_chains] ... (n >= n_chains): neighbouring
// threads read neighbouring elements.

// prefix[i] = product of the chain's elements before a[i]; products[t] = product of the chain t.
// first_zero falls to the least index of a zero, if there is one.
ZK_KERNEL(256)
chain_products(Fr *prefix, Fr *products, u32 *first_zero, const Fr *a, u64 n_chains, u64 n) {
    u64 t = zk_thread();
    if (t >= n_chains) return;
    Fr product = Fr::one();
    for (u64 i = t; i < n; i += n_chains) {
        const Fr factor = a[i];
        if (factor.is_zero()) zk_atomic_min(first_zero, (u32)i);
        prefix[i] = product;
        product = product * factor;
    }
    products[t] = product.canonical();
}
ZK_EXPORT(chain_products)

// out[i] = 1 / a[i], from inverses[t] = 1 / products[t] (Reference.batch_inverse). out may be
// prefix: each element is read before it is written, by the same thread.
ZK_KERNEL(256)
chain_inverses(Fr *out, const Fr *prefix, const Fr *inverses, const Fr *a, u64 n_chains, u64 n) {
    u64 t = zk_thread();
    if (t >= n_chains) return;
    Fr inverse = inverses[t];
    u64 last = t + (n - 1 - t) / n_chains * n_chains;
    for (u64 i = last;; i -= n_chains) {
        const Fr factor = a[i];
        out[i] = (prefix[i] * inverse).canonical();
        inverse = inverse * factor;
        if (i == t) return;
    }
}
ZK_EXPORT(chain_inverses)

// out = 1 / a, each by its own power: where the chains end. 0 gives 0.
ZK_KERNEL(256) invert_each(Fr *out, const Fr *a, u64 n) {
    EACH(n) out[i] = a[i].inverse().canonical();
}
ZK_EXPORT(invert_each)

// -- sums -----------------------------------------------------------------------------------------

// The sum of every thread's `mine` to out[block]; blockDim.x is a power of two, and shared memory
// holds an element per thread. Barriers: before each halving its operands must be stored.
ZK_DEVICE void store_block_sum(Fr *out, const Fr &mine) {
    Fr *sums = zk_shared<Fr>();
    sums[threadIdx.x] = mine;
    for (u32 half = blockDim.x / 2; half > 0; half /= 2) {
        ZK_BARRIER();
        if (threadIdx.x < half) sums[threadIdx.x] = sums[threadIdx.x] + sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) out[blockIdx.x] = sums[0].canonical();
}

// out[block] = sum of a[i] b[i] over the block's elements (Reference.dot).
ZK_KERNEL(256) dot_all(Fr *out, const Fr *a, const Fr *b, u64 n) {
    Fr sum = Fr::zero();
    EACH(n) sum = sum + a[i] * b[i];
    store_block_sum(out, sum);
}
ZK_EXPORT(dot_all)

// out[block] = sum of a[i] over the block's elements.
ZK_KERNEL(256) sum_all(Fr *out, const Fr *a, u64 n) {
    Fr sum = Fr::zero();
    EACH(n) sum = sum + a[i];
    store_block_sum(out, sum);
}
ZK_EXPORT(sum_all)
