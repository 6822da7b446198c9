// The MANN's access to its memory, section 3.2 of its paper (arXiv 1605.06065), with backward. All of one row and one step.
// Arrays over slots are `padded` long; weights and usages of padding slots are zero.
#pragma once

#include "addressing.h"
#include "mann_shape.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

// In float and double alike, as USAGE_TOLERANCE of ops/usage.py.
constexpr double usage_tolerance = 1e-6;

// From raw words to parameters, each kind in its range. `slopes` gets the derivatives of key strengths.
template <class T> TAPEHEAD_NOINLINE void speak(const MANNShape& s, const T* raw, T* parameters, T* slopes) {
    const auto squash = [=](bool through_tanh, Index from, Index size) {
        for_vectors<T>(size, [=](Index i, Index count) {
            const Vec<T> x = load(raw + from + i, count);
            store(parameters + from + i, through_tanh ? tanh<T>(x) : x, count);
        });
    };
    squash(s.tanh_key, s.key, s.heads * s.word);
    if (s.own_add) squash(s.tanh_add, s.add, s.heads * s.word);
    if (s.learned_strength) {
        for_vectors<T>(s.heads, [=](Index i, Index count) {
            const Vec<T> x = load(raw + s.strength + i, count);
            store(parameters + s.strength + i, softplus<T>(x), count);
            store(slopes + i, sigmoid<T>(x), count);
        });
    }
    for_vectors<T>(s.heads, [=](Index i, Index count) {
        store(parameters + s.gate + i, sigmoid<T>(load(raw + s.gate + i, count)), count);
    });
}

// Backward of `speak`: `gradients` turn from those of the parameters into those of the raw words.
template <class T>
TAPEHEAD_NOINLINE void speak_backward(const MANNShape& s, const T* parameters, const T* slopes, T* gradients) {
    const auto through_tanh = [&](Index from) {
        for (Index i = from; i < from + s.heads * s.word; ++i) gradients[i] *= 1 - parameters[i] * parameters[i];
    };
    if (s.tanh_key) through_tanh(s.key);
    if (s.own_add && s.tanh_add) through_tanh(s.add);
    for (Index h = 0; h < s.heads; ++h) {
        const T gate = parameters[s.gate + h];
        gradients[s.gate + h] *= gate * (1 - gate);
        if (s.learned_strength) gradients[s.strength + h] *= slopes[h];
    }
}

template <class T> TAPEHEAD_INLINE T key_strength(const MANNShape& s, const T* parameters, Index head) {
    return s.learned_strength ? parameters[s.strength + head] : T(1);
}

// The slots of least usage, eq. 21, the least used first: each the lowest one that is as little used as the least but for
// the tolerance. A NaN makes it the lowest slot of all, as in the reference. `left` has room for the usages.
template <class T> TAPEHEAD_NOINLINE void find_unused(const MANNShape& s, const T* usage, T* left, T* unused) {
    std::memcpy(left, usage, static_cast<std::size_t>(s.slots) * sizeof(T));
    for (Index c = 0; c < s.unused; ++c) {
        T least = left[0];
        for (Index n = 1; n < s.slots; ++n) least = left[n] < least || left[n] != left[n] ? left[n] : least;
        const T border = least + T(usage_tolerance);
        Index slot = 0;
        while (slot < s.slots && !(left[slot] <= border)) ++slot;
        if (slot == s.slots) slot = 0;
        left[slot] = T(HUGE_VAL);
        unused[c] = static_cast<T>(slot);
    }
}

// Calls each(slot) for every slot that head h may write besides what it read.
template <class T, class Each> void for_own(const MANNShape& s, const T* unused, Index h, const Each& each) {
    const Index first = s.each ? h : 0, end = s.all ? s.unused : first + 1;
    for (Index c = first; c < end; ++c) each(static_cast<Index>(unused[c]));
}

// Where the heads write, eq. 22: g w^r_{t-1} + (1 - g) w^lu_{t-1}, so that gates of 0 and 1 give either to the bit.
template <class T>
TAPEHEAD_NOINLINE void write_weights(const MANNShape& s, const T* gates, const T* previous, const T* unused, T* to) {
    for (Index h = 0; h < s.heads; ++h, previous += s.padded, to += s.padded) {
        const Vec<T> gate = splat(gates[h]);
        for (Index n = 0; n < s.padded; n += lanes<T>) store(to + n, load(previous + n) * gate);
        for_own(s, unused, h, [&](Index slot) { to[slot] += 1 - gates[h]; });
    }
}

// Backward of `write_weights`: `grad` turns from the gradient of the write weights into that of the read weights of the
// step before; sets that of the gates.
template <class T>
TAPEHEAD_NOINLINE void write_weights_backward(const MANNShape& s, const T* gates, const T* previous, const T* unused, T* grad,
                                              T* grad_gates) {
    for (Index h = 0; h < s.heads; ++h, previous += s.padded, grad += s.padded) {
        T at_unused = 0;
        for_own(s, unused, h, [&](Index slot) { at_unused += grad[slot]; });
        const Vec<T> gate = splat(gates[h]);
        Vec<T> total = zero<T>();
        for (Index n = 0; n < s.padded; n += lanes<T>) {
            const Vec<T> gradient = load(static_cast<const T*>(grad + n));
            total = fma<T>(gradient, load(previous + n), total);
            store(grad + n, gradient * gate);
        }
        grad_gates[h] = sum<T>(total) - at_unused;
    }
}

// Zeros at the slots that are cleared, of a gradient of the memory: nothing is left of what they held.
template <class T> void clear_slots(const MANNShape& s, const T* unused, Memory<T> m) {
    for (Index c = 0; c < s.unused; ++c) {
        T* at = m.data + static_cast<Index>(unused[c]);
        for (Index j = 0; j < m.words; ++j, at += m.stride) *at = 0;
    }
}

// to(j, n) = from(j, n) + sum_heads w(head, n) a(head, j), eq. 23; `to` may be `from`. Up to four heads at a time: what they
// add comes together first, so that a large number in memory rounds once. The first ones take `from`, the others `to`.
template <class T, int HEADS, int BLOCK>
TAPEHEAD_INLINE void add_block(Memory<T> from, Memory<T> to, Index n, const T* w, const T* a) {
    Vec<T> weight[HEADS][BLOCK];
    for (int h = 0; h < HEADS; ++h)
        for (int b = 0; b < BLOCK; ++b) weight[h][b] = load(w + h * from.stride + n + b * lanes<T>);
    const T* x = from.data + n;
    T* y = to.data + n;
    for (Index j = 0; j < from.words; ++j, x += from.stride, y += to.stride) {
        Vec<T> number[HEADS];
        for (int h = 0; h < HEADS; ++h) number[h] = splat(a[h * from.words + j]);
        for (int b = 0; b < BLOCK; ++b) {
            Vec<T> total = weight[0][b] * number[0];
            for (int h = 1; h < HEADS; ++h) total = fma<T>(weight[h][b], number[h], total);
            store(y + b * lanes<T>, load(x + b * lanes<T>) + total);
        }
    }
}
template <class T, int HEADS> TAPEHEAD_NOINLINE void add_heads(Memory<T> from, Memory<T> to, const T* w, const T* a) {
    Index n = 0;
    for (; n + 2 * lanes<T> <= from.stride; n += 2 * lanes<T>) add_block<T, HEADS, 2>(from, to, n, w, a);
    for (; n < from.stride; n += lanes<T>) add_block<T, HEADS, 1>(from, to, n, w, a);
}
template <class T> void add_to_memory(Memory<T> from, Memory<T> to, Index heads, const T* w, const T* a) {
    for (Index h = 0; h < heads; h += 4, from = to, w += 4 * to.stride, a += 4 * to.words) {
        const Index count = heads - h;
        if (count >= 4)
            add_heads<T, 4>(from, to, w, a);
        else if (count == 3)
            add_heads<T, 3>(from, to, w, a);
        else if (count == 2)
            add_heads<T, 2>(from, to, w, a);
        else
            add_heads<T, 1>(from, to, w, a);
    }
}

// The slots cleared, then written: what is made of a cleared slot is made again without what it held.
template <class T>
void write(const MANNShape& s, Memory<T> from, Memory<T> to, const T* unused, const T* w, const T* a) {
    add_to_memory(from, to, s.heads, w, a);
    for (Index c = 0; c < s.unused; ++c) {
        const Index slot = static_cast<Index>(unused[c]);
        for (Index j = 0; j < to.words; ++j) {
            T total = 0;
            for (Index h = 0; h < s.heads; ++h) total += w[h * to.stride + slot] * a[h * to.words + j];
            to.row(j)[slot] = total;
        }
    }
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
