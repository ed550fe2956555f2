// What the multipliers of a device do at most, and what the product of field.cuh makes of them.
//
// Mapping : one block of 1024 threads per processor, so that all run at once; each thread works in
//           registers only.
// Clock   : cycles[block] is the time between two barriers in cycles of its processor, whatever
//           its frequency. In the emulator it counts calls.

#include "field.cuh"

#define CHAINS 8

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
ZK_DEVICE u64 clock_now() { return (u64)clock64(); }
#else
ZK_DEVICE u64 clock_now() {
    static u64 calls = 0;
    return ++calls;
}
#endif

// The time since `start`, as thread 0 sees it when all threads are there.
ZK_DEVICE void store_cycles(u64 *cycles, u64 start) {
    ZK_BARRIER();  // everyone's work is part of the time
    if (threadIdx.x == 0) cycles[blockIdx.x] = clock_now() - start;
}

// out[thread] = sum over k of x_k after 16 n_steps of x = x + (x / 2^32) factor mod 2^64, from
// x_k = (8 thread_of_block + k + 1) (2^32 + 1). A step is one wide multiply-add, in the two halves
// that field.cuh has it in; the chains do not wait for one another.
ZK_KERNEL(1024) repeat_multiply_adds(u64 *out, u64 *cycles, u32 factor, u32 n_steps) {
    u32 low[CHAINS], high[CHAINS];
    ZK_UNROLL for (u32 k = 0; k < CHAINS; k++) low[k] = high[k] = CHAINS * threadIdx.x + k + 1;
    ZK_BARRIER();  // the time starts when all threads are there
    const u64 start = clock_now();
    ZK_NO_UNROLL for (u32 step = 0; step < n_steps; step++) {
        ZK_UNROLL for (u32 i = 0; i < 16; i++) {
            ZK_UNROLL for (u32 k = 0; k < CHAINS; k++) {
                Carry cc;
                const u32 a = high[k];
                low[k] = mad_lo_cc(cc, a, factor, low[k]);
                high[k] = madc_hi(cc, a, factor, high[k]);
            }
        }
    }
    u64 sum = 0;
    ZK_UNROLL for (u32 k = 0; k < CHAINS; k++) sum += (u64)high[k] << 32 | low[k];
    out[zk_thread()] = sum;
    store_cycles(cycles, start);
}
ZK_EXPORT(repeat_multiply_adds)

// out[thread] = a[thread_of_block] (factor / 2^256)^n_steps, canonical (Reference.mul, repeated).
ZK_KERNEL(1024)
repeat_products(Fp *out, u64 *cycles, const Fp *a, const Fp *factor, u32 n_steps) {
    Fp x = a[threadIdx.x];
    const Fp f = *factor;
    ZK_BARRIER();  // the time starts when all threads are there
    const u64 start = clock_now();
    ZK_NO_UNROLL for (u32 step = 0; step < n_steps; step++) x = x * f;
    out[zk_thread()] = x.canonical();
    store_cycles(cycles, start);
}
ZK_EXPORT(repeat_products)
