#include "kernels.h"

#include "elementary.h"
#include "threads.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

int ntm_forward(const NTMFields&);
int ntm_backward(const NTMFields&);
int mann_forward(const MANNFields&);
int mann_backward(const MANNFields&);
int rmsprop(const RMSpropFields&);
int clip(ClipFields&);

namespace {

template <class T> void apply(int which, Index count, const T* from, T* to) {
    for (Index i = 0; i < count; i += lanes<T>) {
        const Vec<T> x = load(from + i, count - i);
        const Vec<T> y = which == 0   ? exp<T>(x)
                         : which == 1 ? log(x)
                         : which == 2 ? tanh<T>(x)
                         : which == 3 ? sigmoid<T>(x)
                                      : softplus<T>(x);
        store(to + i, y, count - i);
    }
}

int elementary(int which, int double_precision, std::int64_t count, const void* from, void* to) {
    const FlushToZero flush;
    if (double_precision != 0)
        apply(which, count, static_cast<const double*>(from), static_cast<double*>(to));
    else
        apply(which, count, static_cast<const float*>(from), static_cast<float*>(to));
    return 0;
}

// Chains enough to fill two units of latency 4, each in a register of its own.
constexpr int chains = 12;

void multiply_add(void* context, std::int64_t) {
    const std::int64_t rounds = *static_cast<std::int64_t*>(context);
    Vec<float> sums[chains];
    for (int i = 0; i < chains; ++i) sums[i] = splat(0.001f * static_cast<float>(i));
    Vec<float> factor = splat(0.999f), term = splat(0.001f);
    for (std::int64_t round = 0; round < rounds; ++round)
        for (int i = 0; i < chains; ++i) sums[i] = fma<float>(sums[i], factor, term);
    Vec<float> total = zero<float>();
    for (int i = 0; i < chains; ++i) total += sums[i];
    volatile float keep = sum<float>(total);
    (void)keep;
}

double fma_peak(std::int64_t threads, std::int64_t rounds) {
    run_tasks(threads, threads, multiply_add, &rounds);
    return 2.0 * lanes<float> * chains * static_cast<double>(rounds) * static_cast<double>(threads);
}

}  // namespace

extern const Kernels kernels;
const Kernels kernels = {ntm_forward, ntm_backward, mann_forward, mann_backward, rmsprop, clip, elementary, fma_peak};

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
