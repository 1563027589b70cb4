// The words of CUDA C++ that a host compiler does not know.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __grid_constant__
// A bare `__shared__ T x[N]` works, but its bounds and its initialisation are not checked: use cuemu::static_shared.
#define __shared__ thread_local

// For the emulator's own accesses, which are not the kernel's. The second attribute of clang also exempts atomics.
#ifdef __clang__
#define CUEMU_UNCHECKED __attribute__((noinline, no_sanitize("thread"), disable_sanitizer_instrumentation))
#else
#define CUEMU_UNCHECKED __attribute__((noinline, no_sanitize("thread")))
#endif
