// Chooses the thread that runs next, and synchronises the lanes of a warp.
#include "runtime.h"
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <map>

namespace cuemu {
thread_local Thread *current = nullptr;
thread_local Worker *worker = nullptr;

// Seed 0: in order, one warp as far as it gets, so that its stacks stay in the cache; 1: newest first; others: at
// random.
static Thread *choose() {
    Worker &w = *worker;
    const unsigned ready = w.ready.size();
    const bool start = w.seed == 0   ? ready == 0
                       : w.seed == 1 ? w.unstarted > 0
                                     : w.random(ready + w.unstarted) >= ready;
    if (start && w.unstarted) return &w.threads[w.order[w.block.size - w.unstarted--]];
    if (!ready) return nullptr;
    if (w.seed == 1) return w.ready.pop_newest();
    if (w.seed > 1) std::swap(w.ready.at(w.ready.head), w.ready.at(w.ready.head + w.random(ready)));
    return w.ready.pop_oldest();
}

Thread *pick() {
    if (worker->hopper) do_due_work();
    Thread *next = choose();
    while (!next && worker->hopper && do_some_work()) next = choose();
    return next;
}

void resume(Fibre *from, Thread *thread) {
    if (thread->state == UNSTARTED) {
        thread->fibre = take_fibre();
        thread->fibre->thread = thread;
    }
    Fibre *to = thread->fibre;
    if (to->fresh) {
        to->fresh = false;
        worker->starting = to;
    }
    switch_fibre(from, to, thread);
}

void make_ready(Thread *thread) {
    thread->state = READY;
    worker->ready.push(thread);
}

void fail(const char *format, ...) {
    char text[1600];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    const uint3 b = current->block->index, t = current->index;
    char place[200];
    snprintf(place, sizeof place, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u): ", worker->kernel->name, b.x, b.y,
             b.z, t.x, t.y, t.z);
    worker->message = std::string(place) + text;
    worker->failed = true;
    // Everything on the fibres of this block is abandoned.
    switch_fibre(current->fibre, &worker->main, nullptr);
    __builtin_unreachable();
}

// Where a thread waits, "" if it does not.
static std::string waits_in(const Thread &thread) {
    std::string place = thread.waits_in ? thread.waits_in : "";
    char mask[32];
    snprintf(mask, sizeof mask, " (mask %08x)", thread.mask);
    switch (thread.state) {
        case IN_WARP: place += mask; break;
        case IN_BARRIER: place += describe_barrier(thread); break;
        case IN_MBARRIER: place += describe_mbarrier(thread); break;
        case IN_REGISTERS: place += describe_registers(thread); break;
        case IN_PRODUCT: place += describe_product(thread); break;
        default: return "";
    }
    return place + " at " + where(thread.waits_at);
}

[[noreturn]] static void deadlock() {
    std::map<std::string, std::pair<int, int>> waiting;  // place -> number of threads, the first
    for (const Thread &thread : worker->threads) {
        const std::string place = waits_in(thread);
        if (!place.empty()) waiting.emplace(place, std::make_pair(0, thread.linear)).first->second.first++;
    }
    std::string list;
    for (const auto &[place, threads] : waiting)
        list += std::to_string(threads.first) + " threads (first: " + std::to_string(threads.second) + ") wait in " +
                place + "; ";
    const Block &block = worker->block;
    fail("deadlock: %s%d of %d threads have exited", list.c_str(), block.size - block.live, block.size);
}

void wait_until_ready(Thread *thread) {
    Thread *next = pick();
    if (!next) deadlock();
    if (next != thread) resume(thread->fibre, next);
}

static bool same(const char *a, const char *b) { return a == b || !strcmp(a, b); }

// Whether all lanes that `thread` waits for wait in the same collective.
static bool warp_has_met(const Warp &warp, const Thread *thread, unsigned needed) {
    for (int lane = 0; lane < 32; lane++) {
        if (!(needed >> lane & 1)) continue;
        const Thread *other = warp.lanes[lane];
        if (other->state != IN_WARP || other->mask != thread->mask || !same(other->waits_in, thread->waits_in))
            return false;
    }
    return true;
}

static void complete_collective(Warp &warp, const Thread *thread, unsigned needed) {
    thread->exchange(warp, needed);
    if (check::ON && thread->orders_memory) {
        worker->met.clear();
        for (int lane = 0; lane < 32; lane++)
            if (needed >> lane & 1) worker->met.push_back(warp.lanes[lane]->linear);
        check::joined(worker->met.data(), static_cast<int>(worker->met.size()));
    }
    warp.waiting &= ~needed;
    // In order, and before all others: the last lane is put at the head first.
    for (unsigned left = needed; left;) {
        const int lane = 31 - __builtin_clz(left);
        left &= ~(1u << lane);
        Thread *other = warp.lanes[lane];
        other->state = READY;
        if (other != current) worker->ready.push_first(other);
    }
}

// Nobody waits for an exited thread any more: the remaining threads may be complete now.
static void leave(Thread *thread) {
    Worker &w = *worker;
    finish_copies(thread);
    if (w.hopper) thread_leaves_hopper(thread);
    thread->state = DONE;
    w.block.live--;
    Warp &warp = *thread->warp;
    warp.live &= ~(1u << thread->lane);
    for (unsigned left = warp.waiting; left; left = left & (left - 1) & warp.waiting) {
        const Thread *other = warp.lanes[__builtin_ctz(left)];
        const unsigned needed = other->mask & warp.live;
        if (warp_has_met(warp, other, needed)) complete_collective(warp, other, needed);
    }
    if (w.block.live) return leave_barriers();
    if (w.hopper) block_leaves_hopper();
}

void fibre_main() {
    Fibre *fibre = worker->starting;
    arrived_on_fibre();
    for (;;) {
        Thread *thread = fibre->thread;
        thread->fibre = fibre;
        thread->state = READY;
        worker->kernel->invoke(worker->arguments);
        leave(thread);
        Thread *next = pick();
        if (next && next->state == UNSTARTED) {
            // Kernels that never wait need no switch at all.
            fibre->thread = next;
            next->fibre = fibre;
            current = next;
            continue;
        }
        if (!next && worker->block.live) deadlock();
        worker->idle.push_back(fibre);
        if (next) {
            resume(fibre, next);
        } else {
            switch_fibre(fibre, &worker->main, nullptr);
        }
    }
}

// Another lane waits for this one, but in another collective.
static void reject_divergence(const Warp &warp, const Thread *thread, unsigned needed) {
    for (int lane = 0; lane < 32; lane++) {
        if (!(needed & warp.waiting & 1u << lane)) continue;
        const Thread *other = warp.lanes[lane];
        const bool waits_for_us = other->mask >> thread->lane & 1;
        if (waits_for_us && (other->mask != thread->mask || !same(other->waits_in, thread->waits_in)))
            fail(
                "divergent warp: lane %d is in %s (mask %08x) at %s while lane %d waits for it in %s (mask %08x) at %s",
                thread->lane, thread->waits_in, thread->mask, where(thread->waits_at).c_str(), lane, other->waits_in,
                other->mask, where(other->waits_at).c_str());
    }
}

void meet(const char *what, void *site, unsigned mask, void *io, Exchange exchange, bool orders_memory) {
    Thread *thread = current;
    Warp &warp = *thread->warp;
    if (!(mask >> thread->lane & 1)) fail("%s: the calling lane %d is not in its mask %08x", what, thread->lane, mask);
    thread->waits_in = what;
    thread->waits_at = site;
    thread->mask = mask;
    thread->state = IN_WARP;
    thread->exchange = exchange;
    thread->orders_memory = orders_memory;
    warp.io[thread->lane] = io;
    const unsigned needed = mask & warp.live;
    if (!warp.waiting) {
        warp.mask = mask;
        warp.what = what;
        warp.mixed = false;
    } else if (warp.mask != mask || !same(warp.what, what)) {
        warp.mixed = true;
        reject_divergence(warp, thread, needed);
    }
    warp.waiting |= 1u << thread->lane;
    const bool met = warp.mixed ? warp_has_met(warp, thread, needed) : !(needed & ~warp.waiting);
    if (!met) return wait_until_ready(thread);
    complete_collective(warp, thread, needed);
    if (worker->seed > 1) {
        make_ready(thread);
        wait_until_ready(thread);
    }
}

void collective(const char *what, unsigned mask, void *io, Exchange exchange, bool orders_memory) {
    meet(what, __builtin_return_address(0), mask, io, exchange, orders_memory);
}

void fence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void note(const void *at, size_t bytes, Access access, const void *pc) { check::noted(at, bytes, access, pc); }
}  // namespace cuemu
