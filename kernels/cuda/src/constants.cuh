// Written by kernels/cuda/launch/header.py from kernels/bn254.py; a test compares them.

#pragma once
#include "platform.cuh"

struct ModulusP {  // coordinates: F_p
    static ZK_DEVICE constexpr u32 modulus(int i) {
        constexpr u32 limbs[8] = {0xd87cfd47, 0x3c208c16, 0x6871ca8d, 0x97816a91,
                                   0x8181585d, 0xb85045b6, 0xe131a029, 0x30644e72};
        return limbs[i];
    }
    // 2 * modulus
    static ZK_DEVICE constexpr u32 twice(int i) {
        constexpr u32 limbs[8] = {0xb0f9fa8e, 0x7841182d, 0xd0e3951a, 0x2f02d522,
                                   0x0302b0bb, 0x70a08b6d, 0xc2634053, 0x60c89ce5};
        return limbs[i];
    }
    // 2^256 mod modulus: the Montgomery form of 1
    static ZK_DEVICE constexpr u32 one(int i) {
        constexpr u32 limbs[8] = {0xc58f0d9d, 0xd35d438d, 0xf5c70b3d, 0x0a78eb28,
                                   0x7879462c, 0x666ea36f, 0x9a07df2f, 0x0e0a77c1};
        return limbs[i];
    }
    // 2^512 mod modulus
    static ZK_DEVICE constexpr u32 square(int i) {
        constexpr u32 limbs[8] = {0x538afa89, 0xf32cfc5b, 0xd44501fb, 0xb5e71911,
                                   0x0a417ff6, 0x47ab1eff, 0xcab8351f, 0x06d89f71};
        return limbs[i];
    }
    // modulus - 2: the exponent of an inverse
    static ZK_DEVICE constexpr u32 less_two(int i) {
        constexpr u32 limbs[8] = {0xd87cfd45, 0x3c208c16, 0x6871ca8d, 0x97816a91,
                                   0x8181585d, 0xb85045b6, 0xe131a029, 0x30644e72};
        return limbs[i];
    }
    static constexpr u32 M0 = 0xe4866389;  // -1/modulus mod 2^32
};

struct ModulusR {  // scalars: F_r
    static ZK_DEVICE constexpr u32 modulus(int i) {
        constexpr u32 limbs[8] = {0xf0000001, 0x43e1f593, 0x79b97091, 0x2833e848,
                                   0x8181585d, 0xb85045b6, 0xe131a029, 0x30644e72};
        return limbs[i];
    }
    // 2 * modulus
    static ZK_DEVICE constexpr u32 twice(int i) {
        constexpr u32 limbs[8] = {0xe0000002, 0x87c3eb27, 0xf372e122, 0x5067d090,
                                   0x0302b0ba, 0x70a08b6d, 0xc2634053, 0x60c89ce5};
        return limbs[i];
    }
    // 2^256 mod modulus: the Montgomery form of 1
    static ZK_DEVICE constexpr u32 one(int i) {
        constexpr u32 limbs[8] = {0x4ffffffb, 0xac96341c, 0x9f60cd29, 0x36fc7695,
                                   0x7879462e, 0x666ea36f, 0x9a07df2f, 0x0e0a77c1};
        return limbs[i];
    }
    // 2^512 mod modulus
    static ZK_DEVICE constexpr u32 square(int i) {
        constexpr u32 limbs[8] = {0xae216da7, 0x1bb8e645, 0xe35c59e3, 0x53fe3ab1,
                                   0x53bb8085, 0x8c49833d, 0x7f4e44a5, 0x0216d0b1};
        return limbs[i];
    }
    // modulus - 2: the exponent of an inverse
    static ZK_DEVICE constexpr u32 less_two(int i) {
        constexpr u32 limbs[8] = {0xefffffff, 0x43e1f593, 0x79b97091, 0x2833e848,
                                   0x8181585d, 0xb85045b6, 0xe131a029, 0x30644e72};
        return limbs[i];
    }
    static constexpr u32 M0 = 0xefffffff;  // -1/modulus mod 2^32
};

// The constants of the curves, times 2^256 mod p.
ZK_DEVICE constexpr u32 limb_b1(int i) {
    constexpr u32 limbs[8] = {0x50ad28d7, 0x7a17caa9, 0xe15521b9, 0x1f6ac17a,
                               0x696bd284, 0x334bea4e, 0xce179d8e, 0x2a1f6744};
    return limbs[i];
}
ZK_DEVICE constexpr u32 limb_b2_c0(int i) {
    constexpr u32 limbs[8] = {0x77b802a8, 0x3bf938e3, 0x3633535d, 0x020b1b27,
                               0x49755260, 0x26b7edf0, 0x4384a86d, 0x2514c632};
    return limbs[i];
}
ZK_DEVICE constexpr u32 limb_b2_c1(int i) {
    constexpr u32 limbs[8] = {0xd1dcff67, 0x38e7eccc, 0x93ce0d3e, 0x65f0b37d,
                               0x22ac00aa, 0xd749d0dd, 0x4a688d4d, 0x0141b9ce};
    return limbs[i];
}
