// The backward of every machine: a bundle of rows from its last step to the first. What a machine did with its memory in a
// step is its own (`Machine`). Derivation and layouts: ops/ntm/README.md, ops/mann/README.md.
#pragma once

#include "addressing.h"
#include "controller.h"
#include "work.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

// `Machine` is the class derived from this. It has
//   take_workspace()      lays out its own buffers
//   start_own(r)          takes the gradients of the part of the state that this does not know; the read heads' are there
//   use_memory(t, r)      from the gradients of the reads and the top layer to those of the words to the heads,
//                         grad_words_; ends with `write_down`
//   write_again(t, r)     makes memory(t + 1, r) of memory(t, r) once more, the same bits as in the forward
//   finish_own(r)         gives out the gradients of its part of the state, where somebody wants them
template <class T, class Machine> class SequenceBackward {
  public:
    SequenceBackward(const Call<T>& call, Index first, Index rows)
        : call_(call), f_(call.fields), s_(call.shape), steps_(f_, s_), order_(call.order + first), rows_(rows) {}

    int run() {
        lay_out();
        if (!arena_.allocate(f_.poison != 0)) return out_of_memory;
        lay_out();
        for (Index r = 0; r < rows_; ++r) start(r);
        Index active = 0;
        for (Index t = s_.steps - 1; t >= 0; --t) {
            while (active < rows_ && call_.length(order_[active]) > t) ++active;
            if (active == 0) continue;
            for (Index r = 0; r < active; ++r) {
                enter_segment(t, r);
                receive_step(t, r);
                machine().use_memory(t, r);
            }
            const RowBuffer<T> top = grad_hidden_[s_.layers - 1];
            for (Index r = 0; r < active; ++r) base_[r] = top[r];
            multiply<T>(active, grad_words_.data, grad_words_.stride, call_.heads, base_, top.data, top.stride);
            for (Index l = s_.layers - 1; l >= 0; --l) control(t, l, active);
        }
        for (Index r = 0; r < rows_; ++r) finish(r);
        return done;
    }

  protected:
    Memory<T> view(T* data) const { return {data, s_.word, s_.padded}; }

    // M_t of a row: kept, or made again when its segment was entered.
    Memory<T> memory(Index t, Index r) const {
        const Index past = t % s_.keep_every;
        if (past == 0) return view(steps_.memory(t / s_.keep_every, order_[r]));
        return view(segment_[r] + (past - 1) * s_.word * s_.padded);
    }

    // The weights of the step before.
    const T* previous_weights(Index t, Index r) const {
        return t == 0 ? first_weights_[r] : steps_.weights(t - 1, order_[r]);
    }

    // The words' gradients, which stand in a row of grad_words_, for the products over all steps.
    void write_down(Index t, Index r) const {
        const Index step = t * s_.rows + order_[r];
        copy(static_cast<const T*>(grad_words_[r]), s_.parameters, call_.grad_words + step * s_.parameters);
    }

    const Call<T>& call_;
    const SequenceFields& f_;
    const SequenceShape& s_;
    const SequenceSteps<T> steps_;
    const Index* order_;
    const Index rows_;
    Arena arena_;
    RowBuffer<T> grad_reads_{}, grad_words_{}, grad_memory_{}, grad_weights_{}, first_weights_{};

  private:
    Machine& machine() { return static_cast<Machine&>(*this); }

    void lay_out() {
        grad_hidden_ = arena_.take<RowBuffer<T>>(s_.layers);
        grad_cell_ = arena_.take<RowBuffer<T>>(s_.layers);
        Index deepest = 0;
        for (Index l = 0; l < s_.layers; ++l) {
            deepest = s_.depth(l) > deepest ? s_.depth(l) : deepest;
            const RowBuffer<T> hidden = RowBuffer<T>::take(arena_, rows_, round_up(s_.hidden, panel_width<T>));
            const RowBuffer<T> cell = RowBuffer<T>::take(arena_, rows_, s_.lstm ? s_.hidden : 0);
            if (grad_hidden_ == nullptr) continue;
            grad_hidden_[l] = hidden;
            grad_cell_[l] = cell;
        }
        grad_reads_ = RowBuffer<T>::take(arena_, rows_, s_.reads);
        grad_sums_ = RowBuffer<T>::take(arena_, rows_, s_.gates);
        grad_inputs_ = RowBuffer<T>::take(arena_, rows_, round_up(deepest, panel_width<T>));
        grad_words_ = RowBuffer<T>::take(arena_, rows_, s_.parameters);
        grad_memory_ = RowBuffer<T>::take(arena_, rows_, s_.word * s_.padded);
        grad_weights_ = RowBuffer<T>::take(arena_, rows_, s_.heads * s_.padded);
        first_weights_ = RowBuffer<T>::take(arena_, rows_, s_.heads * s_.padded);
        if (s_.keep_every > 1)
            segment_ = RowBuffer<T>::take(arena_, rows_, (s_.keep_every - 1) * s_.word * s_.padded);
        base_ = arena_.take<const T*>(rows_);
        machine().take_workspace();
    }

    // Makes the memories between the kept one before step t and step t again, where they are not there yet.
    void enter_segment(Index t, Index r) {
        const bool is_last = t == call_.length(order_[r]) - 1 || (t + 1) % s_.keep_every == 0;
        if (s_.keep_every == 1 || !is_last) return;
        for (Index step = t - t % s_.keep_every; step < t + (s_.write_read ? 1 : 0); ++step) {
            if ((step + 1) % s_.keep_every == 0) return;
            machine().write_again(step, r);
        }
    }

    // Copies what came from outside, or clears.
    static void receive(const T* from, Index offset, Index count, T* to) {
        if (from != nullptr)
            copy(from + offset, count, to);
        else
            clear(to, count);
    }

    void start(Index r) {
        const Index b = order_[r];
        const Memory<T> grad_memory = view(grad_memory_[r]);
        if (f_.grad_last_memory != 0)
            transpose_in(in<T>(f_.grad_last_memory) + b * s_.slots * s_.word, s_.slots, grad_memory);
        else
            clear(grad_memory.data, s_.word * s_.padded);
        clear(grad_weights_[r], s_.heads * s_.padded);
        if (f_.grad_last_read_weights != 0)
            pad_weights(s_, in<T>(f_.grad_last_read_weights) + b * s_.read_heads * s_.slots, s_.read_heads,
                        grad_weights_[r]);
        receive(in<T>(f_.grad_last_reads), b * s_.reads, s_.reads, grad_reads_[r]);
        for (Index l = 0; l < s_.layers; ++l) {
            const Index at = (l * s_.rows + b) * s_.hidden;
            clear(grad_hidden_[l][r], grad_hidden_[l].stride);
            receive(in<T>(f_.grad_last_hidden), at, s_.hidden, grad_hidden_[l][r]);
            if (s_.lstm) receive(in<T>(f_.grad_last_cell), at, s_.hidden, grad_cell_[l][r]);
        }
        pad_weights(s_, in<T>(f_.read_weights) + b * s_.read_heads * s_.slots, s_.read_heads, first_weights_[r]);
        machine().start_own(r);
    }

    // What comes from outside for step t: of the output, and of what a trace shows.
    void receive_step(Index t, Index r) {
        const Index step = t * s_.rows + order_[r];
        if (f_.grad_output != 0) {
            const T* grad_output = in<T>(f_.grad_output) + step * s_.output;
            accumulate(grad_output, s_.hidden, grad_hidden_[s_.layers - 1][r]);
            accumulate(grad_output + s_.hidden, s_.reads, grad_reads_[r]);
        }
        const Index all_weights = s_.heads * s_.padded, all_memory = s_.word * s_.padded;
        if (f_.grad_weights != 0) accumulate(in<T>(f_.grad_weights) + step * all_weights, all_weights, grad_weights_[r]);
        if (f_.grad_memories != 0)
            accumulate(in<T>(f_.grad_memories) + (step + s_.rows) * all_memory, all_memory, grad_memory_[r]);
    }

    // Back through layer l for the first `active` rows, to what it saw of the step before and of the layer below.
    void control(Index t, Index l, Index active) {
        const Index own = s_.below(l);
        for (Index r = 0; r < active; ++r) {
            const Index b = order_[r], step = t * s_.rows + b;
            if (s_.lstm) {
                const T* cell = t == 0 ? in<T>(f_.cell) + (l * s_.rows + b) * s_.hidden
                                       : steps_.gates(l, t - 1, b) + 4 * s_.hidden;
                lstm_backward<T>(s_.hidden, steps_.gates(l, t, b), cell, grad_hidden_[l][r], grad_cell_[l][r],
                                 grad_sums_[r]);
            } else {
                const T* output = l == s_.layers - 1 ? steps_.output(t, b) : steps_.lower(l, t, b);
                feedforward_backward<T>(s_.relu, s_.hidden, output, grad_hidden_[l][r], grad_sums_[r]);
            }
            copy(static_cast<const T*>(grad_sums_[r]), s_.gates, sums(l, step));
        }
        multiply<T>(active, grad_sums_.data, grad_sums_.stride, call_.layers[l], nullptr, grad_inputs_.data,
                    grad_inputs_.stride);
        for (Index r = 0; r < active; ++r) {
            const T* from = grad_inputs_[r];
            if (s_.lstm)
                copy(from + own, s_.hidden, grad_hidden_[l][r]);
            else
                clear(grad_hidden_[l][r], s_.hidden);
            if (l == 0)
                copy(from, s_.reads, grad_reads_[r]);
            else
                accumulate(from, s_.hidden, grad_hidden_[l - 1][r]);
        }
    }

    // Where the gradients of a layer's sums are kept for the products over all steps.
    T* sums(Index l, Index step) const { return call_.grad_sums + (l * s_.steps * s_.rows + step) * s_.gates; }

    // Gradients of what the row started from, and zeros past its end.
    void finish(Index r) {
        const Index b = order_[r];
        for (Index t = call_.length(b); t < s_.steps; ++t) {
            const Index step = t * s_.rows + b;
            clear(call_.grad_words + step * s_.parameters, s_.parameters);
            for (Index l = 0; l < s_.layers; ++l) clear(sums(l, step), s_.gates);
        }
        if (f_.grad_memory == 0) return;
        transpose_out(view(grad_memory_[r]), s_.slots, out<T>(f_.grad_memory) + b * s_.slots * s_.word);
        unpad_weights(s_, static_cast<const T*>(grad_weights_[r]), s_.read_heads,
                      out<T>(f_.grad_read_weights) + b * s_.read_heads * s_.slots);
        copy(static_cast<const T*>(grad_reads_[r]), s_.reads, out<T>(f_.grad_reads) + b * s_.reads);
        for (Index l = 0; s_.lstm && l < s_.layers; ++l) {
            const Index at = (l * s_.rows + b) * s_.hidden;
            copy(static_cast<const T*>(grad_hidden_[l][r]), s_.hidden, out<T>(f_.grad_hidden) + at);
            copy(static_cast<const T*>(grad_cell_[l][r]), s_.hidden, out<T>(f_.grad_cell) + at);
        }
        machine().finish_own(r);
    }

    RowBuffer<T>*grad_hidden_ = nullptr, *grad_cell_ = nullptr;  // of each layer
    RowBuffer<T> grad_sums_{}, grad_inputs_{}, segment_{};
    const T** base_ = nullptr;  // what a product is added to, for each row
};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
