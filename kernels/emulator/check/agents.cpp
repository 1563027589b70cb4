// What the copy engine and the tensor cores read and write.
//
// They do it at some moment between the instruction that asks for it and the one that waits for it, so what others do
// there must be ordered before the one or behind the other; and what threads wrote must be shown to them by a fence.
// Both are judged by the clocks at these two places, whatever the moment was.
#include "shadow.h"
#include <algorithm>

namespace cuemu {
namespace check {
// Both copies and operands of products lie at multiples of it.
constexpr size_t CHUNK = 16;

// The last read of each agent of a chunk of shared memory.
static struct {
    uintptr_t start = 0;
    std::vector<std::vector<Epoch>> of_chunk;
    bool any = false;
} readers;

void readers_begin_block(const void *shared, size_t shared_bytes) {
    readers.start = reinterpret_cast<uintptr_t>(shared);
    if (readers.any)
        for (auto &list : readers.of_chunk) list.clear();
    readers.of_chunk.resize(shared_bytes / CHUNK);
    readers.any = false;
}

bool readers_are_known() { return readers.any; }

static std::vector<Epoch> &readers_at(const void *at) {
    return readers.of_chunk[(reinterpret_cast<uintptr_t>(at) - readers.start) / CHUNK];
}

// A write by the current thread, or one that it asks for, against what agents have read there.
void check_readers(const Incident &incident, const char *kind) {
    if (!readers.any || !is_shared(incident.at)) return;
    const auto at = reinterpret_cast<uintptr_t>(incident.at);
    for (uintptr_t chunk = at / CHUNK * CHUNK; chunk < at + incident.bytes; chunk += CHUNK)
        for (const Epoch read : readers_at(reinterpret_cast<void *>(chunk)))
            if (!ordered(read, current->linear)) report(kind, incident, "", {read, 0, "read"});
}

static void remember_reader(const void *at, Epoch me) {
    readers.any = true;
    auto &list = readers_at(at);
    const auto mine = std::find_if(list.begin(), list.end(), [me](Epoch read) { return read.same_party(me); });
    if (mine == list.end()) {
        list.push_back(me);
    } else {
        *mine = me;
    }
}

// Cells of a chunk are mostly alike: each kind is judged once.
static bool same(const Cell &a, const Cell &b) {
    return a.write.bits == b.write.bits && a.copy_by == b.copy_by && a.reads[0].bits == b.reads[0].bits &&
           a.reads[1].bits == b.reads[1].bits;
}

static const char *word(const Cell &cell) { return cell.write_was_atomic ? "atomic" : "write"; }

static void check_shown(const Cell &cell, const Incident &incident, const Clock &known) {
    if (!is_shown(cell.write, known, !is_shared(incident.at)))
        report("fence.proxy.async is missing", incident,
               "; nothing shows what a thread has written to the copy engine and the tensor cores",
               {cell.write, cell.write_pc, word(cell)});
}

static void check_overwritten(const Cell &cell, const Incident &incident, const Clock &known) {
    constexpr const char *KIND = "stage reused too early";
    if (cell.copy_by) {
        const Epoch other = done(static_cast<int>(cell.copy_by) - 1, 0);
        return report(KIND, incident, "; a copy to there is under way", {other, 0, "copy"});
    }
    if (!ordered(cell.write, known)) report(KIND, incident, "", {cell.write, cell.write_pc, word(cell)});
    for (const Epoch read : cell.reads)
        if (!ordered(read, known)) report(KIND, incident, "", {read, 0, "read"});
    check_shown(cell, incident, known);
}

void agent_will_write(const void *at, size_t bytes, const Clock &then, int agent, Access access, const void *pc) {
    const Incident incident{at, bytes, access, pc};
    Cell *cells = cells_at(incident);
    if (!cells) fatal("global out of bounds", incident, "; a bulk copy to memory of the program");
    check_readers(incident, "stage reused too early");
    for (size_t i = 0; i < bytes; i++) {
        if (i == 0 || !same(cells[i], cells[i - 1])) check_overwritten(cells[i], incident, then);
    }
    for (size_t i = 0; i < bytes; i++) cells[i].copy_by = static_cast<uint32_t>(agent) + 1;
}

void agent_wrote(const void *at, size_t bytes, int agent, uint32_t count, const void *pc) {
    Cell *cells = cells_at({at, bytes, Access::WRITE, pc});
    const Cell written{done(agent, count), {}, 0, offset_in_program(pc), 0};
    std::fill(cells, cells + bytes, written);
}

static void check_read(const Cell &cell, const Incident &incident, const Clock &known) {
    if (cell.copy_by) {
        const Epoch copy = done(static_cast<int>(cell.copy_by) - 1, 0);
        return report("cp.async.bulk under way", incident, "; not waited for" + phases_seen(copy));
    }
    if (!cell.write) return report("uninitialised read", incident, "");
    if (!ordered(cell.write, known))
        return report("race", incident, phases_seen(cell.write), {cell.write, cell.write_pc, word(cell)});
    check_shown(cell, incident, known);
}

void agent_read(const void *at, size_t bytes, const Clock &then, int agent, uint32_t count, Access access,
                const void *pc) {
    const Incident incident{at, bytes, access, pc};
    Cell *cells = cells_at(incident);
    if (!cells) return;
    const Epoch me = done(agent, count);
    for (size_t i = 0; i < bytes; i++) {
        if (i == 0 || !same(cells[i], cells[i - 1])) check_read(cells[i], incident, then);
    }
    if (is_shared(at)) {
        for (size_t i = 0; i < bytes; i += CHUNK) remember_reader(static_cast<const char *>(at) + i, me);
    } else {
        for (size_t i = 0; i < bytes; i++) cells[i].reads[me.bits & 1] = me;
    }
}
}  // namespace check
}  // namespace cuemu
