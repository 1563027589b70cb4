// Shared memory of a block: an arena with a red zone after each variable; and cp.async, which writes into it.
#include "../device/hopper.h"
#include "runtime.h"

namespace cuemu {
constexpr size_t RED_ZONE = 256;
// NaN as f32 and bf16, -1 as an integer: fresh shared memory and the red zones.
constexpr unsigned char FILL = 0xff;

static unsigned char *carve(const void *key, size_t bytes, size_t alignment, const char *name) {
    Worker &w = *worker;
    const size_t at = (w.arena_used + alignment - 1) / alignment * alignment;
    if (at + bytes + RED_ZONE > SHARED_ARENA) fail("shared memory is full at %s", name);
    w.arena_used = at + bytes + RED_ZONE;
    ASAN_UNPOISON_MEMORY_REGION(w.arena + at, bytes + RED_ZONE);
    memset(w.arena + at, FILL, bytes + RED_ZONE);
    ASAN_POISON_MEMORY_REGION(w.arena + at + bytes, RED_ZONE);
    w.shared.push_back({key, w.arena + at, bytes, name});
    check::shared_variable(w.arena + at, bytes, name);
    return w.arena + at;
}

void open_shared(size_t dynamic_bytes) {
    Worker &w = *worker;
    ASAN_POISON_MEMORY_REGION(w.arena, SHARED_ARENA);
    w.shared.clear();
    w.arena_used = RED_ZONE;
    w.static_shared = 0;
    w.block.dynamic_shared = carve(nullptr, dynamic_bytes, 1024, "dynamic shared memory");
}

void *static_shared(const void *key, size_t bytes, size_t alignment, const char *name) {
    Worker &w = *worker;
    for (const SharedVariable &variable : w.shared)
        if (variable.key == key) return variable.at;
    w.static_shared += bytes;
    if (w.static_shared > MAX_STATIC_SHARED) fail("static shared memory over 48 KiB at %s", name);
    return carve(key, bytes, alignment < 16 ? 16 : alignment, name);
}

const SharedVariable *overrun_shared() {
#ifndef CUEMU_ASAN
    static const auto UNTOUCHED = [] {
        std::vector<unsigned char> bytes(RED_ZONE, FILL);
        return bytes;
    }();
    for (const SharedVariable &variable : worker->shared)
        if (memcmp(variable.at + variable.bytes, UNTOUCHED.data(), RED_ZONE)) return &variable;
#endif
    return nullptr;
}

std::string shared_name(const void *at) {
    for (const SharedVariable &variable : worker->shared) {
        const auto offset = static_cast<size_t>(static_cast<const unsigned char *>(at) - variable.at);
        if (offset < variable.bytes) return std::string(variable.name) + " + " + std::to_string(offset);
    }
    return "no shared memory";
}

uint32_t shared_address(const void *at) {
    const auto offset = reinterpret_cast<uintptr_t>(at) - reinterpret_cast<uintptr_t>(worker->arena);
    if (offset >= SHARED_ARENA) fail("%p is not in shared memory", at);
    return static_cast<uint32_t>(offset);
}

unsigned char *shared_at(uint32_t address, size_t bytes, const char *what) {
    if (address + bytes > worker->arena_used) fail("%s: shared address 0x%x is beyond shared memory", what, address);
    return worker->arena + address;
}

static void copy_now(Copy &copy) {
    if (copy.done) return;
    copy.done = true;
    check::noted(copy.from, copy.bytes_read, Access::READ, copy.pc);
    check::noted(copy.to, copy.bytes, Access::COPY_LANDED, copy.pc);
    memcpy(copy.to, copy.from, copy.bytes_read);
    memset(static_cast<unsigned char *>(copy.to) + copy.bytes_read, 0, copy.bytes - copy.bytes_read);
}

static CopyQueue &queue_of(Thread *thread) {
    if (!thread->copies) thread->copies = &worker->copies[thread->linear];
    return *thread->copies;
}

// The seed chooses the moment of the copy between issue and wait: 0 as late as possible, 1 at once. With the checker
// the copy is always late, because the checker watches this interval.
void cp_async(void *to, const void *from, int bytes, int bytes_read) {
    const auto target = reinterpret_cast<uintptr_t>(to), source = reinterpret_cast<uintptr_t>(from);
    const uintptr_t arena = reinterpret_cast<uintptr_t>(worker->arena);
    if (target % bytes || (bytes_read && source % bytes))
        fail("cp.async: a %d-byte copy to %p from %p is misaligned", bytes, to, from);
    if (target < arena || target + bytes > arena + SHARED_ARENA) fail("cp.async: %p is not in shared memory", to);
    CopyQueue &queue = queue_of(current);
    queue.copies.push_back({to, from, bytes, bytes_read, queue.group, __builtin_return_address(0), false});
    const bool now = worker->seed == 1 || (worker->seed > 1 && worker->random(2));
    check::noted(to, bytes, Access::COPY_ISSUED, queue.copies.back().pc);
    if (now && !check::ON) copy_now(queue.copies.back());
}

void cp_async_commit() { queue_of(current).group++; }

void cp_async_wait(int groups_under_way) {
    CopyQueue *queue = current->copies;
    if (!queue) return;
    const int finished = queue->group - groups_under_way;
    size_t count = 0;
    while (count < queue->copies.size() && queue->copies[count].group < finished) copy_now(queue->copies[count++]);
    queue->copies.erase(queue->copies.begin(), queue->copies.begin() + static_cast<long>(count));
}

// An exiting thread's copies still land.
void finish_copies(Thread *thread) {
    if (!thread->copies) return;
    for (Copy &copy : thread->copies->copies) copy_now(copy);
    thread->copies->copies.clear();
    thread->copies->group = 0;
}
}  // namespace cuemu
