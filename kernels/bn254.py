"""BN254 (alt_bn128): every constant with its definition; tests re-derive each of them.

Sources: Barreto-Naehrig curves (eprint 2005/133); parameters as in EIP-196 and EIP-197.
Security: about 100 bits. Rho takes 2^127 steps in either group, but the tower number field sieve
(eprint 2015/1027) finds discrete logarithms in F_p^12, a field of 3,044 bits, in about 2^100
(eprint 2017/334). What rests on it is soundness: who finds tau or a logarithm forges.
"""

X = 4965661367192848881  # BN parameter ("seed"); p, r and the trace are polynomials in it
P = 36 * X**4 + 36 * X**3 + 24 * X**2 + 6 * X + 1  # base field F_p
R = 36 * X**4 + 36 * X**3 + 18 * X**2 + 6 * X + 1  # scalar field F_r = group order
TRACE = 6 * X**2 + 1  # of Frobenius: #E(F_p) = P + 1 - TRACE = R
ATE_LOOP_COUNT = 6 * X + 2  # optimal ate (eprint 2008/096): Miller loop length

B1 = 3  # E: y^2 = x^3 + 3 over F_p
XI = (9, 1)  # xi = 9 + u: F_p2 = F_p[u]/(u^2 + 1), sextic non-residue
B2 = (
    3 * 9 * pow(82, -1, P) % P,
    -3 * pow(82, -1, P) % P,
)  # E': y^2 = x^3 + 3/xi over F_p2; 1/xi = (9 - u)/82

G1 = (1, 2)
G2 = (
    (
        10857046999023057135944570762232829481370756359578518086990519993285655852781,
        11559732032986387107991004021392285783925812861821192530917403151452391805634,
    ),
    (
        8495653923123431417604973247489272438418190587263600148770280649306958101930,
        4082367875863433681332203403145435568316851327593401208105741076214120093531,
    ),
)  # EIP-197 generator, each coordinate (c0, c1) = c0 + c1*u
G2_COFACTOR = P - 1 + TRACE  # #E'(F_p2) / R

TWO_ADICITY = 28  # largest k with 2^k | R - 1
GENERATOR = 5  # of F_r*
ROOT_OF_UNITY = pow(GENERATOR, (R - 1) >> TWO_ADICITY, R)  # order exactly 2^28

MONT_BITS = 256  # radix of the arrays that leave a backend: 2^256
MONT_R_P = (1 << MONT_BITS) % P
MONT_R_R = (1 << MONT_BITS) % R
MONT_R2_P = pow(2, 2 * MONT_BITS, P)
MONT_R2_R = pow(2, 2 * MONT_BITS, R)  # to_mont(x) = montmul(x, MONT_R2_R)
MONT_INV64_P = -pow(P, -1, 1 << 64) % (1 << 64)  # -1/P mod 2^64
MONT_INV64_R = -pow(R, -1, 1 << 64) % (1 << 64)

# Endomorphism (x, y) -> (BETA x, y) equals multiplication by LAMBDA on G1 (GLV, CRYPTO 2001).
BETA = pow(3, (P - 1) // 3, P)  # a primitive cube root of one in F_p
# The primitive cube root of one in F_r that belongs to BETA: LAMBDA * G1 = (BETA, 2).
LAMBDA = pow(GENERATOR, 2 * (R - 1) // 3, R)


def root_of_unity(lg_n: int) -> int:
    """A primitive 2^lg_n-th root of one in F_r, 0 <= lg_n <= TWO_ADICITY."""
    if not 0 <= lg_n <= TWO_ADICITY:
        raise ValueError(f"no 2^{lg_n}-th root of unity in F_r: 2-adicity is {TWO_ADICITY}")
    return pow(ROOT_OF_UNITY, 1 << (TWO_ADICITY - lg_n), R)
