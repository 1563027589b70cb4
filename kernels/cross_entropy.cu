#include "common.cuh"

// Softmax cross-entropy over rows of logits, and its gradient in place of the logits.
//   maths      losses[n] = log(sum_v exp(logits[n,v])) - logits[n,targets[n]];  0 where targets[n] >= V
//              dlogits[n,v] = scale * (softmax(logits[n])[v] - (v == targets[n]));  0 where targets[n] >= V, and for
//              v >= V
//   shapes     logits (N,stride) bf16, the first V columns count, stride % 8 == 0; targets (N) u32; losses (N) and
//              scale (1) f32
//   writes     losses; logits become dlogits unless scale is null: every element, overwritten (=)
//   launch     cross_entropy_small_vocab: grid ceil(N/SMALL_ROWS), block 32*SMALL_ROWS: a warp owns a row
//              cross_entropy_large_vocab: grid N, block LARGE_THREADS: a block owns a row
//   floor      cross_entropy_small_vocab: 4*N*stride bytes; 2*N*stride without the gradient
//   floor      cross_entropy_large_vocab: 4*N*stride bytes; the second reading hits the cache
//   reference  cpu::cross_entropy::forward, cpu::cross_entropy::forward_backward
// Rows of a block of the small kernel, threads of a block of the large one and of the sum.
constexpr int SMALL_ROWS = 4, LARGE_THREADS = 512, SUM_THREADS = 1024;
constexpr float LOG2_E = 1.4426950408889634f;
// Finite, so that a thread without columns subtracts no infinities.
constexpr float LOWEST = -3.0e38f;

// e^x. Callers subtract the maximum before, so that the largest terms have an exact argument.
__device__ __forceinline__ float exponential(float x) { return exp2_approximate(x * LOG2_E); }

// Sum and maximum over the WARPS that share a row.
template <int WARPS>
__device__ __forceinline__ float row_sum(float value) {
    if constexpr (WARPS == 1) return warp_sum(value);
    else return block_sum<WARPS>(value);
}
template <int WARPS>
__device__ __forceinline__ float row_max(float value) {
    value = warp_max(value);
    if constexpr (WARPS > 1) {
        SHARED_ARRAY(float, tops, [WARPS]);
        const int lane = threadIdx.x % 32;
        if (lane == 0) tops[threadIdx.x / 32] = value;
        __syncthreads();
        value = warp_max(lane < WARPS ? tops[lane] : LOWEST);
    }
    return value;
}

// One pass over this thread's columns: their maximum and the sum of exp(logit - maximum).
template <int THREADS>
__device__ __forceinline__ void softmax_sums(float &top, float &sum, const bf16 *logits, int thread, int vocab) {
#pragma unroll 2
    for (int i = thread * 8; i < vocab; i += THREADS * 8) {
        const Pack8 pack = load8(logits + i);
        float values[8], largest = LOWEST;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            values[j] = i + j < vocab ? __bfloat162float(pack.values[j]) : -INFINITY;
            largest = fmaxf(largest, values[j]);
        }
        if (largest > top) {
            sum *= exponential(top - largest);
            top = largest;
        }
#pragma unroll
        for (int j = 0; j < 8; j++) sum += exponential(values[j] - top);
    }
}

// The second pass goes backwards: what the first pass read last is still in the cache.
template <int THREADS>
__device__ __forceinline__ void write_gradient(bf16 *logits, float top, float factor, float scale, int thread,
                                               int target, int vocab, int stride) {
    constexpr int STEP = THREADS * 8;
    const int start = (stride - 1) / STEP * STEP + thread * 8;
#pragma unroll 2
    for (int i = start < stride ? start : start - STEP; i >= 0; i -= STEP) {
        Pack8 pack = load8(logits + i);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            float d = exponential(__bfloat162float(pack.values[j]) - top) * factor;
            if (i + j == target) d -= scale;
            pack.values[j] = __float2bfloat16_rn(i + j < vocab ? d : 0.f);
        }
        store8(logits + i, pack);
    }
}

template <int WARPS>
__device__ __forceinline__ void row_loss(float *loss, bf16 *logits, unsigned target, const float *scale, int thread,
                                         int vocab, int stride) {
    constexpr int THREADS = WARPS * 32;
    if (target >= (unsigned)vocab) {
        if (thread == 0) *loss = 0.f;
        Pack8 zeros;
        zeros.words = make_uint4(0, 0, 0, 0);
        for (int i = thread * 8; scale && i < stride; i += THREADS * 8) store8(logits + i, zeros);
        return;
    }
    // The thread that will overwrite the target's logit reads it, so that no barrier is needed.
    const bool owns_target = target / 8 % THREADS == (unsigned)thread;
    const float at_target = owns_target ? __bfloat162float(logits[target]) : 0.f;
    float own_top = LOWEST, own_sum = 0.f;
    softmax_sums<THREADS>(own_top, own_sum, logits, thread, vocab);
    const float top = row_max<WARPS>(own_top);
    const float sum = row_sum<WARPS>(own_sum * exponential(own_top - top));
    if (owns_target) *loss = logf(sum) + top - at_target;
    if (scale) write_gradient<THREADS>(logits, top, *scale / sum, *scale, thread, target, vocab, stride);
}

extern "C" __global__ void __launch_bounds__(32 * SMALL_ROWS)
    cross_entropy_small_vocab(float *__restrict__ losses, bf16 *__restrict__ logits,
                              const unsigned *__restrict__ targets, const float *__restrict__ NULLABLE scale, int n,
                              int vocab, int stride) {
    const long row = (long)blockIdx.x * SMALL_ROWS + threadIdx.x / 32;
    if (row >= n) return;
    row_loss<1>(losses + row, logits + row * stride, targets[row], scale, threadIdx.x % 32, vocab, stride);
}
KERNEL_EXPORT(cross_entropy_small_vocab);

extern "C" __global__ void __launch_bounds__(LARGE_THREADS)
    cross_entropy_large_vocab(float *__restrict__ losses, bf16 *__restrict__ logits,
                              const unsigned *__restrict__ targets, const float *__restrict__ NULLABLE scale, int n,
                              int vocab, int stride) {
    const long row = blockIdx.x;
    row_loss<LARGE_THREADS / 32>(losses + row, logits + row * stride, targets[row], scale, threadIdx.x, vocab, stride);
}
KERNEL_EXPORT(cross_entropy_large_vocab);

// Adds up the losses of a batch.
//   maths      total += scale * sum over n of losses[n]
//   shapes     total (1) f64; losses (N), scale (1) f32
//   writes     total: +=, summed in f64 in a fixed order
//   launch     grid 1, block SUM_THREADS
//   floor      4*N bytes; by one multiprocessor
//   reference  cpu::CpuEngine::accumulate
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    cross_entropy_add_losses(double *__restrict__ total, const float *__restrict__ losses,
                             const float *__restrict__ scale, int n) {
    double sum = 0.0;
#pragma unroll 8
    for (int i = threadIdx.x; i < n; i += SUM_THREADS) sum += losses[i];
    sum = block_sum<SUM_THREADS / 32>(sum);
    if (threadIdx.x == 0) *total += *scale * sum;
}
KERNEL_EXPORT(cross_entropy_add_losses);
