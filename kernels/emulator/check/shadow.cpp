// Shadow memory of device allocations.
#include "shadow.h"
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <sys/mman.h>

namespace cuemu {
namespace check {
static std::mutex lock;
static std::map<uintptr_t, Region> regions;
// The region found last: most accesses go to the region of the access before.
static thread_local Region recent{};
static std::atomic<unsigned> changes{1};
static thread_local unsigned recent_as_of = 0;

Cell *new_cells(size_t count) {
    constexpr int FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *cells = mmap(nullptr, count * sizeof(Cell) + 1, PROT_READ | PROT_WRITE, FLAGS, -1, 0);
    if (cells == MAP_FAILED) {
        perror("emulator: no memory for the checker");
        abort();
    }
    return static_cast<Cell *>(cells);
}

void drop_cells(Cell *cells, size_t count) { munmap(cells, count * sizeof(Cell) + 1); }

const Region *region_before(uintptr_t address) {
    const bool hit = recent_as_of == changes && address - recent.start < recent.bytes;
    if (hit) return &recent;
    std::lock_guard<std::mutex> guard(lock);
    const auto above = regions.upper_bound(address);
    if (above == regions.begin()) return nullptr;
    recent = std::prev(above)->second;
    recent_as_of = changes;
    return &recent;
}

void allocated(const void *at, size_t bytes) {
    std::lock_guard<std::mutex> guard(lock);
    const auto start = reinterpret_cast<uintptr_t>(at);
    regions[start] = {start, bytes, new_cells(bytes)};
    changes++;
}

void freed(const void *at) {
    std::lock_guard<std::mutex> guard(lock);
    const auto found = regions.find(reinterpret_cast<uintptr_t>(at));
    if (found == regions.end()) return;
    drop_cells(found->second.cells, found->second.bytes);
    regions.erase(found);
    changes++;
}

// The cells of a range that lies in one region; null otherwise.
static Cell *cells_of(const void *at, size_t bytes) {
    const auto address = reinterpret_cast<uintptr_t>(at);
    const Region *region = region_before(address);
    if (!region || address - region->start + bytes > region->bytes) return nullptr;
    return region->cells + (address - region->start);
}

void host_wrote(const void *at, size_t bytes) {
    Cell *cells = cells_of(at, bytes);
    for (size_t i = 0; cells && i < bytes; i++) cells[i] = Cell{HOST, {}, 0, 0, 0};
}

size_t first_unwritten(const void *at, size_t bytes) {
    const Cell *cells = cells_of(at, bytes);
    size_t i = 0;
    while (cells && i < bytes && cells[i].write) i++;
    return cells ? i : bytes;
}
}  // namespace check
}  // namespace cuemu
