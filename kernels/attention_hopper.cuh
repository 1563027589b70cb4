// Causal self-attention for Hopper (sm_90a): what its kernels share.
//
// A block of threads is one warpgroup that loads (one thread of it, by the copy engine) and several that compute, 64
// rows each of the side that the block owns, while the other side streams past through a ring of tiles. Blocks are
// persistent: the loading warpgroup runs ahead of the computing ones, into the next piece of work also.
//
// A tile is boxes of 64 rows of 64 bf16 (128 bytes), in the 128-byte swizzle: the 16-byte chunk c of row r lies at
// r * 128 + (c ^ r % 8) * 16. Head size 128 has its second 64 columns behind all rows of the first.
//
// An accumulator d[4 * n + 2 * r + e] is row warp * 16 + r * 8 + lane / 4, column n * 8 + lane % 4 * 2 + e.
//
// Tensor maps have the dimensions HS, heads, T, B, and boxes of 64 columns of 64 rows of one head. In qkv and dqkv the
// heads are 3 * NH: queries, then keys, then values.
#pragma once
#include "common.cuh"
#include "ptx_wgmma.cuh"

// The head sizes that there are kernels for. The files apply it to the macro that defines their kernel.
#define FOR_EACH_HEAD_SIZE(DEFINE) DEFINE(64) DEFINE(128)
#define ELEMENT(HS) HS,
constexpr int HEAD_SIZES[] = {FOR_EACH_HEAD_SIZE(ELEMENT)};
#undef ELEMENT

constexpr int BOX_ROWS = 64, BOX = BOX_ROWS * 64;  // a box: its rows, its elements
constexpr int WARPGROUP = 128;                     // threads
// The statistics of rows, which the backward passes share, are padded to a multiple of this, so that tiles end there.
constexpr int ROW_PADDING = 128;
__host__ __device__ constexpr int padded_rows(int T) { return (T + ROW_PADDING - 1) / ROW_PADDING * ROW_PADDING; }
constexpr float LOG2_E = 1.4426950408889634f, LN_2 = 0.6931471805599453f;

// Waits for the end of the phase with this parity.
__device__ __forceinline__ void wait_phase(uint64_t *bar, uint32_t parity) {
    while (!mbarrier_try_wait(bar, parity)) {}
}

// A place in a ring of N buffers. Consumers wait for a full buffer with `phase`, the loader for an empty one with
// phase ^ 1: that passes at once on a barrier that has ended no phase yet.
template <int N>
struct Ring {
    int at = 0;
    uint32_t phase = 0;
    __device__ __forceinline__ void next() {
        if (++at == N) {
            at = 0;
            phase ^= 1;
        }
    }
};

// Buffers that the loader fills and WGS warpgroups empty, warp by warp.
template <int N, int WGS>
struct Stages {
    uint64_t full[N], empty[N];
    __device__ __forceinline__ void init() {
        for (int i = 0; i < N; i++) {
            mbarrier_init(&full[i], 1);
            mbarrier_init(&empty[i], WGS * 4);
        }
    }
};

// What a block of threads begins with: its barriers, of all Stages, and its tensor maps, which one thread sees to.
template <int MAPS, class... Stages>
__device__ __forceinline__ void begin(const CUtensorMap *const (&maps)[MAPS], Stages &...stages) {
    if (threadIdx.x == 0) {
#pragma unroll
        for (int i = 0; i < MAPS; i++) prefetch_map(maps[i]);
        (stages.init(), ...);
        fence_mbarrier_init();
    }
    __syncthreads();
}

// The pieces of work of a block of threads: a heavy one, then the light one that makes the pair equal to all others,
// head by head. HEAVY_LAST: the last rows of a head cost most, not the first.
template <bool HEAVY_LAST>
struct Pieces {
    int blocks, pairs, end, pair;
    bool light = false;
    __device__ __forceinline__ Pieces(int heads, int blocks_of_head)
        : blocks(blocks_of_head), pairs((blocks + 1) / 2), end(pairs * heads), pair(blockIdx.x) {}
    __device__ __forceinline__ bool next(int &head, int &block) {
        while (pair < end) {
            const int heavy = pair % pairs, rank = light ? blocks - 1 - heavy : heavy;
            const bool again = light && rank == heavy;
            head = pair / pairs;
            block = HEAVY_LAST ? blocks - 1 - rank : rank;
            if (light) pair += gridDim.x;
            light = !light;
            if (!again) return true;
        }
        return false;
    }
};

// ---- products ----
// s (64 x N) = rows of `a` * rows of `b` over the head size. Descriptors of the first columns; B_ROWS of tile b.
template <int HS, int B_ROWS, int R>
__device__ __forceinline__ void product(float (&s)[R], uint64_t a, uint64_t b) {
#pragma unroll
    for (int k = 0; k < HS / 16; k++)
        wgmma_ss<0, 0>(s, a + k / 4 * (BOX_ROWS * 8) + k % 4 * 2, b + k / 4 * (B_ROWS * 8) + k % 4 * 2, k > 0);
}
// sums (64 x HS) += p (64 x ROWS) * tile (ROWS x HS), whose descriptor has `next` = ROWS * 128.
template <int ROWS, int R>
__device__ __forceinline__ void multiply_add(float (&sums)[R], const uint32_t (&p)[ROWS / 16][4], uint64_t tile) {
#pragma unroll
    for (int k = 0; k < ROWS / 16; k++) wgmma_rs<1>(sums, p[k], tile + k * 128, 1);
}
// Rounds scores or what became of them to the left side of a product. While products are under way nobody may write
// left sides: the compiler would wait for all of them.
template <int ROWS>
__device__ __forceinline__ void to_left_side(uint32_t (&p)[ROWS / 16][4], const float (&s)[ROWS / 2]) {
#pragma unroll
    for (int k = 0; k < ROWS / 16; k++)
#pragma unroll
        for (int i = 0; i < 4; i++) p[k][i] = pack_bf16(s[8 * k + 2 * i], s[8 * k + 2 * i + 1]);
}
template <int N>
__device__ __forceinline__ void pin_left(uint32_t (&p)[N][4]) {
#pragma unroll
    for (int i = 0; i < N; i++) pin(p[i]);
}
template <int R>
__device__ __forceinline__ void clear(float (&d)[R]) {
#pragma unroll
    for (int i = 0; i < R; i++) d[i] = 0.f;
}

// Scores of keys behind their query become -infinity. `ahead`: first column's position less the warpgroup's first
// row's.
template <bool KEYS_ARE_ROWS, int R>
__device__ __forceinline__ void hide_the_future(float (&s)[R], int ahead) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    const int corner = ahead + lane % 4 * 2 - lane / 4 - warp * 16;
#pragma unroll
    for (int i = 0; i < R; i++) {
        const int column_less_row = corner + i / 4 * 8 + i % 2 - i / 2 % 2 * 8;
        if (KEYS_ARE_ROWS ? column_less_row < 0 : column_less_row > 0) s[i] = -INFINITY;
    }
}

// ---- tiles ----
// Where this thread's pair of columns n * 8 + lane % 4 * 2 of its row r (0, 1) lies in 64 rows, in bytes.
__device__ __forceinline__ int pair_at(int n, int r) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    return (warp * 16 + r * 8 + lane / 4) * 128 + (((n & 7) ^ (lane / 4)) << 4) + lane % 4 * 4 + n / 8 * (BOX * 2);
}
// tile = sums * factor (of both rows), rounded: 64 rows of a warpgroup, as the copy engine wants them.
template <int HS>
__device__ __forceinline__ void stage_rows(bf16 *tile, const float (&sums)[HS / 2], float factor0, float factor1) {
#pragma unroll
    for (int n = 0; n < HS / 8; n++) {
        char *to = reinterpret_cast<char *>(tile);
        *reinterpret_cast<uint32_t *>(to + pair_at(n, 0)) = pack_bf16(sums[4 * n] * factor0, sums[4 * n + 1] * factor0);
        *reinterpret_cast<uint32_t *>(to + pair_at(n, 1)) =
            pack_bf16(sums[4 * n + 2] * factor1, sums[4 * n + 3] * factor1);
    }
}
// Loads ROWS rows of a head to a tile. One thread.
template <int HS, int ROWS>
__device__ __forceinline__ void load_rows(bf16 *tile, const CUtensorMap *map, uint64_t *bar, int head, int row, int b) {
#pragma unroll
    for (int c = 0; c < HS / 64; c++)
#pragma unroll
        for (int r = 0; r < ROWS / BOX_ROWS; r++)
            tensor_load_4d(tile + (c * (ROWS / BOX_ROWS) + r) * BOX, map, bar, c * 64, head, row + r * BOX_ROWS, b);
}
// Stores 64 rows of a head; rows from T on are not written. One thread.
template <int HS>
__device__ __forceinline__ void store_rows(const CUtensorMap *map, const bf16 *tile, int head, int row, int b) {
#pragma unroll
    for (int c = 0; c < HS / 64; c++) tensor_store_4d(map, tile + c * BOX, c * 64, head, row, b);
}
// One arrival of each warp, once all its lanes are here.
__device__ __forceinline__ void warp_arrive(uint64_t *bar) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) mbarrier_arrive(bar);
}

// ---- registers ----
// Of a thread at the start, of one that loads, and of one that computes. Together they are no more than at the start:
// else the block waits for ever.
__host__ __device__ constexpr int registers_at_start(int wgs) { return 65536 / ((wgs + 1) * WARPGROUP) / 8 * 8; }
__host__ __device__ constexpr int loader_registers(int wgs) { return wgs == 2 ? 40 : 32; }
__host__ __device__ constexpr int computer_registers(int wgs) {
    return (registers_at_start(wgs) * (wgs + 1) - loader_registers(wgs)) / wgs / 8 * 8;
}
