// The events that the runtime reports to the checker. Without CUEMU_CHECK these functions do nothing.
#pragma once
#include "../device/state.h"
#include <string>

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
#endif
}  // namespace check
}  // namespace cuemu
