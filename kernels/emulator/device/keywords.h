// The words of CUDA C++ that a host compiler does not know.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
// A bare `__shared__ T x[N]` works, but nobody watches its bounds and its initialisation: use cuemu::static_shared.
#define __shared__ thread_local

// For what is the emulator's own, and no access of the kernel. The second word of clang's also exempts atomics.
#ifdef __clang__
#define CUEMU_UNCHECKED __attribute__((noinline, no_sanitize("thread"), disable_sanitizer_instrumentation))
#else
#define CUEMU_UNCHECKED __attribute__((noinline, no_sanitize("thread")))
#endif
