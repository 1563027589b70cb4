#include "common.cuh"

// GELU in its tanh form, and its gradient. 0.5 (1 + tanh(u)) is the logistic function s of 2u.
//   maths      u = sqrt(2/pi) (x + 0.044715 x^3);  y = x s(2u);  dx = dy (s + x s (1 - s) 2 du/dx)
//   shapes     y, x, d: (N) bf16, N = 8*items
//   writes     y; d holds dy on entry and dx on return: every element, overwritten (=)
//   launch     grid ceil(items/THREADS), block THREADS: a thread takes 8 elements
//   floor      gelu_forward: 4*N bytes
//   floor      gelu_backward: 6*N bytes
//   reference  cpu::gelu::forward, cpu::gelu::backward
constexpr int THREADS = 256;
constexpr float SCALE = 0.7978845608028654f;  // sqrt(2/pi)
constexpr float CUBIC = 0.044715f;
constexpr float LOG2_E = 1.4426950408889634f;

// s(2u). The approximate 2^x and division are off by a few units in f32's last place, far below bf16's rounding. At
// an A100's full bandwidth the forward pass has time for 19 instructions per element, too few for the exact
// functions. Both saturate as they should: 2^x = inf gives 0.
__device__ __forceinline__ float gate(float x) {
    const float twice_u = 2.f * SCALE * x * (1.f + CUBIC * x * x);
    return __fdividef(1.f, 1.f + exp2_approximate(-LOG2_E * twice_u));
}

extern "C" __global__ void __launch_bounds__(THREADS)
    gelu_forward(bf16 *__restrict__ y, const bf16 *__restrict__ x, int items) {
    const int item = blockIdx.x * THREADS + threadIdx.x;
    if (item >= items) return;
    Pack8 values = load8(x + (long)item * 8);
#pragma unroll
    for (int j = 0; j < 8; j++) {
        const float v = __bfloat162float(values.values[j]);
        values.values[j] = __float2bfloat16_rn(v * gate(v));
    }
    store8(y + (long)item * 8, values);
}
KERNEL_EXPORT(gelu_forward);

extern "C" __global__ void __launch_bounds__(THREADS)
    gelu_backward(bf16 *__restrict__ d, const bf16 *__restrict__ x, int items) {
    const int item = blockIdx.x * THREADS + threadIdx.x;
    if (item >= items) return;
    const Pack8 values = load8_streaming(x + (long)item * 8);
    Pack8 gradients = load8(d + (long)item * 8);
#pragma unroll
    for (int j = 0; j < 8; j++) {
        const float v = __bfloat162float(values.values[j]), s = gate(v);
        const float slope = 2.f * SCALE * (1.f + 3.f * CUBIC * v * v);
        const float dy = __bfloat162float(gradients.values[j]);
        gradients.values[j] = __float2bfloat16_rn(dy * (s + v * s * (1.f - s) * slope));
    }
    store8(d + (long)item * 8, gradients);
}
KERNEL_EXPORT(gelu_backward);
