// The rows of a batch in bundles that run through time together.
#pragma once

#include <cstdint>

namespace tapehead {

// Numbers of the rows, longest first, rows of one length in their own order.
void order_rows(const std::int64_t* lengths, std::int64_t rows, std::int64_t* order);

// How many bundles: enough for every thread, and none larger than a product's blocks and the caches like.
std::int64_t count_bundles(std::int64_t rows, std::int64_t threads);

}  // namespace tapehead
