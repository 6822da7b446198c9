// The forward of every machine: a bundle of rows through all time steps. What a machine does with its memory in a step is
// its own (`Machine`). Derivation and layouts: ops/ntm/README.md, ops/mann/README.md.
#pragma once

#include "controller.h"
#include "memory.h"
#include "work.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

// `Machine` is the class derived from this. It has
//   take_workspace()    lays out its own buffers
//   start_own(r)        takes the part of row r's state that this does not know; first_weights_ has the read heads' already
//   use_memory(t, r)    from the words to the heads, raw_, to the reads, in the output; ends with `hand_on`
//   finish_own(r, n)    gives out its part of the state after n steps, and zeros past them
template <class T, class Machine> class SequenceForward {
  public:
    SequenceForward(const Call<T>& call, Index first, Index rows)
        : call_(call), f_(call.fields), s_(call.shape), steps_(f_, s_), order_(call.order + first), rows_(rows) {}

    int run() {
        lay_out();
        if (!arena_.allocate(f_.poison != 0)) return out_of_memory;
        lay_out();
        for (Index r = 0; r < rows_; ++r) start(r);
        Index active = rows_;
        for (Index t = 0; t < s_.steps; ++t) {
            while (active > 0 && call_.length(order_[active - 1]) <= t) --active;
            if (active == 0) break;
            if (t % ahead == 0) project(t, active);
            control(t, active);
            for (Index r = 0; r < active; ++r) machine().use_memory(t, r);
        }
        for (Index r = 0; r < rows_; ++r) finish(r);
        return done;
    }

  protected:
    // M_t of a row.
    Memory<T> memory(Index t, Index r) const {
        T* data = s_.save && s_.keep_every == 1 ? steps_.memory(t, order_[r]) : memory_[r];
        return {data, s_.word, s_.padded};
    }

    // The weights of the step before.
    const T* previous_weights(Index t, Index r) const {
        return t == 0 ? first_weights_[r] : steps_.weights(t - 1, order_[r]);
    }

    // What was read goes to the next step, and M_{t+1} to what is kept.
    void hand_on(Index t, Index r) {
        const Index b = order_[r];
        copy(static_cast<const T*>(steps_.output(t, b)) + s_.hidden, s_.reads, inputs_[0][r]);
        if (s_.save && s_.keep_every > 1 && (t + 1) % s_.keep_every == 0)
            copy(memory(t + 1, r).data, s_.word * s_.padded, steps_.memory((t + 1) / s_.keep_every, b));
    }

    const Call<T>& call_;
    const SequenceFields& f_;
    const SequenceShape& s_;
    const SequenceSteps<T> steps_;
    const Index* order_;
    const Index rows_;
    Arena arena_;
    RowBuffer<T> raw_{}, first_weights_{};

  private:
    // Steps whose inputs are projected at once: enough to read the weights rarely, few enough to stay in the cache.
    static constexpr Index ahead = 8;

    Machine& machine() { return static_cast<Machine&>(*this); }

    void lay_out() {
        inputs_ = arena_.take<RowBuffer<T>>(s_.layers);
        for (Index l = 0; l < s_.layers; ++l) {
            const RowBuffer<T> buffer = RowBuffer<T>::take(arena_, rows_, s_.depth(l));
            if (inputs_ != nullptr) inputs_[l] = buffer;
        }
        projected_ = RowBuffer<T>::take(arena_, rows_ * steps_ahead(), round_up(s_.gates, panel_width<T>));
        sums_ = RowBuffer<T>::take(arena_, rows_, round_up(s_.gates, panel_width<T>));
        top_ = RowBuffer<T>::take(arena_, rows_, s_.hidden);
        raw_ = RowBuffer<T>::take(arena_, rows_, round_up(s_.parameters, panel_width<T>));
        first_weights_ = RowBuffer<T>::take(arena_, rows_, s_.heads * s_.padded);
        if (!s_.save || s_.keep_every > 1) memory_ = RowBuffer<T>::take(arena_, rows_, s_.word * s_.padded);
        base_ = arena_.take<const T*>(rows_ > ahead ? rows_ : ahead);
        machine().take_workspace();
    }

    void start(Index r) {
        const Index b = order_[r];
        const Memory<T> first = memory(0, r);
        transpose_in(in<T>(f_.memory) + b * s_.slots * s_.word, s_.slots, first);
        if (s_.save && s_.keep_every > 1) copy(first.data, s_.word * s_.padded, steps_.memory(0, b));
        pad_weights(s_, in<T>(f_.read_weights) + b * s_.read_heads * s_.slots, s_.read_heads, first_weights_[r]);
        copy(in<T>(f_.reads) + b * s_.reads, s_.reads, inputs_[0][r]);
        for (Index l = 0; s_.lstm && l < s_.layers; ++l)
            copy(in<T>(f_.hidden) + (l * s_.rows + b) * s_.hidden, s_.hidden, inputs_[l][r] + s_.below(l));
        machine().start_own(r);
    }

    Index steps_ahead() const { return s_.steps < ahead ? s_.steps : ahead; }

    // The input's share of the lowest layer's sums, bias included, from step t on.
    void project(Index t, Index active) {
        const Index steps = s_.steps - t < ahead ? s_.steps - t : ahead;
        for (Index i = 0; i < steps; ++i) base_[i] = in<T>(f_.bias);
        for (Index r = 0; r < active; ++r)
            multiply<T>(steps, in<T>(f_.input) + (t * s_.rows + order_[r]) * s_.input, s_.rows * s_.input, call_.input,
                        base_, projected_[r * steps_ahead()], projected_.stride);
    }

    // The controller's layers, and its words to the heads, for the first `active` rows.
    void control(Index t, Index active) {
        for (Index l = 0; l < s_.layers; ++l) {
            for (Index r = 0; r < active; ++r) {
                base_[r] = l == 0 ? projected_[r * steps_ahead() + t % ahead]
                                  : in<T>(f_.upper_bias) + (l - 1) * s_.gates;
            }
            multiply<T>(active, inputs_[l].data, inputs_[l].stride, call_.layers[l], base_, sums_.data, sums_.stride);
            for (Index r = 0; r < active; ++r) finish_layer(t, l, r);
        }
        for (Index r = 0; r < active; ++r) base_[r] = in<T>(f_.heads_bias);
        multiply<T>(active, top_.data, top_.stride, call_.heads, base_, raw_.data, raw_.stride);
    }

    void finish_layer(Index t, Index l, Index r) {
        const Index b = order_[r];
        const bool is_top = l == s_.layers - 1;
        T* const hidden = is_top ? top_[r] : inputs_[l + 1][r];
        if (s_.lstm) {
            const T* cell = t == 0 ? in<T>(f_.cell) + (l * s_.rows + b) * s_.hidden
                                   : steps_.gates(l, t - 1, b) + 4 * s_.hidden;
            lstm<T>(s_.hidden, sums_[r], cell, steps_.gates(l, t, b), hidden);
            copy(hidden, s_.hidden, inputs_[l][r] + s_.below(l));
        } else {
            feedforward<T>(s_.relu, s_.hidden, sums_[r], hidden);
        }
        if (is_top)
            copy(static_cast<const T*>(hidden), s_.hidden, steps_.output(t, b));
        else if (s_.save)
            copy(static_cast<const T*>(hidden), s_.hidden, steps_.lower(l, t, b));
    }

    // The state after the row's last step, and zeros past it.
    void finish(Index r) {
        const Index b = order_[r], length = call_.length(b);
        transpose_out(memory(length, r), s_.slots, out<T>(f_.last_memory) + b * s_.slots * s_.word);
        unpad_weights(s_, previous_weights(length, r), s_.read_heads,
                      out<T>(f_.last_read_weights) + b * s_.read_heads * s_.slots);
        copy(static_cast<const T*>(inputs_[0][r]), s_.reads, out<T>(f_.last_reads) + b * s_.reads);
        for (Index l = 0; s_.lstm && l < s_.layers; ++l) {
            const Index at = (l * s_.rows + b) * s_.hidden;
            copy(static_cast<const T*>(inputs_[l][r]) + s_.below(l), s_.hidden, out<T>(f_.last_hidden) + at);
            const T* cell = length == 0 ? in<T>(f_.cell) + at : steps_.gates(l, length - 1, b) + 4 * s_.hidden;
            copy(cell, s_.hidden, out<T>(f_.last_cell) + at);
        }
        for (Index t = length; t < s_.steps; ++t) {
            clear(steps_.output(t, b), s_.output);
            if (!s_.save) continue;
            clear(steps_.weights(t, b), s_.heads * s_.padded);
            clear(steps_.parameters(t, b), s_.parameters);
            if (s_.keep_every == 1) clear(steps_.memory(t + 1, b), s_.word * s_.padded);
        }
        machine().finish_own(r, length);
    }

    RowBuffer<T>* inputs_ = nullptr;  // of each layer: what is below, and its own past
    RowBuffer<T> projected_{}, sums_{}, top_{}, memory_{};
    const T** base_ = nullptr;  // what a product is added to, for each row
};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
