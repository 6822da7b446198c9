// A machine's whole call: packs the weights, hands the rows out in bundles, and in the backward adds up over all steps;
// of all groups at once, so that threads are short of work only at the end.
#pragma once

#include <new>

#include "rows.h"
#include "threads.h"
#include "weights.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

// Tasks of all groups, one group's behind the other's.
template <class T> struct Tasks {
    const Call<T>* calls;
    Index each;  // of a group

    // The call that task `index` is of; `index` turns into its number there.
    const Call<T>& call(std::int64_t& index) const {
        const Call<T>& found = calls[index / each];
        index %= each;
        return found;
    }
};

// Packing: the panels of all layers, of the heads and of the input, in one row of tasks.
template <class T, bool TRANSPOSED> void pack_panel(void* context, std::int64_t index) {
    const Call<T>& call = static_cast<Tasks<T>*>(context)->call(index);
    Block<T> blocks[2];
    int count = 0;
    const Panels<T>* panels = call.layers;
    for (Index l = 0; l < call.shape.layers && index >= panels->count(); ++l) index -= (panels++)->count();
    const Index layer = panels - call.layers;
    if (layer < call.shape.layers) {
        count = layer_blocks<T>(call.fields, call.shape, layer, blocks);
    } else if (index < call.heads.count()) {
        panels = &call.heads;
        blocks[count++] = {in<T>(call.fields.heads_weight), call.shape.hidden};
    } else {
        index -= call.heads.count();
        panels = &call.input;
        blocks[count++] = {in<T>(call.fields.weight_input), call.shape.input};
    }
    TRANSPOSED ? pack_transposed<T>(blocks, count, *panels, index) : pack<T>(blocks, count, *panels, index);
}

template <class T, template <class> class Pass> void run_bundle(void* context, std::int64_t index) {
    const Call<T>& call = static_cast<Tasks<T>*>(context)->call(index);
    const Index rows = call.shape.rows, first = index * rows / call.bundles, end = (index + 1) * rows / call.bundles;
    const FlushToZero flush;
    call.statuses[index] = Pass<T>(call, first, end - first).run();
}

template <class T> void weight_task(void* context, std::int64_t index) {
    const Call<T>& call = static_cast<Tasks<T>*>(context)->call(index);
    run_weight_task(call, index);
}

template <class T> void input_task(void* context, std::int64_t index) {
    const Call<T>& call = static_cast<Tasks<T>*>(context)->call(index);
    run_input_task(call, index);
}

// The fields of one group: pointers to its own arrays.
template <class Fields> Fields fields_of(const Fields& all, Index group) {
    Fields own = all;
    if (group == 0) return own;
    constexpr Index count = sizeof(Fields) / sizeof(std::int64_t);
    std::int64_t values[count];
    std::memcpy(values, &own, sizeof own);
    const std::int64_t* const strides = in<std::int64_t>(all.strides);
    for (Index i = 0; i < count; ++i)
        if (values[i] != 0) values[i] += group * strides[i];  // a pointer of 0 stays one
    std::memcpy(&own, values, sizeof own);
    return own;
}

// Below so many multiply-adds, a tenth of a millisecond, other threads are not worth waking: they save little where
// their cores are idle, and where other programs run on these, all wait until the last has got a turn.
constexpr Index worth_threads = 4 << 20;
constexpr Index packing_cost = 8;  // of a number, in multiply-adds

// `Pass` runs a bundle of rows: a machine's forward or its backward.
template <class T, class Shape, template <class> class Pass, bool FORWARD, class Fields> int run(const Fields& fields) {
    const Shape shape(fields);
    const Index groups = fields.groups, bundles = count_bundles(shape.rows, fields.threads);
    Arena arena;
    Index panel_count = 0, weights = 0;
    Call<T>* calls = nullptr;
    const auto lay_out = [&](bool counting) {
        Fields* const own = arena.take<Fields>(groups);
        calls = arena.take<Call<T>>(groups);
        for (Index g = 0; g < groups; ++g) {
            Call<T> call{counting ? fields : *new (own + g) Fields(fields_of(fields, g)), shape};
            call.bundles = bundles;
            call.layers = arena.take<Panels<T>>(shape.layers);
            Index* const order = arena.take<Index>(shape.rows);
            call.statuses = arena.take<int>(bundles);
            panel_count = weights = 0;
            const auto take = [&](Index columns, Index rows) {
                Panels<T> panels;
                panels.depth = FORWARD ? columns : rows;
                panels.width = FORWARD ? rows : columns;
                panels.data = arena.take<T>(panels.size());
                panel_count += panels.count();
                weights += panels.size();
                return panels;
            };
            for (Index l = 0; l < shape.layers; ++l) {
                const Panels<T> panels = take(shape.depth(l), shape.gates);
                if (!counting) call.layers[l] = panels;
            }
            call.heads = take(shape.hidden, shape.parameters);
            if (FORWARD || fields.grad_input != 0) call.input = take(shape.input, shape.gates);
            if (!FORWARD) {
                call.grad_sums = arena.take<T>(shape.layers * shape.steps * shape.rows * shape.gates);
                call.grad_words = arena.take<T>(shape.steps * shape.rows * shape.parameters);
            }
            if (counting) continue;
            order_rows(in<std::int64_t>(call.fields.lengths), shape.rows, order);
            call.order = order;
            new (calls + g) Call<T>(call);
        }
    };
    lay_out(true);
    if (!arena.allocate(fields.poison != 0)) return out_of_memory;
    lay_out(false);
    prefer_large_pages(fields.internals, fields.internals_bytes);
    const auto run_all = [&](Index each, void (*task)(void*, std::int64_t), Index multiply_adds) {
        Tasks<T> tasks{calls, each};
        run_tasks(groups * multiply_adds < worth_threads ? 1 : fields.threads, groups * each, task, &tasks);
    };
    const Index product = weights * shape.steps * shape.rows;
    run_all(panel_count, pack_panel<T, FORWARD>, packing_cost * weights);
    run_all(bundles, run_bundle<T, Pass>, worth_threads);
    for (Index g = 0; g < groups; ++g)
        for (Index i = 0; i < bundles; ++i)
            if (calls[g].statuses[i] != done) return calls[g].statuses[i];
    if (!FORWARD) {
        run_all(weight_tasks(calls[0]), weight_task<T>, product);
        run_all(input_tasks(calls[0]), input_task<T>, product);
    }
    return done;
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
