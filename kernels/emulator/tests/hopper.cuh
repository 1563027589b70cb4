// What the tests of Hopper's instructions share: tiles in the 128-byte swizzle, and barriers.
#pragma once
#include "common.cuh"
#include "ptx_wgmma.cuh"

constexpr int BOX = 64 * 64;  // elements of 64 rows of 128 bytes

// Where element (row, column) of a tile lies, in elements: 64 columns to a row, `rows` rows until the next 64 columns.
__device__ __forceinline__ int tile_at(int row, int column, int rows) {
    const int c = column % 64;
    return column / 64 * rows * 64 + row * 64 + ((c / 8) ^ (row & 7)) * 8 + c % 8;
}
// Small integers, of which sums of products are exact.
__device__ __forceinline__ float value_at(int row, int column, int seed) {
    return static_cast<float>((row * 7 + column * 5 + row * column + seed) % 9 - 4);
}
// tile[row][column] = value_at(row, column), by all threads of the block.
__device__ __forceinline__ void fill_tile(bf16 *tile, int rows, int columns, int seed) {
    for (int i = threadIdx.x; i < rows * columns; i += blockDim.x)
        tile[tile_at(i / columns, i % columns, rows)] = __float2bfloat16(value_at(i / columns, i % columns, seed));
}
__device__ __forceinline__ void wait_for(uint64_t *bar, uint32_t parity) {
    while (!mbarrier_try_wait(bar, parity)) {}
}
// One barrier of one arrival, ready for the copy engine and for all threads.
__device__ __forceinline__ void start_barrier(uint64_t *bar) {
    if (threadIdx.x == 0) {
        mbarrier_init(bar, 1);
        fence_mbarrier_init();
    }
    __syncthreads();
}
