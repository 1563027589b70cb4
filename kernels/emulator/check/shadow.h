// Private to the checker: the state that it keeps for every byte, and the order of accesses.
#pragma once
#include "../runtime/runtime.h"
#include "checker.h"

namespace cuemu {
namespace check {
// The origin of an access: the block's number since the program's start, the thread or agent (see clocks.cpp), and its
// clock at the time. 0: none. Clocks of threads advance at barriers.
struct Epoch {
    uint64_t bits;

    uint64_t block() const { return bits >> 31; }
    int party() const { return static_cast<int>(bits >> 20 & 0x7ff); }
    uint32_t clock() const { return static_cast<uint32_t>(bits & 0xfffff); }
    bool same_party(Epoch other) const { return bits >> 20 == other.bits >> 20; }
    explicit operator bool() const { return bits != 0; }
};
constexpr Epoch NOBODY{0}, HOST{~0ull};
constexpr int MAX_PARTIES = 2048;

// The state of one byte.
struct Cell {
    Epoch write;
    // The last reads of two threads that are not ordered; more are forgotten.
    Epoch reads[2];
    // 1 + the thread whose cp.async, or the agent whose bulk copy, to here is under way; 0: none.
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
// The count-th deed of an agent, and how many of its deeds a thread knows.
Epoch done(int agent, uint32_t count);
uint32_t seen_of(int agent, int thread);
// Whether what happened at `then` is ordered before what `thread` does now, or before a moment.
bool ordered(Epoch then, int thread);
bool ordered(Epoch then, const Clock &known);
// Whether a write is shown to the agents: a fence.proxy.async lies between.
bool is_shown(Epoch then, const Clock &known, bool global);
struct Agent {
    std::string name;
    bool counts_phases;
};
// Null for a thread, and for agents of other blocks.
const Agent *agent_of(Epoch of);
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
// For a conflict with a copy that an mbarrier counts: what phases the thread has seen the end of; "" for others.
std::string phases_seen(Epoch of);

// access.cpp
void check_access(const void *at, size_t bytes, Access access, const void *pc);
// The cells of memory that a kernel may use; null for the emulator's own. Ends the launch where there is neither.
Cell *cells_at(const Incident &incident);
bool is_shared(const void *at);

// agents.cpp: agents that read shared memory, which are too many for a cell.
void readers_begin_block(const void *shared, size_t shared_bytes);
bool readers_are_known();
void check_readers(const Incident &incident, const char *kind);

// registers.cpp: an access of the current thread, which has registers in products, to its own stack.
void registers_begin_block();
void stack_touched(const Incident &incident);
}  // namespace check
}  // namespace cuemu
