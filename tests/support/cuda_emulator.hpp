// Kernels as host code: the half of `platform.cuh` that g++ sees.
//
// A launch runs one block after the other. Each thread of a block is a fiber that runs until it
// ends or waits at the barrier; when every thread waits at the same barrier, all go on. A barrier
// that some threads leave out, memory written past the shared bytes, wrong counts and sizes of
// arguments are faults, and shared memory is filled with noise before each block. `reversed`
// launches run blocks and threads backwards: results that differ betray a missing barrier.

#pragma once
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <type_traits>
#include <ucontext.h>
#include <utility>

#define ZK_DEVICE inline
#define ZK_NOINLINE inline __attribute__((noinline))
#define ZK_KERNEL(n_threads) static void
#define ZK_UNROLL _Pragma("GCC unroll 16")
#define ZK_NO_UNROLL
#define ZK_BARRIER() zk_emulator::wait_at(__LINE__)

struct ZkDim {
    u32 x, y, z;
};
static ZkDim threadIdx, blockIdx, blockDim, gridDim;

namespace zk_emulator {

constexpr size_t STACK_BYTES = 256 << 10, GUARD_BYTES = 4096, SHARED_GUARD = 64;
constexpr unsigned char NOISE = 0xA5, GUARD = 0x5A;
constexpr u32 MAX_THREADS = 1024;

struct Fiber {
    char *stack = nullptr;
    bool started = false;  // has its own context and is parked in `run_fiber` or at a barrier
    int line = 0;          // of the barrier it waits at; 0: it has ended
    jmp_buf here;
};

static Fiber fibers[MAX_THREADS];
static jmp_buf scheduler;
static ucontext_t scheduler_context;
static Fiber *current;
static unsigned char *shared;
static void (*body)(void *);
static void *body_arguments;

static inline void park() {
    if (_setjmp(current->here) == 0) _longjmp(scheduler, 1);
}

static inline void wait_at(int line) {
    current->line = line;
    park();
}

// A fiber never ends: after one thread it waits for the next.
static void run_fiber() {
    for (;;) {
        body(body_arguments);
        current->line = 0;
        park();
    }
}

static inline void resume(Fiber *fiber) {
    current = fiber;
    if (_setjmp(scheduler) != 0) return;
    if (fiber->started) _longjmp(fiber->here, 1);
    fiber->started = true;
    if (fiber->stack == nullptr) {
        void *memory = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) abort();
        fiber->stack = (char *)memory;
        mprotect(memory, GUARD_BYTES, PROT_NONE);
    }
    static ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber->stack;
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = nullptr;
    makecontext(&context, run_fiber, 0);
    swapcontext(&scheduler_context, &context);
}

static inline ZkDim unrank(u32 i, ZkDim size) {
    return {i % size.x, i / size.x % size.y, i / size.x / size.y};
}

// One block: nullptr, or what went wrong.
static const char *run_block(u32 n_threads, bool reversed) {
    for (;;) {
        u32 n_waiting = 0;
        int line = 0;
        for (u32 k = 0; k < n_threads; k++) {
            u32 i = reversed ? n_threads - 1 - k : k;
            Fiber *fiber = &fibers[i];
            threadIdx = unrank(i, blockDim);
            resume(fiber);
            if (fiber->line == 0) continue;
            if (n_waiting++ && line != fiber->line) return "threads wait at different barriers";
            line = fiber->line;
        }
        if (n_waiting == 0) return nullptr;
        if (n_waiting != n_threads) return "a thread left out a barrier";
    }
}

// An abandoned fiber must not go on with its old thread at the next launch.
static inline void forget_fibers() {
    for (Fiber &fiber : fibers) fiber.started = false;
}

struct Launch {
    u32 grid[3], block[3];
    u64 shared_bytes;
    u32 reversed;
};

static const char *run_grid(const Launch *launch) {
    gridDim = {launch->grid[0], launch->grid[1], launch->grid[2]};
    blockDim = {launch->block[0], launch->block[1], launch->block[2]};
    u32 n_threads = blockDim.x * blockDim.y * blockDim.z;
    u64 n_blocks = (u64)gridDim.x * gridDim.y * gridDim.z;
    size_t n_shared = launch->shared_bytes;
    void *memory = nullptr;
    if (posix_memalign(&memory, 128, n_shared + SHARED_GUARD) != 0) return "out of memory";
    shared = (unsigned char *)memory;
    const char *fault = nullptr;
    for (u64 k = 0; k < n_blocks && fault == nullptr; k++) {
        blockIdx = unrank((u32)(launch->reversed ? n_blocks - 1 - k : k), gridDim);
        memset(shared, NOISE, n_shared);
        memset(shared + n_shared, GUARD, SHARED_GUARD);
        fault = run_block(n_threads, launch->reversed);
        for (size_t i = 0; i < SHARED_GUARD && fault == nullptr; i++) {
            if (shared[n_shared + i] != GUARD) fault = "shared memory written past its end";
        }
    }
    if (fault != nullptr) forget_fibers();
    free(memory);
    return fault;
}

template <class... A> struct Kernel {
    void (*function)(A...);
    void **arguments;

    template <size_t... I> void call(std::index_sequence<I...>) {
        function(*(std::remove_const_t<A> *)arguments[I]...);
    }
    static void run(void *self) { ((Kernel *)self)->call(std::index_sequence_for<A...>{}); }
};

template <class A> constexpr int size_of_argument() {
    static_assert(std::is_pointer_v<A> || std::is_same_v<A, u32> || std::is_same_v<A, u64>,
                  "kernels take pointers, u32 and u64");
    return std::is_pointer_v<A> ? 0 : (int)sizeof(A);
}

// Launches if `sizes` (0: a pointer) are those of the kernel's arguments.
template <class... A>
const char *launch(void (*function)(A...), const Launch *how, int count, const int *sizes,
                   void **arguments) {
    constexpr int expected[] = {size_of_argument<A>()..., 0};
    if (count != (int)sizeof...(A)) return "wrong number of arguments";
    for (int i = 0; i < count; i++) {
        if (sizes[i] != expected[i]) return "an argument has the wrong type";
    }
    Kernel<A...> kernel{function, arguments};
    body = Kernel<A...>::run;
    body_arguments = &kernel;
    return run_grid(how);
}

}  // namespace zk_emulator

#define ZK_EXPORT(name)                                                                            \
    extern "C" const char *launch_##name(const zk_emulator::Launch *zk_how, int zk_count,          \
                                         const int *zk_sizes, void **zk_arguments) {               \
        return zk_emulator::launch(name, zk_how, zk_count, zk_sizes, zk_arguments);                \
    }

template <class T> ZK_DEVICE T *zk_shared() { return reinterpret_cast<T *>(zk_emulator::shared); }

ZK_DEVICE u32 zk_atomic_add(u32 *address, u32 value) {
    u32 old = *address;
    *address = old + value;
    return old;
}
ZK_DEVICE u32 zk_atomic_min(u32 *address, u32 value) {
    u32 old = *address;
    if (value < old) *address = value;
    return old;
}
