// F_r elementwise; the reference of each is the method of the same name in kernels/reference.py.
//
// Mapping: a one-dimensional grid of any size; each thread takes every zk_n_threads()-th element.
// Arrays hold elements of 8 u32 limbs; results are canonical, so inputs may be too.

#include "field.cuh"

// out = a + b; both canonical Montgomery.
ZK_KERNEL(256) add_all(Fr *out, const Fr *a, const Fr *b, u64 n) {
    for (u64 i = zk_thread(); i < n; i += zk_n_threads()) out[i] = (a[i] + b[i]).canonical();
}
ZK_EXPORT(add_all)

// out = a - b.
ZK_KERNEL(256) sub_all(Fr *out, const Fr *a, const Fr *b, u64 n) {
    for (u64 i = zk_thread(); i < n; i += zk_n_threads()) out[i] = (a[i] - b[i]).canonical();
}
ZK_EXPORT(sub_all)

// out = a b / 2^256.
ZK_KERNEL(256) mul_all(Fr *out, const Fr *a, const Fr *b, u64 n) {
    for (u64 i = zk_thread(); i < n; i += zk_n_threads()) out[i] = (a[i] * b[i]).canonical();
}
ZK_EXPORT(mul_all)
