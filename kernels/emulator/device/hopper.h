// Host bodies of Hopper's instructions (ptx_hopper.cuh, ptx_wgmma.cuh): mbarriers, the copy engine, products of a
// warpgroup.
#pragma once
#include "state.h"

// As the driver's: what it holds is the runtime's business (tensor_map.h).
struct alignas(64) CUtensorMap {
    unsigned long long opaque[16];
};

namespace cuemu {
// An offset into the shared memory of the block.
uint32_t shared_address(const void *at);

void mbarrier_init(uint64_t *at, uint32_t count);
void fence_mbarrier_init();
// `bytes`: what this arrival announces.
void mbarrier_arrive(uint64_t *at, uint32_t bytes);
bool mbarrier_try_wait(uint64_t *at, uint32_t parity);

void tensor_load(void *to, const CUtensorMap *map, uint64_t *bar, int rank, const int *first);
void tensor_store(const CUtensorMap *map, const void *from, int rank, const int *first);
void bulk_load(void *to, const void *from, uint32_t bytes, uint64_t *bar);
void bulk_store(void *to, const void *from, uint32_t bytes);
void bulk_commit();
void bulk_wait(int groups_under_way, bool only_until_read);
void prefetch_map(const CUtensorMap *map);
void fence_proxy_async(bool global_too);

void named_sync(int id, int threads);
void named_arrive(int id, int threads);
void set_registers(int count, bool up);

void wgmma_fence();
void wgmma_commit();
void wgmma_wait(int groups_under_way);
void wgmma_ss(float *d, int columns, uint64_t a, uint64_t b, bool add, bool a_mn, bool b_mn);
void wgmma_rs(float *d, int columns, const uint32_t *a, uint64_t b, bool add, bool b_mn);
}  // namespace cuemu
