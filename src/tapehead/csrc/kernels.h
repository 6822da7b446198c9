// The functions of one instruction set, and the table that core.cpp takes them from.
#pragma once

#include "mann.h"
#include "ntm.h"
#include "optimiser.h"

namespace tapehead {

struct Kernels {
    int (*ntm_forward)(const NTMFields&);
    int (*ntm_backward)(const NTMFields&);
    int (*mann_forward)(const MANNFields&);
    int (*mann_backward)(const MANNFields&);
    int (*rmsprop)(const RMSpropFields&);
    int (*clip)(ClipFields&);
    // For tests: function `which` of elementary.h (exp, log, tanh, sigmoid, softplus) of `count` numbers.
    int (*elementary)(int which, int double_precision, std::int64_t count, const void* from, void* to);
    // For benchmarks: `rounds` rounds of multiply-adds in registers on each of `threads` threads. Returns how many
    // floating-point operations those were.
    double (*fma_peak)(std::int64_t threads, std::int64_t rounds);
};

}  // namespace tapehead
