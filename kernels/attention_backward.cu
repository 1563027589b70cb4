#include "attention.cuh"

// The backward pass of causal self-attention, without atomics: row statistics, then dK and dV by blocks of keys, then
// dQ by blocks of queries. The last two recompute the probabilities from the log-sum-exp. There is one instance per
// head size.
//   maths      p[i,j] = exp(scale * q[i] . k[j] - lse[i]) for j <= i, else 0;  delta[i] = dout[i] . out[i]
//              ds[i,j] = p[i,j] * (dout[i] . v[j] - delta[i])
//              dv[j] = sum_i p[i,j] dout[i];  dk[j] = scale * sum_i ds[i,j] q[i];  dq[i] = scale * sum_j ds[i,j] k[j]
//              p and ds are rounded to bf16 for the tensor cores
//   shapes     qkv, dqkv (B,T,3,NH,HS), out, dout (B,T,NH,HS) bf16; lse (B,NH,T) f32; T * 3 * NH * HS < 2^31
//              rows (B,NH,2,Tp) f32, Tp = T padded: lse / ln 2, then delta; zeros from T on
//   writes     rows, dqkv: every element, overwritten (=)
//   reference  cpu::attention::backward

//   launch     statistics: grid (NH*B, ceil(Tp / (THREADS / (HS/8)))), block THREADS: HS/8 lanes own one row
//   floor      attention_backward_rows: 4*B*T*NH*HS + 4*B*T*NH bytes
template <int HS>
__device__ __forceinline__ void statistics(float *rows, const bf16 *dout, const bf16 *out, const float *lse, int T,
                                           int NH) {
    constexpr int CHUNKS = HS / 8;
    const int b = blockIdx.x / NH, h = blockIdx.x % NH, padded = round_up(T, ROW_PADDING);
    const int t = blockIdx.y * (THREADS / CHUNKS) + threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
    float delta = 0.f;
    if (t < T) {
        const long at = (((long)b * T + t) * NH + h) * HS + chunk * 8;
        const Pack8 x = load8(dout + at), y = load8_streaming(out + at);
#pragma unroll
        for (int i = 0; i < 8; i++) delta = fmaf(__bfloat162float(x.values[i]), __bfloat162float(y.values[i]), delta);
    }
#pragma unroll
    for (int offset = CHUNKS / 2; offset > 0; offset /= 2) delta += __shfl_xor_sync(ALL_LANES, delta, offset);
    if (chunk == 0) {
        float *row = rows + (long)blockIdx.x * 2 * padded + t;
        row[0] = t < T ? lse[(long)blockIdx.x * T + t] * LOG2_E : 0.f;
        row[padded] = delta;
    }
}

template <int HS, int MT, int QUERIES>
struct KeysShared {
    bf16 k[MT * 64 * HS], v[MT * 64 * HS];
    bf16 q[2][QUERIES * HS], dout[2][QUERIES * HS];
    float rows[2][2][QUERIES];  // lse / ln 2, then delta: of both tiles
};

// Turns scores into probabilities, where columns are queries. `lse` belongs to this lane's first column, in units of
// ln 2.
template <int MT, int NT>
__device__ __forceinline__ void probabilities(float (&p)[MT][NT][4], const float *lse, float to_log2) {
#pragma unroll
    for (int n = 0; n < NT; n++) {
        const float2 pair = *reinterpret_cast<const float2 *>(lse + n * 8);
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                p[m][n][e] = exp2_approximate(fmaf(p[m][n][e], to_log2, -(e % 2 ? pair.y : pair.x)));
    }
}

// Computes dK and dV. Scores are computed transposed, keys by queries: a warp's probabilities are then the left side of
// its products, and stay in registers.
//   launch     grid (NH*B, ceil(T / KEYS_OWNED)), block THREADS, dynamic shared memory for KeysShared
//   floor      attention_backward_keys: 12*B*T*NH*HS + 8*B*T*NH bytes, 4*B*NH*HS*T*(T + 1) FLOPs; four products
template <int HS, int MT, int QUERIES>
__device__ __forceinline__ void keys(bf16 *dqkv, const float *rows, const bf16 *dout, const bf16 *qkv, int T, int NH,
                                     float scale) {
    typedef KeysShared<HS, MT, QUERIES> Tiles;
    DYN_SHARED(Tiles, shared);
    const int b = blockIdx.x / NH, h = blockIdx.x % NH, lane = threadIdx.x % 32;
    // Earlier keys are seen by more queries: the longest blocks start first.
    const int first = blockIdx.y * (MT * 64), row = threadIdx.x / 32 * (MT * 16);
    const int stride = 3 * NH * HS, begin = first / QUERIES, tiles = (T + QUERIES - 1) / QUERIES;
    const long head = (long)b * T * stride + h * HS;
    const bf16 *q = qkv + head, *dout_head = dout + (long)b * T * NH * HS + h * HS;
    rows += (long)blockIdx.x * 2 * round_up(T, ROW_PADDING);

    copy_tile<HS, MT * 64>(shared->k, q + NH * HS, first, T, stride);
    copy_tile<HS, MT * 64>(shared->v, q + 2 * NH * HS, first, T, stride);
    // The zeros that stand for queries from T on add nothing to dK and dV.
    Stream<HS, QUERIES> stream(q, dout_head, stride, NH * HS, begin * QUERIES, T);
    stream.copy(shared->q, shared->dout);
    // Of the queries' statistics, QUERIES / 4 threads copy one kind and as many the other.
    const int kind = threadIdx.x / (QUERIES / 4), place = threadIdx.x % (QUERIES / 4) * 4;
    rows += kind * round_up(T, ROW_PADDING) + begin * QUERIES + place;
    float *rows_to = shared->rows[0][0] + kind * 2 * QUERIES + place;
    if (kind < 2) cp_async16(rows_to, rows);
    cp_async_commit();

    float dk[MT][HS / 8][4], dv[MT][HS / 8][4];
    clear(dk);
    clear(dv);
    const int own = row * HS + piece_lane<HS>();
    int ahead = begin * QUERIES - first - row, rows_at = lane % 4 * 2;
    for (int j = begin; j < tiles; j++, ahead += QUERIES, rows_at ^= QUERIES, stream.next()) {
        cp_async_wait<0>();
        __syncthreads();  // tile j has arrived, and all warps are done with tile j - 1
        if (j + 1 < tiles) {
            stream.copy(shared->q, shared->dout);
            rows += QUERIES;
            if (kind < 2) cp_async16(rows_to + (j + 1 - begin) % 2 * QUERIES, rows);
            cp_async_commit();
        }
        if (ahead + QUERIES <= 0) continue;  // all queries come before this warp's keys
        float p[MT][QUERIES / 8][4], ds[MT][QUERIES / 8][4];
        product<HS>(p, shared->k, own, shared->q[0], stream.transposed);
        if (ahead < MT * 16 - 1) hide_the_future<true>(p, ahead);
        probabilities(p, shared->rows[0][0] + rows_at, scale * LOG2_E);
        multiply_add<HS>(dv, p, shared->dout[0], stream.piece);
        product<HS>(ds, shared->v, own, shared->dout[0], stream.transposed);
#pragma unroll
        for (int n = 0; n < QUERIES / 8; n++) {
            const float2 delta = *reinterpret_cast<const float2 *>(shared->rows[1][0] + rows_at + n * 8);
#pragma unroll
            for (int m = 0; m < MT; m++)
#pragma unroll
                for (int e = 0; e < 4; e++) ds[m][n][e] = p[m][n][e] * (ds[m][n][e] - (e % 2 ? delta.y : delta.x));
        }
        multiply_add<HS>(dk, ds, shared->q[0], stream.piece);
    }
    float ones[MT][2], scales[MT][2];
#pragma unroll
    for (int m = 0; m < MT; m++) {
        ones[m][0] = ones[m][1] = 1.f;
        scales[m][0] = scales[m][1] = scale;
    }
    const int block = not_before(blockIdx.x);
    dqkv += (long)(block / NH) * T * stride + block % NH * HS;
    store_rows<HS>(dqkv + NH * HS, shared->k, dk, scales, row, first, T, stride);
    store_rows<HS>(dqkv + 2 * NH * HS, shared->v, dv, ones, row, first, T, stride);
}

template <int HS, int MT, int KEYS>
struct QueriesShared {
    bf16 q[MT * 64 * HS], dout[MT * 64 * HS];
    bf16 k[2][KEYS * HS], v[2][KEYS * HS];
};

// Computes dQ.
//   launch     grid (NH*B, ceil(T / QUERIES_OWNED)), block THREADS, dynamic shared memory for QueriesShared
//   floor      attention_backward_queries: 10*B*T*NH*HS + 8*B*T*NH bytes, 3*B*NH*HS*T*(T + 1) FLOPs; three products
template <int HS, int MT, int KEYS>
__device__ __forceinline__ void queries(bf16 *dqkv, const float *rows, const bf16 *dout, const bf16 *qkv, int T, int NH,
                                        float scale) {
    typedef QueriesShared<HS, MT, KEYS> Tiles;
    DYN_SHARED(Tiles, shared);
    const int b = blockIdx.x / NH, h = blockIdx.x % NH, lane = threadIdx.x % 32, padded = round_up(T, ROW_PADDING);
    // Later queries see more keys: the longest blocks start first.
    const int first = (gridDim.y - 1 - blockIdx.y) * (MT * 64), row = threadIdx.x / 32 * (MT * 16);
    const int stride = 3 * NH * HS, tiles = (min(first + MT * 64, T) + KEYS - 1) / KEYS;
    const long head = (long)b * T * stride + h * HS;
    const bf16 *k = qkv + head + NH * HS, *v = k + NH * HS;

    copy_tile<HS, MT * 64>(shared->q, qkv + head, first, T, stride);
    copy_tile<HS, MT * 64>(shared->dout, dout + (long)b * T * NH * HS + h * HS, first, T, NH * HS);
    Stream<HS, KEYS> stream(k, v, stride, stride, 0, T);
    stream.copy(shared->k, shared->v);
    cp_async_commit();

    float dq[MT][HS / 8][4], lse[MT][2], delta[MT][2], scales[MT][2];
    clear(dq);
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const float *at = rows + (long)blockIdx.x * 2 * padded + first + row + m * 16 + r * 8 + lane / 4;
            lse[m][r] = at[0];
            delta[m][r] = at[padded];
            scales[m][r] = scale;
        }
    cp_async_wait<0>();
    __syncthreads();  // the block's own rows have arrived; they stay in registers
    const int own = row * HS + piece_lane<HS>();
    uint32_t q_pieces[HS / 16][MT][4], dout_pieces[HS / 16][MT][4];
    read_pieces<HS>(q_pieces, shared->q, own);
    read_pieces<HS>(dout_pieces, shared->dout, own);
    int ahead = -first - row;
    for (int j = 0; j < tiles; j++, ahead += KEYS, stream.next()) {
        cp_async_wait<0>();
        __syncthreads();  // tile j has arrived, and all warps are done with tile j - 1
        if (j + 1 < tiles) {
            stream.copy(shared->k, shared->v);
            cp_async_commit();
        }
        if (ahead >= MT * 16) continue;  // all keys come after this warp's queries
        float p[MT][KEYS / 8][4], ds[MT][KEYS / 8][4];
        product<HS>(p, q_pieces, shared->k[0], stream.transposed);
        if (ahead + KEYS > 1) hide_the_future<false>(p, ahead);
        product<HS>(ds, dout_pieces, shared->v[0], stream.transposed);
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    ds[m][n][e] = exp2_approximate(fmaf(p[m][n][e], scale * LOG2_E, -lse[m][e / 2])) *
                                  (ds[m][n][e] - delta[m][e / 2]);
        multiply_add<HS>(dq, ds, shared->k[0], stream.piece);
    }
    store_rows<HS>(dqkv + head, shared->q, dq, scales, row, first, T, stride);
}

// For each of HEAD_SIZES: rows that a block owns, and rows of a tile that it streams past them.
constexpr int KEYS_OWNED[] = {128, 128, 64}, QUERIES_STREAMED[] = {32, 32, 32};
constexpr int QUERIES_OWNED[] = {128, 128, 64}, KEYS_STREAMED[] = {32, 32, 32};
// Blocks per SM: without a number, the compiler stops at 128 registers and spills.
constexpr int BLOCKS[] = {3, 2, 2};

#define ATTENTION_BACKWARD(HS)                                                                                         \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                              \
        attention_backward_rows_##HS(float *__restrict__ rows, const bf16 *__restrict__ dout,                          \
                                     const bf16 *__restrict__ out, const float *__restrict__ lse, int T, int NH) {     \
        statistics<HS>(rows, dout, out, lse, T, NH);                                                                   \
    }                                                                                                                  \
    KERNEL_EXPORT(attention_backward_rows_##HS);                                                                       \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS[place_of(HS)])                                        \
        attention_backward_keys_##HS(bf16 *__restrict__ dqkv, const float *__restrict__ rows,                          \
                                     const bf16 *__restrict__ dout, const bf16 *__restrict__ qkv, int T, int NH,       \
                                     float scale) {                                                                    \
        constexpr int AT = place_of(HS);                                                                               \
        keys<HS, tiles_of_warp(KEYS_OWNED[AT]), QUERIES_STREAMED[AT]>(dqkv, rows, dout, qkv, T, NH, scale);            \
    }                                                                                                                  \
    KERNEL_EXPORT(attention_backward_keys_##HS);                                                                       \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS[place_of(HS)])                                        \
        attention_backward_queries_##HS(bf16 *__restrict__ dqkv, const float *__restrict__ rows,                       \
                                        const bf16 *__restrict__ dout, const bf16 *__restrict__ qkv, int T, int NH,    \
                                        float scale) {                                                                 \
        constexpr int AT = place_of(HS);                                                                               \
        queries<HS, tiles_of_warp(QUERIES_OWNED[AT]), KEYS_STREAMED[AT]>(dqkv, rows, dout, qkv, T, NH, scale);         \
    }                                                                                                                  \
    KERNEL_EXPORT(attention_backward_queries_##HS);
FOR_EACH_HEAD_SIZE(ATTENTION_BACKWARD)
