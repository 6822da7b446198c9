// The NTM's forward: what a step does with the memory. Derivation and layouts: ops/ntm/README.md.
#pragma once

#include "ntm_steps.h"
#include "ntm_write.h"
#include "sequence_forward.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

template <class T> class NTMForward : public SequenceForward<T, NTMForward<T>> {
    using Pass = SequenceForward<T, NTMForward<T>>;
    friend Pass;
    using Pass::arena_, Pass::first_weights_, Pass::memory, Pass::order_, Pass::raw_, Pass::rows_;

  public:
    NTMForward(const Call<T>& call, Index first, Index rows)
        : Pass(call, first, rows), f_(static_cast<const NTMFields&>(call.fields)),
          s_(static_cast<const NTMShape&>(call.shape)), steps_(f_, s_) {}

  private:
    void take_workspace() {
        units_ = arena_.template take<T>(s_.heads * s_.word);
        unit_norms_ = arena_.template take<T>(s_.heads);
        work_ = arena_.template take<T>(Ring<T>::size(s_) + 4 * round_up(s_.erase - s_.strength, lanes<T>));
    }

    void start_own(Index r) {
        pad_weights(s_, in<T>(f_.write_weights) + order_[r] * s_.write_heads * s_.slots, s_.write_heads,
                    first_weights_[r] + s_.read_heads * s_.padded);
    }

    void use_memory(Index t, Index r) {
        const Index b = order_[r];
        T *const parameters = steps_.parameters(t, b), *const reads = steps_.output(t, b) + s_.hidden;
        speak<T>(s_, raw_[r], parameters, steps_.slopes(t, b), work_);
        unit_keys<T>(s_.heads, s_.word, parameters + s_.key, units_, unit_norms_);
        const Memory<T> before = memory(t, r), after = memory(t + 1, r);
        T* const weights = steps_.weights(t, b);
        if (!s_.write_read) {
            point(t, r, 0, s_.heads, before, 0);
            read_all<T>(before, s_.read_heads, weights, reads);
            write_memory(parameters, weights, before, after);
        } else {
            point(t, r, s_.read_heads, s_.heads, before, 1);
            write_memory(parameters, weights, before, after);
            point(t, r, 0, s_.read_heads, after, 0);
            read_all<T>(after, s_.read_heads, weights, reads);
        }
        Pass::hand_on(t, r);
    }

    void write_memory(const T* parameters, const T* weights, Memory<T> before, Memory<T> after) {
        write<T>(before, after, s_.write_heads, weights + s_.read_heads * s_.padded, parameters + s_.erase,
                 parameters + s_.add);
    }

    // Heads from `from` up to `to` address a memory; `norms` tells which of the step's inverse norms are its.
    void point(Index t, Index r, Index from, Index to, Memory<T> memory, Index norms) {
        const Index b = order_[r];
        similarity<T>(memory, to - from, units_ + from * s_.word, steps_.similarity(t, b) + from * s_.padded,
                      steps_.inverse_norms(t, b) + norms * s_.padded);
        const T* previous = Pass::previous_weights(t, r);
        T* const slopes = steps_.slopes(t, b);
        for (Index h = from; h < to; ++h) {
            const HeadScalars<const T> head(steps_.parameters(t, b), s_, h);
            const Sharpened<T> sharpened =
                address<T>(s_, head, previous + h * s_.padded, steps_.head(t, b, h), work_);
            slopes[2 * s_.heads + h] = sharpened.highest;
            slopes[3 * s_.heads + h] = sharpened.log_total;
        }
    }

    void finish_own(Index r, Index length) {
        const Index b = order_[r];
        unpad_weights(s_, Pass::previous_weights(length, r) + s_.read_heads * s_.padded, s_.write_heads,
                      out<T>(f_.last_write_weights) + b * s_.write_heads * s_.slots);
        for (Index t = length; s_.save && t < s_.steps; ++t) clear(steps_.content(t, b), s_.heads * s_.padded);
    }

    const NTMFields& f_;
    const NTMShape& s_;
    const NTMSteps<T> steps_;
    T *units_ = nullptr, *unit_norms_ = nullptr, *work_ = nullptr;
};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
