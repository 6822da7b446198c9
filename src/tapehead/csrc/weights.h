// Gradients of the weights, and of the input: products over all steps and rows at once, when the bundles are done.
//
// A weight's gradient is (gradients of the sums that it took part in)^T @ (what it was multiplied with). The second factor
// lies in pieces: the input, the reads and the hidden state of the step before, a 1 for the bias.
#pragma once

#include "work.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

// Some columns of the second factor, and the gradient of their weight. Rows of both factors are indexed t * B + b.
template <class T> struct Piece {
    const T* data;  // null: ones
    Index stride;
    const T* first;  // where `data` is of the step before: (B, columns), of the first step; else null
    Index columns;
    T* gradient;
    Index gradient_stride;

    const T* at(Index index, Index rows) const {
        if (first == nullptr) return data + index * stride;
        return index < rows ? first + index * columns : data + (index - rows) * stride;
    }
};

// What one array of sums gives: the products with all of its pieces.
template <class T> struct WeightProduct {
    const T* grad_sums;
    Index width;  // sums in a row
    Piece<T> pieces[4];
    int count = 0;

    void add(const T* data, Index stride, const T* first, Index columns, T* gradient, Index gradient_stride) {
        pieces[count++] = {data, stride, first, columns, gradient, gradient_stride};
    }
    Index columns() const {
        Index total = 0;
        for (int i = 0; i < count; ++i) total += pieces[i].columns;
        return total;
    }
    // A task is a panel of columns, for a chunk of the sums.
    static constexpr Index chunk = 256;
    Index chunks() const { return (width + chunk - 1) / chunk; }
    Index tasks() const { return round_up(columns(), panel_width<T>) / panel_width<T> * chunks(); }
};

// The products of layer `index` or, behind the last layer, of the heads.
template <class T> WeightProduct<T> weight_product(const Call<T>& call, Index index) {
    const SequenceFields& f = call.fields;
    const SequenceShape& s = call.shape;
    const Index steps = s.steps * s.rows;
    const T* const output = in<T>(f.output);
    WeightProduct<T> product{};
    if (index == s.layers) {
        product.grad_sums = call.grad_words;
        product.width = s.parameters;
        product.add(output, s.output, nullptr, s.hidden, out<T>(f.grad_heads_weight), s.hidden);
        product.add(nullptr, 0, nullptr, 1, out<T>(f.grad_heads_bias), 1);
        return product;
    }
    const auto lower = [&](Index layer) { return in<T>(f.lower) + layer * steps * s.hidden; };
    const bool is_top = index == s.layers - 1;
    const T *const own = is_top ? output : lower(index), *const own_first = in<T>(f.hidden) + index * s.rows * s.hidden;
    const Index own_stride = is_top ? s.output : s.hidden;
    product.grad_sums = call.grad_sums + index * steps * s.gates;
    product.width = s.gates;
    if (index == 0) {
        product.add(in<T>(f.input), s.input, nullptr, s.input, out<T>(f.grad_weight_input), s.input);
        product.add(output + s.hidden, s.output, in<T>(f.reads), s.reads, out<T>(f.grad_weight_reads), s.reads);
        if (s.lstm) product.add(own, own_stride, own_first, s.hidden, out<T>(f.grad_weight_hidden), s.hidden);
        product.add(nullptr, 0, nullptr, 1, out<T>(f.grad_bias), 1);
    } else {
        const Index depth = s.depth(index);
        T* const gradient = out<T>(f.grad_upper_weight) + (index - 1) * s.gates * depth;
        product.add(lower(index - 1), s.hidden, nullptr, s.hidden, gradient, depth);
        if (s.lstm) product.add(own, own_stride, own_first, s.hidden, gradient + s.hidden, depth);
        product.add(nullptr, 0, nullptr, 1, out<T>(f.grad_upper_bias) + (index - 1) * s.gates, 1);
    }
    return product;
}

// The columns of one panel, as parts of pieces.
template <class T> struct PanelColumns {
    struct Part {
        const Piece<T>* piece;
        Index from, lane, count;  // column of the piece, lane of the panel
    };
    Part parts[4];
    int count = 0;
    Index width = 0;

    PanelColumns(const WeightProduct<T>& product, Index panel) {
        const Index first = panel * panel_width<T>, end = first + panel_width<T>;
        Index start = 0;
        for (int i = 0; i < product.count; ++i) {
            const Index stop = start + product.pieces[i].columns;
            const Index low = first > start ? first : start, high = end < stop ? end : stop;
            if (low < high) parts[count++] = {&product.pieces[i], low - start, low - first, high - low};
            if (low < high) width = high - first;
            start = stop;
        }
    }

    // Rows of the second factor from `start` on, `depth` of them, into the panel `to`, which has room for a vector more.
    // What is written past a part is overwritten by the next part of the row, or by the next row.
    void gather(Index start, Index depth, Index rows, T* to) const {
        if (count == 1 && parts[0].count == panel_width<T> && parts[0].piece->data != nullptr) {
            for (Index k = 0; k < depth; ++k) {
                const T* from = parts[0].piece->at(start + k, rows) + parts[0].from;
                for (int v = 0; v < panel_vectors; ++v)
                    store(to + k * panel_width<T> + v * lanes<T>, load(from + v * lanes<T>));
            }
            return;
        }
        for (Index k = 0; k < depth; ++k, to += panel_width<T>) {
            for (int p = 0; p < count; ++p) {
                const Part& part = parts[p];
                if (part.piece->data == nullptr) {
                    to[part.lane] = 1;
                    continue;
                }
                const T* from = part.piece->at(start + k, rows) + part.from;
                for (Index i = 0; i < part.count; i += lanes<T>)
                    store(to + part.lane + i, load(from + i, part.count - i));
            }
            for (Index lane = width; lane < panel_width<T>; ++lane) to[lane] = 0;
        }
    }

    // Row `row` of the product to the gradients of the weights.
    TAPEHEAD_INLINE void scatter(Index row, const T* from) const {
        for (int p = 0; p < count; ++p) {
            const Part& part = parts[p];
            T* const to = part.piece->gradient + row * part.piece->gradient_stride + part.from;
            for (Index i = 0; i < part.count; i += lanes<T>)
                store(to + i, load(from + part.lane + i, part.count - i), part.count - i);
        }
    }
};

// One task of a product.
template <class T>
void multiply_over_steps(const Call<T>& call, const WeightProduct<T>& product, Index panel, Index chunk) {
    // Rows of the factors at a time: so many fit into the nearest cache with what they make.
    constexpr Index block = 128;
    const Index rows = call.shape.rows, size = call.shape.steps * rows;
    const Index first = chunk * product.width / product.chunks(), end = (chunk + 1) * product.width / product.chunks();
    const PanelColumns<T> columns(product, panel);
    T packed[block * panel_width<T> + lanes<T>], totals[WeightProduct<T>::chunk * panel_width<T>];
    const T* base[block_rows];
    for (Index start = 0; start < size; start += block) {
        const Index depth = size - start < block ? size - start : block;
        columns.gather(start, depth, rows, packed);
        // What pads a row may be anything.
        for (Index k = 0; call.fields.lengths != 0 && k < depth; ++k)
            if (call.length((start + k) % rows) <= (start + k) / rows) clear(packed + k * panel_width<T>, panel_width<T>);
        const Panels<T> factor{packed, depth, panel_width<T>};
        const T* const sums = product.grad_sums + start * product.width;
        for (Index row = first; row < end; row += block_rows) {
            T* const to = totals + (row - first) * panel_width<T>;
            for (int i = 0; i < block_rows; ++i) base[i] = to + i * panel_width<T>;
            const Base<T> before = start == 0 ? nullptr : base;
            if (end - row >= block_rows)
                multiply_panel<T, block_rows, 1, true>(sums + row, product.width, factor, 0, before, to, panel_width<T>);
            else
                multiply_rest<T, block_rows - 1, true>(static_cast<int>(end - row), sums + row, product.width, factor, 0,
                                                       before, to, panel_width<T>);
        }
    }
    for (Index row = first; row < end; ++row) columns.scatter(row, totals + (row - first) * panel_width<T>);
}

// Tasks of all products, one after the other.
template <class T> Index weight_tasks(const Call<T>& call) {
    Index total = 0;
    for (Index i = 0; i <= call.shape.layers; ++i) total += weight_product(call, i).tasks();
    return total;
}
template <class T> void run_weight_task(const Call<T>& call, Index index) {
    const FlushToZero flush;
    for (Index i = 0; i <= call.shape.layers; ++i) {
        const WeightProduct<T> product = weight_product(call, i);
        if (index < product.tasks())
            return multiply_over_steps(call, product, index / product.chunks(), index % product.chunks());
        index -= product.tasks();
    }
}

// The gradient of the input, for some steps and rows at a time.
constexpr Index input_task_rows = 64;
template <class T> Index input_tasks(const Call<T>& call) {
    const Index size = call.shape.steps * call.shape.rows;
    return call.fields.grad_input == 0 ? 0 : (size + input_task_rows - 1) / input_task_rows;
}
template <class T> void run_input_task(const Call<T>& call, Index index) {
    const FlushToZero flush;
    const SequenceShape& s = call.shape;
    const Index size = s.steps * s.rows, first = index * input_task_rows;
    const Index count = size - first < input_task_rows ? size - first : input_task_rows;
    T made[input_task_rows * panel_width<T>];
    for (Index panel = 0; panel < call.input.count(); ++panel) {
        const Index column = panel * panel_width<T>, left = s.input - column;
        const Index width = left < panel_width<T> ? left : panel_width<T>;
        const Panels<T> one{call.input.panel(panel), call.input.depth, width};
        multiply<T>(count, call.grad_sums + first * s.gates, s.gates, one, nullptr, made, panel_width<T>);
        for (Index row = 0; row < count; ++row)
            copy(static_cast<const T*>(made) + row * panel_width<T>, width,
                 out<T>(call.fields.grad_input) + (first + row) * s.input + column);
    }
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
