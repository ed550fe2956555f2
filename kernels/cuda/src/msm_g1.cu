// MSM kernels of G1: see msm.cuh. 512 threads per block: at most 128 registers,
// so that 16 warps per processor hide the loads of the bases.

#include "msm.cuh"

ZK_KERNEL(512) g1_sum_entries(G1Xyzz *sums, u32 *piece_buckets, G1Xyzz *piece_sums,
                                const u32 *references, const u32 *offsets, const Job *jobs,
                                u32 first_bucket, u32 n_buckets, u32 n_slices, u32 n_resident,
                                u32 least, u32 most) {
    sum_entries(sums, {piece_buckets, piece_sums}, references, offsets, jobs, first_bucket,
                n_buckets, n_slices, n_resident, least, most);
}
ZK_EXPORT(g1_sum_entries)

ZK_KERNEL(64) g1_merge_pieces(G1Xyzz *sums, u32 *above_buckets, G1Xyzz *above_sums,
                                u32 *below_buckets, G1Xyzz *below_sums, u32 n_pieces,
                                u32 per_thread, u32 lg_block) {
    merge_pieces(sums, {above_buckets, above_sums}, {below_buckets, below_sums}, n_pieces,
                 per_thread, lg_block);
}
ZK_EXPORT(g1_merge_pieces)

ZK_KERNEL(256) g1_reduce_step(G1Xyzz *lists_out, G1Xyzz *sums_out, const G1Xyzz *lists_in,
                                const G1Xyzz *sums_in, const Set *sets, u32 offset) {
    reduce_step(lists_out, sums_out, lists_in, sums_in, sets, offset);
}
ZK_EXPORT(g1_reduce_step)

ZK_KERNEL(128) g1_sum_lists(G1Xyzz *out, const G1Xyzz *lists, const G1Xyzz *weighted,
                              const Set *sets, u32 n_lists, u32 per_thread, u32 lg_block) {
    sum_lists(out, lists, weighted, sets, n_lists, per_thread, lg_block);
}
ZK_EXPORT(g1_sum_lists)

ZK_KERNEL(256) g1_double_points(G1Xyzz *out, const G1Affine *in, u64 n, u32 n_doublings) {
    double_points(out, in, n, n_doublings);
}
ZK_EXPORT(g1_double_points)

ZK_KERNEL(256) g1_normalize_points(G1Affine *out, Fp *products, const G1Xyzz *in, u64 n) {
    normalize_points(out, products, in, n);
}
ZK_EXPORT(g1_normalize_points)

ZK_KERNEL(256) g1_multiply_base(G1Xyzz *out, const u32 *scalars, const G1Affine *table, u64 n,
                                  u32 lg_width) {
    multiply_base(out, scalars, table, n, lg_width);
}
ZK_EXPORT(g1_multiply_base)
