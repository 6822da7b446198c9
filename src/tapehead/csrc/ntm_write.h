// How an NTM writes one row's memory, eq. 3 and 4, and the way back. Letters and layout: memory.h.
#pragma once

#include "memory.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

// Erases with every head, then adds with every one, eq. 3 and 4; `to` may be `from`.
template <class T, int BLOCK>
TAPEHEAD_INLINE void write_block(Memory<T> from, Memory<T> to, Index n, const T* w, const T* e, const T* a) {
    Vec<T> weight[BLOCK];
    for (int b = 0; b < BLOCK; ++b) weight[b] = load(w + n + b * lanes<T>);
    const T* x = from.data + n;
    T* y = to.data + n;
    for (Index j = 0; j < from.words; ++j, x += from.stride, y += to.stride) {
        const Vec<T> ej = splat(e[j]), aj = splat(a[j]);
        for (int b = 0; b < BLOCK; ++b)
            store(y + b * lanes<T>, fma<T>(load(x + b * lanes<T>), T(1) - weight[b] * ej, weight[b] * aj));
    }
}

template <class T>
TAPEHEAD_NOINLINE void write_one(Memory<T> from, Memory<T> to, const T* w, const T* e, const T* a) {
    Index n = 0;
    for (; n + 4 * lanes<T> <= from.stride; n += 4 * lanes<T>) write_block<T, 4>(from, to, n, w, e, a);
    for (; n < from.stride; n += lanes<T>) write_block<T, 1>(from, to, n, w, e, a);
}

template <class T>
TAPEHEAD_NOINLINE void write_many(Memory<T> from, Memory<T> to, Index heads, const T* w, const T* e, const T* a) {
    for (Index j = 0; j < from.words; ++j) {
        for (Index n = 0; n < from.stride; n += lanes<T>) {
            Vec<T> kept = load(static_cast<const T*>(from.row(j) + n)), added = zero<T>();
            for (Index h = 0; h < heads; ++h) {
                const Vec<T> weight = load(w + h * from.stride + n);
                kept *= T(1) - weight * splat(e[h * from.words + j]);
                added = fma<T>(weight, splat(a[h * from.words + j]), added);
            }
            store(to.row(j) + n, kept + added);
        }
    }
}

template <class T> void write(Memory<T> from, Memory<T> to, Index heads, const T* w, const T* e, const T* a) {
    if (heads == 1) return write_one(from, to, w, e, a);
    write_many(from, to, heads, w, e, a);
}

// Backward of `write`: g turns from the gradient of what was written into that of what was there, m. Adds to the
// gradient of the weights (heads, stride), sets those of erase and add. `sums` has room for 2 * words vectors, `partial`
// for heads + 1.
template <class T, int BLOCK>
TAPEHEAD_INLINE void write_backward_block(Memory<T> m, Memory<T> g, Index n, const T* w, const T* e,
                                          const T* a, T* grad_w, Vec<T>* sums) {
    Vec<T> weight[BLOCK], grad_weight[BLOCK];
    for (int b = 0; b < BLOCK; ++b) {
        weight[b] = load(w + n + b * lanes<T>);
        grad_weight[b] = load(grad_w + n + b * lanes<T>);
    }
    const T* x = m.data + n;
    T* grad = g.data + n;
    for (Index j = 0; j < m.words; ++j, x += m.stride, grad += g.stride) {
        const Vec<T> ej = splat(e[j]), aj = splat(a[j]);
        Vec<T> grad_erase = sums[2 * j], grad_add = sums[2 * j + 1];
        for (int b = 0; b < BLOCK; ++b) {
            const Vec<T> before = load(x + b * lanes<T>), after = load(static_cast<const T*>(grad + b * lanes<T>));
            const Vec<T> weighted = after * weight[b];
            grad_add += weighted;
            grad_erase -= weighted * before;
            grad_weight[b] = fma<T>(after, aj - ej * before, grad_weight[b]);
            store(grad + b * lanes<T>, after - weighted * ej);
        }
        sums[2 * j] = grad_erase;
        sums[2 * j + 1] = grad_add;
    }
    for (int b = 0; b < BLOCK; ++b) store(grad_w + n + b * lanes<T>, grad_weight[b]);
}

template <class T>
TAPEHEAD_NOINLINE void write_backward_one(Memory<T> m, Memory<T> g, const T* w, const T* e, const T* a,
                                          T* grad_w, T* grad_e, T* grad_a, Vec<T>* sums) {
    for (Index j = 0; j < 2 * m.words; ++j) sums[j] = zero<T>();
    Index n = 0;
    for (; n + 4 * lanes<T> <= m.stride; n += 4 * lanes<T>) write_backward_block<T, 4>(m, g, n, w, e, a, grad_w, sums);
    for (; n < m.stride; n += lanes<T>) write_backward_block<T, 1>(m, g, n, w, e, a, grad_w, sums);
    for (Index j = 0; j < m.words; ++j) {
        grad_e[j] = sum<T>(sums[2 * j]);
        grad_a[j] = sum<T>(sums[2 * j + 1]);
    }
}

// With several heads, dM~/de_h has the product of all the other heads' factors: from the left in `partial`, from the
// right on the way back, so that nothing is divided by a factor that may be 0.
template <class T>
TAPEHEAD_NOINLINE void write_backward_many(Memory<T> m, Memory<T> g, Index heads, const T* w, const T* e,
                                           const T* a, T* grad_w, T* grad_e, T* grad_a, Vec<T>* partial) {
    for (Index i = 0; i < heads * m.words; ++i) grad_e[i] = grad_a[i] = 0;
    for (Index j = 0; j < m.words; ++j) {
        for (Index n = 0; n < m.stride; n += lanes<T>) {
            partial[0] = load(m.row(j) + n);
            for (Index h = 0; h < heads; ++h)
                partial[h + 1] = partial[h] * (T(1) - load(w + h * m.stride + n) * splat(e[h * m.words + j]));
            const Vec<T> after = load(g.row(j) + n);
            Vec<T> right = after;
            for (Index h = heads - 1; h >= 0; --h) {
                const Vec<T> weight = load(w + h * m.stride + n), eh = splat(e[h * m.words + j]);
                const Vec<T> others = right * partial[h];
                T* grad = grad_w + h * m.stride + n;
                store(grad, load(grad) - others * eh + after * splat(a[h * m.words + j]));
                grad_e[h * m.words + j] -= sum<T>(others * weight);
                grad_a[h * m.words + j] += sum<T>(after * weight);
                right *= T(1) - weight * eh;
            }
            store(g.row(j) + n, right);
        }
    }
}

template <class T>
void write_backward(Memory<T> m, Memory<T> g, Index heads, const T* w, const T* e, const T* a, T* grad_w,
                    T* grad_e, T* grad_a, Vec<T>* sums, Vec<T>* partial) {
    if (heads == 1) return write_backward_one(m, g, w, e, a, grad_w, grad_e, grad_a, sums);
    write_backward_many(m, g, heads, w, e, a, grad_w, grad_e, grad_a, partial);
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
