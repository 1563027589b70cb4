// The attention kernels for Hopper as kernels, for tests: no engine launches them yet.
#include "attention_hopper_forward.cuh"
#include "attention_hopper_keys.cuh"
#include "attention_hopper_queries.cuh"

#define MAP const __grid_constant__ CUtensorMap

#define FORWARD(HS)                                                                                       \
    extern "C" __global__ void __launch_bounds__(ForwardSizes<HS>::THREADS, 1)                            \
        attention_hopper_forward_##HS(MAP qkv, MAP out, float *__restrict__ lse, int B, int T, int NH,    \
                                      float scale) {                                                      \
        DYN_SHARED(ForwardShared<HS>, shared);                                                            \
        forward<HS>(*shared, &qkv, &out, lse, B, T, NH, scale);                                           \
    }                                                                                                     \
    KERNEL_EXPORT(attention_hopper_forward_##HS);
FORWARD(64)
FORWARD(128)

#define QUERIES(HS)                                                                                       \
    extern "C" __global__ void __launch_bounds__(QueriesSizes<HS>::THREADS, 1)                            \
        attention_hopper_queries_##HS(MAP qkv, MAP dout, MAP out, MAP dqkv, float *__restrict__ rows,     \
                                      const float *__restrict__ lse, int B, int T, int NH, float scale) { \
        DYN_SHARED(QueriesShared<HS>, shared);                                                            \
        queries<HS>(*shared, {&qkv, &dout, &out, &dqkv}, rows, lse, B, T, NH, scale);                     \
    }                                                                                                     \
    KERNEL_EXPORT(attention_hopper_queries_##HS);
QUERIES(64)
QUERIES(128)

#define KEYS(HS)                                                                                          \
    extern "C" __global__ void __launch_bounds__(KeysSizes<HS>::THREADS, 1)                               \
        attention_hopper_keys_##HS(MAP qkv, MAP dout, MAP dqkv, const float *__restrict__ rows, int B,    \
                                   int T, int NH, float scale) {                                          \
        DYN_SHARED(KeysShared<HS>, shared);                                                               \
        keys<HS>(*shared, {&qkv, &dout, &dqkv}, rows, B, T, NH, scale);                                   \
    }                                                                                                     \
    KERNEL_EXPORT(attention_hopper_keys_##HS);
KEYS(64)
KEYS(128)
