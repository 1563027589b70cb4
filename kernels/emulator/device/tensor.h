// Host bodies of the matrix instructions of ptx.cuh; fragment layouts follow the PTX ISA.
#pragma once
#include "state.h"

namespace cuemu {
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
// Spreads the rows (16 bytes, one a lane) of `count` 8x8 tiles over the lanes.
void ldmatrix(uint32_t *registers, const uint4 &row, int count, bool transposed);

template <bool TRANSPOSED>
__forceinline__ void ldmatrix_x4(uint32_t (&registers)[4], const void *row) {
    require_alignment(static_cast<const char *>(row), 16, "ldmatrix");
    // The lane that names the row reads it here, so that a race is attributed to that lane.
    const uint4 values = *static_cast<const uint4 *>(row);
    ldmatrix(registers, values, 4, TRANSPOSED);
}
// Only the rows that lanes 0..15 name are read.
template <bool TRANSPOSED>
__forceinline__ void ldmatrix_x2(uint32_t (&registers)[2], const void *row) {
    uint4 values{};
    if (current->lane < 16) {
        require_alignment(static_cast<const char *>(row), 16, "ldmatrix");
        values = *static_cast<const uint4 *>(row);
    }
    ldmatrix(registers, values, 2, TRANSPOSED);
}
}  // namespace cuemu
