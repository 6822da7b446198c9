// Products of a few rows with a matrix, the matrix packed once a call into panels that are read from front to back.
//
// A panel holds `panel_width` columns: element (k, column) of the matrix lies at [k * panel_width + column]. Columns past
// the last are zero, so results need room for `padded` columns.
#pragma once

#include "simd.h"

namespace tapehead {
namespace TAPEHEAD_NAMESPACE {

// Vectors in a panel's row, and rows in a block: as many accumulators as the registers take.
constexpr int panel_vectors = TAPEHEAD_VECTOR_BYTES == 64 ? 2 : 3;
constexpr int block_rows = TAPEHEAD_VECTOR_BYTES == 64 ? 8 : 4;
template <class T> constexpr Index panel_width = panel_vectors* lanes<T>;

TAPEHEAD_INLINE Index round_up(Index size, Index to) { return (size + to - 1) / to * to; }

// A packed matrix (depth, width).
template <class T> struct Panels {
    T* data = nullptr;
    Index depth = 0, width = 0;

    Index padded() const { return round_up(width, panel_width<T>); }
    Index count() const { return padded() / panel_width<T>; }
    Index size() const { return padded() * depth; }
    T* panel(Index index) const { return data + index * panel_width<T> * depth; }
};

// Part of a matrix, row-major; several side by side make a matrix.
template <class T> struct Block {
    const T* data;
    Index columns;
};

// Packs one panel of the transpose of the blocks side by side: element (k, n) is row n, column k of the blocks.
template <class T> void pack_transposed(const Block<T>* blocks, int count, const Panels<T>& panels, Index index) {
    T* to = panels.panel(index);
    const Index first = index * panel_width<T>;
    for (int b = 0; b < count; ++b) {
        const Index columns = blocks[b].columns;
        for (Index lane = 0; lane < panel_width<T>; ++lane) {
            if (first + lane < panels.width) {
                const T* from = blocks[b].data + (first + lane) * columns;
                for (Index k = 0; k < columns; ++k) to[k * panel_width<T> + lane] = from[k];
            } else {
                for (Index k = 0; k < columns; ++k) to[k * panel_width<T> + lane] = 0;
            }
        }
        to += columns * panel_width<T>;
    }
}

// Packs one panel of the blocks side by side as they are.
template <class T> void pack(const Block<T>* blocks, int count, const Panels<T>& panels, Index index) {
    T* const to = panels.panel(index);
    const Index first = index * panel_width<T>;
    Index start = 0;  // of the block among the matrix's columns
    for (int b = 0; b < count; ++b) {
        const Index columns = blocks[b].columns;
        const Index low = first > start ? first : start;
        const Index end = start + columns;
        const Index high = first + panel_width<T> < end ? first + panel_width<T> : end;
        if (low < high) {
            for (Index k = 0; k < panels.depth; ++k)
                std::memcpy(to + k * panel_width<T> + low - first, blocks[b].data + k * columns + low - start,
                            static_cast<std::size_t>(high - low) * sizeof(T));
        }
        start = end;
    }
    if (first + panel_width<T> > start) {
        for (Index k = 0; k < panels.depth; ++k)
            for (Index lane = start - first; lane < panel_width<T>; ++lane) to[k * panel_width<T> + lane] = 0;
    }
}

// Rows that a product is added to: null, or a pointer to each, of as many numbers as the matrix has columns.
template <class T> using Base = const T* const*;

// out[row] = base[row] + in[row] @ panel for ROWS rows, the panel's columns from `column` on. The base comes last: added
// first, its size would set the rounding of every step. With few rows the sum over k runs in UNROLL interleaved parts,
// because one chain of additions would wait for itself.
//
// With COLUMNS the rows are columns of an array, whose rows `in_stride` tells apart.
template <class T, int ROWS, int UNROLL, bool COLUMNS = false>
TAPEHEAD_NOINLINE void multiply_panel(const T* in, Index in_stride, const Panels<T>& panels, Index index, Base<T> base,
                                      T* out, Index out_stride) {
    Vec<T> sums[UNROLL][ROWS][panel_vectors];
    for (int row = 0; row < ROWS; ++row)
        for (int v = 0; v < panel_vectors; ++v)
            for (int part = 0; part < UNROLL; ++part) sums[part][row][v] = zero<T>();
    const Index row_step = COLUMNS ? 1 : in_stride, step = COLUMNS ? in_stride : 1;
    const Index depth = panels.depth, column = index * panel_width<T>, width = panels.width;
    const T* panel = panels.panel(index);
    Index k = 0;
    for (; k + UNROLL <= depth; k += UNROLL) {
        for (int part = 0; part < UNROLL; ++part) {
            Vec<T> columns[panel_vectors];
            for (int v = 0; v < panel_vectors; ++v) columns[v] = load(panel + v * lanes<T>);
            panel += panel_width<T>;
            for (int row = 0; row < ROWS; ++row) {
                const Vec<T> x = splat(in[row * row_step + (k + part) * step]);
                for (int v = 0; v < panel_vectors; ++v) sums[part][row][v] = fma<T>(x, columns[v], sums[part][row][v]);
            }
        }
    }
    for (; k < depth; ++k, panel += panel_width<T>) {
        for (int row = 0; row < ROWS; ++row) {
            const Vec<T> x = splat(in[row * row_step + k * step]);
            for (int v = 0; v < panel_vectors; ++v)
                sums[0][row][v] = fma<T>(x, load(panel + v * lanes<T>), sums[0][row][v]);
        }
    }
    for (int row = 0; row < ROWS; ++row)
        for (int v = 0; v < panel_vectors; ++v) {
            for (int part = 1; part < UNROLL; ++part) sums[0][row][v] += sums[part][row][v];
            const Index first = column + v * lanes<T>, left = width - first;
            if (base != nullptr && left > 0) sums[0][row][v] += load(base[row] + first, left);
            store(out + row * out_stride + first, sums[0][row][v]);
        }
}

template <class T, int ROWS, bool COLUMNS = false>
TAPEHEAD_INLINE void multiply_rest(int rows, const T* in, Index in_stride, const Panels<T>& panels, Index index,
                                   Base<T> base, T* out, Index out_stride) {
    if constexpr (ROWS > 0) {
        constexpr int unroll = ROWS * panel_vectors >= 8 ? 1 : (ROWS == 1 ? 4 : 2);
        if (rows == ROWS) 
            return multiply_panel<T, ROWS, unroll, COLUMNS>(in, in_stride, panels, index, base, out, out_stride);
        multiply_rest<T, ROWS - 1, COLUMNS>(rows, in, in_stride, panels, index, base, out, out_stride);
    }
}

// out (rows, padded) = base + in (rows, depth) @ panels. The strides are between rows.
template <class T>
void multiply(Index rows, const T* in, Index in_stride, const Panels<T>& panels, Base<T> base, T* out,
              Index out_stride) {
    for (Index index = 0; index < panels.count(); ++index) {
        Index row = 0;
        for (; row + block_rows <= rows; row += block_rows)
            multiply_panel<T, block_rows, 1>(in + row * in_stride, in_stride, panels, index,
                                             base == nullptr ? nullptr : base + row, out + row * out_stride, out_stride);
        multiply_rest<T, block_rows - 1>(static_cast<int>(rows - row), in + row * in_stride, in_stride, panels, index,
                                         base == nullptr ? nullptr : base + row, out + row * out_stride, out_stride);
    }
}

}  // namespace TAPEHEAD_NAMESPACE
}  // namespace tapehead
