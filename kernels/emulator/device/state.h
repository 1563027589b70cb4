// The run-time state that a kernel sees, and the functions that the emulator's device functions call.
#pragma once
#include "vectors.h"

namespace cuemu {
struct Warp;
struct Block;
struct Fibre;
struct CopyQueue;
struct Registers;

// Exchanges the values of the lanes in `mask`, which all wait with their `Warp::io` set.
typedef void (*Exchange)(Warp &, unsigned mask);

struct Thread {
    uint3 index;
    int linear, lane;
    Warp *warp;
    Block *block;
    // The rest belongs to the runtime: the fibre of the thread and what it waits for.
    Fibre *fibre;
    CopyQueue *copies;
    // The checker's.
    Registers *registers;
    const char *waits_in;
    void *waits_at;
    unsigned mask;
    int state;
    Exchange exchange;
    bool orders_memory;
};

struct Warp {
    Thread *lanes[32];
    void *io[32];
    unsigned live, waiting;
    // The collective that the first waiting lane is in; `mixed` when others wait in another one.
    unsigned mask;
    const char *what;
    bool mixed;
};

struct Block {
    uint3 index;
    dim3 block, grid;
    Thread *threads;
    Warp *warps;
    int size, live;
    unsigned char *dynamic_shared;
};

extern thread_local Thread *current __attribute__((tls_model("initial-exec")));

// Ends the launch with a message that names kernel, block and thread.
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// All lanes of `mask` meet. The last one to arrive runs `exchange` over every lane's `io`; then all continue.
void collective(const char *what, unsigned mask, void *io, Exchange exchange, bool orders_memory);
inline void exchange_nothing(Warp &, unsigned) {}

// `threads` threads (0: all that have not exited) meet at barrier `id`.
void barrier(const char *what, int id, int threads);
struct Votes {
    int any, all, count;
};
Votes barrier_vote(const char *what, bool vote);

void *static_shared(const void *key, size_t bytes, size_t alignment, const char *name);
template <class T>
inline T *dyn_shared() {
    return reinterpret_cast<T *>(current->block->dynamic_shared);
}

void cp_async(void *to, const void *from, int bytes, int bytes_read);
void cp_async_commit();
void cp_async_wait(int groups_under_way);

// Orders memory on the host. (Kernels do not use the compiler's fence: the checker's build has no body for it.)
void fence();
// Tells the checker of an access that the compiler does not instrument.
enum class Access { READ, WRITE, ATOMIC, COPY_ISSUED, COPY_LANDED, BULK_LOAD, BULK_STORE, PRODUCT };
void note(const void *at, size_t bytes, Access access, const void *pc);

template <class T>
__forceinline__ void require_alignment(const T *at, size_t alignment, const char *what) {
    if (reinterpret_cast<uintptr_t>(at) % alignment)
        fail("%s: address %p is not %zu-byte aligned", what, static_cast<const void *>(at), alignment);
}
}  // namespace cuemu

#define threadIdx (::cuemu::current->index)
#define blockIdx (::cuemu::current->block->index)
#define blockDim (::cuemu::current->block->block)
#define gridDim (::cuemu::current->block->grid)
static constexpr int warpSize = 32;
