#include "optimiser.h"

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
    // Waking a thread costs as much as some hundred thousand numbers.
    const std::int64_t threads = pieces < 16 ? 1 : fields.threads;
    run_tasks(threads, pieces, fields.double_precision != 0 ? run_piece<double> : run_piece<float>, context);
    return 0;
}

template <class T> int clip_gradients(ClipFields& f) {
    double total = 0;
    for (std::int64_t i = 0; i < f.count; ++i) {
        const T* gradient = reinterpret_cast<const T*>(f.table[2 * i]);
        const Index count = f.table[2 * i + 1];
        // Sums of a few thousand squares in vectors, those sums in double.
        constexpr Index stretch = 1 << 12;
        for (Index from = 0; from < count; from += stretch) {
            const Index end = from + stretch < count ? from + stretch : count;
            Vec<T> squares[4] = {zero<T>(), zero<T>(), zero<T>(), zero<T>()};
            for (Index n = from; n < end; n += 4 * lanes<T>)
                for (int v = 0; v < 4; ++v) {
                    const Index at = n + v * lanes<T>;
                    if (at >= end) break;
                    const Vec<T> x = load(gradient + at, end - at);
                    squares[v] = fma<T>(x, x, squares[v]);
                }
            total += static_cast<double>(sum<T>((squares[0] + squares[1]) + (squares[2] + squares[3])));
        }
    }
    f.norm = root(total);
    if (!(f.norm > f.limit)) return 0;  // a NaN is left for the caller to see
    const Vec<T> factor = splat(static_cast<T>(f.limit / f.norm));
    for (std::int64_t i = 0; i < f.count; ++i) {
        T* gradient = reinterpret_cast<T*>(f.table[2 * i]);
        const Index count = f.table[2 * i + 1];
        for (Index n = 0; n < count; n += lanes<T>)
            store(gradient + n, load(static_cast<const T*>(gradient + n), count - n) * factor, count - n);
    }
    return 0;
}

int clip(ClipFields& fields) {
    return fields.double_precision != 0 ? clip_gradients<double>(fields) : clip_gradients<float>(fields);
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
