// The NTM's backward: what a step did with the memory. Derivation and layouts: ops/ntm/README.md.
#pragma once

#include "ntm_steps.h"
#include "ntm_write.h"
#include "sequence_backward.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

template <class T> class NTMBackward : public SequenceBackward<T, NTMBackward<T>> {
    using Pass = SequenceBackward<T, NTMBackward<T>>;
    friend Pass;
    using Pass::arena_, Pass::first_weights_, Pass::grad_memory_, Pass::grad_reads_, Pass::grad_weights_, Pass::grad_words_,
        Pass::memory, Pass::order_, Pass::rows_, Pass::view;

  public:
    NTMBackward(const Call<T>& call, Index first, Index rows)
        : Pass(call, first, rows), f_(static_cast<const NTMFields&>(call.fields)),
          s_(static_cast<const NTMShape&>(call.shape)), steps_(f_, s_) {}

  private:
    void take_workspace() {
        units_ = arena_.template take<T>(s_.heads * s_.word);
        grad_units_ = arena_.template take<T>(s_.heads * s_.word);
        unit_norms_ = arena_.template take<T>(s_.heads);
        z_ = arena_.template take<T>(s_.heads * s_.padded);
        q_ = arena_.template take<T>(s_.padded);
        sums_ = arena_.template take<Vec<T>>(2 * s_.word);
        partial_ = arena_.template take<Vec<T>>(s_.write_heads + 1);
        work_ = arena_.template take<T>(2 * round_up(Ring<T>::size(s_), 16));
    }

    void start_own(Index r) {
        const Index from = order_[r] * s_.write_heads * s_.slots, first = s_.read_heads * s_.padded;
        if (f_.grad_last_write_weights != 0)
            pad_weights(s_, in<T>(f_.grad_last_write_weights) + from, s_.write_heads, grad_weights_[r] + first);
        pad_weights(s_, in<T>(f_.write_weights) + from, s_.write_heads, first_weights_[r] + first);
    }

    void write_again(Index t, Index r) {
        const Index b = order_[r];
        const T* parameters = steps_.parameters(t, b);
        write<T>(memory(t, r), memory(t + 1, r), s_.write_heads, steps_.weights(t, b) + s_.read_heads * s_.padded,
                 parameters + s_.erase, parameters + s_.add);
    }

    void use_memory(Index t, Index r) {
        const Index b = order_[r], step = t * s_.rows + b;
        const T *parameters = steps_.parameters(t, b), *weights = steps_.weights(t, b);
        const Memory<T> before = memory(t, r), g = view(grad_memory_[r]);
        T *const words = grad_words_[r], *const grad_weights = grad_weights_[r];
        unit_keys<T>(s_.heads, s_.word, parameters + s_.key, units_, unit_norms_);
        const auto back_through_write = [&] {
            const Index first = s_.read_heads * s_.padded;
            write_backward<T>(before, g, s_.write_heads, weights + first, parameters + s_.erase, parameters + s_.add,
                              grad_weights + first, words + s_.erase, words + s_.add, sums_, partial_);
        };
        if (!s_.write_read) {
            slot_sums<T, Sums::add>(before, s_.read_heads, grad_reads_[r], grad_weights, nullptr);
            back_through_write();
            back_to_memory(t, r, 0, s_.heads, before, 0, s_.read_heads);
        } else {
            const Memory<T> after = memory(t + 1, r);
            slot_sums<T, Sums::add>(after, s_.read_heads, grad_reads_[r], grad_weights, nullptr);
            back_to_memory(t, r, 0, s_.read_heads, after, 0, s_.read_heads);
            back_through_write();
            back_to_memory(t, r, s_.read_heads, s_.heads, before, 1, 0);
        }
        unit_keys_backward<T>(s_.heads, s_.word, units_, unit_norms_, grad_units_, words + s_.key);
        if (f_.grad_parameters != 0)
            accumulate(in<T>(f_.grad_parameters) + step * s_.parameters, s_.parameters, words);
        speak_backward<T>(s_, parameters, steps_.slopes(t, b), words);
        Pass::write_down(t, r);
    }

    // Back through addressing, and through the first `reads` heads' reading, into the memory that was addressed.
    void back_to_memory(Index t, Index r, Index from, Index to, Memory<T> addressed, Index norms, Index reads) {
        const Index b = order_[r];
        const T* inverse_norms = steps_.inverse_norms(t, b) + norms * s_.padded;
        const T* previous = Pass::previous_weights(t, r);
        const T* slopes = steps_.slopes(t, b);
        clear(q_, s_.padded);
        for (Index h = from; h < to; ++h) {
            const HeadSlots<T> slots = steps_.head(t, b, h);
            const T* grad_content = nullptr;
            if (f_.grad_content != 0)
                grad_content = in<T>(f_.grad_content) + ((t * s_.rows + b) * s_.heads + h) * s_.padded;
            address_backward<T>(s_, HeadScalars<const T>(steps_.parameters(t, b), s_, h), previous + h * s_.padded,
                                {slots.similarity, slots.content, slots.logarithms, slots.weights},
                                {slopes[2 * s_.heads + h], slopes[3 * s_.heads + h]}, inverse_norms, grad_weights_[r] + h * s_.padded,
                                grad_content, HeadScalars<T>(grad_words_[r], s_, h), z_ + h * s_.padded, q_, work_);
        }
        const ContentGradient<T> gradient{z_ + from * s_.padded, units_ + from * s_.word, q_,
                                          grad_units_ + from * s_.word, steps_.weights(t, b), grad_reads_[r]};
        content_backward<T>(addressed, view(grad_memory_[r]), to - from, reads, gradient, sums_);
    }

    void finish_own(Index r) {
        unpad_weights(s_, static_cast<const T*>(grad_weights_[r]) + s_.read_heads * s_.padded, s_.write_heads,
                      out<T>(f_.grad_write_weights) + order_[r] * s_.write_heads * s_.slots);
    }

    const NTMFields& f_;
    const NTMShape& s_;
    const NTMSteps<T> steps_;
    T *units_ = nullptr, *grad_units_ = nullptr, *unit_norms_ = nullptr, *z_ = nullptr, *q_ = nullptr, *work_ = nullptr;
    Vec<T>*sums_ = nullptr, *partial_ = nullptr;
};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
