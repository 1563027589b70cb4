// Checks every access of a kernel, like memcheck, initcheck and racecheck of compute-sanitizer.
//
// Kernels are compiled with -fsanitize=thread but linked with this file instead of libtsan: the compiler calls
// __tsan_readN or __tsan_writeN before each access.
#include "shadow.h"
#include <algorithm>
#include <link.h>

namespace cuemu {
namespace check {
static struct {
    uintptr_t start = 0;
    size_t bytes = 0, used = 0;
    Cell *cells = nullptr;
    std::vector<SharedVariable> variables;
} shared;

bool is_shared(const void *at) { return reinterpret_cast<uintptr_t>(at) - shared.start < shared.bytes; }

void block_begin(const Block &block, const unsigned char *at, size_t bytes) {
    clocks_begin_block(block.size);
    readers_begin_block(at, bytes);
    registers_begin_block();
    if (!shared.cells) shared.cells = new_cells(bytes);
    std::fill(shared.cells, shared.cells + shared.used, Cell{});
    shared.start = reinterpret_cast<uintptr_t>(at);
    shared.bytes = bytes;
    shared.used = 0;
    shared.variables.clear();
}

void shared_variable(const void *at, size_t bytes, const char *name) {
    auto *start = static_cast<unsigned char *>(const_cast<void *>(at));
    shared.variables.push_back({nullptr, start, bytes, name});
    shared.used = std::max(shared.used, reinterpret_cast<uintptr_t>(at) + bytes - shared.start);
}

static void check_order(const Cell &cell, const Incident &incident) {
    const int thread = current->linear;
    const bool both_atomic = incident.access == Access::ATOMIC && cell.write_was_atomic;
    if (!ordered(cell.write, thread) && !both_atomic)
        report("race", incident, phases_seen(cell.write),
               {cell.write, cell.write_pc, cell.write_was_atomic ? "atomic" : "write"});
    if (incident.access == Access::READ) return;
    for (const Epoch read : cell.reads)
        if (!ordered(read, thread)) report("race", incident, "", {read, 0, "read"});
}

static void remember_read(Cell &cell, Epoch me) {
    const int thread = current->linear;
    for (Epoch &read : cell.reads) {
        if (!read.same_party(me) && !ordered(read, thread)) continue;
        read = me;
        return;
    }
    cell.reads[me.bits & 1] = me;
}

static void touch(Cell *cells, const Incident &incident) {
    const Access access = incident.access;
    const auto me = static_cast<uint32_t>(current->linear) + 1;
    const Epoch epoch = now(current->linear);
    for (size_t i = 0; i < incident.bytes; i++) {
        Cell &cell = cells[i];
        if (cell.copy_by && !(access == Access::COPY_LANDED && cell.copy_by == me)) {
            const Epoch copy = done(static_cast<int>(cell.copy_by) - 1, 0);
            report(agent_of(copy) ? "cp.async.bulk under way" : "cp.async under way", incident,
                   "; not waited for" + phases_seen(copy));
        }
        const bool reads = access == Access::READ || access == Access::ATOMIC;
        if (reads && !cell.write) {
            report("uninitialised read", incident, "");
            cell.write = HOST;
        }
        check_order(cell, incident);
        if (access == Access::COPY_ISSUED) {
            cell.copy_by = me;
        } else if (access == Access::READ) {
            remember_read(cell, epoch);
        } else {
            const uint32_t copy_by = access == Access::COPY_LANDED ? 0 : cell.copy_by;
            cell = Cell{epoch, {}, copy_by, offset_in_program(incident.pc), access == Access::ATOMIC};
        }
    }
}

static Cell *shared_cells(uintptr_t address, const Incident &incident) {
    const SharedVariable *below = nullptr;
    for (const SharedVariable &variable : shared.variables) {
        const auto start = reinterpret_cast<uintptr_t>(variable.at);
        if (address - start < variable.bytes) {
            if (address + incident.bytes > start + variable.bytes)
                fatal("shared out of bounds", incident, std::string("; runs past ") + variable.name);
            return shared.cells + (address - shared.start);
        }
        if (start <= address && (!below || variable.at > below->at)) below = &variable;
    }
    if (!below) fatal("shared out of bounds", incident, "; before the first variable");
    const size_t past = address - reinterpret_cast<uintptr_t>(below->at) - below->bytes;
    fatal("shared out of bounds", incident, "; " + std::to_string(past) + " bytes past the end of " + below->name);
}

// The thread's own stack, and the state that kernels read as threadIdx and the like.
__attribute__((always_inline)) static inline bool is_runtime_memory(uintptr_t address) {
    const auto within = [address](const void *start, size_t bytes) {
        return address - reinterpret_cast<uintptr_t>(start) < bytes;
    };
    const Worker &w = *worker;
    return on_stack(current->fibre, reinterpret_cast<void *>(address)) || within(&current, sizeof current) ||
           within(w.threads.data(), w.threads.size() * sizeof(Thread)) || within(&w.block, sizeof w.block) ||
           within(w.warps.data(), w.warps.size() * sizeof(Warp));
}

static bool lies_in(const dl_phdr_info *image, uintptr_t address, bool write) {
    for (int i = 0; i < image->dlpi_phnum; i++) {
        const auto &segment = image->dlpi_phdr[i];
        uintptr_t start = 0;
        if (segment.p_type == PT_LOAD) start = image->dlpi_addr + segment.p_vaddr;
        if (segment.p_type == PT_TLS) start = reinterpret_cast<uintptr_t>(image->dlpi_tls_data);
        if (start && address - start < segment.p_memsz &&
            (!write || segment.p_flags & PF_W || segment.p_type == PT_TLS))
            return true;
    }
    return false;
}

// Constants, tables, and bare __shared__ variables, which are thread-local: all lie in the image that also holds the
// kernels.
static bool is_in_program(uintptr_t address, bool write) {
    struct Query {
        uintptr_t address;
        bool write, hit;
    } query{address, write, false};
    const auto visit = [](dl_phdr_info *image, size_t, void *data) {
        auto *query = static_cast<Query *>(data);
        if (!lies_in(image, reinterpret_cast<uintptr_t>(check_access), false)) return 0;
        query->hit = lies_in(image, query->address, query->write);
        return 1;
    };
    dl_iterate_phdr(visit, &query);
    return query.hit;
}

// Inlined, as what it calls: it is where the checker spends its time.
__attribute__((always_inline)) static inline Cell *find_cells(const Incident &incident) {
    const auto address = reinterpret_cast<uintptr_t>(incident.at);
    if (is_shared(incident.at)) return shared_cells(address, incident);
    if (is_runtime_memory(address)) return nullptr;
    const Region *region = region_before(address);
    const size_t offset = region ? address - region->start : 0;
    if (region && offset < region->bytes) {
        if (offset + incident.bytes <= region->bytes) return region->cells + offset;
        fatal("global out of bounds", incident, "; runs past a buffer of " + std::to_string(region->bytes) + " bytes");
    }
    if (is_in_program(address, incident.access != Access::READ)) return nullptr;
    fatal("global out of bounds", incident, near_buffer(incident.at));
}

Cell *cells_at(const Incident &incident) { return find_cells(incident); }

void check_access(const void *at, size_t bytes, Access access, const void *pc) {
    if (!bytes) return;
    const Incident incident{at, bytes, access, pc};
    // Most accesses.
    if (on_stack(current->fibre, at)) {
        if (current->registers) stack_touched(incident);
        return;
    }
    Cell *cells = find_cells(incident);
    if (!cells) return;
    touch(cells, incident);
    if (access != Access::READ && readers_are_known()) check_readers(incident, "race");
}

void noted(const void *at, size_t bytes, Access access, const void *pc) {
    if (current) check_access(at, bytes, access, pc);
}

static void instrumented(const void *at, size_t bytes, Access access, const void *pc, bool aligned) {
    if (!current) return;
    if (aligned && reinterpret_cast<uintptr_t>(at) % bytes) fatal("misaligned", {at, bytes, access, pc}, "");
    check_access(at, bytes, access, pc);
}
}  // namespace check
}  // namespace cuemu

using cuemu::Access;
using cuemu::check::instrumented;
extern "C" {
#define CALLER __builtin_return_address(0)
#define ENTRIES(N)                                                                                \
    void __tsan_read##N(void *at) { instrumented(at, N, Access::READ, CALLER, true); }            \
    void __tsan_write##N(void *at) { instrumented(at, N, Access::WRITE, CALLER, true); }          \
    void __tsan_unaligned_read##N(void *at) { instrumented(at, N, Access::READ, CALLER, false); } \
    void __tsan_unaligned_write##N(void *at) { instrumented(at, N, Access::WRITE, CALLER, false); }
ENTRIES(1)
ENTRIES(2)
ENTRIES(4)
ENTRIES(8)
ENTRIES(16)
#undef ENTRIES

void __tsan_read_range(void *at, size_t bytes) { instrumented(at, bytes, Access::READ, CALLER, false); }
void __tsan_write_range(void *at, size_t bytes) { instrumented(at, bytes, Access::WRITE, CALLER, false); }
void *__tsan_memcpy(void *to, const void *from, size_t bytes) {
    instrumented(from, bytes, Access::READ, CALLER, false);
    instrumented(to, bytes, Access::WRITE, CALLER, false);
    return memcpy(to, from, bytes);
}
void *__tsan_memmove(void *to, const void *from, size_t bytes) {
    instrumented(from, bytes, Access::READ, CALLER, false);
    instrumented(to, bytes, Access::WRITE, CALLER, false);
    return memmove(to, from, bytes);
}
void *__tsan_memset(void *at, int value, size_t bytes) {
    instrumented(at, bytes, Access::WRITE, CALLER, false);
    return memset(at, value, bytes);
}
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
}
