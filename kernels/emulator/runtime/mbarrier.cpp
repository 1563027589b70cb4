// mbarriers: phases that end when so many arrivals and so many bytes have come.
//
// The emulator keeps a barrier's state itself; the barrier's own 8 bytes hold its number, so that overwriting them is
// noticed.
#include "hopper.h"
#include <cstdio>

namespace cuemu {
constexpr uint64_t MARK = 0x6d626172ull << 32;

// The barrier that begins there, if one does.
static Mbarrier *initialised(uint64_t *at, const char *what) {
    require_alignment(at, sizeof *at, what);
    uint64_t number;
    memcpy(&number, shared_at(shared_address(at), sizeof number, what), sizeof number);
    auto &all = hopper().mbarriers;
    const uint64_t index = number ^ MARK;
    return index < all.size() && all[index].at == at ? &all[index] : nullptr;
}

static Mbarrier &find(uint64_t *at, const char *what) {
    Mbarrier *found = initialised(at, what);
    if (!found)
        fail("%s: %s is no mbarrier: it is not initialised yet, or its memory was overwritten", what,
             shared_name(at).c_str());
    Mbarrier &bar = *found;
    if (!check::happened(bar.initialised, current->linear))
        fail("%s: nothing orders the initialisation of mbarrier %s by thread %d before this use", what,
             shared_name(at).c_str(), bar.initialised_by->linear);
    return bar;
}

void mbarrier_init(uint64_t *at, uint32_t count) {
    constexpr uint32_t MOST = (1 << 20) - 1;
    if (!count || count > MOST) fail("mbarrier.init: a count of %u, 1 to %u are possible", count, MOST);
    if (initialised(at, "mbarrier.init")) fail("mbarrier.init: %s is an mbarrier already", shared_name(at).c_str());
    auto &all = hopper().mbarriers;
    const uint64_t number = MARK ^ all.size();
    check::noted(at, sizeof number, Access::WRITE, __builtin_return_address(0));
    memcpy(at, &number, sizeof number);
    all.emplace_back();
    Mbarrier &bar = all.back();
    bar.at = at;
    bar.initialised_by = current;
    bar.count = bar.pending = static_cast<int>(count);
    bar.initialised = check::stamp();
    bar.agent = check::new_agent("a copy for mbarrier " + shared_name(at), true);
}

void fence_mbarrier_init() {
    for (Mbarrier &bar : hopper().mbarriers) {
        if (bar.initialised_by != current || bar.shown_to_copies) continue;
        bar.shown_to_copies = true;
        bar.shown = check::stamp();
    }
}

// The thread has seen that a phase is over, and so knows what was done for it.
static void observe(Mbarrier &bar, Thread *thread) {
    const ActingFor acting(thread);
    check::acquire(bar.ended, thread->linear);
    bar.observers.push_back({thread->linear, check::stamp()});
}

static void end_phase(Mbarrier &bar) {
    if (bar.under_way)
        fail(
            "wrong byte count: phase %lu of mbarrier %s ends with %ld bytes still under way: %ld were announced, "
            "copies of %ld asked for",
            bar.phase, shared_name(bar.at).c_str(), bar.under_way, bar.announced, bar.asked);
    for (const Observer &seen : bar.observers)
        if (!check::known(seen.when, bar.gathered))
            fail("phase overrun: phase %lu of mbarrier %s may end before thread %d has looked at the end of the phase "
                 "before: its wait would miss it",
                 bar.phase, shared_name(bar.at).c_str(), seen.thread);
    bar.observers.clear();
    bar.phase++;
    hopper().events++;
    bar.pending = bar.count;
    bar.announced = bar.asked = 0;
    check::add(bar.gathered, bar.agent, static_cast<uint32_t>(bar.phase));
    check::merge(bar.ended, bar.gathered);
    bar.gathered = {};
    for (const Waiter &waiter : bar.waiters) {
        observe(bar, waiter.thread);
        *waiter.satisfied = true;
        make_ready(waiter.thread);
    }
    bar.waiters.clear();
}

static void end_phase_if_due(Mbarrier &bar) {
    if (bar.pending) return;
    if (bar.missing < 0)
        fail("wrong byte count: phase %lu of mbarrier %s got %ld bytes more than the %ld that were announced",
             bar.phase, shared_name(bar.at).c_str(), -bar.missing, bar.announced);
    if (!bar.missing) end_phase(bar);
}

void mbarrier_arrive(uint64_t *at, uint32_t bytes) {
    Mbarrier &bar = find(at, "mbarrier.arrive");
    if (!bar.pending)
        fail("mbarrier.arrive: phase %lu of mbarrier %s has its %d arrivals already and waits for %ld bytes", bar.phase,
             shared_name(at).c_str(), bar.count, bar.missing);
    check::release(bar.gathered, current->linear);
    hopper().events++;
    bar.announced += bytes;
    bar.missing += bytes;
    bar.pending--;
    end_phase_if_due(bar);
}

bool mbarrier_try_wait(uint64_t *at, uint32_t parity) {
    Thread *thread = current;
    Mbarrier &bar = find(at, "mbarrier.try_wait");
    if (parity > 1) fail("mbarrier.try_wait: a parity is 0 or 1, not %u", parity);
    if ((bar.phase & 1) != parity) {
        observe(bar, thread);
        return true;
    }
    bool satisfied = false;
    bar.waiters.push_back({thread, parity, &satisfied});
    thread->waits_in = "mbarrier.try_wait";
    thread->waits_at = __builtin_return_address(0);
    thread->state = IN_MBARRIER;
    wait_until_ready(thread);
    return satisfied;
}

Mbarrier &mbarrier_for_copy(uint64_t *at, const char *what) {
    Mbarrier &bar = find(at, what);
    if (!bar.shown_to_copies || !check::happened(bar.shown, current->linear))
        fail(
            "%s: the copy engine may not see mbarrier %s yet: fence.mbarrier_init is missing behind its initialisation",
            what, shared_name(at).c_str());
    return bar;
}

void bytes_under_way(Mbarrier &bar, long bytes) {
    bar.asked += bytes;
    bar.under_way += bytes;
}

void bytes_came(Mbarrier &bar, long bytes) {
    bar.under_way -= bytes;
    bar.missing -= bytes;
    hopper().events++;
    end_phase_if_due(bar);
}

bool let_waiters_look() {
    Hopper &h = hopper();
    if (h.events == h.events_seen) return false;
    h.events_seen = h.events;
    bool any = false;
    for (Mbarrier &bar : h.mbarriers) {
        for (const Waiter &waiter : bar.waiters) make_ready(waiter.thread);
        any |= !bar.waiters.empty();
        bar.waiters.clear();
    }
    return any;
}

std::string describe_mbarrier(const Thread &thread) {
    for (const Mbarrier &bar : hopper().mbarriers)
        for (const Waiter &waiter : bar.waiters) {
            if (waiter.thread != &thread) continue;
            char text[300];
            snprintf(
                text, sizeof text,
                " for the end of a phase of parity %u of mbarrier %s (phase %lu is under way: %d of %d arrivals are "
                "missing, and %ld of %ld announced bytes, copies of %ld were asked for)",
                waiter.parity, shared_name(bar.at).c_str(), bar.phase, bar.pending, bar.count, bar.missing,
                bar.announced, bar.asked);
            return text;
        }
    return "";
}

void mbarriers_end() {
    for (const Mbarrier &bar : hopper().mbarriers)
        if (bar.under_way)
            fail("the block ends while a copy of %ld bytes for mbarrier %s is under way into its shared memory",
                 bar.under_way, shared_name(bar.at).c_str());
}
}  // namespace cuemu
