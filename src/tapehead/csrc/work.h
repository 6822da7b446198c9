// What one call shares among its threads, and where its steps are kept.
#pragma once

#include "shape.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

// What all bundles of rows see, of one group. `fields` and `shape` are part of the machine's own.
template <class T> struct Call {
    const SequenceFields& fields;  // the group's
    const SequenceShape& shape;
    // Weights, packed for the pass: transposed in the forward, as they are in the backward.
    Panels<T>* layers = nullptr;
    Panels<T> heads{}, input{};
    const Index* order = nullptr;  // rows, longest first
    Index bundles = 0;
    int* statuses = nullptr;  // one a bundle
    // In the backward, of all steps: gradients of the layers' sums (L,T,B,G) and of the words to the heads (T,B,P).
    T *grad_sums = nullptr, *grad_words = nullptr;

    // In 0..steps, whatever the caller says.
    Index length(Index row) const {
        if (fields.lengths == 0) return shape.steps;
        const Index length = in<std::int64_t>(fields.lengths)[row];
        return length < 0 ? 0 : (length > shape.steps ? shape.steps : length);
    }
};

// Arrays of a step and row, in what is saved. Without `save` all steps share one place.
template <class T> class SequenceSteps {
  public:
    SequenceSteps(const SequenceFields& f, const SequenceShape& s) : f_(f), s_(s) {}

    T* weights(Index t, Index b) const { return at(f_.weights, t, b, s_.heads * s_.padded); }
    T* parameters(Index t, Index b) const { return at(f_.parameters, t, b, s_.parameters); }
    T* similarity(Index t, Index b) const { return at(f_.similarity, t, b, s_.heads * s_.padded); }
    T* inverse_norms(Index t, Index b) const { return at(f_.inverse_norms, t, b, s_.norms * s_.padded); }
    T* slopes(Index t, Index b) const { return at(f_.slopes, t, b, s_.slopes); }
    T* gates(Index layer, Index t, Index b) const {
        return at(f_.gates, layer * (s_.save ? s_.steps : 1) + (s_.save ? t : 0), b, 6 * s_.hidden, true);
    }
    // What a layer below the top one gave: only with `save`.
    T* lower(Index layer, Index t, Index b) const { return at(f_.lower, layer * s_.steps + t, b, s_.hidden, true); }
    T* memory(Index kept, Index b) const { return at(f_.memories, kept, b, s_.word * s_.padded, true); }
    T* output(Index t, Index b) const { return at(f_.output, t, b, s_.output, true); }

    T* at(std::int64_t field, Index t, Index b, Index width, bool every_step = false) const {
        return out<T>(field) + ((s_.save || every_step ? t : 0) * s_.rows + b) * width;
    }

  private:
    const SequenceFields& f_;
    const SequenceShape& s_;
};

template <class T> void copy(const T* from, Index count, T* to) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
}
template <class T> void clear(T* to, Index count) { std::memset(to, 0, static_cast<std::size_t>(count) * sizeof(T)); }

// to += from.
template <class T> TAPEHEAD_INLINE void accumulate(const T* from, Index count, T* to) {
    for (Index i = 0; i < count; ++i) to[i] += from[i];
}

// The weights of a state, (heads of a kind, N), into rows of `padded`.
template <class T> void pad_weights(const SequenceShape& s, const T* from, Index heads, T* to) {
    for (Index h = 0; h < heads; ++h) {
        copy(from + h * s.slots, s.slots, to + h * s.padded);
        clear(to + h * s.padded + s.slots, s.padded - s.slots);
    }
}
template <class T> void unpad_weights(const SequenceShape& s, const T* from, Index heads, T* to) {
    for (Index h = 0; h < heads; ++h) copy(from + h * s.padded, s.slots, to + h * s.slots);
}

// Buffers of a bundle's rows: `width` numbers a row, at equal distances.
template <class T> struct RowBuffer {
    T* data;
    Index stride;
    T* operator[](Index row) const { return data + row * stride; }
    static RowBuffer take(Arena& arena, Index rows, Index width) {
        const Index stride = round_up(width, 16);
        return {arena.take<T>(rows * stride), stride};
    }
};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
