// Vectors of one instruction set, by the compiler's own vector types: the same source becomes SSE2, AVX2, AVX-512 or
// NEON by the flags it is compiled with. A compiler without them gets plain arrays, which it may vectorise or not.
//
// Everything lives in the namespace of its instruction set, and nothing here uses the standard library's templates: a
// template compiled with AVX-512 must never be the one that the linker keeps for a machine without it.
#pragma once

#include <math.h>

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#endif

#define TAPEHEAD_JOIN(a, b) a##b
#define TAPEHEAD_NAMESPACE_OF(isa) TAPEHEAD_JOIN(isa_, isa)
#define TAPEHEAD_NAMESPACE TAPEHEAD_NAMESPACE_OF(TAPEHEAD_ISA)

#if !defined(TAPEHEAD_VECTOR_BYTES)
#if defined(__AVX512F__)
#define TAPEHEAD_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define TAPEHEAD_VECTOR_BYTES 32
#else
#define TAPEHEAD_VECTOR_BYTES 16
#endif
#endif

#if defined(__GNUC__)
#define TAPEHEAD_INLINE inline __attribute__((always_inline))
#define TAPEHEAD_NOINLINE __attribute__((noinline))
#define TAPEHEAD_LIKELY(condition) __builtin_expect(!!(condition), 1)
#else
#define TAPEHEAD_INLINE inline
#define TAPEHEAD_NOINLINE
#define TAPEHEAD_LIKELY(condition) (condition)
#endif

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

using Index = std::int64_t;

template <class T> struct BitsOf;
template <> struct BitsOf<float> { using type = std::uint32_t; };
template <> struct BitsOf<double> { using type = std::uint64_t; };
template <class T> using Bits = typename BitsOf<T>::type;

// Lanes in a vector of T.
template <class T> constexpr int lanes = TAPEHEAD_VECTOR_BYTES / static_cast<int>(sizeof(T));

#if defined(__GNUC__) && !defined(TAPEHEAD_PLAIN)

template <class T> struct VectorOf {
    typedef T type __attribute__((vector_size(TAPEHEAD_VECTOR_BYTES)));
};
template <class T> using Vec = typename VectorOf<T>::type;

template <class To, class From> TAPEHEAD_INLINE Vec<To> reinterpret(Vec<From> x) { return (Vec<To>)x; }

// a < b ? x : y, lane by lane. A NaN is not less than anything.
template <class T> TAPEHEAD_INLINE Vec<T> where_less(Vec<T> a, Vec<T> b, Vec<T> x, Vec<T> y) { return a < b ? x : y; }

template <class T> TAPEHEAD_INLINE Vec<T> zero() { return Vec<T>{}; }
template <class T> TAPEHEAD_INLINE Vec<T> splat(T x) { return x - Vec<T>{}; }

#else

template <class T> struct Plain {
    T lane[lanes<T>];
    T operator[](int i) const { return lane[i]; }
};
template <class T> using Vec = Plain<T>;

#define TAPEHEAD_PLAIN_OPERATOR(op)                                                   \
    template <class T> TAPEHEAD_INLINE Plain<T> operator op(Plain<T> a, Plain<T> b) { \
        for (int i = 0; i < lanes<T>; ++i) a.lane[i] = a.lane[i] op b.lane[i];        \
        return a;                                                                     \
    }                                                                                 \
    template <class T> TAPEHEAD_INLINE Plain<T> operator op(Plain<T> a, T b) {        \
        for (int i = 0; i < lanes<T>; ++i) a.lane[i] = a.lane[i] op b;                \
        return a;                                                                     \
    }                                                                                 \
    template <class T> TAPEHEAD_INLINE Plain<T> operator op(T a, Plain<T> b) {        \
        for (int i = 0; i < lanes<T>; ++i) b.lane[i] = a op b.lane[i];                \
        return b;                                                                     \
    }
TAPEHEAD_PLAIN_OPERATOR(+)
TAPEHEAD_PLAIN_OPERATOR(-)
TAPEHEAD_PLAIN_OPERATOR(*)
TAPEHEAD_PLAIN_OPERATOR(/)
TAPEHEAD_PLAIN_OPERATOR(&)
TAPEHEAD_PLAIN_OPERATOR(|)
#undef TAPEHEAD_PLAIN_OPERATOR
template <class T> TAPEHEAD_INLINE Plain<T> operator<<(Plain<T> a, int by) {
    for (int i = 0; i < lanes<T>; ++i) a.lane[i] = a.lane[i] << by;
    return a;
}
template <class T> TAPEHEAD_INLINE Plain<T> operator>>(Plain<T> a, int by) {
    for (int i = 0; i < lanes<T>; ++i) a.lane[i] = a.lane[i] >> by;
    return a;
}
template <class T> TAPEHEAD_INLINE Plain<T>& operator+=(Plain<T>& a, Plain<T> b) { return a = a + b; }
template <class T> TAPEHEAD_INLINE Plain<T>& operator-=(Plain<T>& a, Plain<T> b) { return a = a - b; }
template <class T> TAPEHEAD_INLINE Plain<T>& operator*=(Plain<T>& a, Plain<T> b) { return a = a * b; }

template <class To, class From> TAPEHEAD_INLINE Plain<To> reinterpret(Plain<From> x) {
    Plain<To> y;
    std::memcpy(&y, &x, sizeof y);
    return y;
}
template <class T> TAPEHEAD_INLINE Plain<T> where_less(Plain<T> a, Plain<T> b, Plain<T> x, Plain<T> y) {
    for (int i = 0; i < lanes<T>; ++i) x.lane[i] = a.lane[i] < b.lane[i] ? x.lane[i] : y.lane[i];
    return x;
}
template <class T> TAPEHEAD_INLINE Plain<T> splat(T x) {
    Plain<T> v;
    for (int i = 0; i < lanes<T>; ++i) v.lane[i] = x;
    return v;
}
template <class T> TAPEHEAD_INLINE Plain<T> zero() { return splat(T(0)); }

#endif

template <class T> TAPEHEAD_INLINE Vec<T> load(const T* from) {
    Vec<T> x;
    std::memcpy(&x, from, sizeof x);
    return x;
}
template <class T> TAPEHEAD_INLINE void store(T* to, Vec<T> x) { std::memcpy(to, &x, sizeof x); }

// All bits of the first `count` lanes, none of the others; `count` in 0..lanes.
template <class T> TAPEHEAD_INLINE Vec<Bits<T>> first_lanes(Index count) {
    constexpr Bits<T> all = ~Bits<T>(0);
    static constexpr Bits<T> table[32] = {all, all, all, all, all, all, all, all, all, all, all, all, all, all, all, all};
    return load(table + 16 - count);
}

// The first `count` lanes of x, and of `rest` behind them.
template <class T> TAPEHEAD_INLINE Vec<T> where_first(Index count, Vec<T> x, Vec<T> rest) {
    const Vec<Bits<T>> mask = first_lanes<T>(count);
    return reinterpret<T, Bits<T>>((reinterpret<Bits<T>, T>(x) & mask) |
                                   (reinterpret<Bits<T>, T>(rest) & (splat(~Bits<T>(0)) - mask)));
}

// The first `count` lanes, where an array ends inside a vector; the rest is zero.
template <class T> TAPEHEAD_INLINE Vec<T> load(const T* from, Index count) {
    if (TAPEHEAD_LIKELY(count >= lanes<T>)) return load(from);
#if defined(__AVX2__) && !defined(TAPEHEAD_PLAIN) && TAPEHEAD_VECTOR_BYTES == 32
    if constexpr (sizeof(T) == 4)
        return (Vec<T>)_mm256_maskload_ps(reinterpret_cast<const float*>(from), (__m256i)first_lanes<T>(count));
    else
        return (Vec<T>)_mm256_maskload_pd(reinterpret_cast<const double*>(from), (__m256i)first_lanes<T>(count));
#else
    T part[lanes<T>] = {};
    for (Index i = 0; i < count; ++i) part[i] = from[i];
    return load(static_cast<const T*>(part));
#endif
}
template <class T> TAPEHEAD_INLINE void store(T* to, Vec<T> x, Index count) {
    if (TAPEHEAD_LIKELY(count >= lanes<T>)) return store(to, x);
    T part[lanes<T>];
    store(static_cast<T*>(part), x);
    for (Index i = 0; i < count; ++i) to[i] = part[i];
}

// Calls each(i, count) so that vectors at i of `count` numbers cover 0..size. The last one overlaps the one before
// instead of being shorter, but where there is only one: so what is written must not be read again.
template <class T, class Each> TAPEHEAD_INLINE void for_vectors(Index size, const Each& each) {
    if (size < lanes<T>) return each(Index(0), size);
    for (Index i = 0; i + lanes<T> <= size; i += lanes<T>) each(i, Index(lanes<T>));
    if (size % lanes<T> != 0) each(size - lanes<T>, Index(lanes<T>));
}

// a * b + c; contracted to one instruction where there is one.
template <class T> TAPEHEAD_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) { return a * b + c; }

// The larger of each pair; b where either is NaN.
template <class T> TAPEHEAD_INLINE Vec<T> larger(Vec<T> a, Vec<T> b) { return where_less<T>(b, a, a, b); }
// The smaller of each pair; b where either is NaN.
template <class T> TAPEHEAD_INLINE Vec<T> smaller(Vec<T> a, Vec<T> b) { return where_less<T>(a, b, a, b); }

TAPEHEAD_INLINE float root(float x) { return sqrtf(x); }
TAPEHEAD_INLINE double root(double x) { return sqrt(x); }

template <class T> TAPEHEAD_INLINE Vec<T> square_root(Vec<T> x) {
    T part[lanes<T>];
    store(static_cast<T*>(part), x);
    for (int i = 0; i < lanes<T>; ++i) part[i] = root(part[i]);
    return load(static_cast<const T*>(part));
}

// Sum of the lanes, always in the same order: halves onto halves.
template <class T> TAPEHEAD_INLINE T sum(Vec<T> x) {
    T part[lanes<T>];
    store(static_cast<T*>(part), x);
    for (int half = lanes<T> / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) part[i] += part[i + half];
    return part[0];
}
template <class T> TAPEHEAD_INLINE T largest(Vec<T> x) {
    T best = x[0];
    for (int i = 1; i < lanes<T>; ++i) best = x[i] > best ? x[i] : best;
    return best;
}

#if defined(__AVX2__) && !defined(TAPEHEAD_PLAIN) && TAPEHEAD_VECTOR_BYTES == 32
template <> TAPEHEAD_INLINE Vec<float> square_root<float>(Vec<float> x) { return (Vec<float>)_mm256_sqrt_ps((__m256)x); }
template <> TAPEHEAD_INLINE float sum<float>(Vec<float> x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
template <> TAPEHEAD_INLINE float largest<float>(Vec<float> x) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
template <> TAPEHEAD_INLINE Vec<float> larger<float>(Vec<float> a, Vec<float> b) {
    return (Vec<float>)_mm256_max_ps((__m256)a, (__m256)b);
}
template <> TAPEHEAD_INLINE Vec<float> smaller<float>(Vec<float> a, Vec<float> b) {
    return (Vec<float>)_mm256_min_ps((__m256)a, (__m256)b);
}
#elif defined(__AVX512F__) && !defined(TAPEHEAD_PLAIN) && TAPEHEAD_VECTOR_BYTES == 64
template <> TAPEHEAD_INLINE Vec<float> square_root<float>(Vec<float> x) { return (Vec<float>)_mm512_sqrt_ps((__m512)x); }
template <> TAPEHEAD_INLINE float sum<float>(Vec<float> x) { return _mm512_reduce_add_ps((__m512)x); }
template <> TAPEHEAD_INLINE float largest<float>(Vec<float> x) { return _mm512_reduce_max_ps((__m512)x); }
template <> TAPEHEAD_INLINE Vec<float> larger<float>(Vec<float> a, Vec<float> b) {
    return (Vec<float>)_mm512_max_ps((__m512)a, (__m512)b);
}
template <> TAPEHEAD_INLINE Vec<float> smaller<float>(Vec<float> a, Vec<float> b) {
    return (Vec<float>)_mm512_min_ps((__m512)a, (__m512)b);
}
#endif

// Numbers below the smallest normal one count as zero while this lives: they cost a hundred cycles each on some machines,
// and gradients that fade over thousands of steps are made of them.
class FlushToZero {
  public:
#if defined(__SSE2__)
    FlushToZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }
    ~FlushToZero() { _mm_setcsr(before_); }

  private:
    unsigned before_;
#elif defined(__aarch64__) && defined(__GNUC__)
    FlushToZero() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" : : "r"(before_ | (std::uint64_t(1) << 24)));
    }
    ~FlushToZero() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

  private:
    std::uint64_t before_;
#endif
    FlushToZero(const FlushToZero&) = delete;
    FlushToZero& operator=(const FlushToZero&) = delete;
};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
