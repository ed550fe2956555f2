// MSM kernels of G2: see msm.cuh. Products over F_p2 are calls, whose arguments pass
// through the stack: a point of G2 and its temporaries exceed any number of registers.

#include "msm.cuh"

ZK_KERNEL(256) g2_sum_entries(G2Xyzz *sums, u32 *piece_buckets, G2Xyzz *piece_sums,
                                const u32 *references, const u32 *offsets, const Job *jobs,
                                u32 first_bucket, u32 n_buckets, u32 n_slices, u32 n_resident,
                                u32 least, u32 most) {
    sum_entries(sums, {piece_buckets, piece_sums}, references, offsets, jobs, first_bucket,
                n_buckets, n_slices, n_resident, least, most);
}
ZK_EXPORT(g2_sum_entries)

ZK_KERNEL(64) g2_merge_pieces(G2Xyzz *sums, u32 *above_buckets, G2Xyzz *above_sums,
                                u32 *below_buckets, G2Xyzz *below_sums, u32 n_pieces,
                                u32 per_thread, u32 lg_block) {
    merge_pieces(sums, {above_buckets, above_sums}, {below_buckets, below_sums}, n_pieces,
                 per_thread, lg_block);
}
ZK_EXPORT(g2_merge_pieces)

ZK_KERNEL(256) g2_reduce_step(G2Xyzz *lists_out, G2Xyzz *sums_out, const G2Xyzz *lists_in,
                                const G2Xyzz *sums_in, const Set *sets, u32 offset) {
    reduce_step(lists_out, sums_out, lists_in, sums_in, sets, offset);
}
ZK_EXPORT(g2_reduce_step)

ZK_KERNEL(128) g2_sum_lists(G2Xyzz *out, const G2Xyzz *lists, const G2Xyzz *weighted,
                              const Set *sets, u32 n_lists, u32 per_thread, u32 lg_block) {
    sum_lists(out, lists, weighted, sets, n_lists, per_thread, lg_block);
}
ZK_EXPORT(g2_sum_lists)

ZK_KERNEL(256) g2_double_points(G2Xyzz *out, const G2Affine *in, u64 n, u32 n_doublings) {
    double_points(out, in, n, n_doublings);
}
ZK_EXPORT(g2_double_points)

ZK_KERNEL(256) g2_normalize_points(G2Affine *out, Fp2 *products, const G2Xyzz *in, u64 n) {
    normalize_points(out, products, in, n);
}
ZK_EXPORT(g2_normalize_points)

ZK_KERNEL(256) g2_multiply_base(G2Xyzz *out, const u32 *scalars, const G2Affine *table, u64 n,
                                  u32 lg_width) {
    multiply_base(out, scalars, table, n, lg_width);
}
ZK_EXPORT(g2_multiply_base)
