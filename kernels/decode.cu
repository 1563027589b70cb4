#include "common.cuh"

// Decoding with a KV cache. A row is one new token of one slot, at one position. A row whose slot or position lies
// outside the cache is padding: nothing is appended for it, and its attention is 0.
struct Cache {
    int slots, context, heads, head_size;

    // The number of positions that a row sees: its own and all before it.
    __device__ __forceinline__ int seen(uint32_t slot, uint32_t position) const {
        return slot < (uint32_t)slots && position < (uint32_t)context ? (int)position + 1 : 0;
    }
    // Where the head's (context, HS) matrix of a slot starts.
    __device__ __forceinline__ long start(uint32_t slot, int head) const {
        return ((long)slot * heads + head) * context * head_size;
    }
};

// Threads of a block of each of the other kernels.
constexpr int APPEND_THREADS = 256, COMBINE_THREADS = 64, GATHER_THREADS = 128;

// Writes the keys and values of the rows to the cache.
//   maths      keys[slot[r],h,position[r],:] = qkv[r,1,h,:];  values[slot[r],h,position[r],:] = qkv[r,2,h,:]
//   shapes     qkv (R,3,NH,HS), keys, values (slots,NH,context,HS) bf16, HS % 8 == 0; slot, position (R) u32
//   writes     one position of keys and values per row, overwritten (=)
//   launch     grid R, block APPEND_THREADS: a block copies a row, 16 bytes at a time; no shared memory
//   floor      8*R*NH*HS bytes
//   reference  cpu::decode::remember
extern "C" __global__ void __launch_bounds__(APPEND_THREADS)
    decode_append(bf16 *__restrict__ keys, bf16 *__restrict__ values, const bf16 *__restrict__ qkv,
                  const uint32_t *__restrict__ slot, const uint32_t *__restrict__ position, int slots, int context,
                  int heads, int head_size) {
    const Cache cache = {slots, context, heads, head_size};
    const long row = blockIdx.x;
    if (cache.seen(slot[row], position[row]) == 0) return;
    const int channels = heads * head_size;
    for (int at = threadIdx.x * 8; at < 2 * channels; at += APPEND_THREADS * 8) {
        const int channel = at % channels, head = channel / head_size;
        bf16 *to = (at < channels ? keys : values) + cache.start(slot[row], head) + (long)position[row] * head_size;
        store8(to + channel % head_size, load8(qkv + row * 3 * channels + channels + at));
    }
}
KERNEL_EXPORT(decode_append);

// A split is the part of a slot's positions that one block attends to. Its length is fixed, so that the result of a row
// does not depend on the other rows.
constexpr int SPLIT = 256, WARPS = 4, ATTEND_THREADS = 32 * WARPS;
// The most lanes that work on a key. Each has eight channels, so the largest head size is 128.
constexpr int MOST_LANES = 16;
// The number of keys whose loads a thread has in flight at once.
constexpr int AHEAD = 4;
// The largest score of no keys. It is finite, so that a difference of two is not NaN.
constexpr float NOTHING = -3e38f;

// A running softmax over some keys, in powers of two: the largest score, the sum of the weights relative to it, and the
// weighted sum of eight channels of the values.
struct Softmax {
    float top = NOTHING, sum = 0.f, values[8] = {};

    __device__ __forceinline__ void rescale(float new_top) {
        const float factor = exp2_approximate(top - new_top);
        top = new_top;
        sum *= factor;
#pragma unroll
        for (int j = 0; j < 8; j++) values[j] *= factor;
    }
};

// This thread's share of a split. LANES threads work on a key, eight channels each (none where a head has fewer), and
// each such group takes every GROUPS-th key.
template <int LANES>
__device__ __forceinline__ Softmax attend_keys(const bf16 *query, const bf16 *keys, const bf16 *values, int count,
                                               int head_size, float scale) {
    constexpr int GROUPS = WARPS * 32 / LANES;
    const int channel = threadIdx.x % LANES * 8;
    const bool works = channel < head_size;
    float q[8] = {};
    if (works) {
        const Pack8 pack = load8(query + channel);
#pragma unroll
        for (int j = 0; j < 8; j++) q[j] = __bfloat162float(pack.values[j]) * scale;
    }
    Softmax softmax;
    for (int first = 0; first < count; first += GROUPS * AHEAD) {
        Pack8 k[AHEAD], v[AHEAD];
        float score[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const int key = first + i * GROUPS + threadIdx.x / LANES;
            // Positions from `count` on were never written: even with weight 0 they could turn the sum into NaN.
            k[i].words = v[i].words = make_uint4(0, 0, 0, 0);
            if (works && key < count) {
                k[i] = load8_streaming(keys + (long)key * head_size + channel);
                v[i] = load8_streaming(values + (long)key * head_size + channel);
            }
        }
        float top = softmax.top;
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            score[i] = 0.f;
#pragma unroll
            for (int j = 0; j < 8; j++) score[i] += q[j] * __bfloat162float(k[i].values[j]);
#pragma unroll
            for (int offset = LANES / 2; offset > 0; offset >>= 1)
                score[i] += __shfl_xor_sync(ALL_LANES, score[i], offset);
            if (first + i * GROUPS + (int)threadIdx.x / LANES >= count) score[i] = -INFINITY;
            top = fmaxf(top, score[i]);
        }
        softmax.rescale(top);
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const float weight = exp2_approximate(score[i] - top);
            softmax.sum += weight;
#pragma unroll
            for (int j = 0; j < 8; j++) softmax.values[j] += weight * __bfloat162float(v[i].values[j]);
        }
    }
    return softmax;
}

// Merges the softmax of the groups into that of the split: first within each warp, then over the warps in order.
template <int LANES>
__device__ __forceinline__ void merge_groups(float *partial, float2 *statistic, Softmax softmax, int head_size) {
    SHARED_ARRAY(float4, warp_values, [WARPS][LANES * 2]);
    SHARED_ARRAY(float2, warp_statistic, [WARPS]);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    softmax.rescale(warp_max(softmax.top));
#pragma unroll
    for (int offset = LANES; offset < 32; offset *= 2) {
        softmax.sum += __shfl_xor_sync(ALL_LANES, softmax.sum, offset);
#pragma unroll
        for (int j = 0; j < 8; j++) softmax.values[j] += __shfl_xor_sync(ALL_LANES, softmax.values[j], offset);
    }
    if (lane < LANES) {
        const float *v = softmax.values;
        warp_values[warp][lane * 2] = make_float4(v[0], v[1], v[2], v[3]);
        warp_values[warp][lane * 2 + 1] = make_float4(v[4], v[5], v[6], v[7]);
    }
    if (lane == 0) warp_statistic[warp] = make_float2(softmax.top, softmax.sum);
    __syncthreads();
    float top = NOTHING, sum = 0.f, value = 0.f;
#pragma unroll
    for (int w = 0; w < WARPS; w++) top = fmaxf(top, warp_statistic[w].x);
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
        const float factor = exp2_approximate(warp_statistic[w].x - top);
        sum += warp_statistic[w].y * factor;
        const float *values = reinterpret_cast<const float *>(warp_values[w]);
        if ((int)threadIdx.x < head_size) value += values[threadIdx.x] * factor;
    }
    if ((int)threadIdx.x < head_size) partial[threadIdx.x] = value;
    if (threadIdx.x == 0) *statistic = make_float2(top, sum);
}

// Attention of one query over one split of its slot's keys and values (flash-decoding).
//   maths      s[i] = q . keys[i] / sqrt(HS) * log2(e) for the split's positions i up to the row's own;  top = max s
//              statistic = (top, sum 2^(s[i]-top));  partial[:] = sum 2^(s[i]-top) * values[i,:]
//   shapes     qkv (R,3,NH,HS), keys, values (slots,NH,context,HS) bf16, HS % 8 == 0, HS <= 8*MOST_LANES; slot,
//              position (R) u32; partial (R,NH,splits,HS) f32; statistic (R,NH,splits) pairs of f32, where
//              splits = ceil(context/SPLIT)
//   writes     partial, statistic: overwritten (=) for splits with positions up to the row's own; others are left as
//              they are
//   launch     grid (R, NH, splits), block ATTEND_THREADS: 4, 8 or 16 lanes per key, by head size; 3.6 KiB shared
//   floor      4*R*NH*HS*SEEN + 2*R*NH*HS bytes, 4*R*NH*HS*SEEN FLOPs; SEEN = position + 1
//   reference  cpu::decode::attend, cpu::attention::forward (last row)
extern "C" __global__ void __launch_bounds__(ATTEND_THREADS)
    decode_attend(float *__restrict__ partial, float *__restrict__ statistic, const bf16 *__restrict__ qkv,
                  const bf16 *__restrict__ keys, const bf16 *__restrict__ values, const uint32_t *__restrict__ slot,
                  const uint32_t *__restrict__ position, int slots, int context, int heads, int head_size,
                  float scale) {
    const Cache cache = {slots, context, heads, head_size};
    const long row = blockIdx.x;
    const int head = blockIdx.y, first = blockIdx.z * SPLIT;
    const int count = min(cache.seen(slot[row], position[row]) - first, SPLIT);
    if (count <= 0) return;
    const bf16 *query = qkv + (row * 3 * heads + head) * head_size;
    const long start = cache.start(slot[row], head) + (long)first * head_size;
    const long task = (row * heads + head) * gridDim.z + blockIdx.z;
    float *to = partial + task * head_size;
    float2 *to_statistic = reinterpret_cast<float2 *>(statistic) + task;
    keys += start;
    values += start;
    if (head_size <= 32)
        merge_groups<4>(to, to_statistic, attend_keys<4>(query, keys, values, count, head_size, scale), head_size);
    else if (head_size <= 64)
        merge_groups<8>(to, to_statistic, attend_keys<8>(query, keys, values, count, head_size, scale), head_size);
    else
        merge_groups<MOST_LANES>(to, to_statistic,
                                 attend_keys<MOST_LANES>(query, keys, values, count, head_size, scale), head_size);
}
KERNEL_EXPORT(decode_attend);

// Merges the splits of each row and head, in order.
//   maths      out = sum_i partial[i] * 2^(top[i]-top) / sum_i sum[i] * 2^(top[i]-top);  top = max top[i]
//   shapes     out (R,NH,HS) bf16, HS % 8 == 0; partial, statistic, slot, position as above
//   writes     out: every element, overwritten (=)
//   launch     grid (R, ceil(NH*HS/4 / COMBINE_THREADS)), block COMBINE_THREADS: a thread owns four
//              channels; no shared memory
//   floor      2*R*NH*HS bytes; the partial results were just written and are in the L2 cache
//   reference  cpu::decode::attend
extern "C" __global__ void __launch_bounds__(COMBINE_THREADS)
    decode_combine(bf16 *__restrict__ out, const float *__restrict__ partial, const float *__restrict__ statistic,
                   const uint32_t *__restrict__ slot, const uint32_t *__restrict__ position, int slots, int context,
                   int heads, int head_size) {
    const Cache cache = {slots, context, heads, head_size};
    const long row = blockIdx.x;
    const int channel = (blockIdx.y * COMBINE_THREADS + threadIdx.x) * 4, splits = (context + SPLIT - 1) / SPLIT;
    if (channel >= heads * head_size) return;
    const int held = (cache.seen(slot[row], position[row]) + SPLIT - 1) / SPLIT;
    const long first = (row * heads + channel / head_size) * splits;
    const float2 *of_split = reinterpret_cast<const float2 *>(statistic) + first;
    const float *values = partial + first * head_size + channel % head_size;
    float top = NOTHING;
    for (int i = 0; i < held; i++) top = fmaxf(top, of_split[i].x);
    float sum = 0.f;
    float4 total = make_float4(0.f, 0.f, 0.f, 0.f);
#pragma unroll 4
    for (int i = 0; i < held; i++) {
        const float factor = exp2_approximate(of_split[i].x - top);
        const float4 part = *reinterpret_cast<const float4 *>(values + (long)i * head_size);
        sum += of_split[i].y * factor;
        total.x += part.x * factor;
        total.y += part.y * factor;
        total.z += part.z * factor;
        total.w += part.w * factor;
    }
    const float share = held > 0 ? 1.f / sum : 0.f;
    const uint2 pair = {pack_bf16(total.x * share, total.y * share), pack_bf16(total.z * share, total.w * share)};
    *reinterpret_cast<uint2 *>(out + row * heads * head_size + channel) = pair;
}
KERNEL_EXPORT(decode_combine);

// Gathers rows, for example the last one of each sequence for the head.
//   maths      to[r,:] = from[row[r],:]; 0 where row[r] >= N
//   shapes     to (R,C), from (N,C) bf16, C % 8 == 0; row (R) u32
//   writes     to: every element, overwritten (=)
//   launch     grid R, block GATHER_THREADS: a block copies a row, 16 bytes at a time; no shared memory
//   floor      4*R*C bytes
//   reference  cpu::decode::extend
extern "C" __global__ void __launch_bounds__(GATHER_THREADS)
    decode_gather(bf16 *__restrict__ to, const bf16 *__restrict__ from, const uint32_t *__restrict__ row, int n,
                  int c) {
    const long r = blockIdx.x;
    const bool exists = row[r] < (uint32_t)n;
    Pack8 pack;
    pack.words = make_uint4(0, 0, 0, 0);
    for (int channel = threadIdx.x * 8; channel < c; channel += GATHER_THREADS * 8) {
        if (exists) pack = load8(from + (long)row[r] * c + channel);
        store8(to + r * c + channel, pack);
    }
}
KERNEL_EXPORT(decode_gather);
