// What a kernel source may use, on a device (nvcc, NVRTC) and on the host (g++, for tests).
//
// How a kernel is written so that both accept it:
//   ZK_KERNEL(256) name(Fr *out, const Fr *a, u64 n) { ... }   256: most threads per block
//   ZK_EXPORT(name)                                            once, after the definition
// * Arguments are pointers, u32 or u64, nothing else.
// * Indices come from threadIdx, blockIdx, blockDim, gridDim as in CUDA; warps are not used.
// * Shared memory is dynamic only: `T *s = zk_shared<T>();`, its size is given at the launch.
// * The barrier is `ZK_BARRIER();` Every thread of the block must reach it: no return before it.
// * Atomics: zk_atomic_add and zk_atomic_min on u32.
// * No standard headers: NVRTC has none.

#pragma once

typedef unsigned int u32;
typedef unsigned long long u64;

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

#define ZK_DEVICE __device__ __forceinline__
#define ZK_NOINLINE __device__ __noinline__
#define ZK_KERNEL(n_threads) extern "C" __global__ void __launch_bounds__(n_threads)
#define ZK_EXPORT(name)
#define ZK_UNROLL _Pragma("unroll")
#define ZK_NO_UNROLL _Pragma("unroll 1")
#define ZK_BARRIER() __syncthreads()

template <class T> ZK_DEVICE T *zk_shared() {
    extern __shared__ __align__(16) unsigned char zk_shared_bytes[];
    return reinterpret_cast<T *>(zk_shared_bytes);
}

ZK_DEVICE u32 zk_atomic_add(u32 *address, u32 value) { return atomicAdd(address, value); }
ZK_DEVICE u32 zk_atomic_min(u32 *address, u32 value) { return atomicMin(address, value); }

#else
#include "cuda_emulator.hpp"
#endif

// The index of this thread in a one-dimensional grid, and the number of its threads.
ZK_DEVICE u64 zk_thread() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }
ZK_DEVICE u64 zk_n_threads() { return (u64)gridDim.x * blockDim.x; }
