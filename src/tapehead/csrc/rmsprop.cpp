#include "rmsprop.h"

#include "simd.h"
#include "threads.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {
namespace {

// Numbers in a task: enough to be worth handing to another thread.
constexpr Index piece = 1 << 14;

template <class T>
void update(const RMSpropFields& f, Index count, T* parameter, const T* gradient, T* square, T* mean, T* delta) {
    const Vec<T> rate = splat(static_cast<T>(f.learning_rate)), momentum = splat(static_cast<T>(f.momentum));
    const Vec<T> kept = splat(static_cast<T>(f.decay)), taken = splat(static_cast<T>(1 - f.decay));
    const Vec<T> eps = splat(static_cast<T>(f.eps)), weight_decay = splat(static_cast<T>(f.weight_decay));
    for (Index i = 0; i < count; i += lanes<T>) {
        const Index left = count - i;
        const auto at = [&](const T* from) { return load(from + i, left); };
        const Vec<T> p = at(parameter), g = fma<T>(weight_decay, p, at(gradient));
        const Vec<T> n = fma<T>(kept, at(square), taken * g * g);
        const Vec<T> before = at(mean), m = fma<T>(taken, g - before, before);
        // The variance, which rounding can make negative.
        const Vec<T> variance = n - m * m;
        const Vec<T> root = square_root<T>(where_less<T>(variance, zero<T>(), zero<T>(), variance) + eps);
        const Vec<T> d = momentum * at(delta) - rate * g / root;
        store(square + i, n, left);
        store(mean + i, m, left);
        store(delta + i, d, left);
        store(parameter + i, p + d, left);
    }
}

template <class T> void run_piece(void* context, std::int64_t index) {
    const RMSpropFields& f = *static_cast<const RMSpropFields*>(context);
    const std::int64_t* row = f.table;
    for (; index >= (row[5] + piece - 1) / piece; row += 6) index -= (row[5] + piece - 1) / piece;
    const Index first = index * piece, left = row[5] - first;
    const auto at = [&](int column) { return reinterpret_cast<T*>(row[column]) + first; };
    const FlushToZero flush;
    update<T>(f, left < piece ? left : piece, at(0), at(1), at(2), at(3), at(4));
}

}  // namespace

int rmsprop(const RMSpropFields& fields) {
    std::int64_t pieces = 0;
    for (std::int64_t i = 0; i < fields.count; ++i) pieces += (fields.table[6 * i + 5] + piece - 1) / piece;
    void* context = const_cast<RMSpropFields*>(&fields);
    run_tasks(fields.threads, pieces, fields.double_precision != 0 ? run_piece<double> : run_piece<float>, context);
    return 0;
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
