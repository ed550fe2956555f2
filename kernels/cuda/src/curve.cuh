// Points of y^2 = x^3 + b over F (Fp for G1, Fp2 for G2); every case of addition is right.
//
// Affine : (x, y), canonical in arrays; (0, 0) is infinity (it lies on neither curve).
// Xyzz   : (X, Y, ZZ, ZZZ) with x = X/ZZ, y = Y/ZZZ, ZZ^3 = ZZZ^2; ZZ = 0 is infinity.
// Source : Explicit-Formulas Database, short Weierstrass, XYZZ: madd-2008-s, add-2008-s,
//          dbl-2008-s-1, mdbl-2008-s-1.
// Cost   : add_mixed 8M + 2S, add 12M + 2S, double 6M + 4S.
//
// The guards (either point infinite, P = Q, P = -Q) all occur with real keys.

#pragma once
#include "fp2.cuh"

template <class F> struct Affine {
    F x, y;

    static ZK_DEVICE Affine infinity() { return {F::zero(), F::zero()}; }
    ZK_DEVICE bool is_infinity() const { return x.is_zero() && y.is_zero(); }
    // Right for infinity: -(0, 0) = (0, 0).
    ZK_DEVICE Affine operator-() const { return {x, -y}; }
};

template <class F> struct Xyzz {
    F x, y, zz, zzz;

    static ZK_DEVICE Xyzz infinity() { return {F::zero(), F::zero(), F::zero(), F::zero()}; }
    static ZK_DEVICE Xyzz from(const Affine<F> &p) {
        return p.is_infinity() ? infinity() : Xyzz{p.x, p.y, F::one(), F::one()};
    }
    ZK_DEVICE bool is_infinity() const { return zz.is_zero(); }
    ZK_DEVICE Xyzz operator-() const { return {x, -y, zz, zzz}; }

    // 2P; no point of odd order has y = 0.
    ZK_DEVICE Xyzz twice() const {
        F u = y.twice();
        F v = u.sqr();
        F w = u * v;
        F zz3 = v * zz;  // ZZ = 0 stays 0
        F s = x * v;
        F zzz3 = w * zzz;
        F square = x.sqr();
        F m = square.twice() + square;
        F x3 = m.sqr() - s.twice();
        return {x3, F::difference(m, s - x3, w, y), zz3, zzz3};
    }

    // P + Q, Q affine.
    ZK_DEVICE Xyzz add_mixed(const Affine<F> &q) const {
        if (q.is_infinity()) return *this;
        if (is_infinity()) return from(q);
        F p = q.x * zz - x;
        F r = q.y * zzz - y;
        if (p.is_zero()) return r.is_zero() ? from(q).twice() : infinity();
        return chord(p, r, x, y, zz, zzz);
    }

    // P + Q.
    ZK_DEVICE Xyzz add(const Xyzz &q) const {
        if (q.is_infinity()) return *this;
        if (is_infinity()) return q;
        F u1 = x * q.zz, s1 = y * q.zzz;
        F p = q.x * zz - u1;
        F r = q.y * zzz - s1;
        if (p.is_zero()) return r.is_zero() ? twice() : infinity();
        return chord(p, r, u1, s1, zz * q.zz, zzz * q.zzz);
    }

    // (X/ZZ, Y/ZZZ), canonical. One inversion: 1/ZZ = (ZZ/ZZZ)^2, as ZZZ^2 = ZZ^3.
    ZK_DEVICE Affine<F> to_affine() const {
        if (is_infinity()) return Affine<F>::infinity();
        F inverse = zzz.inverse();
        F ratio = zz * inverse;
        return {(x * ratio.sqr()).canonical(), (y * inverse).canonical()};
    }

  private:
    // The common end of both additions; u1, s1 are P's coordinates over the common denominators.
    static ZK_DEVICE Xyzz chord(const F &p, const F &r, const F &u1, const F &s1, const F &zz,
                                const F &zzz) {
        F pp = p.sqr();
        F ppp = p * pp;
        F zz3 = zz * pp;  // in an order that lets each operand die early: registers are scarce
        F q = u1 * pp;
        F zzz3 = zzz * ppp;
        F x3 = r.sqr() - ppp - q.twice();
        return {x3, F::difference(r, q - x3, s1, ppp), zz3, zzz3};
    }
};

typedef Affine<Fp> G1Affine;
typedef Affine<Fp2> G2Affine;
typedef Xyzz<Fp> G1Xyzz;
typedef Xyzz<Fp2> G2Xyzz;
