#include "column_sums.cuh"

// Columns that a block of the first stage covers: a lane reads 8, and a warp takes a row.
constexpr int COLUMNS = 32 * 8;
// Columns and threads of a block of the second stage: a lane owns a column, and the warps take the rows in turn.
constexpr int SUM_COLUMNS = 32, SUM_THREADS = 1024;

// Sums the columns of a gradient, block by block: the first stage of a bias gradient.
//   maths      partials[p,c] = sum over the p-th piece of rows of dy[n,c]
//   shapes     dy (N,C) bf16, C % 8 == 0; partials (pieces,C) f32
//   writes     partials: every element, overwritten (=)
//   launch     grid (ceil(C/COLUMNS), pieces), block COLUMN_THREADS: a warp reads 512 bytes of a row
//   floor      2*N*C bytes
//   reference  cpu::linear::backward (dbias), together with add_partials
extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    bias_backward(float *__restrict__ partials, const bf16 *__restrict__ dy, int n, int c) {
    const int rows = (n + gridDim.y - 1) / gridDim.y, begin = blockIdx.y * rows;
    const auto row = [](int k) { return k; };
    column_sums(partials + (long)blockIdx.y * c, false, dy, row, begin, min(begin + rows, n), blockIdx.x * COLUMNS, c,
                COLUMNS / 8);
}
KERNEL_EXPORT(bias_backward);

// The second stage adds the partial sums of all blocks, in a fixed order, to one gradient or to two.
//   maths      sums[c] += sum over p of partials[p,c];  more[c] += sum over p of partials[count + p,c]
//   shapes     sums, more (C) f32; partials (count,C) f32, or (2*count,C) where the grid has a second layer
//   writes     sums, more: +=
//   launch     grid (ceil(C/SUM_COLUMNS), 1 or 2), block SUM_THREADS
//   floor      0 bytes; the partials, 4*count*C bytes, were just written and are in the L2 cache
//   reference  cpu::rows::add_column_sums, cpu::layernorm::backward
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    add_partials(float *__restrict__ sums, float *__restrict__ NULLABLE more, const float *__restrict__ partials,
                 int count, int c) {
    SHARED_ARRAY(float, by_warp, [SUM_THREADS / 32][SUM_COLUMNS]);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * SUM_COLUMNS + lane;
    const float *from = partials + (long)blockIdx.y * count * c;
    float total = 0.f;
    if (column < c) {
#pragma unroll 4
        for (int p = warp; p < count; p += SUM_THREADS / 32) total += from[(long)p * c + column];
    }
    by_warp[warp][lane] = total;
    __syncthreads();
    if (warp > 0 || column >= c) return;
    total = 0.f;
    for (int w = 0; w < SUM_THREADS / 32; w++) total += by_warp[w][lane];
    float *to = blockIdx.y == 0 ? sums : more;
    to[column] += total;
}
KERNEL_EXPORT(add_partials);
