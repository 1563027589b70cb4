#include "attention.cuh"

// Causal self-attention by blocks of queries, as in FlashAttention-2 (Dao, 2023): the softmax is computed online over
// the tiles of keys, and nothing of size T x T is stored. There is one instance per head size.
//   maths      s[i,j] = scale * q[i] . k[j] for j <= i;  lse[i] = log sum_j exp(s[i,j])
//              out[i] = sum_j exp(s[i,j] - lse[i]) v[j]
//              exp(s[i,j] - running reference) is summed in f32, then rounded to bf16 for the tensor cores
//   shapes     qkv (B,T,3,NH,HS), out (B,T,NH,HS) bf16; lse (B,NH,T) f32; T * 3 * NH * HS < 2^31
//   writes     out, lse: every element, overwritten (=)
//   launch     grid (NH*B, ceil(T / OWNED)), block THREADS, dynamic shared memory for Shared: OWNED queries to a block
//   floor      8*B*T*NH*HS + 4*B*T*NH bytes, 2*B*NH*HS*T*(T + 1) FLOPs; a query sees half of the keys, on average
//   reference  cpu::attention::forward
template <int HS, int MT, int KEYS>
struct Shared {
    bf16 q[MT * 64 * HS];
    bf16 k[2][KEYS * HS], v[2][KEYS * HS];
};

// The number of powers of two by which a score may exceed its row's reference before the reference is raised. f32 sums
// and bf16's exponents have room for that, and most tiles then need no rescaling of the outputs.
constexpr float HEADROOM = 8.f, LN_2 = 0.6931471805599453f;

// Turns the scores of one tile into exp(score - reference), and rescales sums and outputs of earlier tiles to the same
// reference. References are stored multiplied by to_log2: if they were multiplied here, the compiler would fuse the
// product into the subtraction of two references, and leave a remainder where both are equal.
// Every row sees a key in the first tile, so its reference is finite from then on.
template <int MT, int NT, int OT>
__device__ __forceinline__ void online_softmax(float (&s)[MT][NT][4], float (&o)[MT][OT][4],
                                               float (&reference)[MT][2], float (&sum)[MT][2], float to_log2) {
#pragma unroll
    for (int m = 0; m < MT; m++) {
        float top[2];
        bool raised[2];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            top[r] = fmaxf(s[m][0][2 * r], s[m][0][2 * r + 1]);
#pragma unroll
            for (int n = 1; n < NT; n++) top[r] = fmaxf(top[r], fmaxf(s[m][n][2 * r], s[m][n][2 * r + 1]));
            // The four lanes of a row.
            top[r] = fmaxf(top[r], __shfl_xor_sync(ALL_LANES, top[r], 1));
            top[r] = fmaxf(top[r], __shfl_xor_sync(ALL_LANES, top[r], 2));
            raised[r] = fmaf(top[r], to_log2, -reference[m][r]) > HEADROOM;
        }
        if (__any_sync(ALL_LANES, raised[0] || raised[1])) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                const float before = reference[m][r];
                if (raised[r]) reference[m][r] = top[r] * to_log2;
                const float shrink = exp2_approximate(before - reference[m][r]);
                sum[m][r] *= shrink;
#pragma unroll
                for (int n = 0; n < OT; n++)
#pragma unroll
                    for (int e = 2 * r; e < 2 * r + 2; e++) o[m][n][e] *= shrink;
            }
        }
#pragma unroll
        for (int r = 0; r < 2; r++)
#pragma unroll
            for (int n = 0; n < NT; n++) {
#pragma unroll
                for (int e = 2 * r; e < 2 * r + 2; e++)
                    s[m][n][e] = exp2_approximate(fmaf(s[m][n][e], to_log2, -reference[m][r]));
                sum[m][r] += s[m][n][2 * r] + s[m][n][2 * r + 1];
            }
    }
}

template <int HS, int MT, int KEYS, bool HELD>
__device__ __forceinline__ void forward(bf16 *out, float *lse, const bf16 *qkv, int T, int NH, float scale) {
    typedef Shared<HS, MT, KEYS> Tiles;
    DYN_SHARED(Tiles, shared);
    const int b = blockIdx.x / NH, h = blockIdx.x % NH, lane = threadIdx.x % 32;
    // Later queries see more keys: the longest blocks start first.
    const int first = (gridDim.y - 1 - blockIdx.y) * (MT * 64), row = threadIdx.x / 32 * (MT * 16);
    const int stride = 3 * NH * HS, tiles = (min(first + MT * 64, T) + KEYS - 1) / KEYS;
    const bf16 *q = qkv + (long)b * T * stride + h * HS, *k = q + NH * HS, *v = k + NH * HS;

    copy_tile<HS, MT * 64>(shared->q, q, first, T, stride);
    Stream<HS, KEYS> stream(k, v, stride, stride, 0, T);
    stream.copy(shared->k, shared->v);
    cp_async_commit();

    float o[MT][HS / 8][4], reference[MT][2], sum[MT][2];
    clear(o);
#pragma unroll
    for (int m = 0; m < MT; m++) {
        reference[m][0] = reference[m][1] = -INFINITY;
        sum[m][0] = sum[m][1] = 0.f;
    }
    const int own = row * HS + piece_lane<HS>();
    uint32_t q_pieces[HS / 16][MT][4];
    if constexpr (HELD) {
        cp_async_wait<0>();
        __syncthreads();
        read_pieces<HS>(q_pieces, shared->q, own);
    }
    int ahead = -first - row;
    for (int j = 0; j < tiles; j++, ahead += KEYS, stream.next()) {
        cp_async_wait<0>();
        __syncthreads();  // tile j has arrived, and all warps are done with tile j - 1
        if (j + 1 < tiles) {
            stream.copy(shared->k, shared->v);
            cp_async_commit();
        }
        if (ahead >= MT * 16) continue;  // all keys come after this warp's queries
        float s[MT][KEYS / 8][4];
        if constexpr (HELD) product<HS>(s, q_pieces, shared->k[0], stream.transposed);
        else product<HS>(s, shared->q, own, shared->k[0], stream.transposed);
        if (ahead + KEYS > 1) hide_the_future<false>(s, ahead);
        online_softmax(s, o, reference, sum, scale * LOG2_E);
        multiply_add<HS>(o, s, shared->v[0], stream.piece);
    }
    const int block = not_before(blockIdx.x);
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float total = sum[m][r];
            total += __shfl_xor_sync(ALL_LANES, total, 1);
            total += __shfl_xor_sync(ALL_LANES, total, 2);
            sum[m][r] = 1.f / total;
            const int query = first + row + m * 16 + r * 8 + lane / 4;
            if (lane % 4 == 0 && query < T)
                lse[(long)block * T + query] = fmaf(reference[m][r], LN_2, logf(total));
        }
    store_rows<HS>(out + (long)(block / NH) * T * NH * HS + block % NH * HS, shared->q, o, sum, row, first, T, NH * HS);
}

// For each of HEAD_SIZES: queries that a block owns, and keys of a tile that it streams past them.
constexpr int OWNED[] = {128, 128, 128}, STREAMED[] = {64, 64, 32};
// Blocks per SM: without a number, the compiler stops at 128 registers and spills.
constexpr int BLOCKS[] = {3, 2, 2};
// Whether the queries stay in registers. For 32 that would cost the third block per SM, for 128 there is no room.
constexpr bool HELD[] = {false, true, false};

#define ATTENTION_FORWARD(HS)                                                                                          \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS[place_of(HS)])                                        \
        attention_forward_##HS(bf16 *__restrict__ out, float *__restrict__ lse, const bf16 *__restrict__ qkv, int T,   \
                               int NH, float scale) {                                                                  \
        constexpr int AT = place_of(HS);                                                                               \
        forward<HS, tiles_of_warp(OWNED[AT]), STREAMED[AT], HELD[AT]>(out, lse, qkv, T, NH, scale);                    \
    }                                                                                                                  \
    KERNEL_EXPORT(attention_forward_##HS);
FOR_EACH_HEAD_SIZE(ATTENTION_FORWARD)
