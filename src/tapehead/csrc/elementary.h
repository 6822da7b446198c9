// exp, log, tanh and what is made of them, for vectors. Largest errors against exact values, in units of the last place
// of the result (tests/ops/test_elementary.py measures them): see the bound beside each function.
#pragma once

#include "simd.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

template <class T> struct Constants;

template <> struct Constants<float> {
    static constexpr int mantissa = 23, bias = 127;
    static constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    static constexpr std::uint32_t round_bits = 0x4b400000u, half_root = 0x3f3504f3u;  // of sqrt(1/2)
    static constexpr float log2e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    static constexpr float lowest = -87.336540f, highest = 88.3f, tiny = 1.17549435e-38f;
    static constexpr float flat = 10.0f;  // tanh is 1 from here on
};

template <> struct Constants<double> {
    static constexpr int mantissa = 52, bias = 1023;
    static constexpr double round = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr std::uint64_t round_bits = 0x4338000000000000u, half_root = 0x3fe6a09e667f3bcdu;
    static constexpr double log2e = 1.4426950408889634, ln2_high = 0.693145751953125, ln2_low = 1.42860682030941723212e-6;
    static constexpr double lowest = -708.396, highest = 709.0, tiny = 2.2250738585072014e-308;
    static constexpr double flat = 20.0;
};

// c0 + c1 x + c2 x^2 + ..., by Horner's rule.
template <class T> TAPEHEAD_INLINE Vec<T> polynomial(Vec<T>, T c0) { return splat(c0); }
template <class T, class... Rest> TAPEHEAD_INLINE Vec<T> polynomial(Vec<T> x, T c0, Rest... rest) {
    return fma<T>(polynomial<T>(x, rest...), x, splat(c0));
}

// (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2: minimax in float, Taylor in double.
TAPEHEAD_INLINE Vec<float> exp_tail(Vec<float> r) {
    return polynomial<float>(r, 5.0000001201e-1f, 1.6666665459e-1f, 4.1665795894e-2f, 8.3334519073e-3f, 1.3981999507e-3f,
                             1.9875691500e-4f);
}
TAPEHEAD_INLINE Vec<double> exp_tail(Vec<double> r) {
    return polynomial<double>(r, 1 / 2.0, 1 / 6.0, 1 / 24.0, 1 / 120.0, 1 / 720.0, 1 / 5040.0, 1 / 40320.0, 1 / 362880.0,
                              1 / 3628800.0, 1 / 39916800.0, 1 / 479001600.0, 1 / 6227020800.0);
}

// x = n ln 2 + r: r, and the bits of n in the form 2^mantissa * n (modulo the word).
template <class T> TAPEHEAD_INLINE Vec<T> reduce(Vec<T> x, Vec<Bits<T>>& exponent) {
    using C = Constants<T>;
    const Vec<T> shifted = fma<T>(x, splat(C::log2e), splat(C::round));
    const Vec<T> n = shifted - C::round;
    exponent = (reinterpret<Bits<T>, T>(shifted) - splat<Bits<T>>(C::round_bits)) << C::mantissa;
    return fma<T>(n, splat(-C::ln2_low), fma<T>(n, splat(-C::ln2_high), x));
}

// e^x, 0 where that is below the smallest normal number; arguments above `highest` count as it. NaN stays NaN. 2 ulp.
template <class T> TAPEHEAD_INLINE Vec<T> exp(Vec<T> x) {
    using C = Constants<T>;
    const Vec<T> capped = smaller<T>(splat(C::highest), x);
    Vec<Bits<T>> exponent;
    const Vec<T> r = reduce<T>(capped, exponent);
    const Vec<T> fraction = fma<T>(exp_tail(r), r * r, r) + T(1);
    const Vec<T> scaled = reinterpret<T, Bits<T>>(reinterpret<Bits<T>, T>(fraction) + exponent);
    return where_less<T>(x, splat(C::lowest), zero<T>(), scaled);
}

// log x for normal x > 0; NaN for NaN, by the x - x at the end. 2 ulp.
template <class T> TAPEHEAD_INLINE Vec<T> split(Vec<T> x, Vec<T>& exponent) {
    using C = Constants<T>;
    using B = Bits<T>;
    const Vec<B> offset = reinterpret<B, T>(x) - splat<B>(C::half_root - (B(C::bias + 1) << C::mantissa));
    const Vec<B> n = offset >> C::mantissa;  // exponent + bias + 1, so never negative
    exponent = reinterpret<T, B>(n + splat<B>(C::round_bits)) - (C::round + T(C::bias + 1));
    return reinterpret<T, B>(reinterpret<B, T>(x) - ((n - splat<B>(C::bias + 1)) << C::mantissa));
}
TAPEHEAD_INLINE Vec<float> log(Vec<float> x) {
    using C = Constants<float>;
    Vec<float> n;
    const Vec<float> f = split<float>(x, n) - 1.0f;
    const Vec<float> z = f * f;
    Vec<float> y = polynomial<float>(f, 3.3333331174e-1f, -2.4999993993e-1f, 2.0000714765e-1f, -1.6668057665e-1f,
                                     1.4249322787e-1f, -1.2420140846e-1f, 1.1676998740e-1f, -1.1514610310e-1f,
                                     7.0376836292e-2f);
    y = fma<float>(n, splat(C::ln2_low), y * f * z);
    return fma<float>(n, splat(C::ln2_high), f + fma<float>(z, splat(-0.5f), y)) + (x - x);
}
TAPEHEAD_INLINE Vec<double> log(Vec<double> x) {
    using C = Constants<double>;
    Vec<double> n;
    const Vec<double> f = split<double>(x, n) - 1.0;
    const Vec<double> s = f / (f + 2.0);  // log(1 + f) = 2 artanh(s) = 2 s + s (2 s^2 / 3 + ...), 2 s = f - s f
    const Vec<double> z = s * s;
    const Vec<double> tail = polynomial<double>(z, 2 / 3.0, 2 / 5.0, 2 / 7.0, 2 / 9.0, 2 / 11.0, 2 / 13.0, 2 / 15.0,
                                                2 / 17.0, 2 / 19.0, 2 / 21.0, 2 / 23.0);
    const Vec<double> small = s * (z * tail - f);
    return fma<double>(n, splat(C::ln2_high), f + fma<double>(n, splat(C::ln2_low), small)) + (x - x);
}

// tanh |x| near 0, where a float's quotient below would round three times; double has room for that.
TAPEHEAD_INLINE Vec<float> tanh_near_zero(Vec<float> x, Vec<float> otherwise) {
    const Vec<float> z = x * x;
    const Vec<float> tail = polynomial<float>(z, -3.33332819422e-1f, 1.33314422036e-1f, -5.37397155531e-2f,
                                              2.06390887954e-2f, -5.70498872745e-3f);
    return where_less<float>(x, splat(0.625f), fma<float>(tail * z, x, x), otherwise);
}
TAPEHEAD_INLINE Vec<double> tanh_near_zero(Vec<double>, Vec<double> otherwise) { return otherwise; }

// tanh x = (e^2|x| - 1) / (e^2|x| + 1) with the sign of x; e^y - 1 without cancellation. 3 ulp.
template <class T> TAPEHEAD_INLINE Vec<T> tanh(Vec<T> x) {
    using C = Constants<T>;
    using B = Bits<T>;
    const Vec<B> sign = reinterpret<B, T>(x) & splat<B>(B(1) << (sizeof(T) * 8 - 1));
    const Vec<T> magnitude = reinterpret<T, B>(reinterpret<B, T>(x) - sign);
    const Vec<T> y = smaller<T>(splat(C::flat), magnitude) * T(2);
    Vec<B> exponent;
    const Vec<T> r = reduce<T>(y, exponent);
    const Vec<T> power = reinterpret<T, B>(exponent + splat<B>(B(C::bias) << C::mantissa));
    const Vec<T> less_one = fma<T>(fma<T>(exp_tail(r), r * r, r), power, power - T(1));
    const Vec<T> result = tanh_near_zero(magnitude, less_one / (less_one + T(2)));
    return reinterpret<T, B>(reinterpret<B, T>(result) | sign);
}

// 1 / (1 + e^-x). 3 ulp.
template <class T> TAPEHEAD_INLINE Vec<T> sigmoid(Vec<T> x) { return T(1) / (exp<T>(zero<T>() - x) + T(1)); }

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), and by Kahan log(1 + u) = log(w) u / (w - 1) for w = 1 + u. 4 ulp.
template <class T> TAPEHEAD_INLINE Vec<T> softplus(Vec<T> x) {
    const Vec<T> positive = where_less<T>(x, zero<T>(), zero<T>(), x);
    const Vec<T> u = exp<T>(where_less<T>(x, zero<T>(), x, zero<T>() - x));
    const Vec<T> w = u + T(1);
    const Vec<T> difference = w - T(1);
    const Vec<T> kahan = log(w) * u / where_less<T>(zero<T>(), difference, difference, splat(T(1)));
    return positive + where_less<T>(zero<T>(), difference, kahan, u);
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
