// The attention kernels share this: tiles of a head in shared memory, and products of tiles on the tensor cores.
//
// A block is four warps. It owns MT * 64 rows of one head (queries or keys, MT * 16 to a warp) and streams the other
// side past them in tiles, two in flight: one is computed on while the next one arrives by cp.async.
// A tile is rows of HS bf16 in chunks of 16 bytes. A matrix of sums lies in the registers as mma.m16n8k16 leaves it:
// sums[m][n][e] is row m*16 + lane/4 + e/2*8, column n*8 + lane%4*2 + e%2.
#pragma once
#include "common.cuh"

constexpr int WARPS = 4, THREADS = 32 * WARPS;

// The head sizes that there are kernels for. The attention files apply it to the macro that defines their kernels.
#define FOR_EACH_HEAD_SIZE(DEFINE) DEFINE(32) DEFINE(64) DEFINE(128)
#define ELEMENT(HS) HS,
constexpr int HEAD_SIZES[] = {FOR_EACH_HEAD_SIZE(ELEMENT)};
#undef ELEMENT

// The place of a head size in HEAD_SIZES, and in the tables of tile sizes of the attention files.
__host__ __device__ constexpr int place_of(int HS) {
    int place = 0;
    while (HEAD_SIZES[place] != HS) place++;
    return place;
}

// Tiles of 16 rows that a warp has of the rows of its block: MT.
__host__ __device__ constexpr int tiles_of_warp(int rows_of_block) { return rows_of_block / (16 * WARPS); }
constexpr float LOG2_E = 1.4426950408889634f;

// The rows of the backward pass's scratch buffer are padded to a multiple of this, so that every tile and every block
// fits.
constexpr int ROW_PADDING = 128;

__device__ __forceinline__ int round_up(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

// The element at which a chunk of a tile begins. A chunk's place is XORed with its row, so that the eight rows of an
// 8x8 matrix lie in different banks; rows of HS = 32 are half as long as all banks together, and change place every
// second row.
template <int HS>
__device__ __forceinline__ int chunk_at(int row, int chunk) {
    static_assert(HS == 32 || HS % 64 == 0, "the swizzle knows rows of half a bank line or of whole ones");
    const int turn = HS == 32 ? row >> 1 & 3 : row & 7;
    return row * HS + ((chunk ^ turn) << 3);
}

// Starts the copy of ROWS rows of a head to a tile: this thread's chunk of every STEP-th row. `to` and `from` are
// that chunk of its first row. `left` is the number of rows that the head has from there on; zeros follow them.
// `stride` is the number of elements from one row to the next. A step does not change the swizzle.
template <int HS, int ROWS>
__device__ __forceinline__ void copy_rows(bf16 *to, const bf16 *from, int left, int stride) {
    constexpr int STEP = THREADS / (HS / 8);
    static_assert(ROWS % STEP == 0 && STEP % 8 == 0, "all threads copy equally much");
#pragma unroll
    for (int row = 0; row < ROWS; row += STEP) cp_async16(to + row * HS, from + row * stride, row < left);
}

// Does the same for a whole tile of rows that a block owns.
template <int HS, int ROWS>
__device__ __forceinline__ void copy_tile(bf16 *tile, const bf16 *head, int first_row, int T, int stride) {
    const int row = threadIdx.x / (HS / 8), chunk = threadIdx.x % (HS / 8);
    const bf16 *from = head + (long)(first_row + row) * stride + chunk * 8;
    copy_rows<HS, ROWS>(tile + chunk_at<HS>(row, chunk), from, T - first_row - row, stride);
}

template <int MT, int NT>
__device__ __forceinline__ void clear(float (&sums)[MT][NT][4]) {
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++) sums[m][n][0] = sums[m][n][1] = sums[m][n][2] = sums[m][n][3] = 0.f;
}

// Each lane gives ldmatrix the address of one chunk of a 16x16 piece. These two functions give its element in the
// first piece of a tile: the first for left sides and for right sides as they are, the second for right sides that
// the tile holds transposed. In the piece 16 rows further down it lies at + 16 * HS, in the piece 2 * `right` chunks
// further right at `piece_at`.
template <int HS>
__device__ __forceinline__ int piece_lane() {
    const int lane = threadIdx.x % 32;
    return chunk_at<HS>(lane % 16, lane / 16);
}
template <int HS>
__device__ __forceinline__ int transposed_piece_lane() {
    const int lane = threadIdx.x % 32;
    return chunk_at<HS>(lane / 16 * 8 + lane % 8, lane / 8 % 2);
}
// The swizzle permutes chunks within groups of eight, so whole groups can be added: the offset lies in the instruction.
__device__ __forceinline__ int piece_at(int lane, int right) { return (lane ^ right % 4 * 16) + right / 4 * 64; }

// Two matrices of a head that stream past in tiles of ROWS rows, with two tiles of each in shared memory. The bases
// of all accesses are carried from tile to tile: computed from a tile's number, they would cost instructions in every
// tile.
template <int HS, int ROWS>
struct Stream {
    const bf16 *x, *y;  // this thread's chunk of the rows to copy next
    int x_stride, y_stride;
    int left;               // rows from there on
    int to;                 // where in its pair of tiles the chunk goes
    int piece, transposed;  // this lane's elements for ldmatrix in the tile to compute on

    __device__ __forceinline__ Stream(const bf16 *x_head, const bf16 *y_head, int x_stride, int y_stride, int first_row,
                                      int T)
        : x_stride(x_stride), y_stride(y_stride) {
        const int row = threadIdx.x / (HS / 8), chunk = threadIdx.x % (HS / 8);
        x = x_head + (long)(first_row + row) * x_stride + chunk * 8;
        y = y_head + (long)(first_row + row) * y_stride + chunk * 8;
        left = T - first_row - row;
        to = chunk_at<HS>(row, chunk);
        piece = piece_lane<HS>();
        transposed = transposed_piece_lane<HS>();
    }
    // Starts the copy of the next tiles.
    __device__ __forceinline__ void copy(bf16 (&x_tiles)[2][ROWS * HS], bf16 (&y_tiles)[2][ROWS * HS]) {
        copy_rows<HS, ROWS>(x_tiles[0] + to, x, left, x_stride);
        copy_rows<HS, ROWS>(y_tiles[0] + to, y, left, y_stride);
        x += ROWS * x_stride;
        y += ROWS * y_stride;
        left -= ROWS;
        to ^= ROWS * HS;
    }
    // Moves to the tiles that were copied last.
    __device__ __forceinline__ void next() {
        piece ^= ROWS * HS;
        transposed ^= ROWS * HS;
    }
};

// s += A B' over 16 elements of the head, those of piece k.
template <int HS, int MT, int NT>
__device__ __forceinline__ void multiply_piece(float (&s)[MT][NT][4], const uint32_t (&a_part)[MT][4], const bf16 *b,
                                               int b_lane, int k) {
#pragma unroll
    for (int n = 0; n < NT; n += 2) {
        uint32_t b_part[4];
        ldmatrix_x4(b_part, b + n * 8 * HS + piece_at(b_lane, k));
#pragma unroll
        for (int m = 0; m < MT; m++) {
            mma_m16n8k16(s[m][n], a_part[m], b_part[0], b_part[1]);
            mma_m16n8k16(s[m][n + 1], a_part[m], b_part[2], b_part[3]);
        }
    }
}

// Reads the left side's part of piece k: MT * 16 rows of tile `a`.
template <int HS, int MT>
__device__ __forceinline__ void read_piece(uint32_t (&a_part)[MT][4], const bf16 *a, int a_lane, int k) {
#pragma unroll
    for (int m = 0; m < MT; m++) ldmatrix_x4(a_part[m], a + m * 16 * HS + piece_at(a_lane, k));
}
// Reads all pieces, for a left side that stays in registers.
template <int HS, int MT>
__device__ __forceinline__ void read_pieces(uint32_t (&a)[HS / 16][MT][4], const bf16 *tile, int a_lane) {
#pragma unroll
    for (int k = 0; k < HS / 16; k++) read_piece<HS>(a[k], tile, a_lane, k);
}

// s = A B' over the head size. A: MT * 16 rows of tile `a`, or all their pieces; B: the first NT * 8 rows of tile `b`.
template <int HS, int MT, int NT>
__device__ __forceinline__ void product(float (&s)[MT][NT][4], const bf16 *a, int a_lane, const bf16 *b, int b_lane) {
    clear(s);
#pragma unroll
    for (int k = 0; k < HS / 16; k++) {
        uint32_t a_part[MT][4];
        read_piece<HS>(a_part, a, a_lane, k);
        multiply_piece<HS>(s, a_part, b, b_lane, k);
    }
}
template <int HS, int MT, int NT>
__device__ __forceinline__ void product(float (&s)[MT][NT][4], const uint32_t (&a)[HS / 16][MT][4], const bf16 *b,
                                        int b_lane) {
    clear(s);
#pragma unroll
    for (int k = 0; k < HS / 16; k++) multiply_piece<HS>(s, a[k], b, b_lane, k);
}

// sums += P B. P (MT * 16, NT * 8) comes from registers and is rounded to bf16: a product leaves its result where the
// next product needs its left side. B: the first NT * 8 rows of tile `b`.
template <int HS, int MT, int NT>
__device__ __forceinline__ void multiply_add(float (&sums)[MT][HS / 8][4], const float (&p)[MT][NT][4],
                                             const bf16 *b, int b_lane) {
#pragma unroll
    for (int k = 0; k < NT / 2; k++) {
        uint32_t p_part[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                p_part[m][i] = pack_bf16(p[m][2 * k + i / 2][i % 2 * 2], p[m][2 * k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int n = 0; n < HS / 8; n += 2) {
            uint32_t b_part[4];
            ldmatrix_x4_trans(b_part, b + k * 16 * HS + piece_at(b_lane, n / 2));
#pragma unroll
            for (int m = 0; m < MT; m++) {
                mma_m16n8k16(sums[m][n], p_part[m], b_part[0], b_part[1]);
                mma_m16n8k16(sums[m][n + 1], p_part[m], b_part[2], b_part[3]);
            }
        }
    }
}

// Sets the scores of keys that come after their query to -infinity. `ahead`: the first column's position minus the
// first row's.
template <bool KEYS_ARE_ROWS, int MT, int NT>
__device__ __forceinline__ void hide_the_future(float (&s)[MT][NT][4], int ahead) {
    const int lane = threadIdx.x % 32;
    const int corner = ahead + lane % 4 * 2 - lane / 4;
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int column_less_row = corner + n * 8 + e % 2 - m * 16 - e / 2 * 8;
                if (KEYS_ARE_ROWS ? column_less_row < 0 : column_less_row > 0) s[m][n][e] = -INFINITY;
            }
}

// to = sums * factor, rounded, for the rows of a warp that lie before T; `row` is the warp's first row in the block,
// `factor` is per row. They pass through the same rows of `tile`, which no other warp reads, so that 16 bytes are
// stored at a time.
template <int HS, int MT>
__device__ __forceinline__ void store_rows(bf16 *to, bf16 *tile, const float (&sums)[MT][HS / 8][4],
                                           const float (&factor)[MT][2], int row, int first_row, int T, int stride) {
    constexpr int CHUNKS = HS / 8, STEP = 32 / CHUNKS;
    const int lane = threadIdx.x % 32;
    __syncwarp();  // all lanes have read what the tile held
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < CHUNKS; n++)
#pragma unroll
            for (int r = 0; r < 2; r++) {
                bf16 *pair = tile + chunk_at<HS>(row + m * 16 + r * 8 + lane / 4, n) + lane % 4 * 2;
                *reinterpret_cast<uint32_t *>(pair) =
                    pack_bf16(sums[m][n][2 * r] * factor[m][r], sums[m][n][2 * r + 1] * factor[m][r]);
            }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < MT * 16 / STEP; i++) {
        const int r = row + i * STEP + lane / CHUNKS, chunk = lane % CHUNKS;
        if (first_row + r < T)
            *reinterpret_cast<uint4 *>(to + (first_row + r) * stride + chunk * 8) =
                *reinterpret_cast<const uint4 *>(tile + chunk_at<HS>(r, chunk));
    }
}
