// What a CUtensorMap holds in the emulator, and the boxes that it describes.
#pragma once
#include "../device/hopper.h"
#include "runtime.h"

namespace cuemu {
constexpr int MAX_RANK = 5;

struct TensorMap {
    uint64_t mark;
    char *data;
    // Elements along each dimension, the fastest first; bytes from one to the next along each but the first, whose
    // elements are contiguous; elements of a box.
    uint64_t sizes[MAX_RANK], strides[MAX_RANK];
    uint16_t box[MAX_RANK];
    uint8_t rank, element_bytes, swizzle_bytes;
};

// 16 bytes of a box: where they lie in shared memory, and which of them the tensor has (not so beyond its edge).
struct BoxPiece {
    unsigned char *shared;
    char *global;
    uint8_t first, bytes;
};
struct Box {
    std::vector<BoxPiece> pieces;
    long bytes;
};
Box box_of(const CUtensorMap *map, const void *shared, int rank, const int *first, const char *what);
}  // namespace cuemu
