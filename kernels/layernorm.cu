#include "common.cuh"

// LayerNorm over the channels of each token, alone or behind the addition to the residual stream.
//   maths      s[n,c] = x[n,c] + branch[n,c];  y[n,c] = (s[n,c] - mean[n]) * rstd[n] * gain[c] + shift[c]
//              statistics are of s as stored, rounded to bf16; rstd = 1 / sqrt(variance + 1e-5), variance in two passes
//   shapes     x, branch, sum, y (N,C) bf16, C % 8 == 0; gain, shift (C) bf16, shift may be null; mean, rstd (N) f32
//   writes     sum, y, mean, rstd: every element, overwritten (=)
//   launch     grid ceil(N/4), block 128: one warp owns one token; no shared memory
//   floor      4*N*C bytes; 8*N*C with the addition
//   reference  cpu::layernorm::forward
constexpr float EPSILON = 1e-5f;

template <bool ADD>
__device__ __forceinline__ void forward(bf16 *sum, bf16 *y, float *mean, float *rstd, const bf16 *x, const bf16 *branch,
                                        const bf16 *gain, const bf16 *shift, int n, int c) {
    const long row = (long)blockIdx.x * 4 + threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    if (row >= n) return;
    const bf16 *from = (ADD ? sum : x) + row * c;
    float total = 0.f;
    for (int i = lane * 8; i < c; i += 256) {
        Pack8 values = load8(x + row * c + i);
        if (ADD) {
            const Pack8 more = load8_streaming(branch + row * c + i);
#pragma unroll
            for (int j = 0; j < 8; j++)
                values.values[j] = __float2bfloat16_rn(__bfloat162float(values.values[j]) + __bfloat162float(more.values[j]));
            store8(sum + row * c + i, values);
        }
#pragma unroll
        for (int j = 0; j < 8; j++) total += __bfloat162float(values.values[j]);
    }
    const float m = warp_sum(total) / c;
    // Each lane reads again what it alone has read or written: no synchronisation is needed.
    float squares = 0.f;
    for (int i = lane * 8; i < c; i += 256) {
        const Pack8 values = load8(from + i);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const float d = __bfloat162float(values.values[j]) - m;
            squares += d * d;
        }
    }
    const float r = rsqrtf(warp_sum(squares) / c + EPSILON);
    for (int i = lane * 8; i < c; i += 256) {
        const Pack8 values = load8(from + i), g = load8(gain + i);
        Pack8 s, out;
        if (shift) s = load8(shift + i);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const float h = (__bfloat162float(values.values[j]) - m) * r * __bfloat162float(g.values[j]);
            out.values[j] = __float2bfloat16_rn(shift ? h + __bfloat162float(s.values[j]) : h);
        }
        store8(y + row * c + i, out);
    }
    if (lane == 0) {
        mean[row] = m;
        rstd[row] = r;
    }
}

extern "C" __global__ void __launch_bounds__(128)
    layernorm_forward(bf16 *__restrict__ y, float *__restrict__ mean, float *__restrict__ rstd, const bf16 *__restrict__ x,
                      const bf16 *__restrict__ gain, const bf16 *__restrict__ shift, int n, int c) {
    forward<false>(nullptr, y, mean, rstd, x, nullptr, gain, shift, n, c);
}
KERNEL_EXPORT(layernorm_forward);

extern "C" __global__ void __launch_bounds__(128)
    residual_layernorm_forward(bf16 *sum, bf16 *__restrict__ y, float *__restrict__ mean, float *__restrict__ rstd,
                               const bf16 *x, const bf16 *__restrict__ branch, const bf16 *__restrict__ gain,
                               const bf16 *__restrict__ shift, int n, int c) {
    forward<true>(sum, y, mean, rstd, x, branch, gain, shift, n, c);
}
KERNEL_EXPORT(residual_layernorm_forward);
