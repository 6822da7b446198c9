// Addressing by content, section 3.3.1 of the NTM paper, of one row and one step, with backward. Arrays over slots are
// `padded` long; weights of padding slots are zero.
#pragma once

#include "elementary.h"
#include "memory.h"
#include "shape.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

// Unit keys, k / sqrt(|k|^2 + epsilon^2), and what they were multiplied with.
template <class T> void unit_keys(Index heads, Index words, const T* keys, T* units, T* inverse_norms) {
    for (Index h = 0; h < heads; ++h, keys += words, units += words) {
        Vec<T> squares = zero<T>();
        for (Index j = 0; j < words; j += lanes<T>) {
            const Vec<T> x = load(keys + j, words - j);
            squares = fma<T>(x, x, squares);
        }
        const T inverse = 1 / root(sum<T>(squares) + T(norm_epsilon * norm_epsilon));
        inverse_norms[h] = inverse;
        for (Index j = 0; j < words; j += lanes<T>)
            store(units + j, load(keys + j, words - j) * splat(inverse), words - j);
    }
}

// Back from the gradient of unit keys, u = k / |k|: dk = (du - u (u . du)) / |k|.
template <class T>
void unit_keys_backward(Index heads, Index words, const T* units, const T* inverse_norms, const T* grad_units, T* grad_keys) {
    for (Index h = 0; h < heads; ++h, units += words, grad_units += words, grad_keys += words) {
        T along = 0;
        for (Index j = 0; j < words; ++j) along += units[j] * grad_units[j];
        for (Index j = 0; j < words; ++j) grad_keys[j] = (grad_units[j] - units[j] * along) * inverse_norms[h];
    }
}

// The largest of the slots.
template <class T> TAPEHEAD_INLINE T largest_of(Index slots, const T* x) {
    Vec<T> best = load(x, slots);
    if (slots < lanes<T>) best = where_first<T>(slots, best, splat(x[0]));
    for (Index n = lanes<T>; n < slots; n += lanes<T>) {
        const Index count = slots - n;
        const Vec<T> y = load(x + n);
        best = larger<T>(count < lanes<T> ? where_first<T>(count, y, best) : y, best);
    }
    return largest<T>(best);
}

// softmax(scale x) over the slots, eq. 5 and, of logarithms, eq. 9, for scale >= 0; zeros in the padding. `highest` is the
// largest of x, taken off before scaling, so that weights on one slot are exactly 1 and 0. Returns the sum of
// e^(scale (x - highest)).
template <class T> TAPEHEAD_INLINE T softmax(Index slots, Index padded, const T* x, T scale, T highest, T* to) {
    const Vec<T> factor = splat(scale), base = splat(highest);
    Vec<T> totals = zero<T>();
    for (Index n = 0; n < padded; n += lanes<T>) {
        const Index count = slots - n;
        Vec<T> y = exp<T>((load(x + n) - base) * factor);
        if (count < lanes<T>) y = where_first<T>(count < 0 ? 0 : count, y, zero<T>());
        totals += y;
        store(to + n, y);
    }
    const T total = sum<T>(totals);
    const Vec<T> inverse = splat(1 / total);
    for (Index n = 0; n < padded; n += lanes<T>) store(to + n, load(static_cast<const T*>(to + n)) * inverse);
    return total;
}

// What eq. 5 makes weights of, and the weights.
template <class T> struct ContentSlots {
    const T *similarity, *weights;
};

// Backward of w = softmax(beta K), eq. 5, and of K as a function of the memory. z holds the gradient of the weights, whose
// mean with the weights is `weighted_mean`, and turns into what ContentGradient takes; q is added to. Returns the gradient
// of beta.
template <class T>
TAPEHEAD_INLINE T content_weights_backward(Index padded, T key_strength, ContentSlots<T> arrays, const T* inverse_norms,
                                           T weighted_mean, T* z, T* q) {
    Vec<T> grad_strength = zero<T>();
    const Vec<T> mean = splat(weighted_mean), strength = splat(key_strength);
    for (Index n = 0; n < padded; n += lanes<T>) {
        const Vec<T> gradient = load(arrays.weights + n) * (load(static_cast<const T*>(z + n)) - mean);
        const Vec<T> cosine = load(arrays.similarity + n), inverse = load(inverse_norms + n);
        grad_strength = fma<T>(gradient, cosine, grad_strength);
        const Vec<T> scaled = gradient * strength * inverse;
        store(z + n, scaled);
        store(q + n, fma<T>(scaled * cosine, inverse, load(static_cast<const T*>(q + n))));
    }
    return sum<T>(grad_strength);
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
