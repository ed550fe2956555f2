// Transforms over F_r: Stockham passes of up to 10 bits, natural order in and out.
//
// Let n = l r m. Before a pass with radix r the array S holds at j*l + q (j < n/l, q < l) the q-th
// output of the l-point transform of x[j], x[j + n/l], x[j + 2 n/l] ... The pass makes l*r of l:
//   S'[j*l*r + p*l + q] = sum_(u < r) w_r^(u p) ( w_(l r)^(u q) S[(j + u m)*l + q] )     j < m
// With g = j*l + q < n/r the inputs of one such column lie at g + u n/r: neighbouring columns are
// neighbours in memory. Passes with radices of product n take x (l = 1) to its transform (m = 1).
// Reference: Reference.ntt. Source: Stockham; Van Loan, "Computational Frameworks for the FFT", 1.7.
//
// Inverse: x[i] = X[-i mod n] / n for X = the transform, so only the last store differs.

#include "field.cuh"

enum : u32 { SCALE_IN = 1, SCALE_OUT = 2, FACTOR_OUT = 4, REVERSED_OUT = 8 };

struct alignas(16) Half {
    u32 limb[4];
};

// Elements in two planes of 16 bytes: neighbouring threads then use all banks.
struct Tile {
    Half *low, *high;

    ZK_DEVICE Fr load(u32 i) const {
        Fr r;
        const Half a = low[i], b = high[i];
        ZK_UNROLL for (int k = 0; k < 4; k++) r.limb[k] = a.limb[k];
        ZK_UNROLL for (int k = 0; k < 4; k++) r.limb[4 + k] = b.limb[k];
        return r;
    }
    ZK_DEVICE void store(u32 i, Fr v) const {
        Half a, b;
        ZK_UNROLL for (int k = 0; k < 4; k++) a.limb[k] = v.limb[k];
        ZK_UNROLL for (int k = 0; k < 4; k++) b.limb[k] = v.limb[4 + k];
        low[i] = a;
        high[i] = b;
    }
};

ZK_DEVICE u32 reverse_bits(u32 value, u32 n_bits) {
    u32 reversed = 0;
    for (u32 k = 0; k < n_bits; k++) reversed = reversed << 1 | (value >> k & 1);
    return reversed;
}

// One pass over `gridDim.y` transforms of n = 2^lg_n elements each.
//
// Mapping  : a block takes 2^lg_columns columns with r = 2^lg_r elements each; gridDim.x of them
//            cover n; blockDim.x = half the elements of a block (at least 1), one butterfly each.
// Shared   : the block's elements.
// roots    : roots[i] = w_n^i, i < n                      inner : inner[i] = w_1024^i, i < 512
// scale    : what `options` ask for: SCALE_IN    [n], multiplied into the inputs
//                                    SCALE_OUT   [n], multiplied into the outputs
//                                    FACTOR_OUT  one element, multiplied into the outputs
//            and REVERSED_OUT: the output -i mod n goes to i
// Barriers : each stage reads what other threads stored.
ZK_KERNEL(512)
ntt_pass(Fr *out, const Fr *in, const Fr *roots, const Fr *inner, const Fr *scale, u32 options,
         u32 lg_n, u32 lg_l, u32 lg_r, u32 lg_columns) {
    const u32 n_elements = 1u << (lg_r + lg_columns), r = 1u << lg_r;
    const u32 lg_groups = lg_n - lg_r;
    const u64 first = (u64)blockIdx.y << lg_n, g0 = (u64)blockIdx.x << lg_columns;
    const u64 l_mask = (1ull << lg_l) - 1, n_mask = (1ull << lg_n) - 1;
    Half *planes = zk_shared<Half>();
    const Tile tile = {planes, planes + n_elements};

    for (u32 e = threadIdx.x; e < n_elements; e += blockDim.x) {
        const u32 column = e & ((1u << lg_columns) - 1), u = e >> lg_columns;
        const u64 g = g0 + column, position = g + ((u64)u << lg_groups), q = g & l_mask;
        Fr v = in[first + position];
        if (options & SCALE_IN) v = v * scale[position];
        if (u * q != 0) v = v * roots[(u * q) << (lg_n - lg_l - lg_r)];
        tile.store((column << lg_r) + reverse_bits(u, lg_r), v);
    }
    for (u32 k = 0; k < lg_r; k++) {
        ZK_BARRIER();
        const u32 half = 1u << k;
        for (u32 t = threadIdx.x; t < n_elements / 2; t += blockDim.x) {
            const u32 j = t & (half - 1), i = ((t - j) << 1) + j;
            Fr a = tile.load(i), b = tile.load(i + half);
            if (k) b = b * inner[j << (9 - k)];
            tile.store(i, a + b);
            tile.store(i + half, a - b);
        }
    }
    ZK_BARRIER();
    for (u32 e = threadIdx.x; e < n_elements; e += blockDim.x) {
        // Neighbouring threads store to neighbouring places: along p if l = 1, else along q.
        const u32 column = lg_l ? e & ((1u << lg_columns) - 1) : e >> lg_r;
        const u32 p = lg_l ? e >> lg_columns : e & (r - 1);
        const u64 g = g0 + column;
        u64 position = ((g & ~l_mask) << lg_r) + ((u64)p << lg_l) + (g & l_mask);
        if (options & REVERSED_OUT) position = (n_mask + 1 - position) & n_mask;
        Fr v = tile.load((column << lg_r) + p);
        if (options & SCALE_OUT) v = v * scale[position];
        if (options & FACTOR_OUT) v = v * *scale;
        out[first + position] = v.canonical();
    }
}
ZK_EXPORT(ntt_pass)
