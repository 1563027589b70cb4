// Sums over rows of a bf16 matrix, column by column, in a fixed order.
#pragma once
#include "common.cuh"

constexpr int COLUMN_THREADS = 256;

// to[i] = [to[i] +] sum over k in [begin, end) of from[row_of(k), i], for the `width` * 8 columns from `first` on.
//   shapes     from (rows, C) bf16, C % 8 == 0; to (C) f32
//   launch     for a block of COLUMN_THREADS: `width` threads (a power of two) make a group and own 8 columns each; the
//              groups take the rows in turn, and their sums are added in the order of the groups
template <class Row>
__device__ __forceinline__ void column_sums(float *__restrict__ to, bool add, const bf16 *__restrict__ from, Row row_of,
                                            int begin, int end, int first, int c, int width) {
    // Padded by 4: the 8 columns of 4 neighbours, which are read at once below, lie in 32 different banks.
    SHARED_ARRAY(float, sums, [8][COLUMN_THREADS + 4]);
    const int groups = COLUMN_THREADS / width, column = first + threadIdx.x % width * 8;
    float own[8] = {};
    if (column < c) {
#pragma unroll 4
        for (int k = begin + threadIdx.x / width; k < end; k += groups) {
            const Pack8 values = load8(from + (long)row_of(k) * c + column);
#pragma unroll
            for (int j = 0; j < 8; j++) own[j] += __bfloat162float(values.values[j]);
        }
    }
#pragma unroll
    for (int j = 0; j < 8; j++) sums[j][threadIdx.x] = own[j];
    __syncthreads();
    for (int i = threadIdx.x; i < width * 8 && first + i < c; i += COLUMN_THREADS) {
        float total = 0.f;
        for (int group = 0; group < groups; group++) total += sums[i % 8][group * width + i / 8];
        to[first + i] = add ? to[first + i] + total : total;
    }
}
