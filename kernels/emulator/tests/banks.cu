// Which banks of shared memory the attention kernels' accesses fall into, by the functions that place them. A phase that
// touches a bank twice adds 1 to *bad: eight lanes make a phase of 16-byte accesses (and one 8x8 matrix of ldmatrix), all
// lanes one of 4-byte accesses.
#include "attention.cuh"

// `at`: element of shared memory that begins a lane's 16 bytes.
static __device__ void eight_lanes(int at, int *bad) {
    unsigned banks = 1u << at / 8 % 8;
    for (int offset = 1; offset < 8; offset *= 2) banks |= __shfl_xor_sync(ALL_LANES, banks, offset);
    if (banks != 0xff) atomicAdd(bad, 1);
}
static __device__ void all_lanes(int at, int *bad) {
    unsigned banks = 1u << at / 2 % 32;
    for (int offset = 1; offset < 32; offset *= 2) banks |= __shfl_xor_sync(ALL_LANES, banks, offset);
    if (banks != ALL_LANES) atomicAdd(bad, 1);
}

// Tiles begin at multiples of all banks' 128 bytes, and so do rows 16 and `step` further down: one place stands for all.
template <int HS>
static __device__ void banks(int *bad) {
    constexpr int CHUNKS = HS / 8, STEP = 32 / CHUNKS;
    const int lane = threadIdx.x % 32;
    static_assert(16 * HS * sizeof(bf16) % 128 == 0, "a piece begins where a tile may");
    bf16 nothing[HS];
    const Stream<HS, 32> stream(nothing, nothing, 0, 0, 0, 0);
    eight_lanes(stream.to, bad);  // cp.async
    for (int right = 0; right < HS / 16; right++) {
        eight_lanes(piece_at(stream.piece, right), bad);
        eight_lanes(piece_at(stream.transposed, right), bad);
    }
    // store_rows: pairs of sums go in, chunks come out.
    for (int row = 0; row < 16; row += 8)
        for (int n = 0; n < CHUNKS; n++) all_lanes(chunk_at<HS>(row + lane / 4, n) + lane % 4 * 2, bad);
    for (int row = 0; row < 16; row += STEP) eight_lanes(chunk_at<HS>(row + lane / CHUNKS, lane % CHUNKS), bad);
}

extern "C" __global__ void feature_banks(int *bad) {
#define BANKS(HS) banks<HS>(bad);
    FOR_EACH_HEAD_SIZE(BANKS)
    // Rows without the swizzle: what a conflict looks like to this count.
    if (threadIdx.x < 32) eight_lanes(threadIdx.x * 64, bad + 1);
}
KERNEL_EXPORT(feature_banks);
