// The C functions of the library, and the choice of the instruction set. No file but this one is compiled for the
// machine that builds: the kernels are compiled once for each instruction set, and this picks the best that runs here.
#include "kernels.h"

#include <cstdlib>
#include <cstring>

#if defined(_WIN32)
#define TAPEHEAD_EXPORT extern "C" __declspec(dllexport)
#else
#define TAPEHEAD_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace tapehead {

namespace isa_baseline { extern const Kernels kernels; }
#if defined(TAPEHEAD_HAVE_AVX2)
namespace isa_avx2 { extern const Kernels kernels; }
#endif
#if defined(TAPEHEAD_HAVE_AVX512)
namespace isa_avx512 { extern const Kernels kernels; }
#endif

namespace {

struct InstructionSet {
    const char* name;
    const Kernels* kernels;
    bool runs;
};

// Best first.
const InstructionSet* instruction_sets(int& count) {
    static const InstructionSet sets[] = {
#if defined(TAPEHEAD_HAVE_AVX512)
        {"avx512", &isa_avx512::kernels,
         __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma")},
#endif
#if defined(TAPEHEAD_HAVE_AVX2)
        {"avx2", &isa_avx2::kernels, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
#endif
        {"baseline", &isa_baseline::kernels, true},
    };
    count = static_cast<int>(sizeof sets / sizeof *sets);
    return sets;
}

// The best that runs here, and no better than TAPEHEAD_ISA where that is set.
const InstructionSet& chosen() {
    static const InstructionSet* const choice = [] {
        int count = 0;
        const InstructionSet* sets = instruction_sets(count);
        const char* limit = std::getenv("TAPEHEAD_ISA");
        bool allowed = limit == nullptr || *limit == 0;
        for (int i = 0; i < count; ++i) {
            allowed = allowed || std::strcmp(sets[i].name, limit) == 0;
            if (allowed && sets[i].runs) return &sets[i];
        }
        return &sets[count - 1];
    }();
    return *choice;
}

}  // namespace
}  // namespace tapehead

// Name of the instruction set that runs.
TAPEHEAD_EXPORT const char* tapehead_isa() { return tapehead::chosen().name; }

// Names of all that were built, best first, with a space between.
TAPEHEAD_EXPORT const char* tapehead_isas_built() {
    return
#if defined(TAPEHEAD_HAVE_AVX512)
        "avx512 "
#endif
#if defined(TAPEHEAD_HAVE_AVX2)
        "avx2 "
#endif
        "baseline";
}

// The caller's array is the fields one behind the other, those that machines share first.
#define TAPEHEAD_ONE(name) +1
static_assert(sizeof(tapehead::NTMFields) == 8 * (0 TAPEHEAD_SEQUENCE_FIELDS(TAPEHEAD_ONE) TAPEHEAD_NTM_FIELDS(TAPEHEAD_ONE)));
static_assert(sizeof(tapehead::MANNFields) == 8 * (0 TAPEHEAD_SEQUENCE_FIELDS(TAPEHEAD_ONE) TAPEHEAD_MANN_FIELDS(TAPEHEAD_ONE)));

// Names of a machine's fields in their order, with a space between.
#define TAPEHEAD_NAME(name) #name " "
TAPEHEAD_EXPORT const char* tapehead_ntm_fields() {
    return TAPEHEAD_SEQUENCE_FIELDS(TAPEHEAD_NAME) TAPEHEAD_NTM_FIELDS(TAPEHEAD_NAME);
}

TAPEHEAD_EXPORT const char* tapehead_mann_fields() {
    return TAPEHEAD_SEQUENCE_FIELDS(TAPEHEAD_NAME) TAPEHEAD_MANN_FIELDS(TAPEHEAD_NAME);
}

TAPEHEAD_EXPORT int tapehead_ntm_forward(const tapehead::NTMFields* fields) {
    return tapehead::chosen().kernels->ntm_forward(*fields);
}

TAPEHEAD_EXPORT int tapehead_ntm_backward(const tapehead::NTMFields* fields) {
    return tapehead::chosen().kernels->ntm_backward(*fields);
}

TAPEHEAD_EXPORT int tapehead_mann_forward(const tapehead::MANNFields* fields) {
    return tapehead::chosen().kernels->mann_forward(*fields);
}

TAPEHEAD_EXPORT int tapehead_mann_backward(const tapehead::MANNFields* fields) {
    return tapehead::chosen().kernels->mann_backward(*fields);
}

TAPEHEAD_EXPORT int tapehead_rmsprop(const tapehead::RMSpropFields* fields) {
    return tapehead::chosen().kernels->rmsprop(*fields);
}

TAPEHEAD_EXPORT int tapehead_clip(tapehead::ClipFields* fields) { return tapehead::chosen().kernels->clip(*fields); }

TAPEHEAD_EXPORT int tapehead_elementary(int which, int double_precision, std::int64_t count, const void* from, void* to) {
    return tapehead::chosen().kernels->elementary(which, double_precision, count, from, to);
}

TAPEHEAD_EXPORT double tapehead_fma_peak(std::int64_t threads, std::int64_t rounds) {
    return tapehead::chosen().kernels->fma_peak(threads, rounds);
}
