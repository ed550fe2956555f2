// Carry chains: the same sequence of operations as PTX instructions or as 64-bit arithmetic.
//
// A chain starts with an operation whose name ends in `_cc` and has no leading c (add_cc, sub_cc,
// mad_lo_cc ...), goes on with `c..._cc` and ends with one without `_cc`. On a device the carry is
// the condition register and `Carry` is empty; on the host `Carry` holds it.
// Source: PTX ISA, extended-precision integer arithmetic.

#pragma once
#include "platform.cuh"

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

struct Carry {};

#define ZK_CHAIN2(name, op)                                                                        \
    ZK_DEVICE u32 name(Carry &, u32 a, u32 b) {                                                    \
        u32 r;                                                                                     \
        asm volatile(op " %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));                                \
        return r;                                                                                  \
    }
#define ZK_CHAIN3(name, op)                                                                        \
    ZK_DEVICE u32 name(Carry &, u32 a, u32 b, u32 c) {                                             \
        u32 r;                                                                                     \
        asm volatile(op " %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));                    \
        return r;                                                                                  \
    }

ZK_CHAIN2(add_cc, "add.cc.u32")
ZK_CHAIN2(addc_cc, "addc.cc.u32")
ZK_CHAIN2(addc, "addc.u32")
ZK_CHAIN2(sub_cc, "sub.cc.u32")
ZK_CHAIN2(subc_cc, "subc.cc.u32")
ZK_CHAIN2(subc, "subc.u32")
ZK_CHAIN3(mad_lo_cc, "mad.lo.cc.u32")
ZK_CHAIN3(madc_lo_cc, "madc.lo.cc.u32")
ZK_CHAIN3(madc_hi_cc, "madc.hi.cc.u32")
ZK_CHAIN3(madc_hi, "madc.hi.u32")

ZK_DEVICE u32 mul_lo(u32 a, u32 b) { return a * b; }
ZK_DEVICE u32 mul_hi(u32 a, u32 b) { return __umulhi(a, b); }

#else

struct Carry {
    u32 bit = 0;
};

ZK_DEVICE u32 zk_take(Carry &cc, u64 sum) {
    cc.bit = (u32)(sum >> 32) & 1;  // of a difference: 1 means borrow
    return (u32)sum;
}
ZK_DEVICE u32 mul_lo(u32 a, u32 b) { return a * b; }
ZK_DEVICE u32 mul_hi(u32 a, u32 b) { return (u32)(((u64)a * b) >> 32); }
ZK_DEVICE u32 add_cc(Carry &cc, u32 a, u32 b) { return zk_take(cc, (u64)a + b); }
ZK_DEVICE u32 addc_cc(Carry &cc, u32 a, u32 b) { return zk_take(cc, (u64)a + b + cc.bit); }
ZK_DEVICE u32 addc(Carry &cc, u32 a, u32 b) { return a + b + cc.bit; }
ZK_DEVICE u32 sub_cc(Carry &cc, u32 a, u32 b) { return zk_take(cc, (u64)a - b); }
ZK_DEVICE u32 subc_cc(Carry &cc, u32 a, u32 b) { return zk_take(cc, (u64)a - b - cc.bit); }
ZK_DEVICE u32 subc(Carry &cc, u32 a, u32 b) { return a - b - cc.bit; }
ZK_DEVICE u32 mad_lo_cc(Carry &cc, u32 a, u32 b, u32 c) { return add_cc(cc, mul_lo(a, b), c); }
ZK_DEVICE u32 madc_lo_cc(Carry &cc, u32 a, u32 b, u32 c) { return addc_cc(cc, mul_lo(a, b), c); }
ZK_DEVICE u32 madc_hi_cc(Carry &cc, u32 a, u32 b, u32 c) { return addc_cc(cc, mul_hi(a, b), c); }
ZK_DEVICE u32 madc_hi(Carry &cc, u32 a, u32 b, u32 c) { return addc(cc, mul_hi(a, b), c); }

#endif
