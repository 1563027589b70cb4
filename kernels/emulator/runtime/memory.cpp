// Device memory: host memory between two unreadable pages, filled with NaN patterns.
#include "../check/checker.h"
#include "runtime.h"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <sys/mman.h>

namespace cuemu {
struct Allocation {
    size_t bytes;
    void *mapping;
    size_t mapped;
};
static std::mutex lock;
static std::map<uintptr_t, Allocation> allocations;

static size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

std::string near_buffer(const void *at) {
    std::lock_guard<std::mutex> guard(lock);
    constexpr size_t NEAR = 16 << 20;
    const auto address = reinterpret_cast<uintptr_t>(at);
    const auto above = allocations.upper_bound(address);
    size_t past = SIZE_MAX, before = SIZE_MAX, bytes = 0;
    if (above != allocations.begin()) {
        const auto &[start, below] = *std::prev(above);
        past = address - start - below.bytes;
        bytes = below.bytes;
    }
    if (above != allocations.end()) before = above->first - address;
    if (before < past) bytes = above->second.bytes;
    if (std::min(before, past) > NEAR) return "";
    return ", " + std::to_string(std::min(before, past)) +
           (before < past ? " bytes before the start" : " bytes past the end") + " of a buffer of " +
           std::to_string(bytes) + " bytes";
}
}  // namespace cuemu
using namespace cuemu;

extern "C" {
// Returns null when there is no memory. The end, rounded up to 16 bytes, touches the second guard page: the address
// is a multiple of 16, and of 256 where the size is.
void *cuemu_malloc(size_t bytes) {
    const size_t body = round_up(bytes ? bytes : 1, 16), pages = round_up(body, PAGE), mapped = pages + 2 * PAGE;
    constexpr int FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *mapping = mmap(nullptr, mapped, PROT_NONE, FLAGS, -1, 0);
    if (mapping == MAP_FAILED) return nullptr;
    char *inside = static_cast<char *>(mapping) + PAGE;
    if (mprotect(inside, pages, PROT_READ | PROT_WRITE)) {
        munmap(mapping, mapped);
        return nullptr;
    }
    char *at = inside + pages - body;
    memset(inside, 0xff, pages);
    // The guard pages catch accesses further away.
    ASAN_POISON_MEMORY_REGION(inside, static_cast<size_t>(at - inside));
    ASAN_POISON_MEMORY_REGION(at + bytes, body - bytes);
    check::allocated(at, bytes);
    std::lock_guard<std::mutex> guard(lock);
    allocations[reinterpret_cast<uintptr_t>(at)] = {bytes, mapping, mapped};
    return at;
}

void cuemu_free(void *at) {
    if (!at) return;
    check::freed(at);
    std::lock_guard<std::mutex> guard(lock);
    const auto found = allocations.find(reinterpret_cast<uintptr_t>(at));
    if (found == allocations.end()) {
        fprintf(stderr, "emulator: %p is freed but was not allocated, or twice\n", at);
        abort();
    }
    ASAN_UNPOISON_MEMORY_REGION(static_cast<char *>(found->second.mapping) + PAGE, found->second.mapped - 2 * PAGE);
    munmap(found->second.mapping, found->second.mapped);
    allocations.erase(found);
}

void cuemu_upload(void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
    check::host_wrote(to, bytes);
}

void cuemu_download(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); }

void cuemu_memset(void *at, int value, size_t bytes) {
    memset(at, value, bytes);
    check::host_wrote(at, bytes);
}

// For host code that writes there, such as the replacement of a matrix product.
void cuemu_mark_written(void *at, size_t bytes) { check::host_wrote(at, bytes); }

// The offset of the first byte that was never written, or `bytes` if there is none; only the checker knows.
size_t cuemu_first_unwritten(const void *at, size_t bytes) { return check::first_unwritten(at, bytes); }
}
