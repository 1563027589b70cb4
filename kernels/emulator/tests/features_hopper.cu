// One kernel per feature of Hopper that the emulator has. Each check that fails adds 1 to *bad.
#include "hopper.cuh"
#define CHECK(condition)                     \
    do {                                     \
        if (!(condition)) atomicAdd(bad, 1); \
    } while (0)

// ---- products: 128 threads; sums of small integers, exact ----
// Which operands are transposed in shared memory.
template <int N, int K, int A_MN, int B_MN>
static __device__ void product_of_tiles(int *bad, bf16 *a, bf16 *b) {
    __syncthreads();
    fill_tile(a, A_MN ? K : 64, A_MN ? 64 : K, 1);
    fill_tile(b, B_MN ? K : N, B_MN ? N : K, 2);
    fence_proxy_async();
    __syncthreads();
    float sums[N / 2];
    wgmma_fence();
    for (int k = 0; k < K / 16; k++) {
        const uint64_t left = descriptor(a) + (A_MN ? k * 128 : k / 4 * 512 + k % 4 * 2);
        const uint64_t right = descriptor(b, K * 128) + (B_MN ? k * 128 : k / 4 * (N * 8) + k % 4 * 2);
        wgmma_ss<A_MN, B_MN>(sums, left, right, k > 0);
    }
    wgmma_commit();
    wgmma_wait<0>();
    pin(sums);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int i = 0; i < N / 2; i++) {
        const int row = warp * 16 + i / 2 % 2 * 8 + lane / 4, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
        float expected = 0;
        for (int k = 0; k < K; k++)
            expected += (A_MN ? value_at(k, row, 1) : value_at(row, k, 1)) *
                        (B_MN ? value_at(k, column, 2) : value_at(column, k, 2));
        CHECK(sums[i] == expected);
    }
}

// Launched with 96 KiB.
extern "C" __global__ void feature_products(int *bad) {
    DYN_SHARED(bf16, tiles);
    bf16 *a = tiles, *b = tiles + 2 * BOX;
    product_of_tiles<64, 64, 0, 0>(bad, a, b);
    product_of_tiles<128, 128, 0, 0>(bad, a, b);
    product_of_tiles<192, 64, 0, 0>(bad, a, b);
    product_of_tiles<256, 64, 0, 0>(bad, a, b);
    product_of_tiles<64, 64, 1, 0>(bad, a, b);
    product_of_tiles<128, 64, 0, 1>(bad, a, b);
    product_of_tiles<256, 32, 1, 1>(bad, a, b);
}
KERNEL_EXPORT(feature_products);

// The left side from registers, in two groups; sums go on from the first to the second.
extern "C" __global__ void feature_left_side_in_registers(int *bad) {
    DYN_SHARED(bf16, b);
    fill_tile(b, 64, 64, 3);
    fence_proxy_async();
    __syncthreads();
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    uint32_t left[4][4];
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < 4; i++) {
            const int row = warp * 16 + lane / 4 + i % 2 * 8, column = k * 16 + lane % 4 * 2 + i / 2 * 8;
            left[k][i] = pack_bf16(value_at(row, column, 4), value_at(row, column + 1, 4));
        }
    float sums[32];
    for (float &sum : sums) sum = 100;
    wgmma_fence();
    for (int k = 0; k < 4; k++) {
        wgmma_rs<1>(sums, left[k], descriptor(b) + k * 128, 1);
        if (k == 1) wgmma_commit();
    }
    wgmma_commit();
    wgmma_wait<1>();
    wgmma_wait<0>();
    pin(sums);
    for (int i = 0; i < 32; i++) {
        const int row = warp * 16 + i / 2 % 2 * 8 + lane / 4, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
        float expected = 100;
        for (int k = 0; k < 64; k++) expected += value_at(row, k, 4) * value_at(k, column, 3);
        CHECK(sums[i] == expected);
    }
}
KERNEL_EXPORT(feature_left_side_in_registers);

// ---- copies ----
// A tensor (2, 5, 3, 64) of bf16 whose element (b, t, h, c) is value_at(b * 5 + t, h * 64 + c). 32 threads; the box has
// 8 rows of t, of which those beyond its edge are zeros, and the column coordinate may lie beyond it on either side.
extern "C" __global__ void feature_boxes(int *bad, const __grid_constant__ CUtensorMap map) {
    DYN_SHARED(bf16, box);
    SHARED_VAR(uint64_t, bar);
    start_barrier(&bar);
    prefetch_map(&map);
    const int firsts[][4] = {{0, 2, 0, 1}, {0, 0, 3, 0}, {8, 1, -2, 1}, {-24, 1, 0, 0}, {0, 3, 0, 0}};
    uint32_t parity = 0;
    for (const auto &first : firsts) {
        if (threadIdx.x == 0) {
            mbarrier_arrive_expect(&bar, 8 * 128);
            tensor_load_4d(box, &map, &bar, first[0], first[1], first[2], first[3]);
        }
        wait_for(&bar, parity);
        parity ^= 1;
        for (int i = threadIdx.x; i < 8 * 64; i += 32) {
            const int c = first[0] + i % 64, h = first[1], t = first[2] + i / 64, b = first[3];
            const bool inside = c >= 0 && c < 64 && h >= 0 && h < 3 && t >= 0 && t < 5;
            const float expected = inside ? value_at(b * 5 + t, h * 64 + c, 0) : 0.f;
            CHECK(__bfloat162float(box[tile_at(i / 64, i % 64, 8)]) == expected);
        }
        __syncwarp();
    }
}
KERNEL_EXPORT(feature_boxes);

// out (2, 5, 3, 64): the box at the end of t is clipped, the rest keeps what it held.
extern "C" __global__ void feature_clipped_stores(int *bad, const __grid_constant__ CUtensorMap map, const bf16 *out) {
    DYN_SHARED(bf16, box);
    for (int i = threadIdx.x; i < 8 * 64; i += 32) box[tile_at(i / 64, i % 64, 8)] = __float2bfloat16(i % 64);
    fence_proxy_async();
    __syncwarp();
    if (threadIdx.x == 0) {
        tensor_store_4d(&map, box, 0, 1, 3, 0);
        bulk_commit();
        bulk_wait<0>();
        for (int c = 0; c < 64; c++) {
            CHECK(__bfloat162float(out[(3 * 3 + 1) * 64 + c]) == c);
            CHECK(__bfloat162float(out[(4 * 3 + 1) * 64 + c]) == c);
            CHECK(__bfloat162float(out[(2 * 3 + 1) * 64 + c]) == -1);
            CHECK(__bfloat162float(out[(5 * 3 + 1) * 64 + c]) == -1);
        }
    }
}
KERNEL_EXPORT(feature_clipped_stores);

// 64 threads; in and out: 256 floats each.
extern "C" __global__ void feature_lines(int *bad, float *out, const float *in) {
    SHARED_ARRAY(float4, line, [64]);
    SHARED_VAR(uint64_t, bar);
    start_barrier(&bar);
    float *floats = reinterpret_cast<float *>(line);
    if (threadIdx.x == 0) {
        mbarrier_arrive_expect(&bar, 1024);
        bulk_load(floats, in, 512, &bar);
        bulk_load(floats + 128, in + 128, 512, &bar);
    }
    wait_for(&bar, 0);
    for (int i = threadIdx.x; i < 256; i += 64) {
        CHECK(floats[i] == in[i]);
        floats[i] = in[i] + 1;
    }
    fence_proxy_async();
    __syncthreads();
    if (threadIdx.x < 2) {
        bulk_store(out + threadIdx.x * 128, floats + threadIdx.x * 128, 512);
        bulk_commit();
        bulk_wait_read<0>();
        floats[threadIdx.x * 128] = 0;
    }
}
KERNEL_EXPORT(feature_lines);

// ---- barriers and registers ----
// 384 threads: three warpgroups take turns, and one hands registers to the others.
extern "C" __global__ void __launch_bounds__(384, 1) feature_turns(int *bad) {
    SHARED_VAR(int, turn);
    const int group = threadIdx.x / 128;
    if (threadIdx.x == 0) turn = 0;
    __syncthreads();
    if (group == 0) {
        registers_down<40>();
    } else {
        registers_up<232>();
    }
    if (group == 2) named_arrive(8, 256);
    for (int i = 0; i < 5; i++) {
        named_sync(8 + group, 256);
        if (threadIdx.x % 128 == 0) {
            CHECK(turn == i * 3 + group);
            turn = i * 3 + group + 1;
        }
        named_sync(1 + group, 128);
        named_arrive(8 + (group + 1) % 3, 256);
    }
    if (group == 0) named_sync(8, 256);
    __syncthreads();
    CHECK(turn == 15);
}
KERNEL_EXPORT(feature_turns);

// 64 threads: a warp that loads lines, and a warp that sums them, by two stages and four rounds. in: 256 floats.
extern "C" __global__ void feature_stages(int *bad, const float *in) {
    SHARED_ARRAY(float4, line, [2][16]);
    SHARED_ARRAY(uint64_t, full, [2]);
    SHARED_ARRAY(uint64_t, empty, [2]);
    if (threadIdx.x == 0) {
        for (int s = 0; s < 2; s++) {
            mbarrier_init(&full[s], 1);
            mbarrier_init(&empty[s], 1);
        }
        fence_mbarrier_init();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int k = 0; k < 8; k++) {
            wait_for(&empty[k % 2], k / 2 % 2 ^ 1);
            mbarrier_arrive_expect(&full[k % 2], 256);
            bulk_load(line[k % 2], in + k % 4 * 64, 256, &full[k % 2]);
        }
    } else if (threadIdx.x >= 32) {
        float sum = 0, expected = 0;
        for (int k = 0; k < 8; k++) {
            wait_for(&full[k % 2], k / 2 % 2);
            const int i = threadIdx.x % 32 * 2;
            sum += reinterpret_cast<float *>(line[k % 2])[i];
            expected += in[k % 4 * 64 + i];
            __syncwarp();
            if (threadIdx.x == 32) mbarrier_arrive(&empty[k % 2]);
        }
        CHECK(sum == expected);
    }
}
KERNEL_EXPORT(feature_stages);

// 160 threads: a warpgroup that multiplies, and a warp that loads. One thread releases a stage for all four warps: a
// product is theirs together, so where it is over for one, all have read. The map: (8, 64) of bf16, value_at(row,
// column).
extern "C" __global__ void feature_release_by_one_thread(int *bad, const __grid_constant__ CUtensorMap map) {
    DYN_SHARED(bf16, tiles);
    SHARED_ARRAY(uint64_t, full, [2]);
    SHARED_ARRAY(uint64_t, empty, [2]);
    if (threadIdx.x == 0) {
        for (int s = 0; s < 2; s++) {
            mbarrier_init(&full[s], 1);
            mbarrier_init(&empty[s], 1);
        }
        fence_mbarrier_init();
    }
    __syncthreads();
    if (threadIdx.x == 128) {
        for (int k = 0; k < 6; k++) {
            wait_for(&empty[k % 2], k / 2 % 2 ^ 1);
            mbarrier_arrive_expect(&full[k % 2], 2048);
            for (int half = 0; half < 2; half++)
                tensor_load_2d(tiles + k % 2 * 1024 + half * 512, &map, &full[k % 2], 0, 0);
        }
    } else if (threadIdx.x < 128) {
        const uint32_t ones[4] = {0x3f803f80u, 0x3f803f80u, 0x3f803f80u, 0x3f803f80u};
        float sums[32];
        for (int k = 0; k < 6; k++) {
            wait_for(&full[k % 2], k / 2 % 2);
            wgmma_fence();
            wgmma_rs<1>(sums, ones, descriptor(tiles + k % 2 * 1024), k > 0);
            wgmma_commit();
            wgmma_wait<0>();
            if (threadIdx.x == 0) mbarrier_arrive(&empty[k % 2]);
        }
        pin(sums);
        for (int i = 0; i < 32; i++) {
            float expected = 0;
            for (int row = 0; row < 8; row++)
                expected += 12 * value_at(row, i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2, 0);
            CHECK(sums[i] == expected);
        }
    }
}
KERNEL_EXPORT(feature_release_by_one_thread);
