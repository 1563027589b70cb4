// The emulator's own regression test: small kernels with one planted bug each, and their repaired twins.
//
// Compiled twice: BUG(x) is x in the bad ones, FIX(x) is x in the good ones (-DGOOD). Each takes 256 floats, `in`, and
// writes 256, `out`; tests/emulator/bugs.rs has the table of what they compute and of who must notice which bug.
#include "common.cuh"

#ifdef GOOD
#define BUG(x)
#define FIX(x) x
#define KERNEL_NAME(name) good_##name
#else
#define BUG(x) x
#define FIX(x)
#define KERNEL_NAME(name) bad_##name
#endif
// The declaration lets the export stand before the body.
#define EXPORT(name) KERNEL_EXPORT(name)
#define KERNEL(name)                                                          \
    extern "C" __global__ void KERNEL_NAME(name)(float *out, const float *in); \
    EXPORT(KERNEL_NAME(name));                                                \
    extern "C" __global__ void KERNEL_NAME(name)(float *out, const float *in)

// ---- barriers: out[i] = in[255 - i], or as the table says ----
KERNEL(missing_syncthreads) {
    SHARED_ARRAY(float, s, [256]);
    const int i = threadIdx.x;
    s[i] = in[i];
    FIX(__syncthreads();)
    out[i] = s[255 - i];
}
// Threads that run in order hide this one: each reads what its neighbour has just written.
KERNEL(missing_syncthreads_neighbour) {
    SHARED_ARRAY(float, s, [256]);
    const int i = threadIdx.x;
    s[i] = in[i];
    FIX(__syncthreads();)
    out[i] = s[i ? i - 1 : 0];
}
// A shuffle synchronises the warp, but does not order memory.
KERNEL(missing_syncwarp) {
    SHARED_ARRAY(float, s, [256]);
    const int i = threadIdx.x;
    s[i] = in[i];
    FIX(__syncwarp();)
    BUG((void)__shfl_sync(ALL_LANES, i, 0);)
    out[i] = s[i ^ 1];
}
KERNEL(buffer_reused_too_early) {
    SHARED_ARRAY(float, s, [256]);
    const int i = threadIdx.x;
    float sum = 0;
    for (int k = 0; k < 4; k++) {
        s[i] = in[i] * (k + 1);
        __syncthreads();
        sum += s[(i + 64) & 255];
        FIX(__syncthreads();)
    }
    out[i] = sum;
}
KERNEL(barrier_in_a_branch) {
    SHARED_ARRAY(float, s, [256]);
    const int i = threadIdx.x;
    s[i] = in[i];
    BUG(if (i < 100)) __syncthreads();
    BUG(else __syncwarp();)
    out[i] = s[255 - i];
}
KERNEL(two_kinds_of_barrier) {
    SHARED_ARRAY(float, s, [256]);
    const int i = threadIdx.x;
    s[i] = in[i];
    BUG(if (i < 128)) __syncthreads();
    BUG(else (void)__syncthreads_or(0);)
    out[i] = s[255 - i];
}
KERNEL(shuffle_in_a_branch) {
    const int i = threadIdx.x;
    float value = in[i];
    BUG(if ((i & 31) < 16)) value = __shfl_xor_sync(ALL_LANES, value, 1);
    BUG(__syncthreads();)
    out[i] = value;
}
KERNEL(shuffle_from_outside_the_mask) {
    const int i = threadIdx.x;
    float value = in[i];
    if ((i & 31) < 16) value = __shfl_sync(0xffffu, value, BUG(16 +)(i & 15), BUG(32) FIX(16));
    out[i] = value;
}
KERNEL(lane_outside_its_own_mask) {
    const int i = threadIdx.x;
    FIX(__syncwarp();)
    BUG(__syncwarp(0xffffu);)
    out[i] = in[i];
}
KERNEL(half_a_warp_in_a_matrix_product) {
    const int i = threadIdx.x;
    const uint32_t a[4] = {0, 0, 0, 0};
    float d[4] = {in[i], 0, 0, 0};
    BUG(if ((i & 31) < 16)) mma_m16n8k16(d, a, 0, 0);
    out[i] = d[0];
}

// ---- bounds: out[i] = in[i] ----
KERNEL(global_read_past_the_end) {
    const int i = threadIdx.x;
    out[i] = in[i] + (i == 255 ? 0.f * in[i BUG(+ 1)] : 0.f);
}
KERNEL(global_write_past_the_end) {
    const int i = threadIdx.x;
    out[i] = in[i];
    if (i == 255) out[i BUG(+ 1)] = in[i];
}
KERNEL(global_read_before_the_start) {
    const int i = threadIdx.x;
    out[i] = in[i] + (i == 0 ? 0.f * in[i BUG(-1)] : 0.f);
}
KERNEL(global_write_far_away) {
    const int i = threadIdx.x;
    out[i] = in[i];
    if (i == 7) out[i BUG(+ (1 << 16))] = in[i];
}
KERNEL(null_pointer) {
    const int i = threadIdx.x;
    const float *from = i < 256 BUG(-1) ? in : nullptr;
    out[i] = from[i];
}
KERNEL(shared_past_the_end) {
    SHARED_ARRAY(float, s, [255 FIX(+ 1)]);
    SHARED_ARRAY(float, t, [8]);
    const int i = threadIdx.x;
    if (i < 8) t[i] = 0;
    __syncthreads();
    s[i] = in[i];
    __syncthreads();
    out[i] = s[i] + t[i & 7];
}
// Launched with 1024 bytes.
KERNEL(dynamic_shared_past_the_end) {
    DYN_SHARED(float, s);
    const int i = threadIdx.x;
    s[i BUG(+ 1)] = in[i];
    __syncthreads();
    out[i] = s[i BUG(+ 1)];
}
KERNEL(shared_far_past_the_end) {
    SHARED_ARRAY(float, s, [256]);
    const int i = threadIdx.x;
    s[i BUG(+ 4096)] = in[i];
    __syncthreads();
    out[i] = s[i BUG(+ 4096)];
}

// ---- initialisation: out[i] = in[i] ----
KERNEL(shared_sum_never_zeroed) {
    SHARED_ARRAY(float, s, [256]);
    const int i = threadIdx.x;
    FIX(s[i] = 0;)
    s[i] += in[i];
    __syncthreads();
    out[i] = s[i];
}
// It holds -1 by chance of the emulator, which does no harm here.
KERNEL(shared_flag_never_set) {
    SHARED_VAR(int, flag);
    const int i = threadIdx.x;
    FIX(if (i == 0) flag = 0;)
    FIX(__syncthreads();)
    out[i] = flag > 0 ? -1 : in[i];
}
KERNEL(global_sum_never_zeroed) {
    const int i = threadIdx.x;
    FIX(out[i] = 0;)
    out[i] += in[i];
}
KERNEL(atomic_counter_never_zeroed) {
    SHARED_VAR(int, counter);
    const int i = threadIdx.x;
    FIX(if (i == 0) counter = 0;)
    FIX(__syncthreads();)
    atomicAdd(&counter, 1);
    __syncthreads();
    out[i] = in[i] * (counter == 256 ? 1 : 2);
}
KERNEL(output_left_unwritten) {
    const int i = threadIdx.x;
    if (i < 256 BUG(-1)) out[i] = in[i];
}

// ---- several blocks: out[i] = in[i], or as the table says ----
// Launched with 4 blocks and a zeroed `out`.
KERNEL(plain_sum_over_blocks) {
    const int i = threadIdx.x;
    FIX(atomicAdd(out + i, in[i]);)
    BUG(out[i] += in[i];)
}
// Launched with 4 blocks: each writes a quarter, then looks at the next one's.
KERNEL(reading_what_another_block_writes) {
    const int i = threadIdx.x, mine = blockIdx.x * 64 + i % 64;
    if (i < 64) out[mine] = in[mine];
    __syncthreads();
    const float seen = out[BUG((mine + 64) & 255) FIX(mine)];
    if (i < 64 && seen == 0.125f) out[mine] = in[mine];
}
KERNEL(integer_division_by_zero) {
    const int i = threadIdx.x, divisor = static_cast<int>(in[0]) BUG(- 1);
    out[i] = i / divisor >= 0 ? in[i] : 0;
}

// ---- alignment: out[i] = in[i] ----
template <class LOAD>
__device__ __forceinline__ void copy_by_fours(float *out, const float *in, LOAD load) {
    const int i = threadIdx.x;
    if (i >= 63) {
        if (i < 67) out[252 + i - 63] = in[252 + i - 63];
        return;
    }
    const float4 v = load(reinterpret_cast<const float4 *>(in + i * 4 BUG(+ 1)));
    out[i * 4] = v.x;
    out[i * 4 + 1] = v.y;
    out[i * 4 + 2] = v.z;
    out[i * 4 + 3] = v.w;
}
KERNEL(misaligned_vector) {
    copy_by_fours(out, in, [](const float4 *from) { return *from; });
}
KERNEL(misaligned_ldg) {
    copy_by_fours(out, in, [](const float4 *from) { return __ldg(from); });
}
KERNEL(misaligned_ldmatrix) {
    SHARED_ARRAY(float4, tile, [33]);
    const int i = threadIdx.x;
    if (i < 33) tile[i] = make_float4(0, 0, 0, 0);
    __syncthreads();
    uint32_t r[4];
    ldmatrix_x4(r, reinterpret_cast<const char *>(tile + (i & 31)) BUG(+ 8));
    out[i] = in[i] + r[0];
}

// ---- cp.async: out[i] = in[i], or as the table says ----
KERNEL(copy_not_waited_for) {
    SHARED_ARRAY(float4, s, [64]);
    const int i = threadIdx.x;
    if (i < 64) cp_async16(&s[i], in + i * 4);
    cp_async_commit();
    FIX(cp_async_wait<0>();)
    __syncthreads();
    out[i] = reinterpret_cast<float *>(s)[i];
}
KERNEL(copy_not_committed) {
    SHARED_ARRAY(float4, s, [64]);
    const int i = threadIdx.x;
    if (i < 64) cp_async16(&s[i], in + i * 4);
    FIX(cp_async_commit();)
    cp_async_wait<0>();
    __syncthreads();
    out[i] = reinterpret_cast<float *>(s)[i];
}
KERNEL(copy_waited_for_one_group_too_few) {
    SHARED_ARRAY(float4, s, [64]);
    SHARED_ARRAY(float4, t, [64]);
    const int i = threadIdx.x;
    if (i < 64) cp_async16(&s[i], in + i * 4);
    cp_async_commit();
    if (i < 64) cp_async16(&t[i], in + i * 4);
    cp_async_commit();
    cp_async_wait<0 BUG(+ 1)>();
    __syncthreads();
    out[i] = 0.5f * (reinterpret_cast<float *>(s)[i] + reinterpret_cast<float *>(t)[i]);
}
// Waited for, but only by the thread that copied.
KERNEL(copy_without_barrier) {
    SHARED_ARRAY(float4, s, [64]);
    const int i = threadIdx.x;
    if (i < 64) cp_async16(&s[i], in + i * 4);
    cp_async_commit();
    cp_async_wait<0>();
    FIX(__syncthreads();)
    out[i] = reinterpret_cast<float *>(s)[i];
}
// The next tile is requested while others still read this one.
KERNEL(copy_into_a_tile_in_use) {
    SHARED_ARRAY(float4, s, [64]);
    const int i = threadIdx.x;
    float sum = 0;
    for (int k = 0; k < 3; k++) {
        if (i < 64) cp_async16(&s[i], in + ((i * 4 + k * 64) & 255));
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        sum += reinterpret_cast<float *>(s)[255 - i];
        FIX(__syncthreads();)
    }
    out[i] = sum;
}
