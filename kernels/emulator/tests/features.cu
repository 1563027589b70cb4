// One kernel per feature of the emulation. Each check that fails adds 1 to *bad.
#include "common.cuh"
#define CHECK(condition) \
    do {                 \
        if (!(condition)) atomicAdd(bad, 1); \
    } while (0)

__constant__ float TABLE[4] = {1.f, 2.f, 4.f, 8.f};

extern "C" __global__ void feature_shuffles(int *bad) {
    const int t = threadIdx.x, lane = t & 31;
    CHECK(__shfl_sync(ALL_LANES, t, 5) == (t & ~31) + 5);
    CHECK(__shfl_sync(ALL_LANES, t, 3, 8) == (t & ~7) + 3);
    CHECK(__shfl_xor_sync(ALL_LANES, t, 16) == (t ^ 16));
    CHECK(__shfl_up_sync(ALL_LANES, t, 3) == (lane < 3 ? t : t - 3));
    CHECK(__shfl_down_sync(ALL_LANES, t, 4, 16) == ((lane & 15) + 4 > 15 ? t : t + 4));
    CHECK(__shfl_xor_sync(ALL_LANES, (double)t, 1) == (double)(t ^ 1));
    CHECK((float)__shfl_xor_sync(ALL_LANES, __float2bfloat16(lane), 1) == (float)(lane ^ 1));
    // Two halves of a warp in different collectives.
    if (lane < 16) {
        CHECK(__shfl_xor_sync(0xffffu, t, 8) == (t ^ 8));
    } else {
        CHECK(__reduce_add_sync(0xffff0000u, (unsigned)lane) == 376u);
    }
    __syncwarp();
}
KERNEL_EXPORT(feature_shuffles);

extern "C" __global__ void feature_votes(int *bad) {
    const int lane = threadIdx.x & 31;
    CHECK(__ballot_sync(ALL_LANES, lane % 3 == 0) == 0x49249249u);
    CHECK(__any_sync(ALL_LANES, lane == 7));
    CHECK(!__all_sync(ALL_LANES, lane == 7));
    CHECK(__all_sync(ALL_LANES, 1));
    CHECK(__reduce_add_sync(ALL_LANES, (unsigned)lane) == 496u);
    CHECK(__reduce_max_sync(ALL_LANES, lane - 40) == -9);
    CHECK(__reduce_min_sync(ALL_LANES, lane - 40) == -40);
    CHECK(__reduce_or_sync(ALL_LANES, 1u << lane) == ALL_LANES);
    CHECK(__reduce_and_sync(ALL_LANES, ~(1u << lane)) == 0u);
    CHECK(__reduce_xor_sync(ALL_LANES, (unsigned)lane) == 0u);
}
KERNEL_EXPORT(feature_votes);

// Grid 5 x 2, block 8 x 4 x 3, 96 floats of dynamic shared memory.
extern "C" __global__ void feature_blocks(int *bad, int *total, float *halves) {
    SHARED_ARRAY(int, s, [96]);
    SHARED_VAR(int, sum);
    DYN_SHARED(float, d);
    const int t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    CHECK(blockDim.x == 8 && blockDim.y == 4 && blockDim.z == 3);
    CHECK(gridDim.x == 5 && gridDim.y == 2 && gridDim.z == 1);
    if (t == 0) sum = 0;
    s[t] = t;
    d[t] = TABLE[t & 3];
    __syncthreads();
    atomicAdd(&sum, s[95 - t]);
    __syncthreads();
    CHECK(sum == 95 * 96 / 2);
    CHECK(d[95 - t] == TABLE[(95 - t) & 3]);
    CHECK(__syncthreads_count(t < 10) == 10);
    CHECK(__syncthreads_or(t == 50));
    CHECK(!__syncthreads_and(t == 50));
    CHECK(__syncthreads_and(1));
    if (t == 0) atomicAdd(total, sum);
    atomicAdd(halves, 0.5f);
}
KERNEL_EXPORT(feature_blocks);

extern "C" __global__ void feature_atomics(int *bad) {
    SHARED_VAR(unsigned, word);
    SHARED_VAR(unsigned long long, wide);
    SHARED_VAR(double, real);
    const unsigned t = threadIdx.x;
    if (t == 0) {
        word = 0;
        wide = 5;
        real = 0;
    }
    __syncthreads();
    atomicMax(&word, t);
    atomicAdd(&real, 0.25);
    __syncthreads();
    CHECK(word == blockDim.x - 1 && real == 0.25 * blockDim.x);
    __syncthreads();
    if (t == 0) {
        CHECK(atomicCAS(&wide, 5ull, 6ull) == 5ull && wide == 6ull);
        CHECK(atomicExch(&word, 12u) == blockDim.x - 1 && atomicAnd(&word, 8u) == 12u && atomicOr(&word, 3u) == 8u);
        CHECK(atomicXor(&word, 1u) == 11u && atomicMin(&word, 4u) == 10u && atomicSub(&word, 1u) == 4u && word == 3u);
        CHECK(atomicInc(&word, 3u) == 3u && word == 0u && atomicDec(&word, 7u) == 0u && word == 7u);
    }
}
KERNEL_EXPORT(feature_atomics);

// 70 threads: the last warp has 6 lanes; the threads from n on leave before the barrier.
extern "C" __global__ void feature_partial_warps(int *bad, int n) {
    const int i = threadIdx.x, left = n - (i & ~31);
    if (i >= n) return;
    CHECK(__ballot_sync(ALL_LANES, 1) == (left >= 32 ? ALL_LANES : (1u << left) - 1));
    __syncthreads();
}
KERNEL_EXPORT(feature_partial_warps);

// C (16x8) = A (16x16) B (16x8) through ldmatrix both ways, for one warp.
extern "C" __global__ void feature_matrices(int *bad) {
    SHARED_ARRAY(bf16, a, [256]);
    SHARED_ARRAY(bf16, b, [128]);
    SHARED_ARRAY(bf16, b_transposed, [128]);
    const int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) a[i] = __float2bfloat16((float)((i * 7) % 13 - 5));
    for (int i = lane; i < 128; i += 32) {
        b[i] = __float2bfloat16((float)((i * 5) % 11 - 3));
        b_transposed[(i & 7) * 16 + (i >> 3)] = __float2bfloat16((float)((i * 5) % 11 - 3));
    }
    __syncthreads();
    uint32_t fa[4], fb[4], other[4];
    float c[4] = {1, 1, 1, 1};
    ldmatrix_x4(fa, a + (lane & 15) * 16 + (lane >> 4) * 8);
    ldmatrix_x4_trans(fb, b + (lane & 15) * 8);
    ldmatrix_x4(other, b_transposed + (lane & 7) * 16 + (lane >> 3 & 1) * 8);
    CHECK(fb[0] == other[0] && fb[1] == other[1]);
    mma_m16n8k16(c, fa, fb[0], fb[1]);
    for (int e = 0; e < 4; e++) {
        const int row = (lane >> 2) + (e >> 1) * 8, column = (lane & 3) * 2 + (e & 1);
        float expected = 1;
        for (int k = 0; k < 16; k++) expected += (float)a[row * 16 + k] * (float)b[k * 8 + column];
        CHECK(c[e] == expected);
    }
}
KERNEL_EXPORT(feature_matrices);

// 64 threads: 16 bytes each, the odd ones zero-filled; two groups under way.
extern "C" __global__ void feature_copies(int *bad, const float *in) {
    SHARED_ARRAY(float4, s, [128]);
    const int i = threadIdx.x;
    for (int k = 0; k < 2; k++) {
        cp_async16(&s[k * 64 + i], in + i * 4, i % 2 == 0);
        cp_async_commit();
    }
    cp_async_wait<1>();
    __syncthreads();
    const int j = 63 - i;
    CHECK(s[j].x == (j % 2 ? 0.f : in[j * 4]) && s[j].w == (j % 2 ? 0.f : in[j * 4 + 3]));
    cp_async_wait<0>();
    __syncthreads();
    CHECK(s[64 + j].y == (j % 2 ? 0.f : in[j * 4 + 1]));
}
KERNEL_EXPORT(feature_copies);

extern "C" __global__ void feature_maths(int *bad) {
    CHECK(fabsf(__expf(1.f) - 2.7182817f) < 1e-5f && fabsf(rsqrtf(4.f) - .5f) < 1e-6f);
    CHECK(fabsf(tanhf(.5f) - .46211716f) < 1e-6f && fabsf(__logf(2.f) - .6931472f) < 1e-6f);
    CHECK(fabsf(exp2_approximate(3.f) - 8.f) < 1e-5f && log1pf(0.f) == 0.f && __saturatef(-1.f) == 0.f);
    CHECK(__popc(0xf0f0u) == 8 && __clz(1) == 31 && __ffs(8) == 4 && __brev(1u) == 0x80000000u);
    CHECK(__umulhi(1u << 31, 4u) == 2u && __byte_perm(0x33221100u, 0x77665544u, 0x7410u) == 0x77441100u);
    CHECK(__float_as_uint(1.f) == 0x3f800000u && __int_as_float(0x40000000) == 2.f);
    CHECK(min(3, 5) == 3 && max(2.f, 1.f) == 2.f && fmaxf(NAN, 1.f) == 1.f && max(NAN, 1.f) == 1.f);
    CHECK(__float2int_rn(2.5f) == 2 && __float2int_rz(-2.5f) == -2 && __float2int_rn(1e20f) == 0x7fffffff);
    // bf16: ties to even, NaN stays NaN.
    CHECK((float)__float2bfloat16(1.00390625f) == 1.0f && (float)__float2bfloat16(1.01171875f) == 1.015625f);
    const bf16 one = __float2bfloat16(1), two = __float2bfloat16(2);
    CHECK(__bfloat16_as_ushort(__float2bfloat16(NAN)) == 0x7fff && (float)__hadd(one, two) == 3.f);
    const bf162 pair = __floats2bfloat162_rn(1.f, 2.f);
    CHECK(__low2float(pair) == 1.f && __bfloat1622float2(pair).y == 2.f && pack_bf16(1.f, 2.f) == 0x40003f80u);
}
KERNEL_EXPORT(feature_maths);

// For the signature checks: one argument of each kind.
extern "C" __global__ void feature_arguments(int *bad, float f, double d, long l, unsigned u, const bf16 *none) {
    CHECK(f == 1.5f && d == 2.5 && l == -3 && u == 4u && none == nullptr);
}
KERNEL_EXPORT(feature_arguments);

// For timing: nothing to do.
extern "C" __global__ void feature_nothing(int *bad) { (void)bad; }
KERNEL_EXPORT(feature_nothing);
// For timing: one warp collective after the other.
extern "C" __global__ void feature_sums(float *out, int rounds) {
    float value = threadIdx.x;
    for (int i = 0; i < rounds; i++) value = warp_sum(value) * 0.03125f;
    out[blockIdx.x * blockDim.x + threadIdx.x] = value;
}
KERNEL_EXPORT(feature_sums);
