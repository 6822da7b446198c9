// What the controller says to the heads, and where they point: sections 3.3.1 and 3.3.2 of the paper, with backward.
// All of one row and one step. Arrays over slots are `padded` long; weights of padding slots are zero.
#pragma once

#include "addressing.h"
#include "ntm_shape.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

// Weights with the last slots before the first and the first after the last: slot -max_shift to slots + max_shift - 1.
// Vectors may start anywhere in there, and read as far behind it as they are long.
template <class T> struct Ring {
    T* data;  // of slot 0
    Index slots, max_shift;

    static Index size(const NTMShape& s) { return s.padded + 2 * s.max_shift + 2 * lanes<T>; }
    Ring(T* buffer, const NTMShape& s) : data(buffer + s.max_shift), slots(s.slots), max_shift(s.max_shift) {}
    void close() const {
        for (Index i = 0; i < max_shift; ++i) {
            data[slots + i] = data[i];
            data[-1 - i] = data[slots - 1 - i];
        }
    }
};

// In a row of parameters, and in a row of the controller's raw words to the heads.
template <class T> struct HeadScalars {
    T *strength, *gate, *shift, *gamma;
    HeadScalars(T* row, const NTMShape& s, Index head)
        : strength(row + s.strength + head), gate(row + s.gate + head), shift(row + s.shift + head * s.offsets),
          gamma(row + s.gamma + head) {}
};

// From raw words to parameters, each kind in its range. `slopes` gets the derivatives of key strengths and gammas.
// `work` has room for 4 rows of `round_up(s.erase - s.strength, lanes)`.
template <class T> TAPEHEAD_NOINLINE void speak(const NTMShape& s, const T* raw, T* parameters, T* slopes, T* work) {
    const bool tanh_key = s.tanh_key, tanh_add = s.tanh_add;
    for_vectors<T>(s.strength, [=](Index i, Index count) {
        const Vec<T> x = load(raw + i, count);
        store(parameters + i, tanh_key ? tanh<T>(x) : x, count);
    });
    const Index erase = s.erase, add = s.add;
    for_vectors<T>(add - erase, [=](Index i, Index count) {
        const Vec<T> x = load(raw + add + i, count);
        store(parameters + erase + i, sigmoid<T>(load(raw + erase + i, count)), count);
        store(parameters + add + i, tanh_add ? tanh<T>(x) : x, count);
    });
    // Strengths, gates, shifts and gammas lie side by side, a few of each: every function of all of them at once.
    const Index count = s.erase - s.strength, room = round_up(count, lanes<T>);
    T *words = work, *soft = work + room, *flat = work + 2 * room, *power = work + 3 * room;
    for (Index i = 0; i < room; ++i) words[i] = i < count ? raw[s.strength + i] : T(0);
    if (s.location) {
        for (Index h = 0; h < s.heads; ++h) {
            T* shift = words + (s.shift - s.strength) + h * s.offsets;
            T highest = shift[0];
            for (Index i = 1; i < s.offsets; ++i) highest = shift[i] > highest ? shift[i] : highest;
            for (Index i = 0; i < s.offsets; ++i) shift[i] -= highest;
        }
    }
    for (Index i = 0; i < room; i += lanes<T>) {
        const Vec<T> x = load(static_cast<const T*>(words + i));
        store(soft + i, softplus<T>(x));
        store(flat + i, sigmoid<T>(x));
        store(power + i, exp<T>(x));
    }
    T* const target = parameters + s.strength;
    for (Index h = 0; h < s.heads; ++h) {
        target[h] = soft[h];
        slopes[h] = flat[h];
        if (!s.location) continue;
        const Index gate = s.gate - s.strength + h, gamma = s.gamma - s.strength + h;
        const Index shift = s.shift - s.strength + h * s.offsets;
        target[gate] = flat[gate];
        target[gamma] = 1 + soft[gamma];
        slopes[s.heads + h] = flat[gamma];
        T total = 0;
        for (Index i = 0; i < s.offsets; ++i) total += power[shift + i];
        for (Index i = 0; i < s.offsets; ++i) target[shift + i] = power[shift + i] / total;
    }
}

// Backward of `speak`: `gradients` turn from those of the parameters into those of the raw words.
template <class T>
TAPEHEAD_NOINLINE void speak_backward(const NTMShape& s, const T* parameters, const T* slopes, T* gradients) {
    const auto through_tanh = [&](Index from, Index to) {
        for (Index i = from; i < to; ++i) gradients[i] *= 1 - parameters[i] * parameters[i];
    };
    if (s.tanh_key) through_tanh(0, s.strength);
    if (s.tanh_add) through_tanh(s.add, s.parameters);
    for (Index i = s.erase; i < s.add; ++i) gradients[i] *= parameters[i] * (1 - parameters[i]);
    for (Index h = 0; h < s.heads; ++h) {
        gradients[s.strength + h] *= slopes[h];
        if (!s.location) continue;
        const T gate = parameters[s.gate + h];
        gradients[s.gate + h] *= gate * (1 - gate);
        gradients[s.gamma + h] *= slopes[s.heads + h];
        const T* shift = parameters + s.shift + h * s.offsets;
        T *grad = gradients + s.shift + h * s.offsets, total = 0;
        for (Index i = 0; i < s.offsets; ++i) total += grad[i] * shift[i];
        for (Index i = 0; i < s.offsets; ++i) grad[i] = shift[i] * (grad[i] - total);
    }
}

// The arrays over slots of one head at one step.
template <class T> struct HeadSlots {
    T *similarity, *content, *logarithms, *weights;
};

// What the backward of sharpening needs to know besides the logarithms: the largest, and log sum e^(gamma (L - largest)).
template <class T> struct Sharpened {
    T highest, log_total;
};

// w^g of eq. 7 into the ring.
template <class T>
TAPEHEAD_INLINE void interpolate(Index padded, const T* content, const T* previous, T gate, Ring<T> ring) {
    const Vec<T> factor = splat(gate);
    for (Index n = 0; n < padded; n += lanes<T>) {
        const Vec<T> before = load(previous + n);
        store(ring.data + n, fma<T>(load(content + n) - before, factor, before));
    }
    for (Index i = 0; i < ring.max_shift; ++i) ring.data[padded + i] = 0;  // vectors reach there
    ring.close();
}

// From similarities to weights, eq. 5 and 7 to 9. `work` has room for a ring.
template <class T>
TAPEHEAD_NOINLINE Sharpened<T> address(const NTMShape& s, HeadScalars<const T> head, const T* previous, HeadSlots<T> arrays,
                                       T* work) {
    const Index slots = s.slots, padded = s.padded, offsets = s.offsets, max_shift = s.max_shift;
    softmax<T>(slots, padded, arrays.similarity, *head.strength, largest_of<T>(slots, arrays.similarity), arrays.content);
    if (!s.location) {
        std::memcpy(arrays.weights, arrays.content, static_cast<std::size_t>(padded) * sizeof(T));
        return {0, 0};
    }
    const Ring<T> gated(work, s);
    interpolate<T>(padded, arrays.content, previous, *head.gate, gated);
    // Slot i gets what was at i - offset, eq. 8. The smallest normal number keeps the logarithm of 0 finite.
    Vec<T> best = splat(T(-HUGE_VAL));
    for (Index n = 0; n < padded; n += lanes<T>) {
        Vec<T> shifted = splat(Constants<T>::tiny);
        const T* from = gated.data + n + max_shift;
        for (Index j = 0; j < offsets; ++j) shifted = fma<T>(load(from - j), splat(head.shift[j]), shifted);
        Vec<T> logarithm = log(shifted);
        const Index count = slots - n;
        if (count < lanes<T>) {
            logarithm = where_first<T>(count < 0 ? 0 : count, logarithm, zero<T>());
            best = larger<T>(where_first<T>(count < 0 ? 0 : count, logarithm, best), best);
        } else {
            best = larger<T>(logarithm, best);
        }
        store(arrays.logarithms + n, logarithm);
    }
    const T highest = largest<T>(best);
    const T total = softmax<T>(slots, padded, arrays.logarithms, *head.gamma, highest, arrays.weights);
    return {highest, log(splat(total))[0]};
}

// x, but no farther from 0 than the limit; NaN stays NaN.
template <class T> TAPEHEAD_INLINE Vec<T> within(Vec<T> x, Vec<T> limit) {
    return smaller<T>(limit, larger<T>(zero<T>() - limit, x));
}

// Backward of `address`, and of the key strength.
//   grad_weights: of this step's weights; turns into that of `previous`, within the limit of the shape
//   grad_content: of the content weights, where a trace has one; else null
//   grad: sets strength, gate, shift and gamma
//   z, q: see ContentGradient; z is set, q added to
// `work` has room for two rings.
template <class T>
TAPEHEAD_NOINLINE void address_backward(const NTMShape& s, HeadScalars<const T> head, const T* previous,
                                        HeadSlots<const T> arrays, Sharpened<T> sharpened, const T* inverse_norms, T* grad_weights,
                                        const T* grad_content, HeadScalars<T> grad, T* z, T* q, T* work) {
    const Index slots = s.slots, padded = s.padded, offsets = s.offsets, max_shift = s.max_shift;
    Vec<T> content_mean = zero<T>();  // sum w^c dw^c, lane by lane
    if (s.location) {
        const Ring<T> gated(work, s), grad_shifted(work + round_up(Ring<T>::size(s), 16), s);
        interpolate<T>(padded, arrays.content, previous, *head.gate, gated);

        // Sharpening, w = softmax(gamma L), L = log w~: dz = w (dw - sum w dw), dgamma = sum dz L, and
        // dw~ = gamma dz / w~ with w / w~ = exp(gamma (L - highest) - L - log_total), which does not underflow with w.
        Vec<T> totals = zero<T>();
        for (Index n = 0; n < padded; n += lanes<T>)
            totals = fma<T>(load(arrays.weights + n), load(static_cast<const T*>(grad_weights + n)), totals);
        const Vec<T> mean = splat(sum<T>(totals)), gamma = splat(*head.gamma);
        const Vec<T> highest = splat(sharpened.highest), log_total = splat(sharpened.log_total);
        Vec<T> grad_gamma = zero<T>();
        for (Index n = 0; n < padded; n += lanes<T>) {
            const Vec<T> centred = load(static_cast<const T*>(grad_weights + n)) - mean;
            const Vec<T> logarithm = load(arrays.logarithms + n);
            grad_gamma = fma<T>(load(arrays.weights + n) * centred, logarithm, grad_gamma);
            const Vec<T> ratio = exp<T>(fma<T>(logarithm - highest, gamma, zero<T>() - logarithm) - log_total);
            Vec<T> shifted = gamma * ratio * centred;
            const Index count = slots - n;
            if (count < lanes<T>) shifted = where_first<T>(count < 0 ? 0 : count, shifted, zero<T>());
            store(grad_shifted.data + n, shifted);
        }
        *grad.gamma = sum<T>(grad_gamma);

        // Shift: ds(j) = sum_i dw~(i) w^g(i - offset), before the ring's ends cover the zeros of the padding.
        for (Index j = 0; j < offsets; ++j) {
            const T* from = gated.data + max_shift - j;
            totals = zero<T>();
            for (Index n = 0; n < padded; n += lanes<T>)
                totals = fma<T>(load(static_cast<const T*>(grad_shifted.data + n)), load(from + n), totals);
            grad.shift[j] = sum<T>(totals);
        }
        grad_shifted.close();

        // dw^g(i) = sum_j dw~(i + offset) s(j); interpolation. From here on z holds the gradient of the content weights.
        Vec<T> grad_gate = zero<T>();
        const Vec<T> gate = splat(*head.gate), limit = splat(static_cast<T>(s.gradient_limit));
        for (Index n = 0; n < padded; n += lanes<T>) {
            Vec<T> gradient = zero<T>();
            const T* from = grad_shifted.data + n - max_shift;
            for (Index j = 0; j < offsets; ++j) gradient = fma<T>(load(from + j), splat(head.shift[j]), gradient);
            const Index count = slots - n;
            if (count < lanes<T>) gradient = where_first<T>(count < 0 ? 0 : count, gradient, zero<T>());
            const Vec<T> content = load(arrays.content + n);
            grad_gate = fma<T>(gradient, content - load(previous + n), grad_gate);
            Vec<T> by_content = gradient * gate;
            store(grad_weights + n, within<T>(gradient - by_content, limit));
            if (grad_content != nullptr) by_content += load(grad_content + n);
            content_mean = fma<T>(content, by_content, content_mean);
            store(z + n, by_content);
        }
        *grad.gate = sum<T>(grad_gate);
    } else {
        for (Index n = 0; n < padded; n += lanes<T>) {
            Vec<T> by_content = load(static_cast<const T*>(grad_weights + n));
            if (grad_content != nullptr) by_content += load(grad_content + n);
            content_mean = fma<T>(load(arrays.content + n), by_content, content_mean);
            store(z + n, by_content);
            store(grad_weights + n, zero<T>());
        }
    }

    *grad.strength = content_weights_backward<T>(padded, *head.strength, {arrays.similarity, arrays.content}, inverse_norms,
                                                 sum<T>(content_mean), z, q);
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
