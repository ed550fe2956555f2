// F_p2 = F_p[u] / (u^2 + 1), lazily reduced like F_p. Products are calls: inlined into the G2
// formulas they would need more registers than a thread has, and minutes of compilation. Operands
// go by value, which keeps them in registers; references would put them into memory.

#pragma once
#include "field.cuh"

struct Fp2 {
    Fp c0, c1;

    static ZK_DEVICE Fp2 zero() { return {Fp::zero(), Fp::zero()}; }
    static ZK_DEVICE Fp2 one() { return {Fp::one(), Fp::zero()}; }

    ZK_DEVICE bool is_zero() const { return c0.is_zero() && c1.is_zero(); }
    ZK_DEVICE bool operator==(const Fp2 &b) const { return c0 == b.c0 && c1 == b.c1; }
    ZK_DEVICE Fp2 canonical() const { return {c0.canonical(), c1.canonical()}; }

    ZK_DEVICE Fp2 operator+(const Fp2 &b) const { return {c0 + b.c0, c1 + b.c1}; }
    ZK_DEVICE Fp2 operator-(const Fp2 &b) const { return {c0 - b.c0, c1 - b.c1}; }
    ZK_DEVICE Fp2 operator-() const { return {-c0, -c1}; }
    ZK_DEVICE Fp2 twice() const { return {c0.twice(), c1.twice()}; }

    // (a0 b0 - a1 b1) + (a0 b1 + a1 b0) u: four products, two reductions.
    ZK_DEVICE Fp2 operator*(const Fp2 &b) const { return product(*this, b); }
    static ZK_NOINLINE Fp2 product(Fp2 a, Fp2 b) {
        return {Fp::dot(a.c0, b.c0, a.c1.lazy_negative(), b.c1), Fp::dot(a.c0, b.c1, a.c1, b.c0)};
    }

    // (a0 + a1)(a0 - a1) + 2 a0 a1 u.
    ZK_DEVICE Fp2 sqr() const { return square(*this); }
    static ZK_NOINLINE Fp2 square(Fp2 a) {
        return {(a.c0 + a.c1) * (a.c0 - a.c1), (a.c0 * a.c1).twice()};
    }

    // a b - c d.
    static ZK_DEVICE Fp2 difference(const Fp2 &a, const Fp2 &b, const Fp2 &c, const Fp2 &d) {
        return a * b - c * d;
    }

    // conj(a) / (a0^2 + a1^2), and 0 for 0.
    ZK_DEVICE Fp2 inverse() const {
        Fp norm = Fp::dot(c0, c0, c1, c1).inverse();
        return {c0 * norm, -(c1 * norm)};
    }
};
