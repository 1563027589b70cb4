#include "common.cuh"

// Threads of a block; each takes four elements at a time.
constexpr int THREADS = 256;
// Partial sums of the norm: blocks of its first stage, threads of its second.
constexpr int PARTIALS = 1024;

// Sums the squares of the gradients, block by block: the first stage of their global norm.
//   maths      partials[b] = sum over the block's share of gradients[i]^2, in f64
//   shapes     gradients (4*quads) f32; partials (PARTIALS) f64
//   writes     partials: every element, overwritten (=)
//   launch     grid PARTIALS, block THREADS: the blocks take the gradients in turn, each thread four at a time
//   floor      4*P bytes; P = 4*quads gradients
//   reference  cpu::adamw::global_norm
extern "C" __global__ void __launch_bounds__(THREADS)
    adamw_norm_partials(double *__restrict__ partials, const float *__restrict__ gradients, long quads) {
    const float4 *from = reinterpret_cast<const float4 *>(gradients);
    double sums[4] = {};
#pragma unroll 4
    for (long i = blockIdx.x * (long)THREADS + threadIdx.x; i < quads; i += gridDim.x * (long)THREADS) {
        const float4 g = from[i];
        sums[0] += (double)g.x * g.x;
        sums[1] += (double)g.y * g.y;
        sums[2] += (double)g.z * g.z;
        sums[3] += (double)g.w * g.w;
    }
    const double sum = block_sum<THREADS / 32>((sums[0] + sums[1]) + (sums[2] + sums[3]));
    if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}
KERNEL_EXPORT(adamw_norm_partials);

// The host uploads these before each update, as so many f32.
constexpr int SETTINGS = 8;
struct Settings {
    float lr, beta_1, beta_2, epsilon, weight_decay, max_grad_norm;
    float correct_1, correct_2;  // 1 / (1 - beta^t)
};
static_assert(sizeof(Settings) == SETTINGS * sizeof(float), "the struct has SETTINGS fields");

// The second stage of the norm, and the decision that follows from it.
//   maths      norm = sqrt(sum of partials);  report = [loss, norm];  loss = 0
//              decision = [min(1, max_grad_norm / (norm + 1e-6)), 1 if loss and norm are finite else 0];
//              where max_grad_norm is 0, nothing is clipped
//   shapes     partials (PARTIALS), loss (1), report (2) f64; decision (2), settings (SETTINGS) f32
//   writes     decision, report, loss: every element, overwritten (=)
//   launch     grid 1, block PARTIALS
//   floor      0 bytes; the time is that of a launch
//   reference  cpu::CpuEngine::update
extern "C" __global__ void __launch_bounds__(PARTIALS)
    adamw_decide(float *__restrict__ decision, double *__restrict__ report, const double *__restrict__ partials,
                 double *__restrict__ loss, const float *__restrict__ settings) {
    const double norm = sqrt(block_sum<PARTIALS / 32>(partials[threadIdx.x]));
    if (threadIdx.x > 0) return;
    const double max_grad_norm = reinterpret_cast<const Settings *>(settings)->max_grad_norm, seen = *loss;
    decision[0] = max_grad_norm == 0.0 ? 1.f : (float)fmin(1.0, max_grad_norm / (norm + 1e-6));
    decision[1] = fabs(seen) < INFINITY && norm < INFINITY ? 1.f : 0.f;
    report[0] = seen;
    report[1] = norm;
    *loss = 0.0;
}
KERNEL_EXPORT(adamw_decide);

__device__ __forceinline__ void store_bf16(bf16 *params_bf16, long quad, const float (&p)[4]) {
    reinterpret_cast<uint2 *>(params_bf16)[quad] = make_uint2(pack_bf16(p[0], p[1]), pack_bf16(p[2], p[3]));
}

// AdamW over the flat buffers: every parameter of the model in one launch.
//   maths      g = factor * gradient;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
//              p -= lr * (m / (1-b1^t) / (sqrt(v / (1-b2^t)) + eps) + weight_decay p);
//              weight_decay counts for i < decayed only
//   shapes     parameters, gradients, exp_avg (m), exp_avg_sq (v) (4*quads) f32; params_bf16 (4*quads) bf16;
//              settings (SETTINGS), decision (2) f32
//   writes     parameters, exp_avg, exp_avg_sq; params_bf16 = parameters rounded; gradients = 0.
//              Where decision[1] is 0, only the gradients are written
//   launch     grid ceil(quads/THREADS), block THREADS: a thread updates four
//   floor      34*P bytes; P = 4*quads parameters: four f32 are read and written of each, and one bf16 is written
//   reference  cpu::adamw::update
extern "C" __global__ void __launch_bounds__(THREADS)
    adamw_update(float *__restrict__ parameters, bf16 *__restrict__ params_bf16, float *__restrict__ gradients,
                 float *__restrict__ exp_avg, float *__restrict__ exp_avg_sq, const float *__restrict__ settings,
                 const float *__restrict__ decision, long decayed, long quads) {
    const long quad = blockIdx.x * (long)THREADS + threadIdx.x;
    if (quad >= quads) return;
    float4 *const g_at = reinterpret_cast<float4 *>(gradients) + quad;
    float4 *const p_at = reinterpret_cast<float4 *>(parameters) + quad;
    float4 *const m_at = reinterpret_cast<float4 *>(exp_avg) + quad;
    float4 *const v_at = reinterpret_cast<float4 *>(exp_avg_sq) + quad;
    if (decision[1] != 0.f) {
        const float4 g4 = __ldcs(g_at), p4 = __ldcs(p_at), m4 = __ldcs(m_at), v4 = __ldcs(v_at);
        const float g[4] = {g4.x, g4.y, g4.z, g4.w};
        float p[4] = {p4.x, p4.y, p4.z, p4.w}, m[4] = {m4.x, m4.y, m4.z, m4.w}, v[4] = {v4.x, v4.y, v4.z, v4.w};
        const Settings with = *reinterpret_cast<const Settings *>(settings);
        const float factor = decision[0];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float scaled = factor * g[j], decay = quad * 4 + j < decayed ? with.weight_decay : 0.f;
            m[j] = with.beta_1 * m[j] + (1.f - with.beta_1) * scaled;
            v[j] = with.beta_2 * v[j] + (1.f - with.beta_2) * scaled * scaled;
            const float direction = m[j] * with.correct_1 / (sqrtf(v[j] * with.correct_2) + with.epsilon);
            p[j] -= with.lr * (direction + decay * p[j]);
        }
        __stcs(p_at, make_float4(p[0], p[1], p[2], p[3]));
        __stcs(m_at, make_float4(m[0], m[1], m[2], m[3]));
        __stcs(v_at, make_float4(v[0], v[1], v[2], v[3]));
        store_bf16(params_bf16, quad, p);
    }
    __stcs(g_at, make_float4(0.f, 0.f, 0.f, 0.f));
}
KERNEL_EXPORT(adamw_update);

// Makes the bf16 copy of the parameters.
//   maths      params_bf16[i] = parameters[i], rounded
//   shapes     params_bf16 (4*quads) bf16; parameters (4*quads) f32
//   writes     params_bf16: every element, overwritten (=)
//   launch     grid ceil(quads/THREADS), block THREADS
//   floor      6*P bytes; P = 4*quads parameters
//   reference  none: a conversion
extern "C" __global__ void __launch_bounds__(THREADS)
    adamw_cast_bf16(bf16 *__restrict__ params_bf16, const float *__restrict__ parameters, long quads) {
    const long quad = blockIdx.x * (long)THREADS + threadIdx.x;
    if (quad >= quads) return;
    const float4 p = reinterpret_cast<const float4 *>(parameters)[quad];
    store_bf16(params_bf16, quad, {p.x, p.y, p.z, p.w});
}
KERNEL_EXPORT(adamw_cast_bf16);
