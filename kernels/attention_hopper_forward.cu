#include "attention_hopper.cuh"

// The forward pass of attention_hopper.cuh. The softmax of a tile runs beside the product of the probabilities of the
// tile before it with the values; nothing of size T x T is stored.
//   maths      s[i,j] = scale * q[i] . k[j] for j <= i;  lse[i] = log sum_j exp(s[i,j])
//              out[i] = sum_j exp(s[i,j] - lse[i]) v[j]
//              exp(s[i,j] - running reference) is summed in f32, then rounded to bf16 for the tensor cores
//   shapes     qkv (B,T,3,NH,HS), out (B,T,NH,HS) bf16, by their tensor maps; lse (B,NH,T) f32
//   writes     out, lse: every element, overwritten (=)
//   card       sm_90a alone
//   launch     grid: as many blocks as the card has multiprocessors, or as there are pairs of pieces of work; block
//              (WARPGROUPS + 1) * WARPGROUP, dynamic shared memory for ForwardShared
//   floor      8*B*T*NH*HS + 4*B*T*NH bytes, 2*B*NH*HS*T*(T + 1) FLOPs
//   reference  cpu::attention::forward
// For head sizes 64 and 128: warpgroups that compute, and bytes of ForwardShared.
constexpr int WARPGROUPS[] = {4, 2}, SHARED_BYTES[] = {131216, 196688};

// Keys to a tile, tiles of keys and of values: with that many warpgroups the fastest on an H100, at every T.
template <int HS>
struct ForwardSizes {
    static constexpr int WGS = WARPGROUPS[HS / 128], KEYS = HS == 64 ? 64 : 128, TILES = HS == 64 ? 4 : 2;
    static constexpr int THREADS = (WGS + 1) * WARPGROUP, OWNED = WGS * BOX_ROWS;
};

template <int HS>
struct ForwardShared {
    typedef ForwardSizes<HS> Sizes;
    bf16 q[Sizes::WGS][BOX_ROWS * HS];
    bf16 k[Sizes::TILES][Sizes::KEYS * HS], v[Sizes::TILES][Sizes::KEYS * HS];
    bf16 out[Sizes::WGS][BOX_ROWS * HS];
    Stages<1, Sizes::WGS> queries;
    Stages<Sizes::TILES, Sizes::WGS> keys, values;
};

// What a warpgroup keeps of its rows: sums of outputs, the reference of exponents (times log2 e) and the sums of
// exponentials of its two rows a thread, and the probabilities of the last tile.
template <int HS>
struct ForwardRows {
    float o[HS / 2], reference[2], sum[2];
    uint32_t p[ForwardSizes<HS>::KEYS / 16][4];
};

// Scores -> exp2(score * to_log2 - reference), summed, with the reference at the largest score so far; `shrink` brings
// what was summed before to the new reference.
template <bool FIRST, int R>
__device__ __forceinline__ void online_softmax(float (&s)[R], float (&reference)[2], float (&sum)[2],
                                               float (&shrink)[2], float to_log2) {
    float top[2], more[2] = {0.f, 0.f};
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float a = fmaxf(s[2 * r], s[2 * r + 1]), b = fmaxf(s[4 + 2 * r], s[4 + 2 * r + 1]);
#pragma unroll
        for (int n = 8; n < R; n += 8) {
            a = fmaxf(a, fmaxf(s[n + 2 * r], s[n + 2 * r + 1]));
            b = fmaxf(b, fmaxf(s[n + 4 + 2 * r], s[n + 4 + 2 * r + 1]));
        }
        top[r] = fmaxf(a, b);
    }
#pragma unroll
    for (int r = 0; r < 2; r++) top[r] = fmaxf(top[r], __shfl_xor_sync(ALL_LANES, top[r], 1));
#pragma unroll
    for (int r = 0; r < 2; r++) {
        top[r] = fmaxf(top[r], __shfl_xor_sync(ALL_LANES, top[r], 2)) * to_log2;
        const float before = reference[r];
        reference[r] = FIRST ? top[r] : fmaxf(before, top[r]);
        shrink[r] = FIRST ? 1.f : exp2_approximate(before - reference[r]);
        sum[r] = FIRST ? 0.f : sum[r] * shrink[r];
    }
#pragma unroll
    for (int n = 0; n < R; n += 4)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            s[n + 2 * r] = exp2_approximate(fmaf(s[n + 2 * r], to_log2, -reference[r]));
            s[n + 2 * r + 1] = exp2_approximate(fmaf(s[n + 2 * r + 1], to_log2, -reference[r]));
            sum[r] += s[n + 2 * r];
            more[r] += s[n + 2 * r + 1];
        }
#pragma unroll
    for (int r = 0; r < 2; r++) sum[r] += more[r];
}

// The scores of this warp's rows once more, by products of the warp.
template <int HS, int KEYS>
__device__ __forceinline__ void scores_again(float (&s)[KEYS / 2], const bf16 *q, const bf16 *k) {
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32 % 4 * 16 + lane % 16, key = lane / 16 * 8 + lane % 8;
    clear(s);
#pragma unroll
    for (int i = 0; i < HS / 16; i++) {
        uint32_t a[4];
        ldmatrix_x4(a, q + i / 4 * BOX + row * 64 + (((i % 4 * 2 + lane / 16) ^ (row & 7)) << 3));
#pragma unroll
        for (int n = 0; n < KEYS / 16; n++) {
            uint32_t b[4];
            ldmatrix_x4(
                b, k + i / 4 * (KEYS * 64) + (n * 16 + key) * 64 + (((i % 4 * 2 + lane / 8 % 2) ^ (key & 7)) << 3));
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float d[4];
#pragma unroll
                for (int e = 0; e < 4; e++) d[e] = s[8 * n + 4 * half + e];
                mma_m16n8k16(d, a, b[2 * half], b[2 * half + 1]);
#pragma unroll
                for (int e = 0; e < 4; e++) s[8 * n + 4 * half + e] = d[e];
            }
        }
    }
}

// How far sums of a tile's exponentials may exceed 1 before the reference is raised: f32 and bf16 have room for it.
constexpr float MOST_HOPEFUL = 1024.f;

// As online_softmax, but first in the hope that no score exceeds the reference by much, which the sums tell: no maximum
// is looked for then. Where it was wrong, which is rare, the scores are computed again. Says whether the reference was
// raised.
template <int HS, int KEYS>
__device__ __forceinline__ bool hopeful_softmax(float (&s)[KEYS / 2], float (&reference)[2], float (&sum)[2],
                                                float (&shrink)[2], float to_log2, const bf16 *q, const bf16 *k) {
    float tile[2][2] = {{0.f, 0.f}, {0.f, 0.f}};
#pragma unroll
    for (int n = 0; n < KEYS / 2; n++) {
        s[n] = exp2_approximate(fmaf(s[n], to_log2, -reference[n / 2 % 2]));
        tile[n / 2 % 2][n % 2] += s[n];
    }
    tile[0][0] += tile[0][1];
    tile[1][0] += tile[1][1];
    // Written so that a NaN is wrong too.
    if (__any_sync(ALL_LANES, !(fmaxf(tile[0][0], tile[1][0]) <= MOST_HOPEFUL))) {
        scores_again<HS, KEYS>(s, q, k);
        online_softmax<false>(s, reference, sum, shrink, to_log2);
        return true;
    }
    sum[0] += tile[0][0];
    sum[1] += tile[1][0];
    return false;
}

// The loading warpgroup: the tiles of keys and values from the last that any row sees to the first, and the queries.
template <int HS>
__device__ __forceinline__ void forward_load(ForwardShared<HS> &shared, const CUtensorMap *qkv, int T, int NH,
                                             Pieces<true> pieces) {
    typedef ForwardSizes<HS> Sizes;
    constexpr int TILE_BYTES = Sizes::KEYS * HS * 2;
    registers_down<loader_registers(Sizes::WGS)>();
    if (threadIdx.x != 0) return;
    Ring<Sizes::TILES> ring;
    Ring<1> own;
    int head, block;
    while (pieces.next(head, block)) {
        const int b = head / NH, h = head % NH, first = block * Sizes::OWNED;
        const int last = (min(first + Sizes::OWNED, T) - 1) / Sizes::KEYS;
        for (int j = last; j >= 0; j--) {
            uint64_t *full = &shared.keys.full[ring.at];
            wait_phase(&shared.keys.empty[ring.at], ring.phase ^ 1);
            mbarrier_arrive_expect(full, TILE_BYTES);
            load_rows<HS, Sizes::KEYS>(shared.k[ring.at], qkv, full, NH + h, j * Sizes::KEYS, b);
            if (j == last) {
                wait_phase(shared.queries.empty, own.phase ^ 1);
                mbarrier_arrive_expect(shared.queries.full, Sizes::OWNED * HS * 2);
#pragma unroll 1
                for (int w = 0; w < Sizes::WGS; w++)
                    load_rows<HS, BOX_ROWS>(shared.q[w], qkv, shared.queries.full, h, first + w * BOX_ROWS, b);
                own.next();
            }
            full = &shared.values.full[ring.at];
            wait_phase(&shared.values.empty[ring.at], ring.phase ^ 1);
            mbarrier_arrive_expect(full, TILE_BYTES);
            load_rows<HS, Sizes::KEYS>(shared.v[ring.at], qkv, full, 2 * NH + h, j * Sizes::KEYS, b);
            ring.next();
        }
    }
}

// A computing warpgroup.
template <int HS>
struct ForwardComputer {
    typedef ForwardSizes<HS> Sizes;
    static constexpr int KEYS = Sizes::KEYS, TILE = KEYS * HS * 2 / 16;  // the latter in units of descriptors
    ForwardShared<HS> &shared;
    const float to_log2;
    const int wg;
    const uint64_t q, k_tiles, v_tiles;
    Ring<Sizes::TILES> k, v;
    Ring<1> own;

    __device__ __forceinline__ ForwardComputer(ForwardShared<HS> &shared, float to_log2, int wg)
        : shared(shared), to_log2(to_log2), wg(wg), q(descriptor(shared.q[wg])), k_tiles(descriptor(shared.k[0])),
          v_tiles(descriptor(shared.v[0], KEYS * 128)) {}

    __device__ __forceinline__ void release_keys(bool last) {
        warp_arrive(&shared.keys.empty[k.at]);
        k.next();
        if (last) warp_arrive(shared.queries.empty);
    }
    __device__ __forceinline__ void release_values() {
        warp_arrive(&shared.values.empty[v.at]);
        v.next();
    }
    // A tile that only later rows of the block see.
    __device__ __forceinline__ void skip_tile() {
        wait_phase(&shared.keys.full[k.at], k.phase);
        release_keys(false);
        wait_phase(&shared.values.full[v.at], v.phase);
        release_values();
    }
    // The last tile that the rows see, some scores of which are hidden. `ahead`: its first key's position less the
    // first row's.
    __device__ __forceinline__ void first_tile(ForwardRows<HS> &rows, int ahead, bool last) {
        float s[KEYS / 2], shrink[2];
        clear(rows.o);
        wait_phase(&shared.keys.full[k.at], k.phase);
        wgmma_fence();
        product<HS, KEYS>(s, q, k_tiles + k.at * TILE);
        wgmma_commit();
        wgmma_wait<0>();
        pin(s);
        release_keys(last);
        hide_the_future<false>(s, ahead);
        online_softmax<true>(s, rows.reference, rows.sum, shrink, to_log2);
        to_left_side<KEYS>(rows.p, s);
    }
    __device__ __forceinline__ void start_outputs(ForwardRows<HS> &rows) {
        wait_phase(&shared.values.full[v.at], v.phase);
        wgmma_fence();
        multiply_add<KEYS>(rows.o, rows.p, v_tiles + v.at * TILE);
        wgmma_commit();
    }
    __device__ __forceinline__ void finish_outputs(ForwardRows<HS> &rows) {
        wgmma_wait<0>();
        pin(rows.o);
        pin_left(rows.p);
        release_values();
    }
    __device__ __forceinline__ void next_tile(ForwardRows<HS> &rows, bool last) {
        float s[KEYS / 2], shrink[2];
        wait_phase(&shared.keys.full[k.at], k.phase);
        pin(rows.o);
        wgmma_fence();
        product<HS, KEYS>(s, q, k_tiles + k.at * TILE);
        wgmma_commit();
        start_outputs(rows);
        wgmma_wait<1>();
        pin(s);
        const bool raised =
            hopeful_softmax<HS, KEYS>(s, rows.reference, rows.sum, shrink, to_log2, shared.q[wg], shared.k[k.at]);
        release_keys(last);
        pin(s);
        compute_here(rows.sum[0] + rows.sum[1]);
        finish_outputs(rows);
        if (raised) {
#pragma unroll
            for (int i = 0; i < HS / 2; i++) rows.o[i] *= shrink[i / 2 % 2];
        }
        to_left_side<KEYS>(rows.p, s);
    }
};

// Outputs and log-sum-exp of the rows from `row` on of a head. The values' product may still be under way.
template <int HS>
__device__ __forceinline__ void forward_store(ForwardComputer<HS> &computer, ForwardRows<HS> &rows,
                                              const CUtensorMap *out_map, float *lse, int T, int h, int row, int b) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    const bool leader = threadIdx.x % WARPGROUP == 0;
    bf16 *tile = computer.shared.out[computer.wg];
    float inverse[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float total = rows.sum[r];
        total += __shfl_xor_sync(ALL_LANES, total, 1);
        total += __shfl_xor_sync(ALL_LANES, total, 2);
        inverse[r] = 1.f / total;
        const int query = row + warp * 16 + r * 8 + lane / 4;
        if (lane % 4 == 0 && query < T) lse[query] = fmaf(rows.reference[r], LN_2, logf(total));
    }
    if (leader) bulk_wait_read<0>();  // the copy engine has read what was staged before
    computer.finish_outputs(rows);
    named_sync(1 + computer.wg, WARPGROUP);
    stage_rows<HS>(tile, rows.o, inverse[0], inverse[1]);
    fence_proxy_async();
    named_sync(1 + computer.wg, WARPGROUP);
    if (leader) {
        store_rows<HS>(out_map, tile, h, row, b);
        bulk_commit();
    }
}

template <int HS>
__device__ __forceinline__ void forward_compute(ForwardShared<HS> &shared, const CUtensorMap *out_map, float *lse,
                                                int T, int NH, float to_log2, Pieces<true> pieces) {
    typedef ForwardSizes<HS> Sizes;
    registers_up<computer_registers(Sizes::WGS)>();
    const int wg = __shfl_sync(ALL_LANES, threadIdx.x / WARPGROUP, 0) - 1;
    ForwardComputer<HS> computer(shared, to_log2, wg);
    int head, block;
    while (pieces.next(head, block)) {
        const int first = block * Sizes::OWNED, row = first + wg * BOX_ROWS;
        const int last = (min(first + Sizes::OWNED, T) - 1) / Sizes::KEYS;
        const int mine = row < T ? min(row + BOX_ROWS - 1, T - 1) / Sizes::KEYS : -1;
        for (int j = last; j > mine; j--) computer.skip_tile();
        wait_phase(shared.queries.full, computer.own.phase);
        computer.own.next();
        if (mine < 0) {
            warp_arrive(shared.queries.empty);
            continue;
        }
        ForwardRows<HS> rows;
        computer.first_tile(rows, mine * Sizes::KEYS - row, mine == 0);
        for (int j = mine - 1; j >= 0; j--) computer.next_tile(rows, j == 0);
        computer.start_outputs(rows);
        forward_store<HS>(computer, rows, out_map, lse + (long)head * T, T, head % NH, row, head / NH);
    }
    if (threadIdx.x % WARPGROUP == 0) bulk_wait<0>();
}

template <int HS>
__device__ __forceinline__ void forward(ForwardShared<HS> &shared, const CUtensorMap *qkv_map,
                                        const CUtensorMap *out_map, float *lse, int B, int T, int NH, float scale) {
    typedef ForwardSizes<HS> Sizes;
    static_assert(sizeof(ForwardShared<HS>) == SHARED_BYTES[HS / 128], "the launch has room for it");
    begin({qkv_map, out_map}, shared.queries, shared.keys, shared.values);
    const Pieces<true> pieces(B * NH, (T + Sizes::OWNED - 1) / Sizes::OWNED);
    if (threadIdx.x < WARPGROUP) {
        forward_load<HS>(shared, qkv_map, T, NH, pieces);
    } else {
        forward_compute<HS>(shared, out_map, lse, T, NH, scale * LOG2_E, pieces);
    }
}

#define ATTENTION_HOPPER_FORWARD(HS)                                                                                   \
    extern "C" __global__ void __launch_bounds__(ForwardSizes<HS>::THREADS, 1)                                         \
        attention_hopper_forward_##HS(LOAD_MAP qkv, STORE_MAP out, float *__restrict__ lse, int B, int T, int NH,      \
                                      float scale) {                                                                   \
        DYN_SHARED(ForwardShared<HS>, shared);                                                                         \
        forward<HS>(*shared, &qkv, &out, lse, B, T, NH, scale);                                                        \
    }                                                                                                                  \
    KERNEL_EXPORT(attention_hopper_forward_##HS);
FOR_EACH_HEAD_SIZE(ATTENTION_HOPPER_FORWARD)
