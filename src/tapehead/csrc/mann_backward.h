// The MANN's backward: what a step did with the memory. Derivation and layouts: ops/mann/README.md.
#pragma once

#include "mann_steps.h"
#include "sequence_backward.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

template <class T> class MANNBackward : public SequenceBackward<T, MANNBackward<T>> {
    using Pass = SequenceBackward<T, MANNBackward<T>>;
    friend Pass;
    using Pass::arena_, Pass::grad_memory_, Pass::grad_reads_, Pass::grad_weights_, Pass::grad_words_, Pass::memory,
        Pass::order_, Pass::rows_, Pass::view;

  public:
    MANNBackward(const Call<T>& call, Index first, Index rows)
        : Pass(call, first, rows), f_(static_cast<const MANNFields&>(call.fields)),
          s_(static_cast<const MANNShape&>(call.shape)), steps_(f_, s_) {}

  private:
    void take_workspace() {
        written_ = arena_.template take<T>(s_.heads * s_.padded);
        grad_written_ = arena_.template take<T>(s_.heads * s_.padded);
        units_ = arena_.template take<T>(s_.heads * s_.word);
        grad_units_ = arena_.template take<T>(s_.heads * s_.word);
        grad_adds_ = arena_.template take<T>(s_.heads * s_.word);
        unit_norms_ = arena_.template take<T>(s_.heads);
        q_ = arena_.template take<T>(s_.padded);
        sums_ = arena_.template take<Vec<T>>(2 * s_.word);
    }

    void start_own(Index) {}
    void finish_own(Index) {}

    // The write weights of a step, made again.
    void write_weights_of(Index t, Index r) {
        const Index b = order_[r];
        write_weights<T>(s_, static_cast<const T*>(steps_.parameters(t, b)) + s_.gate, Pass::previous_weights(t, r),
                         steps_.unused(t, b), written_);
    }

    void write_again(Index t, Index r) {
        const Index b = order_[r];
        write_weights_of(t, r);
        write<T>(s_, memory(t, r), memory(t + 1, r), steps_.unused(t, b), written_, steps_.parameters(t, b) + s_.add);
    }

    void use_memory(Index t, Index r) {
        const Index b = order_[r], all = s_.heads * s_.padded;
        const T* parameters = steps_.parameters(t, b);
        const Memory<T> seen = memory(s_.write_read ? t + 1 : t, r);
        T *const words = grad_words_[r], *const grad_weights = grad_weights_[r];
        unit_keys<T>(s_.heads, s_.word, parameters + s_.key, units_, unit_norms_);
        write_weights_of(t, r);
        back_to_similarity(t, r, seen);
        if (s_.write_read) {
            back_to_memory(t, r, seen);
            back_through_write(t, r);
        } else {
            back_through_write(t, r);
            back_to_memory(t, r, seen);
        }
        copy(static_cast<const T*>(grad_written_), all, grad_weights);
        unit_keys_backward<T>(s_.heads, s_.word, units_, unit_norms_, grad_units_, words + s_.key);
        if (s_.own_add)
            copy(static_cast<const T*>(grad_adds_), s_.reads, words + s_.add);
        else
            accumulate(static_cast<const T*>(grad_adds_), s_.reads, words + s_.key);
        if (f_.grad_parameters != 0)
            accumulate(in<T>(f_.grad_parameters) + (t * s_.rows + b) * s_.parameters, s_.parameters, words);
        speak_backward<T>(s_, parameters, steps_.slopes(t, b), words);
        Pass::write_down(t, r);
    }

    // From the reads and the read weights, in whose place it leaves z (see ContentGradient), to key strengths and q.
    void back_to_similarity(Index t, Index r, Memory<T> seen) {
        const Index b = order_[r];
        const T *parameters = steps_.parameters(t, b), *norms = steps_.inverse_norms(t, b);
        T* const z = grad_weights_[r];
        slot_sums<T, Sums::add>(seen, s_.heads, grad_reads_[r], z, nullptr);
        clear(q_, s_.padded);
        for (Index h = 0; h < s_.heads; ++h) {
            const Index from = h * s_.padded;
            const ContentSlots<T> slots{steps_.similarity(t, b) + from, steps_.weights(t, b) + from};
            Vec<T> mean = zero<T>();
            for (Index n = 0; n < s_.padded; n += lanes<T>)
                mean = fma<T>(load(slots.weights + n), load(static_cast<const T*>(z + from + n)), mean);
            const T grad_strength = content_weights_backward<T>(s_.padded, key_strength<T>(s_, parameters, h), slots, norms,
                                                                sum<T>(mean), z + from, q_);
            if (s_.learned_strength) grad_words_[r][s_.strength + h] = grad_strength;
        }
    }

    // From z and q to the keys and, together with the reads' part, the memory that was addressed and read.
    void back_to_memory(Index t, Index r, Memory<T> seen) {
        const T* const weights = steps_.weights(t, order_[r]);
        const ContentGradient<T> gradient{grad_weights_[r], units_, q_, grad_units_, weights, grad_reads_[r]};
        content_backward<T>(seen, view(grad_memory_[r]), s_.heads, s_.heads, gradient, sums_);
    }

    // From M_t to what was written, to the write gates, to M_{t-1}, and to the read weights of the step before.
    void back_through_write(Index t, Index r) {
        const Index b = order_[r], all = s_.heads * s_.padded;
        const T *parameters = steps_.parameters(t, b), *unused = steps_.unused(t, b);
        const Memory<T> g = view(grad_memory_[r]);
        if (f_.grad_written != 0)
            copy(in<T>(f_.grad_written) + (t * s_.rows + b) * all, all, grad_written_);
        else
            clear(grad_written_, all);
        slot_sums<T, Sums::add>(g, s_.heads, parameters + s_.add, grad_written_, nullptr);
        read_all<T>(g, s_.heads, written_, grad_adds_);
        clear_slots(s_, unused, g);
        write_weights_backward<T>(s_, parameters + s_.gate, Pass::previous_weights(t, r), unused, grad_written_,
                                  grad_words_[r] + s_.gate);
    }

    const MANNFields& f_;
    const MANNShape& s_;
    const MANNSteps<T> steps_;
    T *written_ = nullptr, *grad_written_ = nullptr, *units_ = nullptr, *grad_units_ = nullptr, *grad_adds_ = nullptr;
    T *unit_norms_ = nullptr, *q_ = nullptr;
    Vec<T>* sums_ = nullptr;
};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
