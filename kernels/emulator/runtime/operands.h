// Operands of a warp's part of a product: where they lie in shared memory, and matrices of 16 rows that hold them.
#pragma once
#include "../device/hopper.h"
#include "runtime.h"

namespace cuemu {
// The 16-byte pieces of an operand, 8 values each. Where k runs fastest: the two pieces of each row or column; else: of
// each k, the pieces of 8 rows or columns each.
struct Operand {
    static constexpr size_t PIECE = 16;
    bool mn = false;
    std::vector<const unsigned char *> pieces;
};
// The 16 rows from `first_row` on of the left side (64 x 16), and the right side (16 x columns).
Operand left_operand(uint64_t descriptor, int first_row, bool mn);
Operand right_operand(uint64_t descriptor, int columns, bool mn);

// 16 rows of up to 256 columns.
struct Rows {
    static constexpr int MOST = 256;
    typedef float Eight __attribute__((vector_size(32)));
    union {
        Eight eights[16][MOST / 8];
        float values[16][MOST];
    };

    // Of the left side: rows by k.
    void from_rows(const Operand &operand);
    void from_fragments(const uint32_t *const *a);
    // Of the right side: k by columns.
    void from_columns(const Operand &operand, int columns);
    // Of the sums, which begin with zero unless `add`.
    void from_accumulators(float *const *d, int columns, bool add);
    void to_accumulators(float *const *d, int columns) const;
};
void multiply(Rows &sums, const Rows &left, const Rows &right, int columns);
}  // namespace cuemu
