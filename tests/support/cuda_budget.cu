// What budgets are set for: products, and the steps of an accumulation of points.

#include "curve.cuh"

ZK_KERNEL(256) g1_accumulate(G1Xyzz *sums, const G1Affine *points, u64 n_each) {
    G1Xyzz sum = G1Xyzz::infinity();
    for (u64 i = 0; i < n_each; i++) sum = sum.add_mixed(points[zk_thread() * n_each + i]);
    sums[zk_thread()] = sum;
}
ZK_EXPORT(g1_accumulate)

ZK_KERNEL(256) g1_add(G1Xyzz *out, const G1Xyzz *a, const G1Xyzz *b) {
    out[zk_thread()] = a[zk_thread()].add(b[zk_thread()]);
}
ZK_EXPORT(g1_add)

ZK_KERNEL(256) g1_double(G1Xyzz *out, const G1Xyzz *a) {
    out[zk_thread()] = a[zk_thread()].twice();
}
ZK_EXPORT(g1_double)

ZK_KERNEL(128) g2_accumulate(G2Xyzz *sums, const G2Affine *points, u64 n_each) {
    G2Xyzz sum = G2Xyzz::infinity();
    for (u64 i = 0; i < n_each; i++) sum = sum.add_mixed(points[zk_thread() * n_each + i]);
    sums[zk_thread()] = sum;
}
ZK_EXPORT(g2_accumulate)

ZK_KERNEL(256) fp_mul(Fp *out, const Fp *a, const Fp *b) {
    out[zk_thread()] = a[zk_thread()] * b[zk_thread()];
}
ZK_EXPORT(fp_mul)

ZK_KERNEL(256) fp_sqr(Fp *out, const Fp *a) { out[zk_thread()] = a[zk_thread()].sqr(); }
ZK_EXPORT(fp_sqr)

ZK_KERNEL(256) fp2_mul(Fp2 *out, const Fp2 *a, const Fp2 *b) {
    out[zk_thread()] = a[zk_thread()] * b[zk_thread()];
}
ZK_EXPORT(fp2_mul)
