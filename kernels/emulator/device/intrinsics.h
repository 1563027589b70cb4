// Cache-hinted accesses, bit casts, scalar maths and conversions. Approximate functions are computed exactly here.
#pragma once
#include "state.h"

#define CUEMU_LOAD(NAME)                                  \
    template <class T>                                    \
    __forceinline__ T NAME(const T *from) {               \
        cuemu::require_alignment(from, sizeof(T), #NAME); \
        return *from;                                     \
    }
#define CUEMU_STORE(NAME)                                           \
    template <class T>                                              \
    __forceinline__ void NAME(T *to, std::common_type_t<T> value) { \
        cuemu::require_alignment(to, sizeof(T), #NAME);             \
        *to = value;                                                \
    }
CUEMU_LOAD(__ldg)
CUEMU_LOAD(__ldcs)
CUEMU_LOAD(__ldcg)
CUEMU_LOAD(__ldca)
CUEMU_LOAD(__ldlu)
CUEMU_LOAD(__ldcv)
CUEMU_STORE(__stcs)
CUEMU_STORE(__stcg)
CUEMU_STORE(__stwb)
CUEMU_STORE(__stwt)
#undef CUEMU_LOAD
#undef CUEMU_STORE

namespace cuemu {
template <class TO, class FROM>
__forceinline__ TO bit_cast(FROM from) {
    static_assert(sizeof(TO) == sizeof(FROM), "a bit cast keeps the size");
    TO to;
    memcpy(&to, &from, sizeof to);
    return to;
}
}  // namespace cuemu
inline unsigned __float_as_uint(float f) { return cuemu::bit_cast<unsigned>(f); }
inline int __float_as_int(float f) { return cuemu::bit_cast<int>(f); }
inline float __uint_as_float(unsigned u) { return cuemu::bit_cast<float>(u); }
inline float __int_as_float(int i) { return cuemu::bit_cast<float>(i); }
inline long long __double_as_longlong(double d) { return cuemu::bit_cast<long long>(d); }
inline double __longlong_as_double(long long l) { return cuemu::bit_cast<double>(l); }

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __frsqrt_rn(float a) { return 1.0f / sqrtf(a); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
// NaN becomes 0, as on the device.
inline float __saturatef(float a) { return a > 0.f ? (a > 1.f ? 1.f : a) : 0.f; }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++) reversed |= (x >> i & 1u) << (31 - i);
    return reversed;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<int64_t>(a) * b >> 32); }
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned from = selector >> 4 * i & 7;
        result |= static_cast<unsigned>(bytes >> from * 8 & 0xff) << 8 * i;
    }
    return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31));
}

// Values out of range are clamped and NaN is 0, as on the device; a plain C++ cast would be undefined.
namespace cuemu {
template <class TO>
inline TO to_integer(double x) {
    constexpr double low = static_cast<double>(std::numeric_limits<TO>::min());
    constexpr double high = static_cast<double>(std::numeric_limits<TO>::max());
    if (x != x) return 0;
    return x <= low ? std::numeric_limits<TO>::min() : x >= high ? std::numeric_limits<TO>::max() : static_cast<TO>(x);
}
}  // namespace cuemu
inline int __float2int_rn(float x) { return cuemu::to_integer<int>(nearbyint(x)); }
inline int __float2int_rz(float x) { return cuemu::to_integer<int>(trunc(x)); }
inline int __float2int_rd(float x) { return cuemu::to_integer<int>(floor(x)); }
inline int __float2int_ru(float x) { return cuemu::to_integer<int>(ceil(x)); }
inline unsigned __float2uint_rn(float x) { return cuemu::to_integer<unsigned>(nearbyint(x)); }
inline unsigned __float2uint_rz(float x) { return cuemu::to_integer<unsigned>(trunc(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

template <class T>
inline T min(T a, std::common_type_t<T> b) {
    return b < a ? b : a;
}
template <class T>
inline T max(T a, std::common_type_t<T> b) {
    return a < b ? b : a;
}
// As on the device, min and max of a NaN and a number are the number.
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }

#define CUDART_INF_F INFINITY
[[noreturn]] inline void __trap() { cuemu::fail("__trap()"); }
inline void __nanosleep(unsigned) {}
