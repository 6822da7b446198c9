// A machine's whole call: packs the weights, hands the rows out in groups, and in the backward adds up over all steps.
#pragma once

#include "rows.h"
#include "threads.h"
#include "weights.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

// Packing: the panels of all layers, of the heads and of the input, in one row of tasks.
template <class T, bool TRANSPOSED> void pack_panel(void* context, std::int64_t index) {
    const Call<T>& call = *static_cast<Call<T>*>(context);
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

template <class T, template <class> class Pass> void run_group(void* context, std::int64_t index) {
    const Call<T>& call = *static_cast<Call<T>*>(context);
    const Index rows = call.shape.rows, first = index * rows / call.groups, end = (index + 1) * rows / call.groups;
    const FlushToZero flush;
    call.statuses[index] = Pass<T>(call, first, end - first).run();
}

// `Pass` runs a group of rows: a machine's forward or its backward.
template <class T, class Shape, template <class> class Pass, bool FORWARD, class Fields> int run(const Fields& fields) {
    const Shape shape(fields);
    Call<T> call{fields, shape};
    call.groups = count_groups(fields.rows, fields.threads);
    Arena arena;
    Index panel_count = 0;
    Index* order = nullptr;
    const auto lay_out = [&] {
        call.layers = arena.take<Panels<T>>(shape.layers);
        order = arena.take<Index>(shape.rows);
        call.statuses = arena.take<int>(call.groups);
        panel_count = 0;
        const auto take = [&](Index columns, Index rows) {
            Panels<T> panels;
            panels.depth = FORWARD ? columns : rows;
            panels.width = FORWARD ? rows : columns;
            panels.data = arena.take<T>(panels.size());
            panel_count += panels.count();
            return panels;
        };
        for (Index l = 0; l < shape.layers; ++l) {
            const Panels<T> panels = take(shape.depth(l), shape.gates);
            if (call.layers != nullptr) call.layers[l] = panels;
        }
        call.heads = take(shape.hidden, shape.parameters);
        if (FORWARD || fields.grad_input != 0) call.input = take(shape.input, shape.gates);
        if (!FORWARD) {
            call.grad_sums = arena.take<T>(shape.layers * shape.steps * shape.rows * shape.gates);
            call.grad_words = arena.take<T>(shape.steps * shape.rows * shape.parameters);
        }
    };
    lay_out();
    if (!arena.allocate(fields.poison != 0)) return out_of_memory;
    lay_out();
    order_rows(in<std::int64_t>(fields.lengths), shape.rows, order);
    call.order = order;
    prefer_large_pages(fields.internals, fields.internals_bytes);
    run_tasks(fields.threads, panel_count, pack_panel<T, FORWARD>, &call);
    run_tasks(fields.threads, call.groups, run_group<T, Pass>, &call);
    for (Index i = 0; i < call.groups; ++i)
        if (call.statuses[i] != done) return call.statuses[i];
    if (!FORWARD) {
        run_tasks(fields.threads, weight_tasks(call), run_weight_task<T>, &call);
        run_tasks(fields.threads, input_tasks(call), run_input_task<T>, &call);
    }
    return done;
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
