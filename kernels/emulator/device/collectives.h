// Barriers, warp shuffles, votes and reductions.
#pragma once
#include "state.h"

__forceinline__ void __syncthreads() { cuemu::barrier("__syncthreads", 0, 0); }
__forceinline__ int __syncthreads_or(int vote) { return cuemu::barrier_vote("__syncthreads_or", vote).any; }
__forceinline__ int __syncthreads_and(int vote) { return cuemu::barrier_vote("__syncthreads_and", vote).all; }
__forceinline__ int __syncthreads_count(int vote) { return cuemu::barrier_vote("__syncthreads_count", vote).count; }
__forceinline__ void __syncwarp(unsigned mask = 0xffffffffu) {
    cuemu::collective("__syncwarp", mask, nullptr, cuemu::exchange_nothing, true);
}
__forceinline__ void __threadfence() { cuemu::fence(); }
__forceinline__ void __threadfence_block() { cuemu::fence(); }
__forceinline__ void __threadfence_system() { cuemu::fence(); }

namespace cuemu {
inline bool has_lane(unsigned mask, int lane) { return mask >> lane & 1; }

// The exchanges are static members instead of lambdas: clang instruments a lambda's thunk despite its attributes.
template <class T>
struct Shuffle {
    T value;
    int source;
    T result;

    CUEMU_UNCHECKED static void run(Warp &warp, unsigned mask) {
        for (int lane = 0; lane < 32; lane++) {
            if (!has_lane(mask, lane)) continue;
            auto *to = static_cast<Shuffle *>(warp.io[lane]);
            if (!has_lane(mask, to->source))
                fail("shuffle: lane %d reads lane %d, which is not in the mask %08x", lane, to->source, mask);
            to->result = static_cast<Shuffle *>(warp.io[to->source])->value;
        }
    }
};

template <class T>
__forceinline__ T shuffle(const char *what, unsigned mask, T value, int source) {
    static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 2, 4 or 8 bytes");
    Shuffle<T> io{value, source, value};
    collective(what, mask, &io, Shuffle<T>::run, false);
    return io.result;
}

// The first lane of this lane's segment of `width` lanes.
inline int segment(int width) { return current->lane & ~(width - 1); }

template <class T, class OPERATION>
struct Reduction {
    CUEMU_UNCHECKED static void run(Warp &warp, unsigned mask) {
        bool first = true;
        T result{};
        for (int lane = 0; lane < 32; lane++) {
            if (!has_lane(mask, lane)) continue;
            const T value = *static_cast<T *>(warp.io[lane]);
            result = first ? value : OPERATION::of(result, value);
            first = false;
        }
        for (int lane = 0; lane < 32; lane++)
            if (has_lane(mask, lane)) *static_cast<T *>(warp.io[lane]) = result;
    }
};

template <class T, class OPERATION>
__forceinline__ T reduce(const char *what, unsigned mask, T value) {
    T io = value;
    collective(what, mask, &io, Reduction<T, OPERATION>::run, false);
    return io;
}

#define CUEMU_OPERATION(NAME, RESULT)           \
    struct NAME {                               \
        template <class T>                      \
        __forceinline__ static T of(T a, T b) { \
            return RESULT;                      \
        }                                       \
    };
CUEMU_OPERATION(Add, a + b)
CUEMU_OPERATION(Min, a < b ? a : b)
CUEMU_OPERATION(Max, a > b ? a : b)
CUEMU_OPERATION(And, a &b)
CUEMU_OPERATION(Or, a | b)
CUEMU_OPERATION(Xor, a ^ b)
#undef CUEMU_OPERATION
}  // namespace cuemu

template <class T>
__forceinline__ T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    return cuemu::shuffle("__shfl_sync", mask, value, cuemu::segment(width) | (source & (width - 1)));
}
template <class T>
__forceinline__ T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
    const int lane = cuemu::current->lane, source = lane ^ lanes;
    return cuemu::shuffle("__shfl_xor_sync", mask, value, source < cuemu::segment(width) + width ? source : lane);
}
template <class T>
__forceinline__ T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    const int lane = cuemu::current->lane, source = lane + static_cast<int>(delta);
    return cuemu::shuffle("__shfl_down_sync", mask, value, source < cuemu::segment(width) + width ? source : lane);
}
template <class T>
__forceinline__ T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    const int lane = cuemu::current->lane, source = lane - static_cast<int>(delta);
    return cuemu::shuffle("__shfl_up_sync", mask, value, source >= cuemu::segment(width) ? source : lane);
}

__forceinline__ unsigned __ballot_sync(unsigned mask, int vote) {
    const unsigned bit = vote ? 1u << cuemu::current->lane : 0u;
    return cuemu::reduce<unsigned, cuemu::Or>("__ballot_sync", mask, bit);
}
__forceinline__ int __any_sync(unsigned mask, int vote) {
    return cuemu::reduce<int, cuemu::Or>("__any_sync", mask, vote != 0);
}
__forceinline__ int __all_sync(unsigned mask, int vote) {
    return cuemu::reduce<int, cuemu::And>("__all_sync", mask, vote != 0);
}
// A hint, as on the GPU.
__forceinline__ unsigned __activemask() { return cuemu::current->warp->live; }

#define CUEMU_REDUCE(NAME, OPERATION)                                  \
    template <class T>                                                 \
    __forceinline__ T NAME(unsigned mask, T value) {                   \
        static_assert(std::is_integral_v<T> && sizeof(T) == 4, #NAME); \
        return cuemu::reduce<T, cuemu::OPERATION>(#NAME, mask, value); \
    }
CUEMU_REDUCE(__reduce_add_sync, Add)
CUEMU_REDUCE(__reduce_min_sync, Min)
CUEMU_REDUCE(__reduce_max_sync, Max)
CUEMU_REDUCE(__reduce_and_sync, And)
CUEMU_REDUCE(__reduce_or_sync, Or)
CUEMU_REDUCE(__reduce_xor_sync, Xor)
#undef CUEMU_REDUCE
