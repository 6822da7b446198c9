// Passes over one row's memory, and their backward. A memory lies transposed: number j of all slots, then number j + 1,
// each row of them `stride` long (a multiple of 16), so that vectors run over slots and sums over a slot's numbers need no
// shuffling. Padding slots hold zeros, and weights of padding slots are zero: they stay so.
//
// Letters: m memory, g gradient of the memory, w weights, e erase, a add, r reads. Equations: the NTM paper's.
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

template <class T, int HEADS, int BLOCK> TAPEHEAD_INLINE void read_block(Memory<T> m, Index j, const T* w, T* r) {
    Vec<T> sums[HEADS][BLOCK];
    for (int h = 0; h < HEADS; ++h)
        for (int b = 0; b < BLOCK; ++b) sums[h][b] = zero<T>();
    for (Index n = 0; n < m.stride; n += lanes<T>) {
        Vec<T> weight[HEADS];
        for (int h = 0; h < HEADS; ++h) weight[h] = load(w + h * m.stride + n);
        for (int b = 0; b < BLOCK; ++b) {
            const Vec<T> x = load(m.row(j + b) + n);
            for (int h = 0; h < HEADS; ++h) sums[h][b] = fma<T>(weight[h], x, sums[h][b]);
        }
    }
    for (int h = 0; h < HEADS; ++h)
        for (int b = 0; b < BLOCK; ++b) r[h * m.words + j + b] = sum<T>(sums[h][b]);
}

template <class T, int HEADS> TAPEHEAD_NOINLINE void read_heads(Memory<T> m, const T* w, T* r) {
    Index j = 0;
    for (; j + 5 <= m.words; j += 5) read_block<T, HEADS, 5>(m, j, w, r);
    for (; j < m.words; ++j) read_block<T, HEADS, 1>(m, j, w, r);
}

// r(head, j) = sum_n w(head, n) m(j, n), eq. 2, for every head.
template <class T> void read_all(Memory<T> m, Index heads, const T* w, T* r) {
    Index h = 0;
    for (; h + 2 <= heads; h += 2) read_heads<T, 2>(m, w + h * m.stride, r + h * m.words);
    if (h < heads) read_heads<T, 1>(m, w + h * m.stride, r + h * m.words);
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
