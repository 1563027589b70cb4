// The registers of a warpgroup's products: nobody may touch them between issue and wait, and what touched them before
// must be fenced off by wgmma.fence.
//
// The emulator keeps them where the compiler put the arrays, on the thread's stack, whose accesses it sees.
#include "shadow.h"
#include <algorithm>
#include <memory>

namespace cuemu {
// Those of one thread.
struct Registers {
    struct InUse {
        uintptr_t at;
        size_t bytes;
        bool accumulators;
        uint32_t product;
        const void *pc;
    };
    std::vector<InUse> in_use;
    // For each word of the stack: how many fences the thread had executed when it touched it last.
    std::vector<uint32_t> touched = std::vector<uint32_t>(STACK / 4, 0);
    uint32_t fences = 0;
};

namespace check {
static std::vector<std::unique_ptr<Registers>> all;

void registers_begin_block() { all.clear(); }

static size_t word_of(const Thread *thread, uintptr_t at) {
    return (at - reinterpret_cast<uintptr_t>(thread->fibre->stack)) / 4;
}

static Registers &registers_of(Thread *thread) {
    if (!thread->registers) {
        all.push_back(std::make_unique<Registers>());
        thread->registers = all.back().get();
    }
    return *thread->registers;
}

void registers_fenced(Thread *thread) { registers_of(thread).fences++; }

void stack_touched(const Incident &incident) {
    Registers *registers = current->registers;
    const auto at = reinterpret_cast<uintptr_t>(incident.at);
    for (size_t i = 0; i < incident.bytes; i += 4) registers->touched[word_of(current, at + i)] = registers->fences;
    for (const auto &use : registers->in_use) {
        if (at + incident.bytes <= use.at || at >= use.at + use.bytes) continue;
        return report("register touched in flight", incident,
                      std::string(use.accumulators ? "; an accumulator" : "; a left side") +
                          " of the wgmma at " + where(use.pc) + ", which is not waited for");
    }
}

// Products on the same accumulators follow each other; all other overlaps need a wait between them.
static void check_overlap(const Registers::InUse &use, const Registers::InUse &wanted) {
    if (wanted.at + wanted.bytes <= use.at || wanted.at >= use.at + use.bytes) return;
    if (!use.accumulators && !wanted.accumulators) return;
    if (use.accumulators && wanted.accumulators && use.at == wanted.at && use.bytes == wanted.bytes) return;
    report("register touched in flight",
           {reinterpret_cast<void *>(wanted.at), wanted.bytes, Access::PRODUCT, wanted.pc},
           "; it takes part in the wgmma at " + where(use.pc) + ", which is not waited for");
}

void registers_in_use(Thread *thread, const void *at, size_t bytes, bool accumulators, uint32_t product,
                      const void *pc) {
    Registers &registers = registers_of(thread);
    const Registers::InUse wanted{reinterpret_cast<uintptr_t>(at), bytes, accumulators, product, pc};
    const ActingFor acting(thread);
    if (!on_stack(thread->fibre, at)) fail("wgmma: its registers must be local variables");
    for (const auto &use : registers.in_use) check_overlap(use, wanted);
    bool touched = registers.fences == 0;
    for (size_t i = 0; i < bytes; i += 4)
        touched |= registers.fences && registers.touched[word_of(thread, wanted.at + i)] == registers.fences;
    if (touched)
        report("wgmma.fence is missing", {at, bytes, Access::PRODUCT, pc},
               registers.fences ? std::string("; since the last one the thread has touched ") +
                                      (accumulators ? "the accumulators" : "the left side")
                                : "; there was none before");
    registers.in_use.push_back(wanted);
}

void registers_free(Thread *thread, uint32_t up_to_product) {
    auto &uses = registers_of(thread).in_use;
    const auto done = [up_to_product](const Registers::InUse &use) { return use.product <= up_to_product; };
    uses.erase(std::remove_if(uses.begin(), uses.end(), done), uses.end());
}
}  // namespace check
}  // namespace cuemu
