// Matrix instructions. Fragment layouts: PTX ISA, "Matrix fragments for mma.m16n8k16" and "ldmatrix".
#include "runtime.h"

namespace cuemu {
namespace {
constexpr unsigned ALL = 0xffffffffu;

struct Fragments {
    const uint32_t (&a)[4];
    uint32_t b[2];
    float (&d)[4];
};

float low_half(uint32_t pair) {
    const uint32_t bits = pair << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
float high_half(uint32_t pair) {
    const uint32_t bits = pair & 0xffff0000u;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

typedef float Row __attribute__((vector_size(32)));

// Products of bf16 are exact in f32; sums run over k in order, so that wider vectors change no bit.
__attribute__((always_inline)) inline void add_product(Row (&d)[16], const float (&a)[16][16], const Row (&b)[16]) {
    for (int row = 0; row < 16; row++) {
        Row sum = d[row];
        for (int k = 0; k < 16; k++) sum += a[row][k] * b[k];
        d[row] = sum;
    }
}
void add_product_anywhere(Row (&d)[16], const float (&a)[16][16], const Row (&b)[16]) { add_product(d, a, b); }
#ifdef __x86_64__
__attribute__((target("avx2"))) void add_product_avx2(Row (&d)[16], const float (&a)[16][16], const Row (&b)[16]) {
    add_product(d, a, b);
}
const auto ADD_PRODUCT = __builtin_cpu_supports("avx2") ? add_product_avx2 : add_product_anywhere;
#else
const auto ADD_PRODUCT = add_product_anywhere;
#endif

void multiply(Warp &warp, unsigned mask) {
    if (mask != ALL) fail("mma.m16n8k16 needs all 32 lanes, mask %08x", mask);
    float a[16][16];
    Row b[16], d[16];
    for (int lane = 0; lane < 32; lane++) {
        const Fragments &own = *static_cast<Fragments *>(warp.io[lane]);
        const int group = lane / 4, pair = lane % 4 * 2;
        for (int i = 0; i < 4; i++) {
            const int row = group + i % 2 * 8, column = pair + i / 2 * 8;
            a[row][column] = low_half(own.a[i]);
            a[row][column + 1] = high_half(own.a[i]);
            d[group + i / 2 * 8][pair + i % 2] = own.d[i];
        }
        for (int i = 0; i < 2; i++) {
            b[pair + i * 8][group] = low_half(own.b[i]);
            b[pair + i * 8 + 1][group] = high_half(own.b[i]);
        }
    }
    ADD_PRODUCT(d, a, b);
    for (int lane = 0; lane < 32; lane++) {
        float (&own)[4] = static_cast<Fragments *>(warp.io[lane])->d;
        for (int i = 0; i < 4; i++) own[i] = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
    }
}

struct Rows {
    uint16_t values[8];
    uint32_t *registers;
    int count;
};

template <bool TRANSPOSED>
void spread(Warp &warp, unsigned mask) {
    if (mask != ALL) fail("ldmatrix needs all 32 lanes, mask %08x", mask);
    auto rows = reinterpret_cast<Rows **>(warp.io);
    for (int lane = 0; lane < 32; lane++) {
        const int group = lane / 4, pair = lane % 4 * 2;
        for (int i = 0; i < rows[lane]->count; i++) {
            Rows **tile = rows + i * 8;
            const uint32_t low = TRANSPOSED ? tile[pair]->values[group] : tile[group]->values[pair];
            const uint32_t high = TRANSPOSED ? tile[pair + 1]->values[group] : tile[group]->values[pair + 1];
            rows[lane]->registers[i] = low | high << 16;
        }
    }
}
}  // namespace

void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    Fragments own{a, {b0, b1}, d};
    meet("mma.m16n8k16", __builtin_return_address(0), ALL, &own, multiply, false);
}

void ldmatrix(uint32_t *registers, const uint4 &row, int count, bool transposed) {
    Rows own;
    memcpy(own.values, &row, sizeof own.values);
    own.registers = registers;
    own.count = count;
    const char *what = transposed ? "ldmatrix.trans" : "ldmatrix";
    meet(what, __builtin_return_address(0), ALL, &own, transposed ? spread<true> : spread<false>, false);
}
}  // namespace cuemu
