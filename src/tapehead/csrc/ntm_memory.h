// Passes over one row's memory, and their backward. A memory lies transposed: number j of all slots, then number j + 1,
// each row of them `stride` long (a multiple of 16), so that vectors run over slots and sums over a slot's numbers need no
// shuffling. Padding slots hold zeros, and weights of padding slots are zero: they stay so.
//
// Letters: m memory, g gradient of the memory, w weights, e erase, a add, r reads.
#pragma once

#include "simd.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

// In float and double alike, as NORM_EPSILON of ops/content.py.
constexpr double norm_epsilon = 1e-6;

// A view of one row's memory or of a gradient of it.
template <class T> struct Memory {
    T* data;
    Index words, stride;
    T* row(Index j) const { return data + j * stride; }
};

// What `slot_sums` does with its sums over a slot's numbers.
enum class Sums { similarity, more_similarity, add };

template <class T, Sums SUMS, int HEADS, int BLOCK>
TAPEHEAD_INLINE void slot_sums_block(Memory<T> m, Index n, const T* coefficients, T* out, T* inverse_norms) {
    Vec<T> sums[HEADS][BLOCK], squares[BLOCK];
    for (int b = 0; b < BLOCK; ++b) {
        squares[b] = splat(T(norm_epsilon * norm_epsilon));
        for (int h = 0; h < HEADS; ++h) sums[h][b] = zero<T>();
    }
    const T* row = m.data + n;
    for (Index j = 0; j < m.words; ++j, row += m.stride) {
        Vec<T> c[HEADS];
        for (int h = 0; h < HEADS; ++h) c[h] = splat(coefficients[h * m.words + j]);
        for (int b = 0; b < BLOCK; ++b) {
            const Vec<T> x = load(row + b * lanes<T>);
            if (SUMS == Sums::similarity) squares[b] = fma<T>(x, x, squares[b]);
            for (int h = 0; h < HEADS; ++h) sums[h][b] = fma<T>(c[h], x, sums[h][b]);
        }
    }
    for (int b = 0; b < BLOCK; ++b) {
        const Index at = n + b * lanes<T>;
        Vec<T> factor = splat(T(1));
        if (SUMS == Sums::similarity) {
            factor = T(1) / square_root<T>(squares[b]);
            store(inverse_norms + at, factor);
        } else if (SUMS == Sums::more_similarity) {
            factor = load(inverse_norms + at);
        }
        for (int h = 0; h < HEADS; ++h) {
            T* to = out + h * m.stride + at;
            store(to, SUMS == Sums::add ? load(to) + sums[h][b] : sums[h][b] * factor);
        }
    }
}

template <class T, Sums SUMS, int HEADS>
TAPEHEAD_NOINLINE void slot_sums_heads(Memory<T> m, const T* coefficients, T* out, T* inverse_norms) {
    Index n = 0;
    for (; n + 4 * lanes<T> <= m.stride; n += 4 * lanes<T>)
        slot_sums_block<T, SUMS, HEADS, 4>(m, n, coefficients, out, inverse_norms);
    for (; n < m.stride; n += lanes<T>) slot_sums_block<T, SUMS, HEADS, 1>(m, n, coefficients, out, inverse_norms);
}

// For every head: out(head, n) = or += sum_j coefficients(head, j) m(j, n).
template <class T, Sums SUMS>
void slot_sums(Memory<T> m, Index heads, const T* coefficients, T* out, T* inverse_norms) {
    Index h = 0;
    for (; h + 2 <= heads; h += 2)
        slot_sums_heads<T, SUMS, 2>(m, coefficients + h * m.words, out + h * m.stride, inverse_norms);
    if (h < heads) slot_sums_heads<T, SUMS, 1>(m, coefficients + h * m.words, out + h * m.stride, inverse_norms);
}

// Cosine of every slot with every unit key (eq. 6) into `out` (heads, stride), and 1 / |m(n)| into `inverse_norms`.
template <class T> void similarity(Memory<T> m, Index heads, const T* unit_keys, T* out, T* inverse_norms) {
    const Index first = heads < 2 ? heads : 2;
    slot_sums<T, Sums::similarity>(m, first, unit_keys, out, inverse_norms);
    slot_sums<T, Sums::more_similarity>(m, heads - first, unit_keys + first * m.words, out + first * m.stride,
                                        inverse_norms);
}

template <class T, int BLOCK> TAPEHEAD_INLINE void read_block(Memory<T> m, Index j, const T* w, T* r) {
    Vec<T> sums[BLOCK];
    for (int b = 0; b < BLOCK; ++b) sums[b] = zero<T>();
    for (Index n = 0; n < m.stride; n += lanes<T>) {
        const Vec<T> weight = load(w + n);
        for (int b = 0; b < BLOCK; ++b) sums[b] = fma<T>(weight, load(m.row(j + b) + n), sums[b]);
    }
    for (int b = 0; b < BLOCK; ++b) r[j + b] = sum<T>(sums[b]);
}

// r(j) = sum_n w(n) m(j, n), eq. 2.
template <class T> TAPEHEAD_NOINLINE void read(Memory<T> m, const T* w, T* r) {
    Index j = 0;
    for (; j + 5 <= m.words; j += 5) read_block<T, 5>(m, j, w, r);
    for (; j < m.words; ++j) read_block<T, 1>(m, j, w, r);
}

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

// What the heads' addressing by content, and reading, add to the gradient of the memory:
//   g(j, n) += sum_heads z(head, n) k(head, j) - q(n) m(j, n) + sum_reads w(read, n) grad_r(read, j)
// with unit keys k; and in the same pass the gradient of the unit keys, grad_k(head, j) = sum_n z(head, n) m(j, n).
template <class T> struct ContentGradient {
    const T *z, *unit_keys, *q;  // (heads, stride), (heads, words), (stride)
    T* grad_keys;                // (heads, words)
    const T *w, *grad_reads;     // (reads, stride), (reads, words)
};

template <class T, int HEADS, int READS, bool NORM, int BLOCK>
TAPEHEAD_INLINE void content_backward_block(Memory<T> m, Memory<T> g, Index n, ContentGradient<T> c,
                                            Vec<T>* sums) {
    Vec<T> z[HEADS][BLOCK], w[READS + 1][BLOCK], q[BLOCK];
    for (int b = 0; b < BLOCK; ++b) {
        const Index at = n + b * lanes<T>;
        for (int h = 0; h < HEADS; ++h) z[h][b] = load(c.z + h * m.stride + at);
        for (int r = 0; r < READS; ++r) w[r][b] = load(c.w + r * m.stride + at);
        if (NORM) q[b] = load(c.q + at);
    }
    const T* x = m.data + n;
    T* grad = g.data + n;
    for (Index j = 0; j < m.words; ++j, x += m.stride, grad += g.stride) {
        Vec<T> part[HEADS], k[HEADS], grad_read[READS + 1];
        for (int h = 0; h < HEADS; ++h) {
            part[h] = sums[HEADS * j + h];
            k[h] = splat(c.unit_keys[h * m.words + j]);
        }
        for (int r = 0; r < READS; ++r) grad_read[r] = splat(c.grad_reads[r * m.words + j]);
        for (int b = 0; b < BLOCK; ++b) {
            const Vec<T> number = load(x + b * lanes<T>);
            Vec<T> total = load(grad + b * lanes<T>);
            if (NORM) total -= q[b] * number;
            for (int h = 0; h < HEADS; ++h) {
                part[h] = fma<T>(z[h][b], number, part[h]);
                total = fma<T>(z[h][b], k[h], total);
            }
            for (int r = 0; r < READS; ++r) total = fma<T>(w[r][b], grad_read[r], total);
            store(grad + b * lanes<T>, total);
        }
        for (int h = 0; h < HEADS; ++h) sums[HEADS * j + h] = part[h];
    }
}

template <class T, int HEADS, int READS, bool NORM>
TAPEHEAD_NOINLINE void content_backward_heads(Memory<T> m, Memory<T> g, ContentGradient<T> c,
                                              Vec<T>* sums) {
    for (Index i = 0; i < HEADS * m.words; ++i) sums[i] = zero<T>();
    Index n = 0;
    for (; n + 2 * lanes<T> <= m.stride; n += 2 * lanes<T>)
        content_backward_block<T, HEADS, READS, NORM, 2>(m, g, n, c, sums);
    for (; n < m.stride; n += lanes<T>) content_backward_block<T, HEADS, READS, NORM, 1>(m, g, n, c, sums);
    for (Index j = 0; j < m.words; ++j)
        for (int h = 0; h < HEADS; ++h) c.grad_keys[h * m.words + j] = sum<T>(sums[HEADS * j + h]);
}

template <class T, int HEADS, bool NORM>
void content_backward_reads(Memory<T> m, Memory<T> g, Index reads, ContentGradient<T> c,
                            Vec<T>* sums) {
    if (reads >= 2) return content_backward_heads<T, HEADS, 2, NORM>(m, g, c, sums);
    if (reads == 1) return content_backward_heads<T, HEADS, 1, NORM>(m, g, c, sums);
    content_backward_heads<T, HEADS, 0, NORM>(m, g, c, sums);
}

// Heads and reads two at a time; there are never more reads than heads.
template <class T>
void content_backward(Memory<T> m, Memory<T> g, Index heads, Index reads, ContentGradient<T> c,
                      Vec<T>* sums) {
    for (Index h = 0; h < heads; h += 2) {
        const bool two = heads - h >= 2;
        if (h == 0 && two) content_backward_reads<T, 2, true>(m, g, reads, c, sums);
        if (h == 0 && !two) content_backward_reads<T, 1, true>(m, g, reads, c, sums);
        if (h != 0 && two) content_backward_reads<T, 2, false>(m, g, reads - h, c, sums);
        if (h != 0 && !two) content_backward_reads<T, 1, false>(m, g, reads - h, c, sums);
        c.z += 2 * m.stride;
        c.unit_keys += 2 * m.words;
        c.grad_keys += 2 * m.words;
        c.w += 2 * m.stride;
        c.grad_reads += 2 * m.words;
    }
}

// Between the layout of states, (N, M), and that of the kernels, (M, stride).
template <class T> void transpose_in(const T* from, Index slots, const Memory<T>& to) {
    for (Index j = 0; j < to.words; ++j) {
        for (Index n = 0; n < slots; ++n) to.row(j)[n] = from[n * to.words + j];
        for (Index n = slots; n < to.stride; ++n) to.row(j)[n] = 0;
    }
}
template <class T> void transpose_out(const Memory<T>& from, Index slots, T* to) {
    for (Index n = 0; n < slots; ++n)
        for (Index j = 0; j < from.words; ++j) to[n * from.words + j] = from.row(j)[n];
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
