// One row's step of a controller's layer, from its sums on, and backward to them.
#pragma once

#include "elementary.h"
#include "simd.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

// From the sums of the gates (4H) to the new state. `kept` (6H) gets i, f, g, o, c and tanh c; `cell` may be in it.
//
// Gates first and cells after them, in loops of their own: a processor looks some two hundred instructions ahead, which
// is many of these short ones at a time, but hardly two of a loop that does all for a vector of units.
template <class T> TAPEHEAD_NOINLINE void lstm(Index hidden, const T* sums, const T* cell, T* kept, T* output) {
    const Index last = hidden - lanes<T>;
    const Vec<T> last_cell = last >= 0 ? load(cell + last) : zero<T>();  // before the overlapping part overwrites it
    for_vectors<T>(2 * hidden, [=](Index i, Index count) { store(kept + i, sigmoid<T>(load(sums + i, count)), count); });
    T *const candidate = kept + 2 * hidden, *const output_gate = kept + 3 * hidden;
    T *const next = kept + 4 * hidden, *const squashed = kept + 5 * hidden;
    for_vectors<T>(hidden, [=](Index i, Index count) {
        store(candidate + i, tanh<T>(load(sums + 2 * hidden + i, count)), count);
        store(output_gate + i, sigmoid<T>(load(sums + 3 * hidden + i, count)), count);
    });
    const T* const gates = kept;
    for_vectors<T>(hidden, [=](Index i, Index count) {
        const Vec<T> before = i == last ? last_cell : load(cell + i, count);
        const Vec<T> x = fma<T>(load(gates + hidden + i, count), before,
                                load(gates + i, count) * load(gates + 2 * hidden + i, count));
        const Vec<T> y = tanh<T>(x);
        store(next + i, x, count);
        store(squashed + i, y, count);
        store(output + i, load(gates + 3 * hidden + i, count) * y, count);
    });
}

// Backward of `lstm`: `grad_cell` turns from the gradient of the new cell into that of the old one.
template <class T>
TAPEHEAD_NOINLINE void lstm_backward(Index hidden, const T* kept, const T* cell, const T* grad_output, T* grad_cell,
                                     T* grad_sums) {
    const Index last = hidden - lanes<T>;
    const Vec<T> last_grad = last >= 0 ? load(static_cast<const T*>(grad_cell) + last) : zero<T>();
    for_vectors<T>(hidden, [=](Index i, Index count) {
        const Vec<T> input_gate = load(kept + i, count), forget_gate = load(kept + hidden + i, count);
        const Vec<T> candidate = load(kept + 2 * hidden + i, count), output_gate = load(kept + 3 * hidden + i, count);
        const Vec<T> squashed = load(kept + 5 * hidden + i, count), gradient = load(grad_output + i, count);
        const Vec<T> after = i == last ? last_grad : load(static_cast<const T*>(grad_cell) + i, count);
        const Vec<T> grad_next = fma<T>(gradient * output_gate, T(1) - squashed * squashed, after);
        store(grad_cell + i, grad_next * forget_gate, count);
        store(grad_sums + i, grad_next * candidate * input_gate * (T(1) - input_gate), count);
        store(grad_sums + hidden + i, grad_next * load(cell + i, count) * forget_gate * (T(1) - forget_gate), count);
        store(grad_sums + 2 * hidden + i, grad_next * input_gate * (T(1) - candidate * candidate), count);
        store(grad_sums + 3 * hidden + i, gradient * squashed * output_gate * (T(1) - output_gate), count);
    });
}

// NaN stays NaN.
template <class T> TAPEHEAD_NOINLINE void feedforward(bool relu, Index hidden, const T* sums, T* output) {
    for_vectors<T>(hidden, [=](Index i, Index count) {
        const Vec<T> x = load(sums + i, count);
        store(output + i, relu ? where_less<T>(x, zero<T>(), zero<T>(), x) : tanh<T>(x), count);
    });
}

template <class T>
TAPEHEAD_NOINLINE void feedforward_backward(bool relu, Index hidden, const T* output, const T* grad_output,
                                            T* grad_sums) {
    for_vectors<T>(hidden, [=](Index i, Index count) {
        const Vec<T> y = load(output + i, count), gradient = load(grad_output + i, count);
        const Vec<T> through = relu ? where_less<T>(zero<T>(), y, gradient, zero<T>()) : gradient * (T(1) - y * y);
        store(grad_sums + i, through, count);
    });
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
