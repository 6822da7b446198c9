// The MANN's forward: what a step does with the memory. Derivation and layouts: ops/mann/README.md.
#pragma once

#include "mann_steps.h"
#include "sequence_forward.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

template <class T> class MANNForward : public SequenceForward<T, MANNForward<T>> {
    using Pass = SequenceForward<T, MANNForward<T>>;
    friend Pass;
    using Pass::arena_, Pass::memory, Pass::order_, Pass::raw_, Pass::rows_;

  public:
    MANNForward(const Call<T>& call, Index first, Index rows)
        : Pass(call, first, rows), f_(static_cast<const MANNFields&>(call.fields)),
          s_(static_cast<const MANNShape&>(call.shape)), steps_(f_, s_) {}

  private:
    void take_workspace() {
        usage_ = RowBuffer<T>::take(arena_, rows_, s_.padded);
        written_ = arena_.template take<T>(s_.heads * s_.padded);
        left_ = arena_.template take<T>(s_.padded);
        units_ = arena_.template take<T>(s_.heads * s_.word);
        unit_norms_ = arena_.template take<T>(s_.heads);
    }

    void start_own(Index r) { pad_weights(s_, in<T>(f_.usage) + order_[r] * s_.slots, 1, usage_[r]); }

    void use_memory(Index t, Index r) {
        const Index b = order_[r];
        T *const parameters = steps_.parameters(t, b), *const unused = steps_.unused(t, b);
        speak<T>(s_, raw_[r], parameters, steps_.slopes(t, b));
        unit_keys<T>(s_.heads, s_.word, parameters + s_.key, units_, unit_norms_);
        const Memory<T> before = memory(t, r), after = memory(t + 1, r);
        find_unused<T>(s_, usage_[r], left_, unused);
        // The weights of the step before lie where this step's go, unless every step is kept.
        write_weights<T>(s_, parameters + s_.gate, Pass::previous_weights(t, r), unused, written_);
        if (s_.write_read) {
            write<T>(s_, before, after, unused, written_, parameters + s_.add);
            look(t, b, after);
        } else {
            look(t, b, before);
            write<T>(s_, before, after, unused, written_, parameters + s_.add);
        }
        use(t, r);
        Pass::hand_on(t, r);
    }

    // All heads address a memory, eq. 17 and 18, and read it, eq. 19.
    void look(Index t, Index b, Memory<T> memory) {
        T *const similar = steps_.similarity(t, b), *const weights = steps_.weights(t, b);
        similarity<T>(memory, s_.heads, units_, similar, steps_.inverse_norms(t, b));
        for (Index h = 0; h < s_.heads; ++h) {
            const T* x = similar + h * s_.padded;
            softmax<T>(s_.slots, s_.padded, x, key_strength<T>(s_, steps_.parameters(t, b), h), largest_of<T>(s_.slots, x),
                       weights + h * s_.padded);
        }
        read_all<T>(memory, s_.heads, weights, steps_.output(t, b) + s_.hidden);
    }

    // What the slots are used now, eq. 20.
    void use(Index t, Index r) {
        const Index b = order_[r];
        T* const usage = usage_[r];
        const T* const weights = steps_.weights(t, b);
        const Vec<T> decay = splat(static_cast<T>(s_.usage_decay));
        for (Index n = 0; n < s_.padded; n += lanes<T>) {
            Vec<T> total = load(static_cast<const T*>(usage + n)) * decay;
            for (Index h = 0; h < s_.heads; ++h)
                total += load(weights + h * s_.padded + n) + load(static_cast<const T*>(written_ + h * s_.padded + n));
            store(usage + n, total);
        }
        if (f_.usages == 0) return;
        copy(static_cast<const T*>(usage), s_.padded, steps_.usage(t, b));
        copy(static_cast<const T*>(written_), s_.heads * s_.padded, steps_.written(t, b));
    }

    void finish_own(Index r, Index length) {
        const Index b = order_[r];
        unpad_weights(s_, static_cast<const T*>(usage_[r]), 1, out<T>(f_.last_usage) + b * s_.slots);
        for (Index t = length; f_.usages != 0 && t < s_.steps; ++t) {
            clear(steps_.usage(t, b), s_.padded);
            clear(steps_.written(t, b), s_.heads * s_.padded);
            for (Index c = 0; c < s_.unused; ++c) steps_.unused(t, b)[c] = -1;
        }
    }

    const MANNFields& f_;
    const MANNShape& s_;
    const MANNSteps<T> steps_;
    RowBuffer<T> usage_{};
    T *written_ = nullptr, *left_ = nullptr, *units_ = nullptr, *unit_norms_ = nullptr;
};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
