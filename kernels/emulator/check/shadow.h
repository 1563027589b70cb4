// Private to the checker: the state that it keeps for every byte, and the order of accesses.
#pragma once
#include "../runtime/runtime.h"
#include "checker.h"

namespace cuemu {
namespace check {
// The origin of an access: the block's number since the program's start, the thread, and the thread's clock at the
// time. 0: none. Clocks advance at barriers.
struct Epoch {
    uint64_t bits;

    uint64_t block() const { return bits >> 30; }
    int thread() const { return static_cast<int>(bits >> 20 & 0x3ff); }
    uint32_t clock() const { return static_cast<uint32_t>(bits & 0xfffff); }
    bool same_thread(Epoch other) const { return bits >> 20 == other.bits >> 20; }
    explicit operator bool() const { return bits != 0; }
};
constexpr Epoch NOBODY{0}, HOST{~0ull};

// The state of one byte.
struct Cell {
    Epoch write;
    // The last reads of two threads that are not ordered; more are forgotten.
    Epoch reads[2];
    // 1 + the thread whose cp.async to here is under way; 0: none.
    uint32_t copy_by;
    // The instruction of the last write, as an offset into the program; 0: unknown.
    uint32_t write_pc : 31, write_was_atomic : 1;
};
Cell *new_cells(size_t count);
void drop_cells(Cell *cells, size_t count);

// An allocation of device memory.
struct Region {
    uintptr_t start;
    size_t bytes;
    Cell *cells;
};
// The last region that starts at or before the address; null if there is none.
const Region *region_before(uintptr_t address);

// clocks.cpp
Epoch now(int thread);
// Whether what happened at `then` is ordered before what `thread` does now.
bool ordered(Epoch then, int thread);
void clocks_begin_launch();
void clocks_begin_block(int threads);

// report.cpp: the other side of a race.
struct Other {
    Epoch when = NOBODY;
    uint32_t pc = 0;
    const char *what = nullptr;
};
struct Incident {
    const void *at;
    size_t bytes;
    Access access;
    const void *pc;
};
void report(const char *kind, const Incident &incident, const std::string &more, const Other &other = {});
// For accesses that would corrupt memory: ends the launch.
[[noreturn]] void fatal(const char *kind, const Incident &incident, const std::string &more);
uint32_t offset_in_program(const void *pc);

// access.cpp
void check_access(const void *at, size_t bytes, Access access, const void *pc);
}  // namespace check
}  // namespace cuemu
