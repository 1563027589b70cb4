// Tensor maps: what the driver's cuTensorMapEncodeTiled would accept, and where the bytes of a box lie. What is
// modelled are tiled maps without interleaving, with zeros beyond the edge.
#include "tensor_map.h"
#include <cstdio>

namespace cuemu {
constexpr uint64_t MARK = 0x74656e736f726d70ull;
constexpr size_t PIECE = 16;

// As the caller's language lays it out.
struct TensorMapRequest {
    char *data;
    uint64_t sizes[MAX_RANK], strides[MAX_RANK];
    uint32_t box[MAX_RANK];
    uint32_t rank, element_bytes, swizzle_bytes;
};

// Why the driver would refuse it, or "".
static std::string objection(const TensorMapRequest &r) {
    const auto number = [](const char *what, uint64_t value, const char *rule) {
        return std::string(what) + " " + std::to_string(value) + ": " + rule;
    };
    if (r.rank < 1 || r.rank > MAX_RANK) return number("rank", r.rank, "1 to 5 are possible");
    if (r.element_bytes != 1 && r.element_bytes != 2 && r.element_bytes != 4 && r.element_bytes != 8)
        return number("element size", r.element_bytes, "1, 2, 4 or 8 bytes are possible");
    if (r.swizzle_bytes != 0 && r.swizzle_bytes != 32 && r.swizzle_bytes != 64 && r.swizzle_bytes != 128)
        return number("swizzle", r.swizzle_bytes, "0, 32, 64 or 128 bytes are possible");
    if (reinterpret_cast<uintptr_t>(r.data) % 16)
        return number("address", reinterpret_cast<uintptr_t>(r.data), "it must be a multiple of 16");
    for (uint32_t d = 0; d < r.rank; d++) {
        if (!r.sizes[d] || r.sizes[d] > uint64_t{1} << 32) return number("dimension of size", r.sizes[d], "1 to 2^32");
        if (!r.box[d] || r.box[d] > 256) return number("box of size", r.box[d], "1 to 256 along each dimension");
        if (d && (r.strides[d] % 16 || r.strides[d] >> 40))
            return number("stride", r.strides[d], "it must be a multiple of 16, below 2^40");
    }
    const uint64_t row = uint64_t{r.box[0]} * r.element_bytes;
    if (row % 16) return number("bytes of a row of the box", row, "they must be a multiple of 16");
    if (r.swizzle_bytes && row > r.swizzle_bytes)
        return number("bytes of a row of the box", row, "they must not exceed those of the swizzle");
    return "";
}

static const TensorMap &read(const CUtensorMap *map, const char *what) {
    if (reinterpret_cast<uintptr_t>(map) % alignof(CUtensorMap))
        fail("%s: a tensor map lies at a multiple of 64 bytes, not at %p", what, static_cast<const void *>(map));
    const auto &found = *reinterpret_cast<const TensorMap *>(map);
    if (found.mark != MARK) fail("%s: what lies at %p is no tensor map", what, static_cast<const void *>(map));
    return found;
}

void prefetch_map(const CUtensorMap *map) { read(map, "prefetch.tensormap"); }

// The swizzle exchanges 16-byte pieces by the address in shared memory.
static uintptr_t swizzled(uintptr_t address, int bytes) {
    const uintptr_t mask = bytes / PIECE ? static_cast<uintptr_t>(bytes / PIECE - 1) << 4 : 0;
    return address ^ (address >> 3 & mask);
}

// Which of the 16 bytes from `index` of the first dimension on the tensor has.
static BoxPiece piece_at(const TensorMap &map, int64_t index, char *row) {
    const int64_t count = PIECE / map.element_bytes, size = static_cast<int64_t>(map.sizes[0]);
    const int64_t low = index < 0 ? -index : 0, high = index + count > size ? size - index : count;
    if (!row || high <= low) return {nullptr, nullptr, 0, 0};
    char *from = row + (index + low) * map.element_bytes;
    return {nullptr, from, static_cast<uint8_t>(low * map.element_bytes),
            static_cast<uint8_t>((high - low) * map.element_bytes)};
}

// The start of a row of the box, null if a coordinate lies beyond the edge. `row` counts the box's rows.
static char *row_at(const TensorMap &map, const int *first, uint64_t row) {
    char *at = map.data;
    for (int d = 1; d < map.rank; d++) {
        const int64_t index = first[d] + static_cast<int64_t>(row % map.box[d]);
        row /= map.box[d];
        if (index < 0 || index >= static_cast<int64_t>(map.sizes[d])) return nullptr;
        at += index * static_cast<int64_t>(map.strides[d]);
    }
    return at;
}

Box box_of(const CUtensorMap *encoded, const void *shared, int rank, const int *first, const char *what) {
    const TensorMap &map = read(encoded, what);
    if (map.rank != rank) fail("%s: %d coordinates for a tensor of %d dimensions", what, rank, map.rank);
    const uint32_t base = shared_address(shared);
    if (base % 128) fail("%s: a box lies at a multiple of 128 bytes, not at %s", what, shared_name(shared).c_str());
    uint64_t rows = 1;
    for (int d = 1; d < rank; d++) rows *= map.box[d];
    const uint64_t row_bytes = uint64_t{map.box[0]} * map.element_bytes;
    Box box{{}, static_cast<long>(rows * row_bytes)};
    shared_at(base, rows * row_bytes, what);
    for (uint64_t row = 0; row < rows; row++) {
        char *from = row_at(map, first, row);
        for (uint64_t byte = 0; byte < row_bytes; byte += PIECE) {
            BoxPiece piece = piece_at(map, first[0] + static_cast<int64_t>(byte / map.element_bytes), from);
            const auto to = static_cast<uint32_t>(swizzled(base + row * row_bytes + byte, map.swizzle_bytes));
            piece.shared = shared_at(to, PIECE, what);
            box.pieces.push_back(piece);
        }
    }
    return box;
}

static std::string encode(CUtensorMap *map, const TensorMapRequest &r) {
    const std::string wrong = objection(r);
    if (!wrong.empty()) return "tensor map: " + wrong;
    TensorMap encoded{};
    encoded.mark = MARK;
    encoded.data = r.data;
    for (uint32_t d = 0; d < r.rank; d++) {
        encoded.sizes[d] = r.sizes[d];
        encoded.strides[d] = r.strides[d];
        encoded.box[d] = static_cast<uint16_t>(r.box[d]);
    }
    encoded.rank = static_cast<uint8_t>(r.rank);
    encoded.element_bytes = static_cast<uint8_t>(r.element_bytes);
    encoded.swizzle_bytes = static_cast<uint8_t>(r.swizzle_bytes);
    static_assert(sizeof encoded <= sizeof *map, "it fits");
    *map = {};
    memcpy(map, &encoded, sizeof encoded);
    return "";
}
}  // namespace cuemu

// Fills a tensor map. Returns 0, or 1 and a message.
extern "C" int cuemu_tensor_map(CUtensorMap *map, const cuemu::TensorMapRequest *request, char *message, size_t room) {
    const std::string text = cuemu::encode(map, *request);
    if (text.empty()) return 0;
    snprintf(message, room, "%s", text.c_str());
    return 1;
}
