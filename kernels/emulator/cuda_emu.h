// cuda_emu.h - runs CUDA kernel sources as plain C++17 on the CPU (correctness tests, not speed).
// A CUDA thread is a stackful fibre; the fibres of one block run on one OS thread and switch only at
// barriers and warp collectives; blocks run over several OS threads.
#pragma once
#ifdef __CUDACC__
#error "cuda_emu.h is for host compilers"
#endif
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#ifdef __clang__                           // emulator internals are not the kernel's accesses
#define CUEMU_NOSAN __attribute__((noinline, no_sanitize("thread"), disable_sanitizer_instrumentation))   // the latter for atomics
#else
#define CUEMU_NOSAN __attribute__((noinline, no_sanitize("thread")))
#endif

// ---- keywords -------------------------------------------------------------------------------------
#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ thread_local            // plain `__shared__ T x[N]`: works, but no bounds/init checks
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __grid_constant__

// ---- vector types ---------------------------------------------------------------------------------
#define CUEMU_V2(N, T, A) struct alignas(A) N { T x, y; }; inline N make_##N(T x, T y) { return {x, y}; }
#define CUEMU_V4(N, T, A) struct alignas(A) N { T x, y, z, w; }; \
    inline N make_##N(T x, T y, T z, T w) { return {x, y, z, w}; }
CUEMU_V2(float2, float, 8) CUEMU_V2(int2, int, 8) CUEMU_V2(uint2, unsigned, 8) CUEMU_V2(double2, double, 16)
CUEMU_V4(float4, float, 16) CUEMU_V4(int4, int, 16) CUEMU_V4(uint4, unsigned, 16)
struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {} };

// ---- run-time state seen by kernels ---------------------------------------------------------------
namespace cuemu {
struct Warp; struct Block;
struct Thread {                            // one CUDA thread
    uint3 tid; int lin, lane;
    Warp *warp; Block *blk;
    struct Fibre *fib; struct CpAsync *cp; // fibre it runs on, its cp.async queue (runtime-private)
    const char *wait; void *site; unsigned wmask; int state; void (*fn)(Warp &, unsigned); bool orders;
};
struct Warp { Thread *lane[32]; void *io[32]; unsigned live, waiting, cmask; const char *cwhat; bool mixed; };
struct Block { uint3 bid; dim3 bdim, gdim; Thread *th; Warp *warps; int n, live; unsigned char *dyn; size_t dyn_bytes; };
#if defined(__clang__) || defined(__GNUC__)
extern thread_local Thread *cur __attribute__((tls_model("initial-exec")));
#endif
typedef void (*CollFn)(Warp &, unsigned mask);
// All lanes of `mask` meet; the last one to come runs fn over every lane's io; then all go on.
void collective(const char *what, unsigned mask, void *io, CollFn fn, bool orders_memory);
inline void nothing(Warp &, unsigned) {}
void barrier(const char *what, int id, int count /* 0: all live threads */);
int barrier_vote(int pred, int kind);
void *static_shared(const void *key, size_t bytes, size_t align, const char *name);
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void cp_async(void *dst, const void *src, int bytes, int src_bytes);
void cp_async_commit();
void cp_async_wait(int pending_groups_allowed);
void note_access(const void *p, size_t n, bool write);   // for accesses made inside the runtime
template <class T> inline T *dyn_shared() { return reinterpret_cast<T *>(cur->blk->dyn); }
template <class T> inline void check_align(const T *p, size_t a, const char *what) {
    if ((uintptr_t)p % a) fail("%s: address %p is not %zu-byte aligned", what, (const void *)p, a);
}
// kernel table entry: calls a kernel from a cuLaunchKernel-style void** argument array
struct KernelDesc { const char *name; void (*invoke)(void **); int nargs; const uint8_t *sizes; const char *kinds; };
// Letter of an argument: capitals for pointers, by what they point to.
template <class A> struct Kind;
template <> struct Kind<int> { static constexpr char letter = 'i'; };
template <> struct Kind<unsigned> { static constexpr char letter = 'u'; };
template <> struct Kind<long> { static constexpr char letter = 'l'; };
template <> struct Kind<float> { static constexpr char letter = 'f'; };
template <> struct Kind<double> { static constexpr char letter = 'd'; };
template <class T> struct Kind<T *> {
    using U = std::remove_cv_t<T>;
    static constexpr char letter = std::is_same_v<U, float> ? 'F' : std::is_same_v<U, double> ? 'D' : std::is_same_v<U, unsigned> ? 'U'
                                 : std::is_same_v<U, int> ? 'I' : sizeof(U) == 2 ? 'B' : 'P';
};
template <class A> constexpr char kind_of() { return Kind<std::remove_cv_t<A>>::letter; }
template <auto F> struct Desc;
template <class... A, void (*F)(A...)> struct Desc<F> {
    static constexpr uint8_t sizes[sizeof...(A) + 1] = {sizeof(A)..., 0};
    static constexpr char kinds[sizeof...(A) + 1] = {kind_of<A>()..., 0};
    template <size_t... I> CUEMU_NOSAN static void call(void **a, std::index_sequence<I...>) { F(*(std::remove_const_t<A> *)a[I]...); }
    CUEMU_NOSAN static void invoke(void **a) { call(a, std::make_index_sequence<sizeof...(A)>()); }
    static constexpr KernelDesc make(const char *n) { return {n, invoke, (int)sizeof...(A), sizes, kinds}; }
};
}  // namespace cuemu
#define threadIdx (::cuemu::cur->tid)
#define blockIdx (::cuemu::cur->blk->bid)
#define blockDim (::cuemu::cur->blk->bdim)
#define gridDim (::cuemu::cur->blk->gdim)
static constexpr int warpSize = 32;

// ---- barriers -------------------------------------------------------------------------------------
inline void __syncthreads() { cuemu::barrier("__syncthreads", 0, 0); }
inline int __syncthreads_or(int p) { return cuemu::barrier_vote(p, 0); }
inline int __syncthreads_and(int p) { return cuemu::barrier_vote(p, 1); }
inline int __syncthreads_count(int p) { return cuemu::barrier_vote(p, 2); }
inline void __syncwarp(unsigned mask = 0xffffffffu) {
    cuemu::collective("__syncwarp", mask, nullptr, cuemu::nothing, true);
}
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __threadfence(); }

// ---- warp shuffles, votes, reductions -------------------------------------------------------------
namespace cuemu {
// (static members, not lambdas: clang instruments a lambda's thunk whatever the lambda says)
template <class T> struct Shfl {
    T v; int src; T out;
    CUEMU_NOSAN static void run(Warp &w, unsigned m) {
        for (int l = 0; l < 32; l++) if (m >> l & 1) {
            auto *d = (Shfl *)w.io[l];
            if (!(m >> d->src & 1)) fail("shuffle: lane %d reads lane %d, which is not in the mask %08x", l, d->src, m);
            d->out = ((Shfl *)w.io[d->src])->v;
        }
    }
};
template <class T> inline T shfl(const char *what, unsigned mask, T v, int src) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 2, "shuffle type");
    Shfl<T> io{v, src, v}; collective(what, mask, &io, Shfl<T>::run, false); return io.out;
}
template <class T, class F> struct Reduce {
    CUEMU_NOSAN static void run(Warp &w, unsigned m) {
        bool first = true; T acc{};
        for (int l = 0; l < 32; l++) if (m >> l & 1) { T x = *(T *)w.io[l]; acc = first ? x : F::f(acc, x); first = false; }
        for (int l = 0; l < 32; l++) if (m >> l & 1) *(T *)w.io[l] = acc;
    }
};
template <class T, class F> inline T reduce(const char *what, unsigned mask, T v) {
    T io = v; collective(what, mask, &io, Reduce<T, F>::run, false); return io;
}
struct Add { template <class T> __forceinline__ static T f(T a, T b) { return a + b; } };
struct Min { template <class T> __forceinline__ static T f(T a, T b) { return a < b ? a : b; } };
struct Max { template <class T> __forceinline__ static T f(T a, T b) { return a > b ? a : b; } };
struct And { template <class T> __forceinline__ static T f(T a, T b) { return a & b; } };
struct Or { template <class T> __forceinline__ static T f(T a, T b) { return a | b; } };
struct Xor { template <class T> __forceinline__ static T f(T a, T b) { return a ^ b; } };
}  // namespace cuemu
template <class T> inline T __shfl_sync(unsigned m, T v, int src, int width = 32) {
    int l = cuemu::cur->lane; return cuemu::shfl("__shfl_sync", m, v, (l & ~(width - 1)) | (src & (width - 1)));
}
template <class T> inline T __shfl_xor_sync(unsigned m, T v, int x, int width = 32) {
    int l = cuemu::cur->lane, s = l ^ x; if (s >= (l & ~(width - 1)) + width) s = l;
    return cuemu::shfl("__shfl_xor_sync", m, v, s);
}
template <class T> inline T __shfl_down_sync(unsigned m, T v, unsigned d, int width = 32) {
    int l = cuemu::cur->lane, s = l + (int)d; if (s >= (l & ~(width - 1)) + width) s = l;
    return cuemu::shfl("__shfl_down_sync", m, v, s);
}
template <class T> inline T __shfl_up_sync(unsigned m, T v, unsigned d, int width = 32) {
    int l = cuemu::cur->lane, s = l - (int)d; if (s < (l & ~(width - 1))) s = l;
    return cuemu::shfl("__shfl_up_sync", m, v, s);
}
inline unsigned __ballot_sync(unsigned m, int p) {
    return cuemu::reduce<unsigned, cuemu::Or>("__ballot_sync", m, p ? 1u << cuemu::cur->lane : 0u);
}
inline int __any_sync(unsigned m, int p) { return cuemu::reduce<unsigned, cuemu::Or>("__any_sync", m, p ? 1u : 0u) != 0; }
inline int __all_sync(unsigned m, int p) { return cuemu::reduce<unsigned, cuemu::And>("__all_sync", m, p ? 1u : 0u) != 0; }
#define CUEMU_RED(N, O) template <class T> inline T N(unsigned m, T v) { return cuemu::reduce<T, cuemu::O>(#N, m, v); }
CUEMU_RED(__reduce_add_sync, Add) CUEMU_RED(__reduce_min_sync, Min) CUEMU_RED(__reduce_max_sync, Max)
CUEMU_RED(__reduce_and_sync, And) CUEMU_RED(__reduce_or_sync, Or) CUEMU_RED(__reduce_xor_sync, Xor)
inline unsigned __activemask() { return cuemu::cur->warp->live; }   // hint only, as on the GPU

// ---- atomics (real ones: blocks run in parallel) --------------------------------------------------
namespace cuemu {
template <class T, class F> CUEMU_NOSAN T atomic_rmw(T *p, F f) {
    using U = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "atomic type");
    check_align(p, sizeof(T), "atomic");
    U o = __atomic_load_n((U *)p, __ATOMIC_RELAXED), n; T ov, nv;
    do { memcpy(&ov, &o, sizeof o); nv = f(ov); memcpy(&n, &nv, sizeof n); }
    while (!__atomic_compare_exchange_n((U *)p, &o, n, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return ov;
}
}
void cuemu_note_atomic(const void *p, size_t n);
#define CUEMU_ATOM(N, E) template <class T> inline T N(T *p, std::common_type_t<T> v) { \
    cuemu_note_atomic(p, sizeof(T)); return cuemu::atomic_rmw(p, [v](T o) -> T { return E; }); }
CUEMU_ATOM(atomicAdd, o + v) CUEMU_ATOM(atomicSub, o - v) CUEMU_ATOM(atomicExch, ((void)o, v))
CUEMU_ATOM(atomicMax, o > v ? o : v) CUEMU_ATOM(atomicMin, o < v ? o : v)
CUEMU_ATOM(atomicOr, o | v) CUEMU_ATOM(atomicAnd, o & v)
template <class T> inline T atomicCAS(T *p, std::common_type_t<T> c, std::common_type_t<T> v) {
    cuemu_note_atomic(p, sizeof(T)); return cuemu::atomic_rmw(p, [=](T o) -> T { return o == c ? v : o; });
}

// ---- cache-hinted loads and stores ----------------------------------------------------------------
#define CUEMU_LD(N) template <class T> __forceinline__ T N(const T *p) { cuemu::check_align(p, sizeof(T), #N); return *p; }
#define CUEMU_ST(N) template <class T> __forceinline__ void N(T *p, std::common_type_t<T> v) { cuemu::check_align(p, sizeof(T), #N); *p = v; }
CUEMU_LD(__ldg) CUEMU_LD(__ldcs) CUEMU_LD(__ldcg) CUEMU_LD(__ldca) CUEMU_LD(__ldlu) CUEMU_LD(__ldcv)
CUEMU_ST(__stcs) CUEMU_ST(__stcg) CUEMU_ST(__stwb) CUEMU_ST(__stwt)

// ---- scalar intrinsics ----------------------------------------------------------------------------
template <class D, class S> __forceinline__ D cuemu_bits(S s) { D d; static_assert(sizeof d == sizeof s, ""); memcpy(&d, &s, sizeof d); return d; }
inline unsigned __float_as_uint(float f) { return cuemu_bits<unsigned>(f); }
inline int __float_as_int(float f) { return cuemu_bits<int>(f); }
inline float __uint_as_float(unsigned u) { return cuemu_bits<float>(u); }
inline float __int_as_float(int i) { return cuemu_bits<float>(i); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __exp2f(float x) { return exp2f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __frsqrt_rn(float a) { return 1.0f / sqrtf(a); }
inline float __saturatef(float a) { return a < 0.f ? 0.f : a > 1.f ? 1.f : a; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __brev(unsigned x) { unsigned r = 0; for (int i = 0; i < 32; i++) r |= (x >> i & 1u) << (31 - i); return r; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned s) {
    uint64_t v = (uint64_t)b << 32 | a; unsigned r = 0;
    for (int i = 0; i < 4; i++) r |= (unsigned)(v >> (s >> 4 * i & 7) * 8 & 0xff) << 8 * i;
    return r;
}
template <class T> inline T min(T a, std::common_type_t<T> b) { return b < a ? b : a; }
template <class T> inline T max(T a, std::common_type_t<T> b) { return a < b ? b : a; }
#define CUDART_INF_F INFINITY
inline void __trap() { cuemu::fail("__trap()"); }
inline void __nanosleep(unsigned) {}

// ---- bf16 (same names and rounding as cuda_bf16.h; NaN becomes 0x7fff there) ------------------------
struct __nv_bfloat16_raw { unsigned short x; };
struct alignas(2) __nv_bfloat16 {
    unsigned short b;
    __nv_bfloat16() = default;
    constexpr __nv_bfloat16(__nv_bfloat16_raw r) : b(r.x) {}
    __nv_bfloat16(float f) {
        unsigned u = __float_as_uint(f);
        b = (u & 0x7fffffffu) > 0x7f800000u ? 0x7fff : (unsigned short)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
    }
    operator float() const { return __uint_as_float((unsigned)b << 16); }
};
struct alignas(4) __nv_bfloat162 { __nv_bfloat16 x, y; };
inline float __bfloat162float(__nv_bfloat16 h) { return (float)h; }
inline __nv_bfloat16 __float2bfloat16(float f) { return __nv_bfloat16(f); }
inline __nv_bfloat16 __float2bfloat16_rn(float f) { return __nv_bfloat16(f); }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short u) { return __nv_bfloat16(__nv_bfloat16_raw{u}); }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 h) { return h.b; }
inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b) { return {__nv_bfloat16(a), __nv_bfloat16(b)}; }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 a, __nv_bfloat16 b) { return {a, b}; }
inline float2 __bfloat1622float2(__nv_bfloat162 h) { return {(float)h.x, (float)h.y}; }
inline float __low2float(__nv_bfloat162 h) { return h.x; }
inline float __high2float(__nv_bfloat162 h) { return h.y; }
inline __nv_bfloat16 __hadd(__nv_bfloat16 a, __nv_bfloat16 b) { return (float)a + (float)b; }
inline __nv_bfloat16 __hmul(__nv_bfloat16 a, __nv_bfloat16 b) { return (float)a * (float)b; }
inline __nv_bfloat16 __hfma(__nv_bfloat16 a, __nv_bfloat16 b, __nv_bfloat16 c) { return fmaf(a, b, c); }
#include "cuda_emu_mma.h"
