// The inline PTX of Hopper (sm_90a): one function per instruction, which is asm under nvcc and a call into the emulator
// on the host. mbarriers, copies by the copy engine (TMA), named barriers, registers that change hands. The products of
// a warpgroup are in ptx_wgmma.cuh.
#pragma once
#ifdef __CUDACC__
#include <cstdint>
#include <cuda.h>

__device__ __forceinline__ uint32_t shared_address(const void *at) { return (uint32_t)__cvta_generic_to_shared(at); }
#endif

// ---- mbarriers ----
// A phase of the barrier ends with `count` arrivals, and when the bytes that were announced have come.
__device__ __forceinline__ void mbarrier_init(uint64_t *bar, uint32_t count) {
#ifdef __CUDACC__
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(shared_address(bar)), "r"(count) : "memory");
#else
    cuemu::mbarrier_init(bar, count);
#endif
}
// Shows the barriers that this thread has initialised to the copy engine.
__device__ __forceinline__ void fence_mbarrier_init() {
#ifdef __CUDACC__
    asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
#else
    cuemu::fence_mbarrier_init();
#endif
}
__device__ __forceinline__ void mbarrier_arrive(uint64_t *bar) {
#ifdef __CUDACC__
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(shared_address(bar)) : "memory");
#else
    cuemu::mbarrier_arrive(bar, 0);
#endif
}
// Arrives, and announces bytes that the copy engine will bring before the phase ends.
__device__ __forceinline__ void mbarrier_arrive_expect(uint64_t *bar, uint32_t bytes) {
#ifdef __CUDACC__
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(shared_address(bar)), "r"(bytes)
                 : "memory");
#else
    cuemu::mbarrier_arrive(bar, bytes);
#endif
}
// Whether the phase of this parity has ended. It may sleep a while before it says no.
__device__ __forceinline__ bool mbarrier_try_wait(uint64_t *bar, uint32_t parity) {
#ifdef __CUDACC__
    uint32_t done;
    asm volatile(
        "{\n.reg .pred done;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
        "selp.u32 %0, 1, 0, done;\n}\n"
        : "=r"(done)
        : "r"(shared_address(bar)), "r"(parity)
        : "memory");
    return done;
#else
    return cuemu::mbarrier_try_wait(bar, parity);
#endif
}

// ---- copies by the copy engine: one thread asks for each ----
// A box of a tensor of 2 dimensions to shared memory; `bar` counts its bytes, zeros beyond the tensor's edge included.
// The coordinates are those of the box's first element, the dimension that runs fastest first.
__device__ __forceinline__ void tensor_load_2d(void *to, const CUtensorMap *map, uint64_t *bar, int c0, int c1) {
#ifdef __CUDACC__
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];\n" ::
            "r"(shared_address(to)),
        "l"(map), "r"(shared_address(bar)), "r"(c0), "r"(c1)
        : "memory");
#else
    const int first[] = {c0, c1};
    cuemu::tensor_load(to, map, bar, 2, first);
#endif
}
__device__ __forceinline__ void tensor_load_4d(void *to, const CUtensorMap *map, uint64_t *bar, int c0, int c1, int c2,
                                               int c3) {
#ifdef __CUDACC__
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
        "[%2];\n" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(bar)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
        : "memory");
#else
    const int first[] = {c0, c1, c2, c3};
    cuemu::tensor_load(to, map, bar, 4, first);
#endif
}
// A box from shared memory to a tensor; what lies beyond the edge is not written.
__device__ __forceinline__ void tensor_store_2d(const CUtensorMap *map, const void *from, int c0, int c1) {
#ifdef __CUDACC__
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];\n" ::"l"(map),
                 "r"(shared_address(from)), "r"(c0), "r"(c1)
                 : "memory");
#else
    const int first[] = {c0, c1};
    cuemu::tensor_store(map, from, 2, first);
#endif
}
__device__ __forceinline__ void tensor_store_4d(const CUtensorMap *map, const void *from, int c0, int c1, int c2,
                                                int c3) {
#ifdef __CUDACC__
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];\n" ::"l"(map),
                 "r"(shared_address(from)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
#else
    const int first[] = {c0, c1, c2, c3};
    cuemu::tensor_store(map, from, 4, first);
#endif
}
// Consecutive bytes, a multiple of 16, both ends aligned to 16.
__device__ __forceinline__ void bulk_load(void *to, const void *from, uint32_t bytes, uint64_t *bar) {
#ifdef __CUDACC__
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];\n" ::"r"(
                     shared_address(to)),
                 "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(shared_address(bar))
                 : "memory");
#else
    cuemu::bulk_load(to, from, bytes, bar);
#endif
}
__device__ __forceinline__ void bulk_store(void *to, const void *from, uint32_t bytes) {
#ifdef __CUDACC__
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;\n" ::"l"(__cvta_generic_to_global(to)),
                 "r"(shared_address(from)), "r"(bytes)
                 : "memory");
#else
    cuemu::bulk_store(to, from, bytes);
#endif
}
// Stores form a group with those of this thread since the last commit.
__device__ __forceinline__ void bulk_commit() {
#ifdef __CUDACC__
    asm volatile("cp.async.bulk.commit_group;\n" ::: "memory");
#else
    cuemu::bulk_commit();
#endif
}
// Waits until at most PENDING of this thread's groups of stores still read shared memory.
template <int PENDING>
__device__ __forceinline__ void bulk_wait_read() {
#ifdef __CUDACC__
    asm volatile("cp.async.bulk.wait_group.read %0;\n" ::"n"(PENDING) : "memory");
#else
    cuemu::bulk_wait(PENDING, true);
#endif
}
// Waits until at most PENDING of this thread's groups of stores are not yet written.
template <int PENDING>
__device__ __forceinline__ void bulk_wait() {
#ifdef __CUDACC__
    asm volatile("cp.async.bulk.wait_group %0;\n" ::"n"(PENDING) : "memory");
#else
    cuemu::bulk_wait(PENDING, false);
#endif
}
__device__ __forceinline__ void prefetch_map(const CUtensorMap *map) {
#ifdef __CUDACC__
    asm volatile("prefetch.tensormap [%0];\n" ::"l"(map) : "memory");
#else
    cuemu::prefetch_map(map);
#endif
}
// What this thread knows to be written, in shared memory by ordinary stores and by cp.async, is seen by the copy engine
// and the tensor cores from here on.
__device__ __forceinline__ void fence_proxy_async() {
#ifdef __CUDACC__
    asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
#else
    cuemu::fence_proxy_async(false);
#endif
}
// The same for shared and global memory.
__device__ __forceinline__ void fence_proxy_async_all() {
#ifdef __CUDACC__
    asm volatile("fence.proxy.async;\n" ::: "memory");
#else
    cuemu::fence_proxy_async(true);
#endif
}

// ---- barriers with a number, 1 to 15, that some warps of the block share ----
// `threads`: of those that wait and of those that only arrive, together.
__device__ __forceinline__ void named_sync(int id, int threads) {
#ifdef __CUDACC__
    asm volatile("bar.sync %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
#else
    cuemu::named_sync(id, threads);
#endif
}
__device__ __forceinline__ void named_arrive(int id, int threads) {
#ifdef __CUDACC__
    asm volatile("bar.arrive %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
#else
    cuemu::named_arrive(id, threads);
#endif
}

// ---- registers that change hands: all warps of a warpgroup, in a kernel with __launch_bounds__(threads, 1) ----
template <int REGISTERS>
__device__ __forceinline__ void registers_up() {
    static_assert(REGISTERS >= 24 && REGISTERS <= 256 && REGISTERS % 8 == 0, "a multiple of 8 from 24 to 256");
#ifdef __CUDACC__
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(REGISTERS));
#else
    cuemu::set_registers(REGISTERS, true);
#endif
}
template <int REGISTERS>
__device__ __forceinline__ void registers_down() {
    static_assert(REGISTERS >= 24 && REGISTERS <= 256 && REGISTERS % 8 == 0, "a multiple of 8 from 24 to 256");
#ifdef __CUDACC__
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(REGISTERS));
#else
    cuemu::set_registers(REGISTERS, false);
#endif
}
