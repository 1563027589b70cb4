// The events that the runtime reports to the checker. Without CUEMU_CHECK these functions do nothing.
#pragma once
#include "../device/state.h"
#include <string>
#include <vector>

namespace cuemu {
namespace check {
#ifdef CUEMU_CHECK
constexpr bool ON = true;

// The beginning and the end of a launch; launches are checked one at a time. `finish` returns the report, or "".
void begin(const char *kernel);
std::string finish();
void block_begin(const Block &block, const unsigned char *shared, size_t shared_bytes);
void shared_variable(const void *at, size_t bytes, const char *name);
// These threads have met at a barrier or __syncwarp: what each did before is ordered before what any does next.
void joined(const int *threads, int count);
void noted(const void *at, size_t bytes, Access access, const void *pc);

void allocated(const void *at, size_t bytes);
void freed(const void *at);
void host_wrote(const void *at, size_t bytes);
size_t first_unwritten(const void *at, size_t bytes);

// ---- what is passed on otherwise than by meeting, and what runs beside the threads ----
// What some party knows to have happened: of each thread and agent up to which count; and what of it is shown to the
// agents, in shared and in global memory.
struct Clock {
    std::vector<uint32_t> seen, shown[2];
};
// The current thread's time.
struct Stamp {
    uint64_t bits = 0;
};
Stamp stamp();
bool happened(Stamp then, int thread);
bool known(Stamp then, const Clock &known);
// What the thread has done is known to those that acquire the clock.
void release(Clock &to, int thread);
void acquire(const Clock &from, int thread);
void merge(Clock &to, const Clock &from);
// What these threads know together; what they do next is not part of it.
Clock moment(Thread *const *threads, int count);
// An agent counts what it has done, which a clock or a thread learns up to a number.
int new_agent(const std::string &name, bool counts_phases);
void add(Clock &to, int agent, uint32_t count);
void learn(int thread, int agent, uint32_t count);
void show_to_agents(int thread, bool global_too);

// A copy that the current thread asks for, who knows `then`, will write there, or has written there as the count-th
// deed of its agent.
void agent_will_write(const void *at, size_t bytes, const Clock &then, int agent, Access access, const void *pc);
void agent_wrote(const void *at, size_t bytes, int agent, uint32_t count, const void *pc);
// An agent has read there, for threads that knew `then` when they asked for it.
void agent_read(const void *at, size_t bytes, const Clock &then, int agent, uint32_t count, Access access,
                const void *pc);

// The registers of products, which the emulator keeps on the thread's stack.
void registers_fenced(Thread *thread);
void registers_in_use(Thread *thread, const void *at, size_t bytes, bool accumulators, uint32_t product,
                      const void *pc);
void registers_free(Thread *thread, uint32_t up_to_product);
#else
constexpr bool ON = false;

inline void begin(const char *) {}
inline std::string finish() { return ""; }
inline void block_begin(const Block &, const unsigned char *, size_t) {}
inline void shared_variable(const void *, size_t, const char *) {}
inline void joined(const int *, int) {}
inline void noted(const void *, size_t, Access, const void *) {}

inline void allocated(const void *, size_t) {}
inline void freed(const void *) {}
inline void host_wrote(const void *, size_t) {}
inline size_t first_unwritten(const void *, size_t bytes) { return bytes; }

struct Clock {};
struct Stamp {};
inline Stamp stamp() { return {}; }
inline bool happened(Stamp, int) { return true; }
inline bool known(Stamp, const Clock &) { return true; }
inline void release(Clock &, int) {}
inline void acquire(const Clock &, int) {}
inline void merge(Clock &, const Clock &) {}
inline Clock moment(Thread *const *, int) { return {}; }
inline int new_agent(const std::string &, bool) { return 0; }
inline void add(Clock &, int, uint32_t) {}
inline void learn(int, int, uint32_t) {}
inline void show_to_agents(int, bool) {}

inline void agent_will_write(const void *, size_t, const Clock &, int, Access, const void *) {}
inline void agent_wrote(const void *, size_t, int, uint32_t, const void *) {}
inline void agent_read(const void *, size_t, const Clock &, int, uint32_t, Access, const void *) {}

inline void registers_fenced(Thread *) {}
inline void registers_in_use(Thread *, const void *, size_t, bool, uint32_t, const void *) {}
inline void registers_free(Thread *, uint32_t) {}
#endif
}  // namespace check
}  // namespace cuemu
