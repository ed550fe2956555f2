// F_p and F_r: 8 limbs of 32 bits, Montgomery form with R = 2^256, lazily reduced.
//
// A `Field<M>` holds x * 2^256 mod M as any representative in [0, 2M): every operation here takes
// and gives such representatives, so a product needs no final subtraction:
//   a, b < 2M and M < 0.19 * 2^256  =>  (ab + mM) / 2^256 < 4 * 0.19 M + M < 1.76 M.
// Arrays that leave a kernel for the host must be `canonical()`. Zero has two representatives (0
// and M): compare with `is_zero` and `==`, never limb by limb.
//
// The product keeps two accumulators: `even` takes the products with even limbs of a, `odd` those
// with odd limbs (its value counts 2^32 times), so that each pair of a low and a high multiply-add
// is one wide multiply-add of the machine. Source: Emmart, Luitjens, Weems, Woolley, ARITH 23.

#pragma once
#include "carry.cuh"
#include "constants.cuh"

template <class M> struct alignas(16) Field {
    u32 limb[8];

    static ZK_DEVICE Field zero() {
        Field r;
        ZK_UNROLL for (int i = 0; i < 8; i++) r.limb[i] = 0;
        return r;
    }

    static ZK_DEVICE Field one() {
        Field r;
        ZK_UNROLL for (int i = 0; i < 8; i++) r.limb[i] = M::one(i);
        return r;
    }

    // 2^512 mod M: a product with it brings a canonical integer into Montgomery form.
    static ZK_DEVICE Field square_of_radix() {
        Field r;
        ZK_UNROLL for (int i = 0; i < 8; i++) r.limb[i] = M::square(i);
        return r;
    }

    // The words of the integer 1: a product with it takes the Montgomery form away.
    static ZK_DEVICE Field unit() {
        Field r = zero();
        r.limb[0] = 1;
        return r;
    }

    ZK_DEVICE bool is_zero() const {
        u32 any = 0, differs = 0;
        ZK_UNROLL for (int i = 0; i < 8; i++) {
            any |= limb[i];
            differs |= limb[i] ^ M::modulus(i);
        }
        return any == 0 || differs == 0;
    }

    ZK_DEVICE bool operator==(const Field &b) const { return (*this - b).is_zero(); }

    // The representative in [0, M).
    ZK_DEVICE Field canonical() const {
        Field r;
        Carry cc;
        r.limb[0] = sub_cc(cc, limb[0], M::modulus(0));
        ZK_UNROLL for (int i = 1; i < 8; i++) r.limb[i] = subc_cc(cc, limb[i], M::modulus(i));
        u32 borrow = subc(cc, 0, 0);
        ZK_UNROLL for (int i = 0; i < 8; i++) r.limb[i] = borrow ? limb[i] : r.limb[i];
        return r;
    }

    // Brings a value below 4M (and below 2^256) under 2M.
    ZK_DEVICE Field below_twice() const {
        Field r;
        Carry cc;
        r.limb[0] = sub_cc(cc, limb[0], M::twice(0));
        ZK_UNROLL for (int i = 1; i < 8; i++) r.limb[i] = subc_cc(cc, limb[i], M::twice(i));
        u32 borrow = subc(cc, 0, 0);
        ZK_UNROLL for (int i = 0; i < 8; i++) r.limb[i] = borrow ? limb[i] : r.limb[i];
        return r;
    }

    // Operands are copied first: a load of 32 bytes before the chain instead of 8 within it.
    ZK_DEVICE Field operator+(Field b) const {
        const Field a = *this;
        Field r;
        Carry cc;
        r.limb[0] = add_cc(cc, a.limb[0], b.limb[0]);
        ZK_UNROLL for (int i = 1; i < 7; i++) r.limb[i] = addc_cc(cc, a.limb[i], b.limb[i]);
        r.limb[7] = addc(cc, a.limb[7], b.limb[7]);
        return r.below_twice();
    }

    ZK_DEVICE Field operator-(Field b) const {
        const Field a = *this;
        Field r;
        Carry cc;
        r.limb[0] = sub_cc(cc, a.limb[0], b.limb[0]);
        ZK_UNROLL for (int i = 1; i < 8; i++) r.limb[i] = subc_cc(cc, a.limb[i], b.limb[i]);
        u32 borrow = subc(cc, 0, 0);  // all ones if a < b
        r.limb[0] = add_cc(cc, r.limb[0], M::twice(0) & borrow);
        ZK_UNROLL for (int i = 1; i < 7; i++) {
            r.limb[i] = addc_cc(cc, r.limb[i], M::twice(i) & borrow);
        }
        r.limb[7] = addc(cc, r.limb[7], M::twice(7) & borrow);
        return r;
    }

    // 2M - a: at most 2M, one more than other values; products and differences still hold.
    ZK_DEVICE Field lazy_negative() const {
        Field r;
        Carry cc;
        r.limb[0] = sub_cc(cc, M::twice(0), limb[0]);
        ZK_UNROLL for (int i = 1; i < 7; i++) r.limb[i] = subc_cc(cc, M::twice(i), limb[i]);
        r.limb[7] = subc(cc, M::twice(7), limb[7]);
        return r;
    }

    ZK_DEVICE Field operator-() const { return zero() - *this; }
    ZK_DEVICE Field twice() const { return *this + *this; }

    ZK_DEVICE Field operator*(Field b) const {
        const Field a = *this;
        u32 even[8], odd[8];
        ZK_UNROLL for (int i = 0; i < 8; i += 2) {
            add_row(even, odd, a.limb, b.limb[i], i == 0);
            reduce_row(even, odd);
            add_row(odd, even, a.limb, b.limb[i + 1], false);
            reduce_row(odd, even);
        }
        return merge(even, odd);
    }

    // a b - c d with one reduction.
    static ZK_DEVICE Field difference(Field a, Field b, Field c, Field d) {
        return dot(a, b, c.lazy_negative(), d);
    }

    // a b + c d with one reduction. The sum of both accumulators stays below 5M < 0.95 * 2^256.
    static ZK_DEVICE Field dot(Field a, Field b, Field c, Field d) {
        u32 even[8], odd[8];
        ZK_UNROLL for (int i = 0; i < 8; i += 2) {
            add_row(even, odd, a.limb, b.limb[i], i == 0);
            add_more(even, odd, c.limb, d.limb[i]);
            reduce_row(even, odd);
            add_row(odd, even, a.limb, b.limb[i + 1], false);
            add_more(odd, even, c.limb, d.limb[i + 1]);
            reduce_row(odd, even);
        }
        return merge(even, odd).below_twice();
    }

    // a^2 with 36 products instead of 64: those of different limbs once and doubled. Its 16 limbs are
    // h 2^256 + l with l mod M made below M + 1 and h < 0.76 M: below 2M without a subtraction.
    ZK_DEVICE Field sqr() const {
        const Field a = *this;
        u32 wide[16], even[8], odd[8];
        square(wide, a.limb);
        ZK_UNROLL for (int i = 0; i < 8; i++) even[i] = wide[i];
        reduce_row(even, odd, true);
        ZK_UNROLL for (int i = 1; i < 7; i += 2) {
            reduce_next_row(odd, even);
            reduce_next_row(even, odd);
        }
        reduce_next_row(odd, even);
        const Field low = merge(even, odd);
        Field r;
        Carry cc;
        r.limb[0] = add_cc(cc, low.limb[0], wide[8]);
        ZK_UNROLL for (int i = 1; i < 7; i++) r.limb[i] = addc_cc(cc, low.limb[i], wide[8 + i]);
        r.limb[7] = addc(cc, low.limb[7], wide[15]);
        return r;
    }

    // a^(M - 2) = 1/a, and 0 for 0. A call, its operand in registers: 254 squarings and up to as
    // many products.
    ZK_DEVICE Field inverse() const { return inverse_of(*this); }
    static ZK_NOINLINE Field inverse_of(Field a) {
        Field r = one();
        ZK_NO_UNROLL for (int i = 253; i >= 0; i--) {
            r = r.sqr();
            if (is_set(i)) r = r * a;
        }
        return r;
    }

  private:
    // Bit i of M - 2. (The limbs are selected: an array would have to lie in memory.)
    static ZK_DEVICE bool is_set(int i) {
        u32 word = 0;
        ZK_UNROLL for (int j = 0; j < 8; j++) word = j == i >> 5 ? M::less_two(j) : word;
        return word >> (i & 31) & 1;
    }

    // acc += (a[0], a[2], a[4], a[6]) * b; the carry stays in cc.
    template <class A> static ZK_DEVICE void add_products(Carry &cc, u32 *acc, A a, u32 b) {
        acc[0] = mad_lo_cc(cc, a(0), b, acc[0]);
        acc[1] = madc_hi_cc(cc, a(0), b, acc[1]);
        ZK_UNROLL for (int j = 2; j < 8; j += 2) {
            acc[j] = madc_lo_cc(cc, a(j), b, acc[j]);
            acc[j + 1] = madc_hi_cc(cc, a(j), b, acc[j + 1]);
        }
    }

    struct Limbs {
        const u32 *limbs;
        ZK_DEVICE u32 operator()(int i) const { return limbs[i]; }
    };
    struct EvenModulus {
        ZK_DEVICE u32 operator()(int i) const { return M::modulus(i); }
    };
    struct OddModulus {
        ZK_DEVICE u32 operator()(int i) const { return M::modulus(i + 1); }
    };

    // First row: (even, odd) = a b. Later: the sum, whose lowest limb is 0, goes down by 2^32 (what
    // was odd is now even), and a b is added.
    static ZK_DEVICE void add_row(u32 *even, u32 *odd, const u32 *a, u32 b, bool first) {
        if (first) {
            ZK_UNROLL for (int j = 0; j < 8; j += 2) {
                even[j] = mul_lo(a[j], b);
                even[j + 1] = mul_hi(a[j], b);
                odd[j] = mul_lo(a[j + 1], b);
                odd[j + 1] = mul_hi(a[j + 1], b);
            }
            return;
        }
        Carry cc;
        even[0] = add_cc(cc, even[0], odd[1]);
        ZK_UNROLL for (int j = 0; j < 6; j += 2) {
            odd[j] = madc_lo_cc(cc, a[j + 1], b, odd[j + 2]);
            odd[j + 1] = madc_hi_cc(cc, a[j + 1], b, odd[j + 3]);
        }
        odd[6] = madc_lo_cc(cc, a[7], b, 0);
        odd[7] = madc_hi(cc, a[7], b, 0);
        add_products(cc, even, Limbs{a}, b);
        odd[7] = addc(cc, odd[7], 0);
    }

    static ZK_DEVICE void add_more(u32 *even, u32 *odd, const u32 *a, u32 b) {
        Carry cc;
        add_products(cc, odd, Limbs{a + 1}, b);  // no carry out: the whole sum is below 2^288
        add_products(cc, even, Limbs{a}, b);
        odd[7] = addc(cc, odd[7], 0);
    }

    // The 16 limbs of a^2. Products a_i a_j, i < j, lie in `even` or `odd` by the parity of i + j, a
    // row's carry goes to a limb that is still 0 where its top pair was in use before (i = 1, 3, 5 in
    // `odd`, 2, 4 in `even`); then the sum is doubled and the squares of the limbs are added.
    static ZK_DEVICE void square(u32 *wide, const u32 *a) {
        u32 even[16], odd[16];
        ZK_UNROLL for (int k = 0; k < 16; k++) even[k] = odd[k] = 0;
        ZK_UNROLL for (int i = 0; i < 7; i++) {
            add_square_row(odd, a, i, i + 1);
            add_square_row(even, a, i, i + 2);
        }
        Carry cc;
        wide[0] = 0;
        wide[1] = odd[1];
        wide[2] = add_cc(cc, even[2], odd[2]);
        ZK_UNROLL for (int k = 3; k < 15; k++) wide[k] = addc_cc(cc, even[k], odd[k]);
        wide[15] = addc(cc, 0, 0);
        wide[1] = add_cc(cc, wide[1], wide[1]);
        ZK_UNROLL for (int k = 2; k < 15; k++) wide[k] = addc_cc(cc, wide[k], wide[k]);
        wide[15] = addc(cc, wide[15], wide[15]);
        wide[0] = mad_lo_cc(cc, a[0], a[0], 0);
        wide[1] = madc_hi_cc(cc, a[0], a[0], wide[1]);
        ZK_UNROLL for (int i = 1; i < 8; i++) {
            wide[2 * i] = madc_lo_cc(cc, a[i], a[i], wide[2 * i]);
            wide[2 * i + 1] = madc_hi_cc(cc, a[i], a[i], wide[2 * i + 1]);
        }
    }

    // acc += a_i a_j at i + j for j = first, first + 2, ... < 8, and its carry.
    static ZK_DEVICE void add_square_row(u32 *acc, const u32 *a, int i, int first) {
        if (first > 7) return;
        Carry cc;
        acc[i + first] = mad_lo_cc(cc, a[i], a[first], acc[i + first]);
        acc[i + first + 1] = madc_hi_cc(cc, a[i], a[first], acc[i + first + 1]);
        ZK_UNROLL for (int j = first + 2; j < 8; j += 2) {
            acc[i + j] = madc_lo_cc(cc, a[i], a[j], acc[i + j]);
            acc[i + j + 1] = madc_hi_cc(cc, a[i], a[j], acc[i + j + 1]);
        }
        if (i > 0 && (i + first) % 2 == i % 2) acc[i + 8] = addc(cc, acc[i + 8], 0);
    }

    // Adds the multiple of M that makes the lowest limb 0; `fresh`: odd has no value yet.
    static ZK_DEVICE void reduce_row(u32 *even, u32 *odd, bool fresh = false) {
        Carry cc;
        u32 m = mul_lo(even[0], M::M0);
        if (fresh) {
            ZK_UNROLL for (int j = 0; j < 8; j += 2) {
                odd[j] = mul_lo(M::modulus(j + 1), m);
                odd[j + 1] = mul_hi(M::modulus(j + 1), m);
            }
        } else {
            add_products(cc, odd, OddModulus{}, m);
        }
        add_products(cc, even, EvenModulus{}, m);
        odd[7] = addc(cc, odd[7], 0);
    }

    // The sum, whose lowest limb is 0, goes down by 2^32 (what was odd is now even) and is reduced.
    static ZK_DEVICE void reduce_next_row(u32 *even, u32 *odd) {
        Carry cc;
        even[0] = add_cc(cc, even[0], odd[1]);
        const u32 m = mul_lo(even[0], M::M0);
        ZK_UNROLL for (int j = 0; j < 6; j += 2) {
            odd[j] = madc_lo_cc(cc, M::modulus(j + 1), m, odd[j + 2]);
            odd[j + 1] = madc_hi_cc(cc, M::modulus(j + 1), m, odd[j + 3]);
        }
        odd[6] = madc_lo_cc(cc, M::modulus(7), m, 0);
        odd[7] = madc_hi(cc, M::modulus(7), m, 0);
        add_products(cc, even, EvenModulus{}, m);
        odd[7] = addc(cc, odd[7], 0);
    }

    static ZK_DEVICE Field merge(const u32 *even, const u32 *odd) {
        Field r;
        Carry cc;
        r.limb[0] = add_cc(cc, even[0], odd[1]);
        ZK_UNROLL for (int i = 1; i < 7; i++) r.limb[i] = addc_cc(cc, even[i], odd[i + 1]);
        r.limb[7] = addc(cc, even[7], 0);
        return r;
    }
};

typedef Field<ModulusP> Fp;
typedef Field<ModulusR> Fr;
