// As bugs.cu, for what runs beside the threads: copies by the copy engine, products of a warpgroup, mbarriers. Each bug
// is one that was met on a card, or in public kernels for Hopper, or that hangs a card.
//
// Each kernel takes 256 floats, `in`, and writes 256, `out`, and has a tensor map of either: 8 rows of 32 floats, boxes
// of 8 rows, swizzle of 128 bytes. It is launched with 8 KiB of dynamic shared memory; tests/emulator/bugs_hopper.rs
// has the number of threads, and out[i] is in[i] unless it says otherwise.
#include "hopper.cuh"

#ifdef GOOD
#define BUG(x)
#define FIX(x) x
#define KERNEL_NAME(name) good_##name
#else
#define BUG(x) x
#define FIX(x)
#define KERNEL_NAME(name) bad_##name
#endif
#define EXPORT(name) KERNEL_EXPORT(name)
#define ARGUMENTS                                                             \
    (float *out, const float *in, const __grid_constant__ CUtensorMap in_map, \
     const __grid_constant__ CUtensorMap out_map)
#define KERNEL(name)                                     \
    extern "C" __global__ void KERNEL_NAME(name) ARGUMENTS; \
    EXPORT(KERNEL_NAME(name));                           \
    extern "C" __global__ void __launch_bounds__(384, 1) KERNEL_NAME(name) ARGUMENTS

constexpr int LINE = 1024;  // bytes of `in`, of `out`, and of a box

// Where element i of `in` lies in a box, in floats.
__device__ __forceinline__ int box_at(int i) { return i / 32 * 32 + ((i / 4 % 8) ^ (i / 32 % 8)) * 4 + i % 4; }

// ---- the proxies: 256 threads ----
KERNEL(store_without_proxy_fence) {
    DYN_SHARED(float, box);
    const int i = threadIdx.x;
    box[box_at(i)] = in[i];
    FIX(fence_proxy_async();)
    __syncthreads();
    if (i == 0) {
        tensor_store_2d(&out_map, box, 0, 0);
        bulk_commit();
        bulk_wait<0>();
    }
}
// A barrier orders the writes of others, but the fence of one thread before it shows only its own.
KERNEL(proxy_fence_by_one_thread_alone) {
    DYN_SHARED(float, line);
    const int i = threadIdx.x;
    line[i] = in[i];
    BUG(if (i == 0)) fence_proxy_async();
    __syncthreads();
    if (i == 0) {
        bulk_store(out, line, LINE);
        bulk_commit();
        bulk_wait<0>();
    }
}
KERNEL(load_of_what_the_block_has_written) {
    DYN_SHARED(float, line);
    SHARED_VAR(uint64_t, bar);
    const int i = threadIdx.x;
    start_barrier(&bar);
    out[i] = in[i];
    BUG(fence_proxy_async();)
    FIX(fence_proxy_async_all();)
    __syncthreads();
    if (i == 0) {
        mbarrier_arrive_expect(&bar, LINE);
        bulk_load(line, out, LINE, &bar);
    }
    wait_for(&bar, 0);
    out[i] = line[i];
}

// ---- products: 128 threads ----
// sums = ones (64 x 16) * tile (16 x 64), whose rows are those of `in`, twice, as bf16; each sum is right or not.
__device__ __forceinline__ void ones(uint32_t (&left)[4]) {
    for (uint32_t &pair : left) pair = 0x3f803f80u;
}
__device__ __forceinline__ void fill_twice(bf16 *tile, const float *in) {
    for (int i = threadIdx.x; i < 16 * 64; i += 128)
        tile[tile_at(i / 64, i % 64, 16)] = reinterpret_cast<const bf16 *>(in)[i % 512];
}
__device__ __forceinline__ void verdict(float *out, const float *in, const float (&sums)[32], int rounds) {
    const int t = threadIdx.x, lane = t % 32;
    bool right = true;
    for (int i = 0; i < 32; i++) {
        float expected = 0;
        for (int row = 0; row < 16; row++)
            expected += (float)reinterpret_cast<const bf16 *>(in)[row % 8 * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2];
        right &= sums[i] == expected * rounds;
    }
    for (int i = t; i < 256; i += 128) out[i] = in[i] + (right ? 0 : 1);
}

__device__ __forceinline__ void sum_tile(float *out, const float *in, const bf16 *tile) {
    float sums[32];
    uint32_t left[4];
    ones(left);
    wgmma_fence();
    wgmma_rs<1>(sums, left, descriptor(tile), 0);
    wgmma_commit();
    wgmma_wait<0>();
    pin(sums);
    verdict(out, in, sums, 1);
}

KERNEL(product_without_proxy_fence) {
    DYN_SHARED(bf16, tile);
    fill_twice(tile, in);
    FIX(fence_proxy_async();)
    __syncthreads();
    sum_tile(out, in, tile);
}
// cp.async writes as threads do, not as the copy engine.
KERNEL(product_of_cp_async_without_proxy_fence) {
    DYN_SHARED(bf16, tile);
    const int t = threadIdx.x;
    cp_async16(tile + tile_at(t / 8, t % 8 * 8, 16), in + t % 64 * 4);
    cp_async_commit();
    cp_async_wait<0>();
    FIX(fence_proxy_async();)
    __syncthreads();
    sum_tile(out, in, tile);
}
// The swizzle is one of addresses: rows must begin where the descriptor supposes.
KERNEL(tile_off_its_alignment) {
    DYN_SHARED(bf16, memory);
    bf16 *tile = memory BUG(+ 64);
    fill_twice(tile, in);
    fence_proxy_async();
    __syncthreads();
    sum_tile(out, in, tile);
}
// What is staged in a tile is written while the product before still reads it.
KERNEL(tile_written_during_the_product) {
    DYN_SHARED(bf16, tile);
    fill_twice(tile, in);
    fence_proxy_async();
    __syncthreads();
    float sums[32];
    uint32_t left[4];
    ones(left);
    wgmma_fence();
    wgmma_rs<1>(sums, left, descriptor(tile), 0);
    wgmma_commit();
    FIX(wgmma_wait<0>();)
    __syncthreads();
    tile[threadIdx.x] = __float2bfloat16(0);
    BUG(wgmma_wait<0>();)
    pin(sums);
    verdict(out, in, sums, 1);
}

// ---- a pipeline: 256 threads, a warpgroup that computes and a warp that loads, two stages, one fault ----
enum Fault {
    NONE,
    RELEASED_BEFORE_THE_WAIT,
    ONE_WARP_RELEASES_FOR_ALL,
    FULL_WAITED_FOR_TOO_LATE,
    WRONG_PARITY,
    PARITY_THAT_NEVER_FLIPS,
    LOADER_WITH_THE_OTHER_PARITY,
    STAGE_NOT_WAITED_FOR,
    TOO_FEW_BYTES,
    TOO_MANY_BYTES,
    ALL_LANES_ARRIVE,
    TOO_FEW_RELEASES,
    BARRIER_NOT_SHOWN,
    BARRIER_NOT_WAITED_FOR,
    NOT_COMMITTED,
    ONE_GROUP_TOO_FEW,
    SUMS_READ_TOO_EARLY,
    LEFT_SIDE_OVERWRITTEN,
    NO_FENCE,
    FENCE_BEFORE_THE_SUMS_ARE_CLEARED,
    ONE_WARP_STAYS_AWAY,
    LEFT_WITHOUT_WAITING,
};
constexpr int ROUNDS = 5, TILE = 2 * LINE;
struct Stages {
    bf16 tile[2][TILE / 2];
    uint64_t full[2], empty[2];
};

template <int FAULT>
__device__ __forceinline__ void load_stages(Stages &stages, const CUtensorMap *map) {
    if (threadIdx.x % 32 != 0 && FAULT != ALL_LANES_ARRIVE) return;
    for (int k = 0; k < ROUNDS; k++) {
        const int s = k % 2;
        if (FAULT != STAGE_NOT_WAITED_FOR)
            wait_for(&stages.empty[s], k / 2 % 2 ^ (FAULT != LOADER_WITH_THE_OTHER_PARITY));
        mbarrier_arrive_expect(&stages.full[s], FAULT == TOO_FEW_BYTES    ? LINE
                                                : FAULT == TOO_MANY_BYTES ? TILE + LINE
                                                                          : TILE);
        if (threadIdx.x % 32 != 0) continue;
        tensor_load_2d(stages.tile[s], map, &stages.full[s], 0, 0);
        tensor_load_2d(stages.tile[s] + LINE / 2, map, &stages.full[s], 0, 0);
    }
}

template <int FAULT>
__device__ __forceinline__ void release(uint64_t *empty) {
    __syncwarp();
    const int warps = FAULT == ONE_WARP_RELEASES_FOR_ALL ? 32 : 128;
    if (threadIdx.x % 32 == 0 && threadIdx.x < warps) mbarrier_arrive(empty);
}

template <int FAULT>
__device__ __forceinline__ void sum_stages(float *out, const float *in, Stages &stages) {
    float sums[32];
    bool same = true;
    uint32_t left[4];
    ones(left);
    if (FAULT == FENCE_BEFORE_THE_SUMS_ARE_CLEARED) wgmma_fence();
    for (float &sum : sums) sum = 0;
    for (int k = 0; k < ROUNDS; k++) {
        const int s = k % 2;
        const uint32_t parity = FAULT == PARITY_THAT_NEVER_FLIPS ? 0 : k / 2 % 2 ^ (FAULT == WRONG_PARITY);
        if (FAULT != FULL_WAITED_FOR_TOO_LATE) wait_for(&stages.full[s], parity);
        if (FAULT != NO_FENCE && FAULT != FENCE_BEFORE_THE_SUMS_ARE_CLEARED) wgmma_fence();
        if (FAULT != ONE_WARP_STAYS_AWAY || k < ROUNDS - 1 || threadIdx.x < 96)
            wgmma_rs<1>(sums, left, descriptor(stages.tile[s]), 1);
        if (FAULT != NOT_COMMITTED) wgmma_commit();
        if (FAULT == FULL_WAITED_FOR_TOO_LATE) wait_for(&stages.full[s], parity);
        if (FAULT == RELEASED_BEFORE_THE_WAIT) release<FAULT>(&stages.empty[s]);
        if (FAULT == SUMS_READ_TOO_EARLY) left[0] |= sums[3] == 1234.5f;
        if (FAULT == LEFT_SIDE_OVERWRITTEN) left[0] = k == ROUNDS - 1 ? 0 : left[0];
        if (FAULT == LEFT_WITHOUT_WAITING && k == ROUNDS - 1) return;
        wgmma_wait<FAULT == ONE_GROUP_TOO_FEW ? 1 : 0>();
        pin(sums);
        const int t = threadIdx.x;
        same &= (float)stages.tile[s][tile_at(t / 64, t % 64, 16)] == (float)reinterpret_cast<const bf16 *>(in)[t];
        if (FAULT != RELEASED_BEFORE_THE_WAIT) release<FAULT>(&stages.empty[s]);
    }
    verdict(out, in, sums, same ? ROUNDS : 0);
}

template <int FAULT>
__device__ __forceinline__ void pipeline(float *out, const float *in, const CUtensorMap *map, Stages &stages) {
    if (threadIdx.x == 0) {
        for (int s = 0; s < 2; s++) {
            mbarrier_init(&stages.full[s], 1);
            mbarrier_init(&stages.empty[s], FAULT == ONE_WARP_RELEASES_FOR_ALL ? 1 : FAULT == TOO_FEW_RELEASES ? 5 : 4);
        }
        if (FAULT != BARRIER_NOT_SHOWN) fence_mbarrier_init();
    }
    if (FAULT != BARRIER_NOT_WAITED_FOR) __syncthreads();
    if (threadIdx.x < 128) {
        sum_stages<FAULT>(out, in, stages);
    } else if (threadIdx.x < 160) {
        load_stages<FAULT>(stages, map);
    }
}
#define PIPELINE(name, FAULT)                                             \
    KERNEL(name) {                                                        \
        DYN_SHARED(Stages, stages);                                       \
        pipeline<BUG(FAULT) FIX(NONE)>(out, in, &in_map, *stages);        \
    }

PIPELINE(stage_released_before_the_wait, RELEASED_BEFORE_THE_WAIT)
PIPELINE(one_warp_releases_for_all, ONE_WARP_RELEASES_FOR_ALL)
PIPELINE(full_waited_for_too_late, FULL_WAITED_FOR_TOO_LATE)
PIPELINE(wrong_parity, WRONG_PARITY)
PIPELINE(parity_that_never_flips, PARITY_THAT_NEVER_FLIPS)
PIPELINE(loader_with_the_other_parity, LOADER_WITH_THE_OTHER_PARITY)
PIPELINE(stage_not_waited_for, STAGE_NOT_WAITED_FOR)
PIPELINE(too_few_bytes, TOO_FEW_BYTES)
PIPELINE(too_many_bytes, TOO_MANY_BYTES)
PIPELINE(all_lanes_arrive, ALL_LANES_ARRIVE)
PIPELINE(too_few_releases, TOO_FEW_RELEASES)
PIPELINE(barrier_not_shown, BARRIER_NOT_SHOWN)
PIPELINE(barrier_not_waited_for, BARRIER_NOT_WAITED_FOR)
PIPELINE(product_not_committed, NOT_COMMITTED)
PIPELINE(product_waited_for_one_group_too_few, ONE_GROUP_TOO_FEW)
PIPELINE(sums_read_too_early, SUMS_READ_TOO_EARLY)
PIPELINE(left_side_overwritten, LEFT_SIDE_OVERWRITTEN)
PIPELINE(no_wgmma_fence, NO_FENCE)
PIPELINE(wgmma_fence_before_the_sums_are_cleared, FENCE_BEFORE_THE_SUMS_ARE_CLEARED)
PIPELINE(one_warp_stays_away, ONE_WARP_STAYS_AWAY)
PIPELINE(left_without_waiting, LEFT_WITHOUT_WAITING)

// ---- copies: 256 threads ----
// The copy engine counts whole boxes, the zeros beyond the tensor's edge included.
KERNEL(box_at_the_edge_counted_by_what_is_there) {
    DYN_SHARED(float, box);
    SHARED_VAR(uint64_t, bar);
    const int i = threadIdx.x;
    start_barrier(&bar);
    if (i == 0) {
        mbarrier_arrive_expect(&bar, LINE BUG(/ 2));
        tensor_load_2d(box, &in_map, &bar, 0, 4);
    }
    wait_for(&bar, 0);
    out[i] = i < 128 ? in[i] : in[i] + box[box_at(i)];
    if (i < 128 && box[box_at(i)] != in[i + 128]) out[i] = 0;
}
// Two threads take part in both phases; only the one that is waited for is sure to see the end of the first.
KERNEL(phase_that_a_slow_thread_misses) {
    SHARED_VAR(uint64_t, bar);
    const int i = threadIdx.x;
    if (i == 0) {
        mbarrier_init(&bar, BUG(1) FIX(2));
        fence_mbarrier_init();
    }
    __syncthreads();
    if (i == 0) {
        mbarrier_arrive(&bar);
        wait_for(&bar, 0);
        mbarrier_arrive(&bar);
    } else if (i == 32) {
        FIX(mbarrier_arrive(&bar);)
        wait_for(&bar, 0);
        FIX(mbarrier_arrive(&bar);)
    }
    out[i] = in[i];
}
KERNEL(staging_written_before_the_store_has_read) {
    DYN_SHARED(float, line);
    const int i = threadIdx.x;
    for (int k = 0; k < 2; k++) {
        line[i] = k ? in[i] : 0;
        fence_proxy_async();
        __syncthreads();
        if (i == 0) {
            bulk_store(out, line, LINE);
            bulk_commit();
            FIX(bulk_wait<0>();)
        }
        __syncthreads();
    }
    BUG(if (i == 0) bulk_wait<0>();)
}
KERNEL(store_read_back_before_it_is_written) {
    DYN_SHARED(float, line);
    const int i = threadIdx.x;
    line[i] = in[i];
    fence_proxy_async();
    __syncthreads();
    if (i == 0) {
        bulk_store(out, line, LINE);
        bulk_commit();
        BUG(bulk_wait_read<0>();)
        FIX(bulk_wait<0>();)
        if (out[7] == 0.125f) out[7] = 0;
    }
}
KERNEL(store_not_committed) {
    DYN_SHARED(float, line);
    const int i = threadIdx.x;
    line[i] = in[i];
    fence_proxy_async();
    __syncthreads();
    if (i == 0) {
        bulk_store(out, line, LINE);
        FIX(bulk_commit();)
        bulk_wait<0>();
    }
}
KERNEL(exit_during_a_store) {
    DYN_SHARED(float, line);
    const int i = threadIdx.x;
    line[i] = in[i];
    fence_proxy_async();
    __syncthreads();
    if (i == 0) {
        bulk_store(out, line, LINE);
        bulk_commit();
        FIX(bulk_wait_read<0>();)
    }
}

// ---- turns and registers: 384 threads ----
// 240, 240 and 32 are more than three times the 168 that each warpgroup has at the start: a card waits for ever.
KERNEL(more_registers_than_there_are) {
    if (threadIdx.x < 128) {
        registers_down<BUG(32) FIX(40)>();
    } else {
        registers_up<BUG(240) FIX(232)>();
    }
    if (threadIdx.x < 256) out[threadIdx.x] = in[threadIdx.x];
}
KERNEL(registers_changed_by_one_warp_alone) {
    BUG(if (threadIdx.x < 32))
    FIX(if (threadIdx.x < 128))
    registers_down<40>();
    if (threadIdx.x < 256) out[threadIdx.x] = in[threadIdx.x];
}
KERNEL(turns_that_nobody_begins) {
    const int group = threadIdx.x / 128, i = threadIdx.x;
    FIX(if (group == 2) named_arrive(8, 256);)
    named_sync(8 + group, 256);
    if (i < 256) out[i] = in[i];
    if (group != 2) named_arrive(9 + group, 256);
}
KERNEL(barrier_with_two_counts) {
    const int i = threadIdx.x;
    if (i < 128) {
        named_sync(1, 256);
    } else if (i < 256) {
        named_arrive(1, BUG(384) FIX(256));
    }
    if (i < 256) out[i] = in[i];
}
KERNEL(barrier_reached_twice) {
    const int i = threadIdx.x;
    if (i < 128) {
        named_arrive(1, 256);
        BUG(named_arrive(1, 256);)
    } else if (i < 256) {
        named_sync(1, 256);
    }
    if (i < 256) out[i] = in[i];
}
// Those that only arrive do not wait for what the others write.
KERNEL(arrival_taken_for_a_wait) {
    DYN_SHARED(float, line);
    const int i = threadIdx.x;
    if (i < 128) {
        line[i] = in[i];
        line[i + 128] = in[i + 128];
        named_sync(1, 256);
    } else if (i < 256) {
        BUG(named_arrive(1, 256);)
        FIX(named_sync(1, 256);)
        out[i] = line[i];
        out[i - 128] = line[i - 128];
    }
}
