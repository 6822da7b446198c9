// What follows the backward in training: clipping, and RMSprop as Graves 2013 (arXiv 1308.0850) writes it, eq. 38-41.
#pragma once

#include <cstdint>

namespace tapehead {

struct RMSpropFields {
    std::int64_t count;         // of parameters
    const std::int64_t* table;  // (count, 6): addresses of parameter, gradient, n, mean, delta, and how many numbers
    std::int64_t double_precision, threads;
    double learning_rate, decay, momentum, eps, weight_decay;
};

struct ClipFields {
    std::int64_t count;         // of gradients
    const std::int64_t* table;  // (count, 2): address, and how many numbers
    std::int64_t double_precision;
    double limit;  // of the norm of all together
    double norm;   // set: their norm from before
};

}  // namespace tapehead
