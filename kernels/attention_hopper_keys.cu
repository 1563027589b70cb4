#include "attention_hopper.cuh"

// The gradients of the keys and values in attention_hopper.cuh, by blocks of keys. Scores are computed transposed, keys
// by queries: the probabilities are then the left side of the products for dv and dk, and stay in registers.
//   maths      dv[j] = sum_i p[i,j] dout[i];  dk[j] = scale * sum_i p[i,j] (dout[i] . v[j] - delta[i]) q[i]
//              the factors of dout and q are rounded to bf16
//   shapes     qkv, dqkv (B,T,3,NH,HS), dout (B,T,NH,HS) bf16, by their tensor maps; rows: see the other pass
//   writes     the keys' and the values' part of dqkv: every element, overwritten (=)
//   card       sm_90a alone
//   launch     behind the pass over the queries; as the forward pass, with KeysShared
//   floor      12*B*T*NH*HS + 8*B*T*NH bytes, 4*B*NH*HS*T*(T + 1) FLOPs
//   reference  cpu::attention::backward
// For head sizes 64 and 128: warpgroups that compute, and bytes of KeysShared.
constexpr int WARPGROUPS[] = {2, 2}, SHARED_BYTES[] = {165952, 197680};

// Queries to a tile, tiles of queries, tiles of own rows: the fastest on an H100, at every T.
template <int HS>
struct KeysSizes {
    static constexpr int WGS = WARPGROUPS[HS / 128], QUERIES = HS == 64 ? 128 : 64, TILES = 2, OWN = HS == 64 ? 2 : 1;
    static constexpr int THREADS = (WGS + 1) * WARPGROUP, OWNED = WGS * BOX_ROWS;
    static_assert(ROW_PADDING % QUERIES == 0, "tiles end within the padded rows");
};

template <int HS>
struct KeysShared {
    typedef KeysSizes<HS> Sizes;
    bf16 k[Sizes::OWN][Sizes::WGS][BOX_ROWS * HS], v[Sizes::OWN][Sizes::WGS][BOX_ROWS * HS];
    bf16 q[Sizes::TILES][Sizes::QUERIES * HS], dout[Sizes::TILES][Sizes::QUERIES * HS];
    bf16 dk[Sizes::WGS][BOX_ROWS * HS], dv[Sizes::WGS][BOX_ROWS * HS];
    float rows[Sizes::TILES][2][Sizes::QUERIES];
    Stages<Sizes::OWN, Sizes::WGS> own;
    Stages<Sizes::TILES, Sizes::WGS> queries;
};

struct KeysMaps {
    const CUtensorMap *qkv, *dout, *dqkv;
};

template <int HS>
__device__ __forceinline__ void keys_load(KeysShared<HS> &shared, const KeysMaps &maps, const float *rows, int T,
                                          int NH, Pieces<false> pieces) {
    typedef KeysSizes<HS> Sizes;
    constexpr int QUERIES = Sizes::QUERIES;
    registers_down<loader_registers(Sizes::WGS)>();
    if (threadIdx.x != 0) return;
    const int tiles = (T + QUERIES - 1) / QUERIES, padded = padded_rows(T);
    Ring<Sizes::TILES> ring;
    Ring<Sizes::OWN> own;
    int head, block;
    while (pieces.next(head, block)) {
        const int b = head / NH, h = head % NH, first = block * Sizes::OWNED;
        uint64_t *full = &shared.own.full[own.at];
        wait_phase(&shared.own.empty[own.at], own.phase ^ 1);
        mbarrier_arrive_expect(full, 2 * Sizes::OWNED * HS * 2);
#pragma unroll 1
        for (int w = 0; w < Sizes::WGS; w++) {
            load_rows<HS, BOX_ROWS>(shared.k[own.at][w], maps.qkv, full, NH + h, first + w * BOX_ROWS, b);
            load_rows<HS, BOX_ROWS>(shared.v[own.at][w], maps.qkv, full, 2 * NH + h, first + w * BOX_ROWS, b);
        }
        own.next();
        for (int t = first / QUERIES; t < tiles; t++) {
            full = &shared.queries.full[ring.at];
            wait_phase(&shared.queries.empty[ring.at], ring.phase ^ 1);
            mbarrier_arrive_expect(full, 2 * QUERIES * HS * 2 + 2 * QUERIES * 4);
            load_rows<HS, QUERIES>(shared.q[ring.at], maps.qkv, full, h, t * QUERIES, b);
            const float *from = rows + (long)head * 2 * padded + t * QUERIES;
            bulk_load(shared.rows[ring.at][0], from, QUERIES * 4, full);
            bulk_load(shared.rows[ring.at][1], from + padded, QUERIES * 4, full);
            load_rows<HS, QUERIES>(shared.dout[ring.at], maps.dout, full, h, t * QUERIES, b);
            ring.next();
        }
    }
}

// A computing warpgroup. The products of a tile are over before those of the next tile begin: both sums, scores and
// their gradients are all that the registers hold.
template <int HS>
struct KeysComputer {
    typedef KeysSizes<HS> Sizes;
    static constexpr int QUERIES = Sizes::QUERIES;
    // In units of descriptors.
    static constexpr int TILE = QUERIES * HS * 2 / 16, OWN_TILE = Sizes::OWNED * HS * 2 / 16;
    KeysShared<HS> &shared;
    const float scale, to_log2;
    const int wg;
    const uint64_t k_tiles, v_tiles, q_tiles, dout_tiles;
    Ring<Sizes::TILES> ring;
    Ring<Sizes::OWN> own;

    __device__ __forceinline__ KeysComputer(KeysShared<HS> &shared, float scale, int wg)
        : shared(shared), scale(scale), to_log2(scale * LOG2_E), wg(wg), k_tiles(descriptor(shared.k[0][wg])),
          v_tiles(descriptor(shared.v[0][wg])), q_tiles(descriptor(shared.q[0], QUERIES * 128)),
          dout_tiles(descriptor(shared.dout[0], QUERIES * 128)) {}

    __device__ __forceinline__ void release_tile() {
        warp_arrive(&shared.queries.empty[ring.at]);
        ring.next();
    }
    __device__ __forceinline__ void skip_tile() {
        wait_phase(&shared.queries.full[ring.at], ring.phase);
        release_tile();
    }
    __device__ __forceinline__ void release_own() { warp_arrive(&shared.own.empty[own.at]); }

    // Scores -> probabilities.
    __device__ __forceinline__ void exponentials(float (&s)[QUERIES / 2], const float *column) {
#pragma unroll
        for (int n = 0; n < QUERIES / 8; n++) {
            const float2 lse = *reinterpret_cast<const float2 *>(column + n * 8);
#pragma unroll
            for (int e = 0; e < 4; e++)
                s[4 * n + e] = exp2_approximate(fmaf(s[4 * n + e], to_log2, -(e % 2 ? lse.y : lse.x)));
        }
    }
    // dp -> gradients of the scores.
    __device__ __forceinline__ void score_gradients(float (&dp)[QUERIES / 2], const float (&p)[QUERIES / 2],
                                                    const float *column) {
#pragma unroll
        for (int n = 0; n < QUERIES / 8; n++) {
            const float2 delta = *reinterpret_cast<const float2 *>(column + QUERIES + n * 8);
#pragma unroll
            for (int e = 0; e < 4; e++) dp[4 * n + e] = p[4 * n + e] * (dp[4 * n + e] - (e % 2 ? delta.y : delta.x));
        }
    }
    // `ahead`: the tile's first query less the warpgroup's first key, for the first tile that sees these keys.
    __device__ __forceinline__ void tile(float (&dk)[HS / 2], float (&dv)[HS / 2], bool first, bool last, int ahead) {
        float s[QUERIES / 2], dp[QUERIES / 2];
        uint32_t p[QUERIES / 16][4], ds[QUERIES / 16][4];
        wait_phase(&shared.queries.full[ring.at], ring.phase);
        const uint64_t q = q_tiles + ring.at * TILE, dout = dout_tiles + ring.at * TILE;
        wgmma_fence();
        product<HS, QUERIES>(s, k_tiles + own.at * OWN_TILE, q);
        wgmma_commit();
        product<HS, QUERIES>(dp, v_tiles + own.at * OWN_TILE, dout);
        wgmma_commit();
        wgmma_wait<1>();
        pin(s);
        if (first) hide_the_future<true>(s, ahead);
        const float *column = shared.rows[ring.at][0] + threadIdx.x % 4 * 2;
        exponentials(s, column);
        compute_here(s[QUERIES / 2 - 1] + s[QUERIES / 2 - 6] + s[QUERIES / 2 - 11] + s[QUERIES / 2 - 16]);
        wgmma_wait<0>();
        pin(dp);
        if (last) release_own();
        score_gradients(dp, s, column);
        to_left_side<QUERIES>(p, s);
        to_left_side<QUERIES>(ds, dp);
        wgmma_fence();
        multiply_add<QUERIES>(dv, p, dout);
        multiply_add<QUERIES>(dk, ds, q);
        wgmma_commit();
        wgmma_wait<0>();
        pin(dk);
        pin(dv);
        pin_left(p);
        pin_left(ds);
        release_tile();
    }
    __device__ __forceinline__ void store(const float (&dk)[HS / 2], const float (&dv)[HS / 2], const CUtensorMap *map,
                                          int NH, int h, int row, int b) {
        const bool leader = threadIdx.x % WARPGROUP == 0;
        if (leader) bulk_wait_read<0>();
        named_sync(1 + wg, WARPGROUP);
        stage_rows<HS>(shared.dk[wg], dk, scale, scale);
        stage_rows<HS>(shared.dv[wg], dv, 1.f, 1.f);
        fence_proxy_async();
        named_sync(1 + wg, WARPGROUP);
        if (leader) {
            store_rows<HS>(map, shared.dk[wg], NH + h, row, b);
            store_rows<HS>(map, shared.dv[wg], 2 * NH + h, row, b);
            bulk_commit();
        }
    }
};

template <int HS>
__device__ __forceinline__ void keys_compute(KeysShared<HS> &shared, const KeysMaps &maps, int T, int NH, float scale,
                                             Pieces<false> pieces) {
    typedef KeysSizes<HS> Sizes;
    registers_up<computer_registers(Sizes::WGS)>();
    const int wg = __shfl_sync(ALL_LANES, threadIdx.x / WARPGROUP, 0) - 1;
    const int tiles = (T + Sizes::QUERIES - 1) / Sizes::QUERIES;
    KeysComputer<HS> computer(shared, scale, wg);
    int head, block;
    while (pieces.next(head, block)) {
        const int first = block * Sizes::OWNED, row = first + wg * BOX_ROWS;
        const int mine = row < T ? row / Sizes::QUERIES : tiles;
        for (int t = first / Sizes::QUERIES; t < mine; t++) computer.skip_tile();
        wait_phase(&shared.own.full[computer.own.at], computer.own.phase);
        if (mine == tiles) {
            computer.release_own();
            computer.own.next();
            continue;
        }
        float dk[HS / 2], dv[HS / 2];
        clear(dk);
        clear(dv);
        for (int t = mine; t < tiles; t++)
            computer.tile(dk, dv, t == mine, t == tiles - 1, t * Sizes::QUERIES - row);
        computer.own.next();
        computer.store(dk, dv, maps.dqkv, NH, head % NH, row, head / NH);
    }
    if (threadIdx.x % WARPGROUP == 0) bulk_wait<0>();
}

template <int HS>
__device__ __forceinline__ void keys(KeysShared<HS> &shared, const KeysMaps &maps, const float *rows, int B, int T,
                                     int NH, float scale) {
    typedef KeysSizes<HS> Sizes;
    static_assert(sizeof(KeysShared<HS>) == SHARED_BYTES[HS / 128], "the launch has room for it");
    begin({maps.qkv, maps.dout, maps.dqkv}, shared.own, shared.queries);
    const Pieces<false> pieces(B * NH, (T + Sizes::OWNED - 1) / Sizes::OWNED);
    if (threadIdx.x < WARPGROUP) {
        keys_load<HS>(shared, maps, rows, T, NH, pieces);
    } else {
        keys_compute<HS>(shared, maps, T, NH, scale, pieces);
    }
}

#define ATTENTION_HOPPER_KEYS(HS)                                                                                      \
    extern "C" __global__ void __launch_bounds__(KeysSizes<HS>::THREADS, 1)                                            \
        attention_hopper_keys_##HS(LOAD_MAP qkv, LOAD_MAP dout, STORE_MAP dqkv, const float *__restrict__ rows, int B, \
                                   int T, int NH, float scale) {                                                       \
        DYN_SHARED(KeysShared<HS>, shared);                                                                            \
        keys<HS>(*shared, {&qkv, &dout, &dqkv}, rows, B, T, NH, scale);                                                \
    }                                                                                                                  \
    KERNEL_EXPORT(attention_hopper_keys_##HS);
FOR_EACH_HEAD_SIZE(ATTENTION_HOPPER_KEYS)
