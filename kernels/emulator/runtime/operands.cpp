// Descriptors, fragments and sums of a warpgroup's products.
#include "operands.h"

namespace cuemu {
namespace {
constexpr const char *WHAT = "wgmma";

// PTX ISA, "Matrix descriptor".
struct Descriptor {
    uint32_t start, next, rows8;

    explicit Descriptor(uint64_t bits)
        : start(field(bits, 0) << 4), next(field(bits, 16) << 4), rows8(field(bits, 32) << 4) {
        if (bits >> 62 != 1) fail("wgmma: a descriptor of another layout than the 128-byte swizzle");
        if (start % 1024 / 128 != (bits >> 49 & 7))
            fail("wgmma: the rows of an operand at %s do not begin at a multiple of 1024 bytes",
                 shared_name(worker->arena + start).c_str());
    }
    static uint32_t field(uint64_t bits, int from) { return static_cast<uint32_t>(bits >> from & 0x3fff); }
    const unsigned char *piece(uint32_t offset) const {
        const uint32_t address = start + offset;
        return shared_at(address ^ (address >> 7 & 7) << 4, Operand::PIECE, WHAT);
    }
};

Operand operand(uint64_t bits, int first, int count, bool mn) {
    const Descriptor descriptor(bits);
    Operand found;
    found.mn = mn;
    if (mn) {
        for (uint32_t k = 0; k < 16; k++)
            for (int i = first; i < first + count; i += 8)
                found.pieces.push_back(
                    descriptor.piece(i / 64 * descriptor.next + k / 8 * descriptor.rows8 + k % 8 * 128 + i % 64 * 2));
    } else {
        for (int i = first; i < first + count; i++)
            for (uint32_t half = 0; half < 2; half++)
                found.pieces.push_back(descriptor.piece(i / 8 * descriptor.rows8 + i % 8 * 128 + half * 16));
    }
    return found;
}

float widen(uint32_t bf16) {
    const uint32_t bits = bf16 << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Calls to(i, k, value) for all of the operand.
template <class TO>
void each_value(const Operand &operand, int count, TO to) {
    const int eights = count / 8;
    for (size_t p = 0; p < operand.pieces.size(); p++) {
        uint16_t values[8];
        memcpy(values, operand.pieces[p], sizeof values);
        const int at = static_cast<int>(p);
        for (int e = 0; e < 8; e++) {
            if (operand.mn) {
                to(at % eights * 8 + e, at / eights, widen(values[e]));
            } else {
                to(at / 2, at % 2 * 8 + e, widen(values[e]));
            }
        }
    }
}

// Which element of the 16 rows the i-th accumulator of a lane is.
int row_of(int lane, int i) { return i / 2 % 2 * 8 + lane / 4; }
int column_of(int lane, int i) { return i / 4 * 8 + lane % 4 * 2 + i % 2; }

__attribute__((always_inline)) inline void add_products(Rows &sums, const Rows &left, const Rows &right, int columns) {
    for (int row = 0; row < 16; row++)
        for (int n = 0; n < columns / 8; n++) {
            Rows::Eight sum = sums.eights[row][n];
            for (int k = 0; k < 16; k++) sum += left.values[row][k] * right.eights[k][n];
            sums.eights[row][n] = sum;
        }
}
void add_anywhere(Rows &sums, const Rows &left, const Rows &right, int columns) {
    add_products(sums, left, right, columns);
}
#ifdef __x86_64__
__attribute__((target("avx2"))) void add_avx2(Rows &sums, const Rows &left, const Rows &right, int columns) {
    add_products(sums, left, right, columns);
}
const auto ADD = __builtin_cpu_supports("avx2") ? add_avx2 : add_anywhere;
#else
const auto ADD = add_anywhere;
#endif
}  // namespace

Operand left_operand(uint64_t descriptor, int first_row, bool mn) { return operand(descriptor, first_row, 16, mn); }
Operand right_operand(uint64_t descriptor, int columns, bool mn) { return operand(descriptor, 0, columns, mn); }

void Rows::from_rows(const Operand &operand) {
    each_value(operand, 16, [this](int row, int k, float value) { values[row][k] = value; });
}

void Rows::from_columns(const Operand &operand, int columns) {
    each_value(operand, columns, [this](int column, int k, float value) { values[k][column] = value; });
}

void Rows::from_fragments(const uint32_t *const *a) {
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++) {
            const int row = lane / 4 + i % 2 * 8, k = lane % 4 * 2 + i / 2 * 8;
            values[row][k] = widen(a[lane][i] & 0xffff);
            values[row][k + 1] = widen(a[lane][i] >> 16);
        }
}

void Rows::from_accumulators(float *const *d, int columns, bool add) {
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < columns / 2; i++) values[row_of(lane, i)][column_of(lane, i)] = add ? d[lane][i] : 0.f;
}

void Rows::to_accumulators(float *const *d, int columns) const {
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < columns / 2; i++) d[lane][i] = values[row_of(lane, i)][column_of(lane, i)];
}

// Products of bf16 are exact in f32; sums run over k in order, so that wider vectors change no bit.
void multiply(Rows &sums, const Rows &left, const Rows &right, int columns) { ADD(sums, left, right, columns); }
}  // namespace cuemu
