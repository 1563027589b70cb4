#include "column_sums.cuh"

// Threads of a block in which each thread makes 8 channels.
constexpr int THREADS = 256;

// Token plus position embedding.
//   maths      y[n,c] = token_table[tokens[n],c] + position_table[positions[n],c]
//   shapes     y (N,C) bf16, C % 8 == 0; tokens, positions (N) u32; token_table (vocab,C) and
//              position_table (context,C) bf16
//   writes     y: every element, overwritten (=)
//   launch     grid ceil(items/THREADS), block THREADS: a thread makes 8 channels; items = N*C/8
//   floor      2*N*C + 2*(TOKENS + POSITIONS)*C bytes; TOKENS and POSITIONS count the distinct rows that are read
//   reference  cpu::embedding::forward
//
// An index beyond its table reads the last row: callers reject such tokens, and memory stays safe in any case.
extern "C" __global__ void __launch_bounds__(THREADS)
    embedding_forward(bf16 *__restrict__ y, const unsigned *__restrict__ tokens, const unsigned *__restrict__ positions,
                      const bf16 *__restrict__ token_table, const bf16 *__restrict__ position_table, int vocab,
                      int context, int items, int c) {
    const unsigned item = blockIdx.x * THREADS + threadIdx.x, packs = c / 8;
    if (item >= (unsigned)items) return;
    const unsigned row = item / packs, channel = item % packs * 8;
    const long token = min(tokens[row], (unsigned)vocab - 1), position = min(positions[row], (unsigned)context - 1);
    const Pack8 a = load8(token_table + token * c + channel), b = load8(position_table + position * c + channel);
    Pack8 out;
#pragma unroll
    for (int j = 0; j < 8; j++)
        out.values[j] = __float2bfloat16_rn(__bfloat162float(a.values[j]) + __bfloat162float(b.values[j]));
    store8(y + (long)item * 8, out);
}
KERNEL_EXPORT(embedding_forward);

// Gradient of the token table. The rows of dy are sorted by token, so each token's sum has one owner and a fixed order.
//   maths      dtable[v,c] += sum over k in [starts[v], starts[v+1]) of dy[order[k],c]
//   shapes     dtable (Vp,C) f32; dy (N,C) bf16, C % 8 == 0; order (N) u32; starts (Vp+1) u32, ascending
//   writes     dtable: += in the rows of tokens that occur
//   launch     grid (Vp, ceil(C/(8*width))), block COLUMN_THREADS: see column_sums; the block of a token that does
//              not occur returns
//   floor      2*N*C + 8*TOKENS*C bytes; TOKENS counts those that occur
//   reference  cpu::embedding::backward
extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    embedding_backward_tokens(float *__restrict__ dtable, const bf16 *__restrict__ dy,
                              const unsigned *__restrict__ order, const unsigned *__restrict__ starts, int width, int n,
                              int c) {
    // Limited to n: whatever the indices say, no read leaves dy.
    const int begin = min(starts[blockIdx.x], (unsigned)n), end = min(starts[blockIdx.x + 1], (unsigned)n);
    if (begin >= end) return;
    const auto row = [&](int k) { return min(order[k], (unsigned)n - 1); };
    column_sums(dtable + (long)blockIdx.x * c, true, dy, row, begin, end, blockIdx.y * width * 8, c, width);
}
KERNEL_EXPORT(embedding_backward_tokens);

// Gradient of the position table.
//   maths      dtable[t,c] += sum over b of dy[b,t,c]
//   shapes     dtable (T,C) f32; dy (B,T,C) bf16, T*C % 8 == 0
//   writes     dtable: +=
//   launch     grid ceil(items/THREADS), block THREADS: a thread sums 8 channels of one position; items = T*C/8
//   floor      2*B*T*C + 8*T*C bytes
//   reference  cpu::embedding::backward
extern "C" __global__ void __launch_bounds__(THREADS)
    embedding_backward_positions(float *__restrict__ dtable, const bf16 *__restrict__ dy, int batch, int items) {
    const int item = blockIdx.x * THREADS + threadIdx.x;
    if (item >= items) return;
    float sums[8] = {};
#pragma unroll 4
    for (int b = 0; b < batch; b++) {
        const Pack8 values = load8(dy + ((long)b * items + item) * 8);
#pragma unroll
        for (int j = 0; j < 8; j++) sums[j] += __bfloat162float(values.values[j]);
    }
    float4 *to = reinterpret_cast<float4 *>(dtable + (long)item * 8);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float4 old = to[half];
        const float *own = sums + half * 4;
        to[half] = make_float4(old.x + own[0], old.y + own[1], old.z + own[2], old.w + own[3]);
    }
}
KERNEL_EXPORT(embedding_backward_positions);
