#include "common.cuh"

// LayerNorm over the channels of each token, alone or after the addition to the residual stream.
//   maths      s[n,c] = x[n,c] + sublayer_out[n,c];  y[n,c] = (s[n,c] - mean[n]) * rstd[n] * weight[c] + bias[c]
//              statistics are of s as stored, rounded to bf16; rstd = 1 / sqrt(variance + 1e-5), variance in two passes
//   shapes     x, sublayer_out, sum, y (N,C) bf16, C % 8 == 0; weight, bias (C) bf16, where bias may be null;
//              mean, rstd (N) f32
//   writes     sum, y, mean, rstd: every element, overwritten (=)
//   launch     grid ceil(N/ROWS), block 32*ROWS: one warp owns one token; no shared memory
//   floor      layernorm_forward: 4*N*C bytes
//   floor      residual_layernorm_forward: 8*N*C bytes
//   reference  cpu::layernorm::forward
// Tokens per block of the forward kernels.
constexpr int ROWS = 4;
constexpr float EPSILON = 1e-5f;

template <bool ADD>
__device__ __forceinline__ void forward(bf16 *sum, bf16 *y, float *mean, float *rstd, const bf16 *x,
                                        const bf16 *sublayer_out, const bf16 *weight, const bf16 *bias, int n, int c) {
    const long row = (long)blockIdx.x * ROWS + threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    if (row >= n) return;
    const bf16 *from = (ADD ? sum : x) + row * c;
    float total = 0.f;
    // By itself the compiler unrolls by 4 and spills on sm_80.
#pragma unroll 2
    for (int i = lane * 8; i < c; i += 256) {
        Pack8 values = load8(x + row * c + i);
        if (ADD) {
            const Pack8 more = load8_streaming(sublayer_out + row * c + i);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const float sum_j = __bfloat162float(values.values[j]) + __bfloat162float(more.values[j]);
                values.values[j] = __float2bfloat16_rn(sum_j);
            }
            store8(sum + row * c + i, values);
        }
#pragma unroll
        for (int j = 0; j < 8; j++) total += __bfloat162float(values.values[j]);
    }
    const float m = warp_sum(total) / c;
    // Each lane reads only what it has read or written itself: no synchronisation is needed.
    float squares = 0.f;
#pragma unroll 2
    for (int i = lane * 8; i < c; i += 256) {
        const Pack8 values = load8(from + i);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const float d = __bfloat162float(values.values[j]) - m;
            squares += d * d;
        }
    }
    const float r = rsqrtf(warp_sum(squares) / c + EPSILON);
#pragma unroll 2
    for (int i = lane * 8; i < c; i += 256) {
        const Pack8 values = load8(from + i), g = load8(weight + i);
        Pack8 s, out;
        if (bias) s = load8(bias + i);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const float h = (__bfloat162float(values.values[j]) - m) * r * __bfloat162float(g.values[j]);
            out.values[j] = __float2bfloat16_rn(bias ? h + __bfloat162float(s.values[j]) : h);
        }
        store8(y + row * c + i, out);
    }
    if (lane == 0) {
        mean[row] = m;
        rstd[row] = r;
    }
}

extern "C" __global__ void __launch_bounds__(32 * ROWS)
    layernorm_forward(bf16 *__restrict__ y, float *__restrict__ mean, float *__restrict__ rstd,
                      const bf16 *__restrict__ x, const bf16 *__restrict__ weight,
                      const bf16 *__restrict__ NULLABLE bias, int n, int c) {
    forward<false>(nullptr, y, mean, rstd, x, nullptr, weight, bias, n, c);
}
KERNEL_EXPORT(layernorm_forward);

extern "C" __global__ void __launch_bounds__(32 * ROWS)
    residual_layernorm_forward(bf16 *sum, bf16 *__restrict__ y, float *__restrict__ mean, float *__restrict__ rstd,
                               const bf16 *x, const bf16 *__restrict__ sublayer_out, const bf16 *__restrict__ weight,
                               const bf16 *__restrict__ NULLABLE bias, int n, int c) {
    forward<true>(sum, y, mean, rstd, x, sublayer_out, weight, bias, n, c);
}
KERNEL_EXPORT(residual_layernorm_forward);

// Gradient of LayerNorm, added to that of the residual stream, and each block's part of the gradients of weight and
// bias.
//   maths      h = (x - mean) * rstd;  g = dy * weight;  dx[n,c] += rstd[n] * (g - mean_c(g) - h * mean_c(g * h))
//              weight_partials[block,c] = sum over the block's rows of dy * h;  bias_partials[block,c] = ... of dy
//   shapes     dx, dy, x (N,C) bf16, C % 8 == 0, C <= 8*MOST_THREADS; weight (C) bf16; mean, rstd (N) f32; partials
//              (grid, C) f32; bias_partials may be null
//   writes     dx: += in f32, rounded once; = where dx_is_new, then it is not read. Partials: =
//   launch     grid at most ceil(N/groups), block width * groups: `width` threads (C/8 rounded up to whole warps) own 8
//              channels each of one row, `groups` rows are processed at once; 32 bytes of dynamic shared memory per
//              thread
//   floor      (8 - 2*dx_is_new)*N*C bytes
//   reference  cpu::layernorm::backward
//
// A thread keeps its 8 channels for all rows of the block, so the sums over rows stay in registers for any C.
// The most threads of a block of the backward kernel.
constexpr int MOST_THREADS = 1024;

__device__ __forceinline__ void combine_groups(float *partial, const float (&own)[8], float *shared, int width, int c) {
    float4 *slot = reinterpret_cast<float4 *>(shared + threadIdx.x * 8);
    __syncthreads();  // the previous call's sums have been read
    slot[0] = make_float4(own[0], own[1], own[2], own[3]);
    slot[1] = make_float4(own[4], own[5], own[6], own[7]);
    __syncthreads();
    for (int i = threadIdx.x; i < c; i += blockDim.x) {
        float total = 0.f;
        for (int from = i; from < (int)blockDim.x * 8; from += width * 8) total += shared[from];
        partial[i] = total;
    }
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS)
    layernorm_backward(bf16 *__restrict__ dx, float *__restrict__ weight_partials,
                       float *__restrict__ NULLABLE bias_partials, const bf16 *__restrict__ dy,
                       const bf16 *__restrict__ x, const float *__restrict__ mean, const float *__restrict__ rstd,
                       const bf16 *__restrict__ weight, int width, int dx_is_new, int n, int c) {
    DYN_SHARED(float, shared);
    // Two sets of sums are used in turn, so one barrier per round is enough.
    SHARED_ARRAY(float2, warp_sums, [2][32]);
    const int groups = blockDim.x / width, group = threadIdx.x / width, channel = threadIdx.x % width * 8;
    const int warp = threadIdx.x / 32, first_warp = group * (width / 32);
    const float part = 1.f / c;
    Pack8 g;
    if (channel < c) g = load8(weight + channel);
    float dweight[8] = {}, dbias[8] = {};
    for (int base = blockIdx.x * groups, set = 0; base < n; base += gridDim.x * groups, set ^= 1) {
        const int row = base + group;
        const bool active = channel < c && row < n;
        const long at = (long)row * c + channel;
        Pack8 old, dy_pack;
        float h[8], r = 0.f, sum = 0.f, sum_h = 0.f;
        if (active) {
            const Pack8 x_pack = load8_streaming(x + at);
            dy_pack = load8_streaming(dy + at);
            if (!dx_is_new) old = load8(dx + at);
            const float m = mean[row];
            r = rstd[row];
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const float d = __bfloat162float(dy_pack.values[j]);
                const float scaled = d * __bfloat162float(g.values[j]);
                h[j] = (__bfloat162float(x_pack.values[j]) - m) * r;
                sum += scaled;
                sum_h += scaled * h[j];
                dweight[j] += d * h[j];
                dbias[j] += d;
            }
        }
        sum = warp_sum(sum);
        sum_h = warp_sum(sum_h);
        if (threadIdx.x % 32 == 0) warp_sums[set][warp] = make_float2(sum, sum_h);
        __syncthreads();
        sum = sum_h = 0.f;
        for (int w = first_warp; w < first_warp + width / 32; w++) {
            sum += warp_sums[set][w].x;
            sum_h += warp_sums[set][w].y;
        }
        if (active) {
            Pack8 out;
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const float scaled = __bfloat162float(dy_pack.values[j]) * __bfloat162float(g.values[j]);
                const float d = r * (scaled - sum * part - h[j] * (sum_h * part));
                out.values[j] = __float2bfloat16_rn(dx_is_new ? d : __bfloat162float(old.values[j]) + d);
            }
            store8(dx + at, out);
        }
    }
    combine_groups(weight_partials + (long)blockIdx.x * c, dweight, shared, width, c);
    if (bias_partials) combine_groups(bias_partials + (long)blockIdx.x * c, dbias, shared, width, c);
}
KERNEL_EXPORT(layernorm_backward);
