pragma circom 2.0.0;
// What readers trip over: public inputs and outputs, inputs that occur in no row, a number of rows
// that is no power of two, coefficients that are small, negative and as long as the field.
template Mixed(N) {
    signal input x;
    signal input unused_public;
    signal input k;
    signal input secret;
    signal input unused_private[3];
    signal output y;
    signal output bits_sum;

    var LONG = 12345678901234567890123456789012345678901234567890123456789012345678901234567;
    signal s[N+1];
    signal t[N];
    s[0] <== x + secret;
    for (var i = 0; i < N; i++) {
        t[i] <== (s[i] - 3*k + i) * (LONG*s[i] + 7);
        s[i+1] <== t[i] * (k - 5*s[i]) - 2*s[i];
    }
    y <== s[N];

    signal b[16];
    var packed = 0;
    var total = 0;
    for (var i = 0; i < 16; i++) {
        b[i] <-- (secret >> i) & 1;
        b[i] * (b[i] - 1) === 0;
        packed += b[i] * (1 << i);
        total += b[i];
    }
    packed === secret;
    bits_sum <== total;
}
component main {public [x, unused_public, k]} = Mixed(9);
