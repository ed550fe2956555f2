// Transforms over F_r: Stockham passes of up to 10 bits, natural order in and out.
//
// Let n = l r m. Before a pass with radix r the array S holds at j*l + q (j < n/l, q < l) the q-th
// output of the l-point transform of x[j], x[j + n/l], x[j + 2 n/l] ... The pass makes l*r of l:
//   S'[j*l*r + p*l + q] = sum_(u < r) w_r^(u p) ( w_(l r)^(u q) S[(j + u m)*l + q] )     j < m
// With g = j*l + q < n/r the inputs of one such column lie at g + u n/r: neighbouring columns are
// neighbours in memory. Passes with radices of product n take x (l = 1) to its transform (m = 1).
// Reference: Reference.ntt. Source: Stockham; Van Loan, "Computational Frameworks for the FFT", 1.7.
//
// A block's columns lie in a tile, row by row: the elements u of all columns side by side. A pass is
// itself made of steps of the same form, with radices 8, 4, 2 and the columns as part of every q; a
// thread has 8 elements of each step in registers, and the tile is read and written once per step.
//
// Inverse: x[i] = X[-i mod n] / n for X = the transform, so only the last store differs.

#include "field.cuh"

enum : u32 { SCALE_IN = 1, SCALE_OUT = 2, REVERSED_OUT = 4 };

constexpr u32 HELD = 8, LG_HELD = 3;  // elements of a thread
constexpr u32 LG_INNER = 10;          // inner : inner[i] = w_1024^i

struct alignas(16) Half {
    u32 limb[4];
};

// Elements in two planes of 16 bytes, with a gap behind every 8: neighbouring threads use all banks
// where they store 8 elements apart as well as where they load neighbours.
struct Tile {
    Half *low, *high;

    static ZK_DEVICE u32 place(u32 i) { return i + (i >> 3); }

    ZK_DEVICE Fr load(u32 i) const {
        Fr r;
        const Half a = low[place(i)], b = high[place(i)];
        ZK_UNROLL for (int k = 0; k < 4; k++) r.limb[k] = a.limb[k];
        ZK_UNROLL for (int k = 0; k < 4; k++) r.limb[4 + k] = b.limb[k];
        return r;
    }
    ZK_DEVICE void store(u32 i, Fr v) const {
        Half a, b;
        ZK_UNROLL for (int k = 0; k < 4; k++) a.limb[k] = v.limb[k];
        ZK_UNROLL for (int k = 0; k < 4; k++) b.limb[k] = v.limb[4 + k];
        low[place(i)] = a;
        high[place(i)] = b;
    }
};

// What a pass is of, and this block's part of it.
struct Pass {
    u32 lg_n, lg_l, lg_r, lg_columns, first_column;

    ZK_DEVICE u32 column(u32 e) const { return first_column + (e & ((1u << lg_columns) - 1)); }
    ZK_DEVICE u32 row(u32 e) const { return e >> lg_columns; }
    ZK_DEVICE u32 q(u32 e) const { return column(e) & ((1u << lg_l) - 1); }
    // Whether tile element e has a place: a transform of less than HELD elements leaves some empty.
    ZK_DEVICE bool has(u32 e) const { return column(e) >> (lg_n - lg_r) == 0; }
    ZK_DEVICE u32 source(u32 e) const { return column(e) + (row(e) << (lg_n - lg_r)); }
    ZK_DEVICE u32 root(u32 e) const { return (row(e) * q(e)) << (lg_n - lg_l - lg_r); }
    ZK_DEVICE u32 target(u32 e, u32 options) const {
        const u32 i = ((column(e) >> lg_l) << (lg_l + lg_r)) + (row(e) << lg_l) + q(e);
        return options & REVERSED_OUT ? ((1u << lg_n) - i) & ((1u << lg_n) - 1) : i;
    }
};

// A step of radix 2^lg inside the tile, behind steps of product 2^lg_done. Register u of a thread is
// element `own(u)` of the tile: element number u >> skip of the group that starts at `group(u)`.
struct Step {
    u32 lg_done, lg, lg_columns, stride;

    ZK_DEVICE u32 skip() const { return LG_HELD - lg; }
    ZK_DEVICE u32 group(u32 u) const { return threadIdx.x + (u & ((1u << skip()) - 1)) * stride; }
    ZK_DEVICE u32 root(u32 u) const {
        const u32 q = (group(u) & ((1u << (lg_columns + lg_done)) - 1)) >> lg_columns;
        return ((u >> skip()) * q) << (LG_INNER - lg_done - lg);
    }
    // Where the result in register u goes: they lie in the order of reversed bits.
    ZK_DEVICE u32 target(u32 u) const {
        const u32 lg_l = lg_columns + lg_done, g = group(u);
        const u32 reversed = (u & 1) << 2 | (u & 2) | (u & 4) >> 2;
        const u32 p = reversed & ((1u << lg) - 1);
        return ((g >> lg_l) << (lg_l + lg)) + (p << lg_l) + (g & ((1u << lg_l) - 1));
    }
};

ZK_DEVICE void butterfly(Fr &a, Fr &b) {
    const Fr difference = a - b;
    a = a + b;
    b = difference;
}

// 1, 2 or 4 transforms of 8, 4 or 2 elements that lie `1 << skip` registers apart, decimated in
// frequency.
ZK_DEVICE void transform_held(Fr (&v)[HELD], const Fr *inner, u32 skip) {
    constexpr u32 EIGHTH = 1u << (LG_INNER - 3);
    ZK_UNROLL for (int u = 0; u < 4; u++) butterfly(v[u], v[u + 4]);
    if (skip == 2) return;
    if (skip == 0) v[5] = v[5] * inner[EIGHTH];
    v[6] = v[6] * inner[2 * EIGHTH];
    v[7] = v[7] * inner[(skip == 0 ? 3 : 2) * EIGHTH];
    ZK_UNROLL for (int u = 0; u < 2; u++) {
        butterfly(v[u], v[u + 2]);
        butterfly(v[u + 4], v[u + 6]);
    }
    if (skip == 1) return;
    v[3] = v[3] * inner[2 * EIGHTH];
    v[7] = v[7] * inner[2 * EIGHTH];
    ZK_UNROLL for (int u = 0; u < 8; u += 2) butterfly(v[u], v[u + 1]);
}

// One pass over `gridDim.y` transforms of n = 2^lg_n elements each.
//
// Mapping  : a block takes 2^lg_columns columns with r = 2^lg_r elements each, at least HELD in all;
//            gridDim.x of them cover n; a thread has HELD of them.
// Shared   : the tile, with its gaps: 36 bytes an element.
// roots    : f w_n^i, i < n; f != 1 multiplies all outputs   inner : w_1024^i, i < 1024
// scale    : what `options` ask for: SCALE_IN    [n], multiplied into the inputs; only with l = 1
//                                    SCALE_OUT   [n], multiplied into the outputs
//            and REVERSED_OUT: the output -i mod n goes to i
// Barriers : each step reads what other threads stored, and stores where others have read.
// Products : one place in the code for those before a step and those behind the last.
ZK_KERNEL(512)
ntt_pass(Fr *out, const Fr *in, const Fr *roots, const Fr *inner, const Fr *scale, u32 options,
         u32 lg_n, u32 lg_l, u32 lg_r, u32 lg_columns) {
    const u32 lg_tile = lg_r + lg_columns, stride = 1u << (lg_tile - LG_HELD);
    const u64 first = (u64)blockIdx.y << lg_n;
    const Pass pass = {lg_n, lg_l, lg_r, lg_columns, blockIdx.x << lg_columns};
    Half *planes = zk_shared<Half>();
    const Tile tile = {planes, planes + Tile::place(1u << lg_tile)};
    in += first;
    out += first;

    Fr v[HELD];
    ZK_UNROLL for (u32 u = 0; u < HELD; u++) {
        const u32 e = threadIdx.x + u * stride;
        v[u] = pass.has(e) ? in[pass.source(e)] : Fr::zero();
    }
    for (u32 lg_done = 0;;) {
        const u32 left = lg_r - lg_done, lg = left == 4 ? 2 : left < LG_HELD ? left : LG_HELD;
        const Step step = {lg_done, lg, lg_columns, stride};
        const bool at_start = lg_done == 0, at_end = left == 0;
        if (!at_start) {
            ZK_BARRIER();
            ZK_UNROLL for (u32 u = 0; u < HELD; u++) v[u] = tile.load(threadIdx.x + u * stride);
            ZK_BARRIER();
        }
        const bool inside = !at_start && !at_end;
        if (inside || (at_start && (lg_l > 0 || options & SCALE_IN)) ||
            (at_end && options & SCALE_OUT)) {
            const Fr *factors = inside ? inner : at_start && lg_l > 0 ? roots : scale;
            ZK_UNROLL for (u32 u = 0; u < HELD; u++) {
                if (inside && u >> step.skip() == 0) continue;
                const u32 e = threadIdx.x + u * stride;
                const u32 i = inside     ? step.root(u)
                              : at_end   ? pass.target(e, options)
                              : lg_l > 0 ? pass.root(e)
                                         : pass.source(e);
                v[u] = v[u] * factors[inside ? i : i & ((1u << lg_n) - 1)];
            }
        }
        if (at_end) break;
        transform_held(v, inner, step.skip());
        ZK_UNROLL for (u32 u = 0; u < HELD; u++) tile.store(step.target(u), v[u]);
        lg_done += lg;
    }
    ZK_UNROLL for (u32 u = 0; u < HELD; u++) {
        const u32 e = threadIdx.x + u * stride;
        if (pass.has(e)) out[pass.target(e, options)] = v[u].canonical();
    }
}
ZK_EXPORT(ntt_pass)
