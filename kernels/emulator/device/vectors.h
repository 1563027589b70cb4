// Vector types and dim3, with the alignment they have on the device.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

// It comes after the standard headers, whose names it must not change.
#include "keywords.h"

#define CUEMU_VECTOR_2(NAME, T, ALIGN) \
    struct alignas(ALIGN) NAME {       \
        T x, y;                        \
    };                                 \
    inline NAME make_##NAME(T x, T y) { return {x, y}; }
#define CUEMU_VECTOR_4(NAME, T, ALIGN) \
    struct alignas(ALIGN) NAME {       \
        T x, y, z, w;                  \
    };                                 \
    inline NAME make_##NAME(T x, T y, T z, T w) { return {x, y, z, w}; }

CUEMU_VECTOR_2(float2, float, 8)
CUEMU_VECTOR_2(int2, int, 8)
CUEMU_VECTOR_2(uint2, unsigned, 8)
CUEMU_VECTOR_2(double2, double, 16)
CUEMU_VECTOR_2(longlong2, long long, 16)
CUEMU_VECTOR_2(ulonglong2, unsigned long long, 16)
CUEMU_VECTOR_4(float4, float, 16)
CUEMU_VECTOR_4(int4, int, 16)
CUEMU_VECTOR_4(uint4, unsigned, 16)
CUEMU_VECTOR_4(ushort4, unsigned short, 8)
CUEMU_VECTOR_4(uchar4, unsigned char, 4)
#undef CUEMU_VECTOR_2
#undef CUEMU_VECTOR_4

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
