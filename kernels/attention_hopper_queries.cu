#include "attention_hopper.cuh"

// The gradients of the queries in attention_hopper.cuh, by blocks of queries; with them the statistics of the rows,
// which the pass over the keys (attention_hopper_keys.cuh) reads.
//   maths      p[i,j] = exp(s[i,j] - lse[i]);  delta[i] = dout[i] . out[i]
//              dq[i] = scale * sum_j p[i,j] (dout[i] . v[j] - delta[i]) k[j], the factor of k rounded to bf16
//   shapes     qkv, dqkv (B,T,3,NH,HS), dout, out (B,T,NH,HS) bf16, by their tensor maps; lse (B,NH,T) f32;
//              rows (B*NH, 2, T padded to ROW_PADDING) f32: lse / ln 2, then delta; zeros from T on
//   writes     the queries' part of dqkv, rows: every element, overwritten (=)
//   card       sm_90a alone
//   launch     as the forward pass, with QueriesShared
//   floor      12*B*T*NH*HS + 12*B*T*NH bytes, 3*B*NH*HS*T*(T + 1) FLOPs
//   reference  cpu::attention::backward
// For head sizes 64 and 128: warpgroups that compute, and bytes of QueriesShared.
constexpr int WARPGROUPS[] = {2, 2}, SHARED_BYTES[] = {180288, 196656};

// Keys to a tile, tiles of keys and values, tiles of own rows: the fastest on an H100, or as fast as any.
template <int HS>
struct QueriesSizes {
    static constexpr int WGS = WARPGROUPS[HS / 128], KEYS = HS == 64 ? 128 : 64, TILES = 2, OWN = HS == 64 ? 2 : 1;
    static constexpr int THREADS = (WGS + 1) * WARPGROUP, OWNED = WGS * BOX_ROWS;
    static_assert(OWNED % ROW_PADDING == 0, "a block's rows end where padded rows may end");
};

template <int HS>
struct QueriesShared {
    typedef QueriesSizes<HS> Sizes;
    bf16 q[Sizes::OWN][Sizes::WGS][BOX_ROWS * HS], dout[Sizes::OWN][Sizes::WGS][BOX_ROWS * HS];
    bf16 out[Sizes::OWN][Sizes::WGS][BOX_ROWS * HS];
    bf16 k[Sizes::TILES][Sizes::KEYS * HS], v[Sizes::TILES][Sizes::KEYS * HS];
    bf16 dq[Sizes::WGS][BOX_ROWS * HS];
    Stages<Sizes::OWN, Sizes::WGS> own;
    Stages<Sizes::TILES, Sizes::WGS> keys;
};

struct QueriesMaps {
    const CUtensorMap *qkv, *dout, *out, *dqkv;
};

template <int HS>
__device__ __forceinline__ void queries_load(QueriesShared<HS> &shared, const QueriesMaps &maps, int T, int NH,
                                             Pieces<true> pieces) {
    typedef QueriesSizes<HS> Sizes;
    registers_down<loader_registers(Sizes::WGS)>();
    if (threadIdx.x != 0) return;
    Ring<Sizes::TILES> ring;
    Ring<Sizes::OWN> own;
    int head, block;
    while (pieces.next(head, block)) {
        const int b = head / NH, h = head % NH, first = block * Sizes::OWNED;
        uint64_t *full = &shared.own.full[own.at];
        wait_phase(&shared.own.empty[own.at], own.phase ^ 1);
        mbarrier_arrive_expect(full, 3 * Sizes::OWNED * HS * 2);
#pragma unroll 1
        for (int w = 0; w < Sizes::WGS; w++) {
            load_rows<HS, BOX_ROWS>(shared.q[own.at][w], maps.qkv, full, h, first + w * BOX_ROWS, b);
            load_rows<HS, BOX_ROWS>(shared.dout[own.at][w], maps.dout, full, h, first + w * BOX_ROWS, b);
            load_rows<HS, BOX_ROWS>(shared.out[own.at][w], maps.out, full, h, first + w * BOX_ROWS, b);
        }
        own.next();
        for (int j = (min(first + Sizes::OWNED, T) - 1) / Sizes::KEYS; j >= 0; j--) {
            full = &shared.keys.full[ring.at];
            wait_phase(&shared.keys.empty[ring.at], ring.phase ^ 1);
            mbarrier_arrive_expect(full, 2 * Sizes::KEYS * HS * 2);
            load_rows<HS, Sizes::KEYS>(shared.k[ring.at], maps.qkv, full, NH + h, j * Sizes::KEYS, b);
            load_rows<HS, Sizes::KEYS>(shared.v[ring.at], maps.qkv, full, 2 * NH + h, j * Sizes::KEYS, b);
            ring.next();
        }
    }
}

// delta of this thread's two rows: of 64 rows in tiles of the copy engine.
template <int HS>
__device__ __forceinline__ void row_products(float (&delta)[2], const bf16 *dout, const bf16 *out) {
    const char *x = reinterpret_cast<const char *>(dout), *y = reinterpret_cast<const char *>(out);
#pragma unroll
    for (int r = 0; r < 2; r++) {
        delta[r] = 0.f;
#pragma unroll
        for (int n = 0; n < HS / 8; n++) {
            const uint32_t u = *reinterpret_cast<const uint32_t *>(x + pair_at(n, r));
            const uint32_t w = *reinterpret_cast<const uint32_t *>(y + pair_at(n, r));
            delta[r] = fmaf(__uint_as_float(u << 16), __uint_as_float(w << 16), delta[r]);
            delta[r] = fmaf(__uint_as_float(u & 0xffff0000u), __uint_as_float(w & 0xffff0000u), delta[r]);
        }
        delta[r] += __shfl_xor_sync(ALL_LANES, delta[r], 1);
        delta[r] += __shfl_xor_sync(ALL_LANES, delta[r], 2);
    }
}

// A computing warpgroup.
template <int HS>
struct QueriesComputer {
    typedef QueriesSizes<HS> Sizes;
    static constexpr int KEYS = Sizes::KEYS;
    // In units of descriptors.
    static constexpr int TILE = KEYS * HS * 2 / 16, OWN_TILE = Sizes::OWNED * HS * 2 / 16;
    QueriesShared<HS> &shared;
    const float scale, to_log2;
    const int wg;
    const uint64_t q_tiles, dout_tiles, k_tiles, v_tiles;
    Ring<Sizes::TILES> ring;
    Ring<Sizes::OWN> own;
    // Of this thread's rows; the buffer of the tile before.
    float row_lse[2], delta[2];
    int before = 0;

    __device__ __forceinline__ QueriesComputer(QueriesShared<HS> &shared, float scale, int wg)
        : shared(shared), scale(scale), to_log2(scale * LOG2_E), wg(wg), q_tiles(descriptor(shared.q[0][wg])),
          dout_tiles(descriptor(shared.dout[0][wg])), k_tiles(descriptor(shared.k[0], KEYS * 128)),
          v_tiles(descriptor(shared.v[0])) {}

    __device__ __forceinline__ void skip_tile() {
        wait_phase(&shared.keys.full[ring.at], ring.phase);
        warp_arrive(&shared.keys.empty[ring.at]);
        ring.next();
    }
    __device__ __forceinline__ void release_own() { warp_arrive(&shared.own.empty[own.at]); }

    // Reads lse, writes `rows` of a head.
    __device__ __forceinline__ void statistics(float *rows, const float *lse, int T, int row) {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4, padded = padded_rows(T);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int query = row + warp * 16 + r * 8 + lane / 4;
            row_lse[r] = query < T ? lse[query] * LOG2_E : 0.f;
        }
        wait_phase(&shared.own.full[own.at], own.phase);
        row_products<HS>(delta, shared.dout[own.at][wg], shared.out[own.at][wg]);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int query = row + warp * 16 + r * 8 + lane / 4;
            if (lane % 4 == 0 && query < padded) {
                rows[query] = row_lse[r];
                rows[padded + query] = delta[r];
            }
        }
    }

    __device__ __forceinline__ void finish_sums(float (&dq)[HS / 2], uint32_t (&ds)[KEYS / 16][4]) {
        pin(dq);
        pin_left(ds);
    }
    // `ahead`: the tile's first key less the warpgroup's first row, for the first tile, which is the last that the rows
    // see.
    __device__ __forceinline__ void tile(float (&dq)[HS / 2], uint32_t (&ds)[KEYS / 16][4], bool first, bool last,
                                         int ahead) {
        float s[KEYS / 2], dp[KEYS / 2];
        wait_phase(&shared.keys.full[ring.at], ring.phase);
        const uint64_t k = k_tiles + ring.at * TILE;
        wgmma_fence();
        product<HS, KEYS>(s, q_tiles + own.at * OWN_TILE, k);
        wgmma_commit();
        product<HS, KEYS>(dp, dout_tiles + own.at * OWN_TILE, v_tiles + ring.at * TILE);
        wgmma_commit();
        wgmma_wait<1>();  // the scores, and the tile before
        pin(s);
        finish_sums(dq, ds);
        if (!first) warp_arrive(&shared.keys.empty[before]);
        if (first) hide_the_future<false>(s, ahead);
#pragma unroll
        for (int n = 0; n < KEYS / 2; n++) s[n] = exp2_approximate(fmaf(s[n], to_log2, -row_lse[n / 2 % 2]));
        compute_here(s[KEYS / 2 - 1] + s[KEYS / 2 - 6] + s[KEYS / 2 - 11] + s[KEYS / 2 - 16]);
        wgmma_wait<0>();
        pin(dp);
        if (last) release_own();
#pragma unroll
        for (int n = 0; n < KEYS / 2; n++) s[n] *= dp[n] - delta[n / 2 % 2];
        to_left_side<KEYS>(ds, s);
        wgmma_fence();
        multiply_add<KEYS>(dq, ds, k);
        wgmma_commit();
        before = ring.at;
        ring.next();
    }
    // The gradients of 64 rows, whose last product is under way.
    __device__ __forceinline__ void store(float (&dq)[HS / 2], uint32_t (&ds)[KEYS / 16][4], const CUtensorMap *map,
                                          int h, int row, int b) {
        const bool leader = threadIdx.x % WARPGROUP == 0;
        if (leader) bulk_wait_read<0>();
        wgmma_wait<0>();
        finish_sums(dq, ds);
        warp_arrive(&shared.keys.empty[before]);
        named_sync(1 + wg, WARPGROUP);
        stage_rows<HS>(shared.dq[wg], dq, scale, scale);
        fence_proxy_async();
        named_sync(1 + wg, WARPGROUP);
        if (leader) {
            store_rows<HS>(map, shared.dq[wg], h, row, b);
            bulk_commit();
        }
    }
};

template <int HS>
__device__ __forceinline__ void queries_compute(QueriesShared<HS> &shared, const QueriesMaps &maps, float *rows,
                                                const float *lse, int T, int NH, float scale, Pieces<true> pieces) {
    typedef QueriesSizes<HS> Sizes;
    registers_up<computer_registers(Sizes::WGS)>();
    const int wg = __shfl_sync(ALL_LANES, threadIdx.x / WARPGROUP, 0) - 1;
    QueriesComputer<HS> computer(shared, scale, wg);
    int head, block;
    while (pieces.next(head, block)) {
        const int first = block * Sizes::OWNED, row = first + wg * BOX_ROWS;
        const int last = (min(first + Sizes::OWNED, T) - 1) / Sizes::KEYS;
        const int mine = row < T ? min(row + BOX_ROWS - 1, T - 1) / Sizes::KEYS : -1;
        for (int j = last; j > mine; j--) computer.skip_tile();
        computer.statistics(rows + (long)head * 2 * padded_rows(T), lse + (long)head * T, T, row);
        if (mine < 0) {
            computer.release_own();
            computer.own.next();
            continue;
        }
        float dq[HS / 2];
        uint32_t ds[Sizes::KEYS / 16][4];
        clear(dq);
        for (int j = mine; j >= 0; j--) computer.tile(dq, ds, j == mine, j == 0, j * Sizes::KEYS - row);
        computer.own.next();
        computer.store(dq, ds, maps.dqkv, head % NH, row, head / NH);
    }
    if (threadIdx.x % WARPGROUP == 0) bulk_wait<0>();
}

template <int HS>
__device__ __forceinline__ void queries(QueriesShared<HS> &shared, const QueriesMaps &maps, float *rows,
                                        const float *lse, int B, int T, int NH, float scale) {
    typedef QueriesSizes<HS> Sizes;
    static_assert(sizeof(QueriesShared<HS>) == SHARED_BYTES[HS / 128], "the launch has room for it");
    begin({maps.qkv, maps.dout, maps.out, maps.dqkv}, shared.own, shared.keys);
    const Pieces<true> pieces(B * NH, (T + Sizes::OWNED - 1) / Sizes::OWNED);
    if (threadIdx.x < WARPGROUP) {
        queries_load<HS>(shared, maps, T, NH, pieces);
    } else {
        queries_compute<HS>(shared, maps, rows, lse, T, NH, scale, pieces);
    }
}

#define ATTENTION_HOPPER_QUERIES(HS)                                                                                   \
    extern "C" __global__ void __launch_bounds__(QueriesSizes<HS>::THREADS, 1)                                         \
        attention_hopper_queries_##HS(LOAD_MAP qkv, LOAD_MAP dout, LOAD_MAP out, STORE_MAP dqkv,                       \
                                      float *__restrict__ rows, const float *__restrict__ lse, int B, int T, int NH,   \
                                      float scale) {                                                                   \
        DYN_SHARED(QueriesShared<HS>, shared);                                                                         \
        queries<HS>(*shared, {&qkv, &dout, &out, &dqkv}, rows, lse, B, T, NH, scale);                                  \
    }                                                                                                                  \
    KERNEL_EXPORT(attention_hopper_queries_##HS);
FOR_EACH_HEAD_SIZE(ATTENTION_HOPPER_QUERIES)
