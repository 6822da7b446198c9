#include "rows.h"

#include <algorithm>
#include <numeric>

namespace tapehead {

void order_rows(const std::int64_t* lengths, std::int64_t rows, std::int64_t* order) {
    std::iota(order, order + rows, std::int64_t(0));
    if (lengths == nullptr) return;
    std::stable_sort(order, order + rows, [&](std::int64_t a, std::int64_t b) { return lengths[a] > lengths[b]; });
}

std::int64_t count_bundles(std::int64_t rows, std::int64_t threads) {
    constexpr std::int64_t largest = 8;
    std::int64_t bundles = (rows + largest - 1) / largest;
    // A last round in which some threads have nothing to do costs as much as a whole one.
    bundles = (bundles + threads - 1) / threads * threads;
    return bundles < rows ? bundles : rows;
}

}  // namespace tapehead
