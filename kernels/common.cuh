// Every kernel file includes this: the words that nvcc and the emulator's compiler both understand, and helpers that
// several kernels share.
//
// Kernels contain no asm (ptx*.cuh have all of it), no <<<>>> and no bare __shared__: they declare shared memory with
// SHARED_VAR, SHARED_ARRAY and DYN_SHARED, so that the emulator can check its bounds and its initialisation.
// KERNEL_EXPORT(name) after a kernel gives the emulator its entry; under nvcc it does nothing.
// NULLABLE before the name of a pointer parameter says that the pointer may be null; the compilers ignore it.
// LOAD_MAP and STORE_MAP before the name of a parameter: a tensor that the copy engine reads, or writes.
//
// The build derives the Rust side of every kernel from these files (kernels/build/table): launch structs from the
// signatures, constants from `constexpr int`, floors from the heads. CONTRIBUTING.md says what it expects.
#pragma once
#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cstdint>
#define SHARED_VAR(T, name) __shared__ T name
#define SHARED_ARRAY(T, name, dims) __shared__ T name dims
#define DYN_SHARED(T, name)                                            \
    extern __shared__ __align__(1024) unsigned char dyn_shared_[];     \
    T *name = reinterpret_cast<T *>(dyn_shared_)
#define KERNEL_EXPORT(name) static_assert(true, "")
#else
#include "cuda_emu.h"
#define SHARED_VAR(T, name) \
    static char name##_key; \
    T &name = *(T *)cuemu::static_shared(&name##_key, sizeof(T), alignof(T), #name)
#define SHARED_ARRAY(T, name, dims) \
    static char name##_key;         \
    typedef T name##_t dims;        \
    name##_t &name = *(name##_t *)cuemu::static_shared(&name##_key, sizeof(name##_t), alignof(name##_t), #name)
#define DYN_SHARED(T, name) T *name = cuemu::dyn_shared<T>()
#define KERNEL_EXPORT(name)                             \
    extern "C" const cuemu::KernelDesc cuemu_desc_##name; \
    const cuemu::KernelDesc cuemu_desc_##name = cuemu::Desc<name>::make(#name)
#endif
#include "ptx.cuh"

#define NULLABLE
#define LOAD_MAP const __grid_constant__ CUtensorMap
#define STORE_MAP const __grid_constant__ CUtensorMap

typedef __nv_bfloat16 bf16;
typedef __nv_bfloat162 bf162;

constexpr unsigned ALL_LANES = 0xffffffffu;

// Eight bf16 that one 16-byte access loads or stores.
union alignas(16) Pack8 {
    uint4 words;
    bf16 values[8];
    __device__ __forceinline__ Pack8() {}
};

__device__ __forceinline__ Pack8 load8(const bf16 *from) {
    Pack8 pack;
    pack.words = *reinterpret_cast<const uint4 *>(from);
    return pack;
}
// For values that are read once and need not stay in the cache.
__device__ __forceinline__ Pack8 load8_streaming(const bf16 *from) {
    Pack8 pack;
    pack.words = __ldcs(reinterpret_cast<const uint4 *>(from));
    return pack;
}
__device__ __forceinline__ void store8(bf16 *to, const Pack8 &pack) { *reinterpret_cast<uint4 *>(to) = pack.words; }

// Two f32 rounded to bf16, the first in the low half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
    const bf162 pair = __floats2bfloat162_rn(low, high);
    return (uint32_t)__bfloat16_as_ushort(pair.y) << 16 | __bfloat16_as_ushort(pair.x);
}

template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) value += __shfl_xor_sync(ALL_LANES, value, offset);
    return value;
}
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, offset));
    return value;
}

// The sum over a block of WARPS full warps, the same in every thread. It may be called again at once.
template <int WARPS, class T>
__device__ __forceinline__ T block_sum(T value) {
    SHARED_ARRAY(T, partial, [WARPS]);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    value = warp_sum(value);
    __syncthreads();  // partial[] of the previous call has been read
    if (lane == 0) partial[warp] = value;
    __syncthreads();
    return warp_sum(lane < WARPS ? partial[lane] : T(0));
}
