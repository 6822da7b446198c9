// The NTM's kernels for one instruction set: compiled once for each, with TAPEHEAD_ISA set to its name.
#include "ntm.h"

#include "ntm_backward.h"
#include "ntm_forward.h"
#include "rows.h"
#include "threads.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {
namespace {

// Packing: the panels of all layers and of the heads, in one row of tasks.
template <class T, bool TRANSPOSED> void pack_panel(void* context, std::int64_t index) {
    const Call<T>& call = *static_cast<Call<T>*>(context);
    Block<T> blocks[2];
    int count = 0;
    const Panels<T>* panels = call.layers;
    for (Index l = 0; l < call.shape.layers && index >= panels->count(); ++l) index -= (panels++)->count();
    const Index layer = panels - call.layers;
    if (layer < call.shape.layers) {
        count = layer_blocks<T>(call.fields, call.shape, layer, blocks);
    } else {
        panels = &call.heads;
        blocks[count++] = {in<T>(call.fields.heads_weight), call.shape.hidden};
    }
    TRANSPOSED ? pack_transposed<T>(blocks, count, *panels, index) : pack<T>(blocks, count, *panels, index);
}

template <class T, template <class> class Pass> void run_group(void* context, std::int64_t index) {
    const Call<T>& call = *static_cast<Call<T>*>(context);
    const Index rows = call.shape.rows, first = index * rows / call.groups, end = (index + 1) * rows / call.groups;
    const FlushToZero flush;
    call.statuses[index] = Pass<T>(call, first, end - first).run();
}

template <class T, template <class> class Pass, bool TRANSPOSED> int run(const NTMFields& fields) {
    const Shape shape(fields);
    Call<T> call{fields, shape, nullptr, {}, nullptr, count_groups(fields.rows, fields.threads), nullptr};
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
            panels.depth = TRANSPOSED ? columns : rows;
            panels.width = TRANSPOSED ? rows : columns;
            panels.data = arena.take<T>(panels.size());
            panel_count += panels.count();
            return panels;
        };
        for (Index l = 0; l < shape.layers; ++l) {
            const Panels<T> panels = take(shape.depth(l), shape.gates);
            if (call.layers != nullptr) call.layers[l] = panels;
        }
        call.heads = take(shape.hidden, shape.parameters);
    };
    lay_out();
    if (!arena.allocate(fields.poison != 0)) return out_of_memory;
    lay_out();
    order_rows(in<std::int64_t>(fields.lengths), shape.rows, order);
    call.order = order;
    run_tasks(fields.threads, panel_count, pack_panel<T, TRANSPOSED>, &call);
    run_tasks(fields.threads, call.groups, run_group<T, Pass>, &call);
    for (Index i = 0; i < call.groups; ++i)
        if (call.statuses[i] != done) return call.statuses[i];
    return done;
}

int ntm_forward(const NTMFields& fields) {
    return fields.double_precision != 0 ? run<double, Forward, true>(fields) : run<float, Forward, true>(fields);
}

int ntm_backward(const NTMFields& fields) {
    return fields.double_precision != 0 ? run<double, Backward, false>(fields) : run<float, Backward, false>(fields);
}

// For tests: the functions of elementary.h by number, and the width of a vector of floats.
template <class T> void apply(int function, Index count, const T* from, T* to) {
    for (Index i = 0; i < count; i += lanes<T>) {
        const Vec<T> x = load(from + i, count - i);
        const Vec<T> y = function == 0   ? exp<T>(x)
                         : function == 1 ? log(x)
                         : function == 2 ? tanh<T>(x)
                         : function == 3 ? sigmoid<T>(x)
                                         : softplus<T>(x);
        store(to + i, y, count - i);
    }
}

int elementary(int function, int double_precision, std::int64_t count, const void* from, void* to) {
    const FlushToZero flush;
    if (double_precision != 0)
        apply(function, count, static_cast<const double*>(from), static_cast<double*>(to));
    else
        apply(function, count, static_cast<const float*>(from), static_cast<float*>(to));
    return done;
}

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {ntm_forward, ntm_backward, elementary};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
