// Sizes of one call that every machine has, the workspace of a call, and the layers' weights.
#pragma once

#include <cstdlib>
#include <cstring>

#include "products.h"
#include "sequence.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

struct SequenceShape {
    Index steps, rows, input, hidden, layers, slots, padded, word, read_heads;
    bool lstm, write_read, tanh_key, tanh_add, relu, save;
    Index keep_every;  // steps between two memories that are kept
    Index gates;       // G
    Index reads;       // R*M
    Index output;      // H + R*M
    // The machine sets these.
    Index heads = 0;       // that have weights over the slots
    Index norms = 0;       // inverse norms kept a step
    Index slopes = 0;      // numbers
    Index parameters = 0;  // P

    explicit SequenceShape(const SequenceFields& f)
        : steps(f.steps), rows(f.rows), input(f.input_size), hidden(f.hidden_size), layers(f.layers), slots(f.memory_size),
          padded(f.padded_size), word(f.word_size), read_heads(f.read_heads), lstm(f.lstm != 0),
          write_read(f.write_read != 0), tanh_key(f.tanh_key != 0), tanh_add(f.tanh_add != 0), relu(f.relu != 0),
          save(f.save != 0), keep_every(f.checkpoint_every), gates(lstm ? 4 * hidden : hidden), reads(read_heads * word),
          output(hidden + reads) {}

    // Columns of the product that makes a layer's sums in every step: what is below but for the input, then its own past.
    Index below(Index layer) const { return layer == 0 ? reads : hidden; }
    Index depth(Index layer) const { return below(layer) + (lstm ? hidden : 0); }
};

// A double out of the bits that a field holds.
inline double double_of(std::int64_t bits) {
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T> const T* in(std::int64_t field) { return reinterpret_cast<const T*>(field); }
template <class T> T* out(std::int64_t field) { return reinterpret_cast<T*>(field); }

// The layer's weights as blocks side by side, in the order of `Shape::depth`. Returns how many.
template <class T> int layer_blocks(const SequenceFields& f, const SequenceShape& s, Index layer, Block<T>* blocks) {
    if (layer > 0) {
        blocks[0] = {in<T>(f.upper_weight) + (layer - 1) * s.gates * s.depth(layer), s.depth(layer)};
        return 1;
    }
    blocks[0] = {in<T>(f.weight_reads), s.reads};
    if (!s.lstm) return 1;
    blocks[1] = {in<T>(f.weight_hidden), s.hidden};
    return 2;
}

// Memory of a call, in one piece, handed out front to back; freed with this. A first round with no memory counts.
class Arena {
  public:
    Arena() = default;
    ~Arena() { std::free(base_); }
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    // Gets the memory that the round before counted; false when there is none.
    bool allocate(bool poison) {
        size_ = used_ + alignment;
        used_ = 0;
        base_ = static_cast<char*>(std::malloc(size_));
        if (base_ == nullptr) return false;
        const std::size_t past = reinterpret_cast<std::uintptr_t>(base_) % alignment;
        start_ = base_ + (past == 0 ? 0 : alignment - past);
        if (poison) std::memset(base_, 0xff, size_);  // NaN in both precisions
        return true;
    }

    template <class T> T* take(Index count) {
        const std::size_t from = used_;
        used_ += (static_cast<std::size_t>(count) * sizeof(T) + alignment - 1) / alignment * alignment;
        return base_ == nullptr ? nullptr : reinterpret_cast<T*>(start_ + from);
    }

  private:
    static constexpr std::size_t alignment = 64;
    char *base_ = nullptr, *start_ = nullptr;
    std::size_t used_ = 0, size_ = 0;
};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
