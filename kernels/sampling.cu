#include "common.cuh"

// Weights are integers: their sums are exact in any order, so two ways of adding them up never disagree about where
// the share of one token ends and that of the next begins. The most likely token weighs 2^40; a token that is less
// than 2^-40 as likely weighs nothing.
typedef unsigned long long Weight;
constexpr Weight ONE = 1ull << 40;
constexpr int THREADS = 256, LOW_KEYS = 256;
static_assert(THREADS == LOW_KEYS, "one thread per key in find_cut");

// The order-preserving key of a logit: 16 bits that compare as the logits do. All keys lie above 0, which stands for
// "may not be drawn". NaN counts as -inf, -0 as 0.
__device__ __forceinline__ uint32_t key_of(bf16 logit) {
    uint32_t bits = __bfloat16_as_ushort(logit);
    if (bits == 0x8000) bits = 0;
    if ((bits & 0x7fff) > 0x7f80) bits = 0xff80;
    return bits & 0x8000 ? 0xffff ^ bits : bits | 0x8000;
}
__device__ __forceinline__ float logit_of(uint32_t key) {
    return __bfloat162float(__ushort_as_bfloat16((unsigned short)(key & 0x8000 ? key ^ 0x8000 : 0xffff ^ key)));
}

// The tokens of a row, to draw from.
struct Row {
    const bf16 *logits;
    const uint32_t *allowed;  // a bit set over the tokens, or null
    int vocab;
    float sharpness;  // 1 / temperature
    uint32_t top;     // largest key

    // The keys of the eight tokens from `first` on, which is a multiple of 8.
    __device__ __forceinline__ void keys(uint32_t (&keys)[8], int first) const {
        const Pack8 pack = load8(logits + first);
        const uint32_t bits = allowed ? allowed[first / 32] >> first % 32 : ~0u;
#pragma unroll
        for (int j = 0; j < 8; j++) keys[j] = first + j < vocab && bits >> j & 1 ? key_of(pack.values[j]) : 0;
    }
    __device__ __forceinline__ Weight weight(uint32_t key) const {
        if (key == top) return ONE;  // also where it is infinite, and a difference would be NaN
        if (key == 0) return 0;
        return (Weight)(expf((logit_of(key) - logit_of(top)) * sharpness) * (float)ONE);
    }
};

// The tokens that are kept: those with keys above `key`, and the first `ties` of those whose key is `key`.
struct Cut {
    uint32_t key, ties;
};

__device__ __forceinline__ uint32_t block_max(uint32_t value) {
    SHARED_ARRAY(uint32_t, partial, [THREADS / 32]);
    value = __reduce_max_sync(ALL_LANES, value);
    __syncthreads();  // partial[] of the previous call has been read
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    return __reduce_max_sync(ALL_LANES, partial[threadIdx.x % (THREADS / 32)]);
}

// The sum over this thread and those before it; `total` is the sum over all.
__device__ __forceinline__ Weight block_scan(Weight value, Weight &total) {
    SHARED_ARRAY(Weight, partial, [THREADS / 32]);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
        const Weight before = __shfl_up_sync(ALL_LANES, value, offset);
        if (lane >= offset) value += before;
    }
    __syncthreads();  // partial[] of the previous call has been read
    if (lane == 31) partial[warp] = value;
    __syncthreads();
    total = 0;
#pragma unroll
    for (int w = 0; w < THREADS / 32; w++) {
        if (w < warp) value += partial[w];
        total += partial[w];
    }
    return value;
}

// The largest key below `limit`.
__device__ __forceinline__ uint32_t largest_key(const Row &row, uint32_t limit) {
    uint32_t largest = 0, keys[8];
    for (int first = threadIdx.x * 8; first < row.vocab; first += THREADS * 8) {
        row.keys(keys, first);
#pragma unroll
        for (int j = 0; j < 8; j++) largest = max(largest, keys[j] < limit ? keys[j] : 0);
    }
    return block_max(largest);
}

// The sum of the weights of the kept tokens.
__device__ __forceinline__ Weight total_weight(const Row &row, const Cut &cut) {
    uint32_t keys[8];
    Weight sum = 0, total;
    for (int first = threadIdx.x * 8; first < row.vocab; first += THREADS * 8) {
        row.keys(keys, first);
#pragma unroll
        for (int j = 0; j < 8; j++)
            if (keys[j] > cut.key) sum += row.weight(keys[j]);
    }
    block_scan(sum, total);
    return total + cut.ties * row.weight(cut.key);
}

// Finds the cut that keeps the fewest tokens which together reach `wanted`, in count or in weight: the most likely
// first, equal ones by number. Where all together do not reach it, the cut keeps all. (An earlier cut needs no check:
// `wanted` is at most what it keeps, so it is reached before any token that it drops.) It takes the keys by their
// high bytes, from the top: one pass over the logits counts the tokens of every key with that byte, and their weights
// follow from the counts.
template <bool BY_WEIGHT>
__device__ __forceinline__ Cut find_cut(const Row &row, Weight wanted) {
    SHARED_ARRAY(uint32_t, counts, [LOW_KEYS]);
    SHARED_VAR(Cut, found);
    Weight reached = 0;
    if (threadIdx.x == 0) found = {0, 0};
    uint32_t largest = row.top;
    while (largest > 0) {
        const uint32_t high = largest & 0xff00;
        uint32_t keys[8];
        counts[threadIdx.x] = 0;
        __syncthreads();
        for (int first = threadIdx.x * 8; first < row.vocab; first += THREADS * 8) {
            row.keys(keys, first);
#pragma unroll
            for (int j = 0; j < 8; j++)
                if ((keys[j] & 0xff00) == high) atomicAdd(&counts[keys[j] & 0xff], 1u);
        }
        __syncthreads();
        // Threads take the keys downwards.
        const uint32_t key = high | (LOW_KEYS - 1 - threadIdx.x);
        const uint32_t count = counts[key & 0xff];
        const Weight one = BY_WEIGHT && count > 0 ? row.weight(key) : 1;
        Weight total;
        const Weight behind = reached + block_scan(one * count, total), before = behind - one * count;
        if (before < wanted && behind >= wanted) {
            found.key = key;
            found.ties = (uint32_t)((wanted - before + one - 1) / one);
        }
        reached += total;
        largest = reached < wanted ? largest_key(row, high) : 0;
    }
    __syncthreads();
    return found;
}

// Finds the first of the kept tokens, by number, whose cumulated weight exceeds `target`.
__device__ __forceinline__ void walk(uint32_t *token, const Row &row, const Cut &cut, Weight target) {
    const Weight tie_weight = row.weight(cut.key);
    Weight reached = 0, ties = 0;
    for (int tile = 0; tile < row.vocab; tile += THREADS * 8) {
        const int first = tile + threadIdx.x * 8;
        uint32_t keys[8] = {};
        if (first < row.vocab) row.keys(keys, first);
        Weight mine = 0, my_ties = 0, weights[8], total, tie_total;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            weights[j] = keys[j] > cut.key ? row.weight(keys[j]) : 0;
            mine += weights[j];
            my_ties += keys[j] == cut.key;
        }
        Weight ties_before = ties + block_scan(my_ties, tie_total) - my_ties;
        Weight before = reached + block_scan(mine, total) - mine + min(ties_before, (Weight)cut.ties) * tie_weight;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            Weight weight = weights[j];
            if (keys[j] == cut.key && ties_before++ < cut.ties) weight = tie_weight;
            if (before <= target && target < before + weight) *token = first + j;
            before += weight;
        }
        reached += total;
        ties += tie_total;
        if (reached + min(ties, (Weight)cut.ties) * tie_weight > target) return;
    }
}

// Words of a draw, as the host encodes it.
constexpr int DRAW_WORDS = 5;

// Draws a token for each row of logits.
//   maths      It keeps the allowed tokens, of these the top_k with the largest logits (0: all), of these the fewest
//              most likely ones that reach top_p of their weight, where weight = exp((logit - largest) * (1 /
//              temperature)); equal logits count by number. It draws the first, by number, whose cumulated weight
//              exceeds uniform * total. At temperature 0, top_k is 1
//   shapes     token (R) u32; logits (R,stride) bf16, stride % 8 == 0; draw (R,DRAW_WORDS) u32: temperature, top_p (f32
//              bits), top_k, uniform * 2^64 (low, high word); allowed u32 bit sets, row r from word r*mask_stride on, or null
//   writes     token: every element, overwritten (=); 0xffffffff where no token is allowed
//   launch     grid R, block THREADS: more threads would idle at the small vocabularies of logs; 2.2 KiB shared
//   floor      2*R*stride bytes; the L2 cache serves all passes over a row but the first
//   reference  cpu::sampling::draw, with f64 weights
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    sampling_draw(uint32_t *__restrict__ token, const bf16 *__restrict__ logits, const uint32_t *__restrict__ draw,
                  const uint32_t *__restrict__ NULLABLE allowed, int mask_stride, int vocab, int stride) {
    const long r = blockIdx.x;
    const float temperature = __uint_as_float(draw[r * DRAW_WORDS]), top_p = __uint_as_float(draw[r * DRAW_WORDS + 1]);
    const bool greedy = temperature == 0.f;
    const uint32_t top_k = greedy ? 1 : draw[r * DRAW_WORDS + 2];
    const uint64_t uniform = (uint64_t)draw[r * DRAW_WORDS + 4] << 32 | draw[r * DRAW_WORDS + 3];
    const float sharpness = greedy ? 1.f : 1.f / temperature;
    Row row = {logits + r * stride, allowed ? allowed + r * mask_stride : nullptr, vocab, sharpness, 0};
    row.top = largest_key(row, 0x10000);
    if (row.top == 0) {
        if (threadIdx.x == 0) token[r] = 0xffffffffu;
        return;
    }
    Cut cut = {0, 0};
    if (top_k > 0 && top_k < (uint32_t)vocab) cut = find_cut<false>(row, top_k);
    Weight total = total_weight(row, cut);
    if (!greedy && top_p < 1.f) {
        const Weight wanted = (Weight)ceil((double)total * top_p);
        cut = find_cut<true>(row, max(wanted, (Weight)1));
        total = total_weight(row, cut);
    }
    // The high half of the product is an integer below `total`, and equivalent to uniform * total against integer sums.
    walk(token + r, row, cut, (Weight)((unsigned __int128)total * uniform >> 64));
}
KERNEL_EXPORT(sampling_draw);
