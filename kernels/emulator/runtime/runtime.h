// Private to the runtime: fibres, the worker that runs a block on them, and the functions that its files share.
#pragma once
#include "../check/checker.h"
#include "../device/kernel.h"
#include <string>
#include <vector>
#if defined(CUEMU_UCONTEXT) || !defined(__x86_64__)
#define CUEMU_USES_UCONTEXT 1
#include <ucontext.h>
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define CUEMU_ASAN 1
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

namespace cuemu {
constexpr size_t PAGE = 4096;
constexpr int MAX_THREADS = 1024;
constexpr int BARRIERS = 16;
#ifdef CUEMU_ASAN
constexpr size_t STACK = 256 << 10;
#else
constexpr size_t STACK = 64 << 10;
#endif
// The limits of the emulated devices, and the room that they and the red zones between variables need.
constexpr size_t MAX_STATIC_SHARED = 48 << 10, MAX_DYNAMIC_SHARED = 227 << 10, SHARED_ARENA = 384 << 10;

// A stack that runs CUDA threads, one after another.
struct Fibre {
    char *stack;
    // Bytes at its top that stay unused: stacks lie whole pages apart, so their hot lines would share cache sets.
    size_t offset;
    Thread *thread = nullptr;
    // Not started since the worker's `generation`; older ones hold thread-local addresses of another OS thread.
    bool fresh = true;
    unsigned generation = 0;
    void *stack_pointer = nullptr;
    // AddressSanitizer's.
    void *fake_stack = nullptr;
    const void *bottom = nullptr;
    size_t size = 0;
#ifdef CUEMU_USES_UCONTEXT
    ucontext_t context;
#endif
};

// One cp.async of a thread.
struct Copy {
    void *to;
    const void *from;
    int bytes, bytes_read, group;
    // The instruction that issued it.
    const void *pc;
    bool done;
};
struct CopyQueue {
    std::vector<Copy> copies;
    int group = 0;
};

struct SharedVariable {
    const void *key;
    unsigned char *at;
    size_t bytes;
    const char *name;
};

// Threads that may run. Each is in the ring at most once, so it never overflows.
struct ReadyRing {
    Thread *threads[MAX_THREADS];
    unsigned head = 0, tail = 0;

    unsigned size() const { return tail - head; }
    Thread *&at(unsigned i) { return threads[i % MAX_THREADS]; }
    void push(Thread *thread) { at(tail++) = thread; }
    void push_first(Thread *thread) { at(--head) = thread; }
    Thread *pop_oldest() { return at(head++); }
    Thread *pop_newest() { return at(--tail); }
};

struct Barrier {
    int arrived, expected;
    const char *what;
    // Those that have only arrived: what they know, and who they are.
    check::Clock gathered;
    std::vector<bool> passed_by;
};

// While it lives, the emulator acts for another thread, which messages then name.
struct ActingFor {
    Thread *before = current;
    explicit ActingFor(Thread *thread) { current = thread; }
    ~ActingFor() { current = before; }
};

struct Hopper;

// The state of one OS thread that runs blocks.
struct Worker {
    Fibre main{};
    std::vector<Fibre *> fibres, idle;
    Fibre *starting = nullptr;
    unsigned generation = 1;

    const KernelDesc *kernel = nullptr;
    void **arguments = nullptr;
    unsigned seed = 0;
    uint64_t random_state = 1;

    Block block;
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    // The order in which the threads of a block start, and how many have not started.
    std::vector<int> order;
    int unstarted = 0;
    ReadyRing ready;
    Barrier barriers[BARRIERS];
    std::vector<int> barrier_of, met;
    Votes votes, decided;
    std::vector<CopyQueue> copies;
    // Of the block that runs, if it uses any of it.
    Hopper *hopper = nullptr;

    unsigned char *arena = nullptr;
    size_t arena_used = 0, static_shared = 0;
    std::vector<SharedVariable> shared;

    bool failed = false;
    std::string message;

    // A number in 0..n, by xorshift.
    unsigned random(unsigned n) {
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        return static_cast<unsigned>((random_state >> 32) * n >> 32);
    }
};
extern thread_local Worker *worker __attribute__((tls_model("initial-exec")));

enum State : int { UNSTARTED, READY, IN_WARP, IN_BARRIER, IN_MBARRIER, IN_REGISTERS, IN_PRODUCT, DONE };

// fibre.cpp
void prepare_fibre(Fibre *fibre);
Fibre *take_fibre();
// Suspends `from`, and makes `next` the current thread on `to`.
void switch_fibre(Fibre *from, Fibre *to, Thread *next);
void arrived_on_fibre();
inline bool on_stack(const Fibre *fibre, const void *at) {
    return reinterpret_cast<uintptr_t>(at) - reinterpret_cast<uintptr_t>(fibre->stack) < STACK;
}

// scheduler.cpp
Thread *pick();
void resume(Fibre *from, Thread *thread);
void fibre_main();
void make_ready(Thread *thread);
// Runs other threads until one of them makes this one ready.
void wait_until_ready(Thread *thread);
// As `collective`, for a call at `site`.
void meet(const char *what, void *site, unsigned mask, void *io, Exchange exchange, bool orders_memory);

// barriers.cpp
void leave_barriers();
std::string describe_barrier(const Thread &thread);

// async.cpp: work of the copy engine and the tensor cores whose moment has come; and some of it, or threads that may
// look again, where no thread can run. False: there is nothing.
void do_due_work();
bool do_some_work();
// A thread exits; the last one of a block has.
void thread_leaves_hopper(Thread *thread);
void block_leaves_hopper();
void drop_hopper();

// mbarrier.cpp, setmaxnreg.cpp, wgmma.cpp: what a thread waits for, for messages
std::string describe_mbarrier(const Thread &thread);
std::string describe_registers(const Thread &thread);
std::string describe_product(const Thread &thread);

// shared.cpp
void open_shared(size_t dynamic_bytes);
// Names a variable whose red zone was written, if there is one.
const SharedVariable *overrun_shared();
// "tiles + 128"
std::string shared_name(const void *at);
// The memory at an address that shared_address gave.
unsigned char *shared_at(uint32_t address, size_t bytes, const char *what);
void finish_copies(Thread *thread);

// memory.cpp: ", 4 bytes past the end of a buffer of 1024 bytes", where that is so.
std::string near_buffer(const void *at);

// where.cpp: file, line and function of an instruction.
std::string where(const void *pc);

// faults.cpp
void catch_faults();
}  // namespace cuemu
