// m z over F_r for a CSR matrix with small integer coefficients (kernels.array.SparseMatrix).
//
// Long rows are cut into segments of equal length (kernels.cuda.sparse), so that no thread has more
// to do than the others; the segments' values are summed by `add_segments`, again in segments.
//
// Definition: kernels.reference.Reference.matvec.

#include "field.cuh"

constexpr int SUM_LIMBS = 11;

// A sum of products of elements (below 2^255) with integers below 2^62: up to 2^34 of them.
struct Sum {
    u32 limb[SUM_LIMBS];

    ZK_DEVICE void clear() {
        ZK_UNROLL for (int i = 0; i < SUM_LIMBS; i++) limb[i] = 0;
    }

    // += element * factor * 2^(32 at)
    ZK_DEVICE void add_product(const Fr &element, u32 factor, int at) {
        u64 carry = 0;
        ZK_UNROLL for (int i = 0; i < 8; i++) {
            carry += (u64)element.limb[i] * factor + limb[at + i];
            limb[at + i] = (u32)carry;
            carry >>= 32;
        }
        ZK_UNROLL for (int i = 8; i < SUM_LIMBS; i++) {
            if (at + i >= SUM_LIMBS) continue;
            carry += limb[at + i];
            limb[at + i] = (u32)carry;
            carry >>= 32;
        }
    }

    // The sum mod r. The low 256 bits may exceed 2r: a product with a canonical element still gives
    // less than 2r, since low / 2^256 < 1.
    ZK_DEVICE Fr modulo() const {
        Fr low, high = Fr::zero();
        ZK_UNROLL for (int i = 0; i < 8; i++) low.limb[i] = limb[i];
        ZK_UNROLL for (int i = 8; i < SUM_LIMBS; i++) high.limb[i - 8] = limb[i];
        return low * Fr::one() + high * Fr::square_of_radix();
    }
};

constexpr u64 WIDE = (u64)1 << 62;

// Grid: one thread per segment k, entries starts[k] <= i < ends[k].
// z, wide, out : Montgomery form, canonical. coefficients: int64 as words; from 2^62 on (as signed
// numbers) they are places in `wide`.
ZK_KERNEL(256) multiply_segments(Fr *out, const u64 *starts, const u64 *ends, const u32 *columns,
                                 const u64 *coefficients, const Fr *z, const Fr *wide,
                                 u64 n_segments) {
    u64 k = zk_thread();
    if (k >= n_segments) return;
    Sum positive, negative;
    positive.clear();
    negative.clear();
    const u64 end = ends[k];
    for (u64 i = starts[k]; i < end; i++) {
        u64 c = coefficients[i];
        Fr element = z[columns[i]];
        bool is_negative = c >> 63;
        if (is_negative) {
            c = 0 - c;
        } else if (c >= WIDE) {
            element = element * wide[c - WIDE];
            c = 1;
        }
        // Two copies of the code instead of one sum picked by an index: indices cost registers.
        u32 low = (u32)c, high = (u32)(c >> 32);
        if (is_negative) {
            negative.add_product(element, low, 0);
            if (high) negative.add_product(element, high, 1);
        } else {
            positive.add_product(element, low, 0);
            if (high) positive.add_product(element, high, 1);
        }
    }
    out[k] = (positive.modulo() - negative.modulo()).canonical();
}
ZK_EXPORT(multiply_segments)

// Grid: one thread per segment k. out[k] = the sum of in[starts[k]] to in[starts[k + 1] - 1].
ZK_KERNEL(256) add_segments(Fr *out, const u64 *starts, const Fr *in, u64 n_segments) {
    u64 k = zk_thread();
    if (k >= n_segments) return;
    Fr sum = Fr::zero();
    for (u64 i = starts[k]; i < starts[k + 1]; i++) sum = sum + in[i];
    out[k] = sum.canonical();
}
ZK_EXPORT(add_segments)
