// The inline functions of field.cuh, fp2.cuh and curve.cuh as kernels, to be tested.
// Results are stored as they come, not canonical, so that a test sees every representative.

#include "curve.cuh"

#define EACH(n) for (u64 i = zk_thread(); i < n; i += zk_n_threads())

template <class F> ZK_DEVICE F apply(u32 operation, F a, F b) {
    switch (operation) {
    case 0: return a + b;
    case 1: return a - b;
    case 2: return a * b;
    case 3: return a.sqr();
    case 4: return -a;
    case 5: return a.twice();
    case 6: return a.canonical();
    case 7: return a.inverse();
    case 8: return a.is_zero() ? F::one() : F::zero();
    default: return a == b ? F::one() : F::zero();
    }
}

ZK_KERNEL(256) fp_apply(Fp *out, const Fp *a, const Fp *b, u32 operation, u64 n) {
    EACH(n) out[i] = apply(operation, a[i], b[i]);
}
ZK_EXPORT(fp_apply)

ZK_KERNEL(256) fr_apply(Fr *out, const Fr *a, const Fr *b, u32 operation, u64 n) {
    EACH(n) out[i] = apply(operation, a[i], b[i]);
}
ZK_EXPORT(fr_apply)

ZK_KERNEL(256) fp2_apply(Fp2 *out, const Fp2 *a, const Fp2 *b, u32 operation, u64 n) {
    EACH(n) out[i] = apply(operation, a[i], b[i]);
}
ZK_EXPORT(fp2_apply)

// a b + c d for triples of the same arrays.
ZK_KERNEL(256) fp_dot(Fp *out, const Fp *a, const Fp *b, const Fp *c, const Fp *d, u64 n) {
    EACH(n) out[i] = Fp::dot(a[i], b[i], c[i], d[i]);
}
ZK_EXPORT(fp_dot)

// A point with the denominators z^2 and z^3.
template <class F> ZK_DEVICE Xyzz<F> blind(Affine<F> p, F z) {
    if (p.is_infinity()) return Xyzz<F>::infinity();
    F zz = z.sqr(), zzz = zz * z;
    return {p.x * zz, p.y * zzz, zz, zzz};
}

template <class F>
ZK_DEVICE Affine<F> add_points(u32 operation, Affine<F> p, Affine<F> q, F z, F w) {
    switch (operation) {
    case 0: return blind(p, z).add_mixed(q).to_affine();
    case 1: return blind(p, z).add(blind(q, w)).to_affine();
    case 2: return blind(p, z).twice().to_affine();
    default: return (-blind(p, z)).add_mixed(-q).to_affine();
    }
}

ZK_KERNEL(128)
g1_apply(G1Affine *out, const G1Affine *p, const G1Affine *q, const Fp *z, const Fp *w,
         u32 operation, u64 n) {
    EACH(n) out[i] = add_points(operation, p[i], q[i], z[i], w[i]);
}
ZK_EXPORT(g1_apply)

ZK_KERNEL(128)
g2_apply(G2Affine *out, const G2Affine *p, const G2Affine *q, const Fp2 *z, const Fp2 *w,
         u32 operation, u64 n) {
    EACH(n) out[i] = add_points(operation, p[i], q[i], z[i], w[i]);
}
ZK_EXPORT(g2_apply)

// -- for the tests of the emulator: kernels with a mistake ------------------------------------------

// Each thread adds its left neighbour's value; right only with a barrier after the store.
ZK_KERNEL(256) neighbours(u32 *out, const u32 *in, u32 with_barrier) {
    u32 *values = zk_shared<u32>();
    values[threadIdx.x] = in[threadIdx.x];
    if (with_barrier) { ZK_BARRIER(); }
    out[threadIdx.x] = values[threadIdx.x] + values[(threadIdx.x + 1) % blockDim.x];
}
ZK_EXPORT(neighbours)

ZK_KERNEL(256) early_return(u32 *out) {
    if (threadIdx.x == 0) return;
    ZK_BARRIER();
    out[threadIdx.x] = 1;
}
ZK_EXPORT(early_return)

ZK_KERNEL(256) two_barriers(u32 *out) {
    if (threadIdx.x == 0) {
        ZK_BARRIER();
    } else {
        ZK_BARRIER();
    }
    out[threadIdx.x] = 1;
}
ZK_EXPORT(two_barriers)

ZK_KERNEL(256) past_the_end(u32 n_words) { zk_shared<u32>()[n_words] = 1; }
ZK_EXPORT(past_the_end)

// out[rank] = the coordinates of each thread of a grid in three dimensions.
ZK_KERNEL(64) coordinates(u32 *out) {
    u32 block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    u32 thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[block * blockDim.x * blockDim.y * blockDim.z + thread] =
        ((((blockIdx.z * 16 + blockIdx.y) * 16 + blockIdx.x) * 16 + threadIdx.z) * 16 +
         threadIdx.y) * 16 + threadIdx.x;
}
ZK_EXPORT(coordinates)

ZK_KERNEL(256) count(u32 *total, u32 *least, u32 bound) {
    zk_atomic_add(total, 1);
    if (zk_thread() >= bound) zk_atomic_min(least, (u32)zk_thread());
}
ZK_EXPORT(count)
