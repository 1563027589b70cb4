// Barriers of a block: the one that all threads meet at, and those with a number, where some warps wait and others only
// arrive.
#include "../device/hopper.h"
#include "runtime.h"
#include <algorithm>

namespace cuemu {
static void release_barrier(int id) {
    Worker &w = *worker;
    Barrier &barrier = w.barriers[id];
    w.met.clear();
    for (int i = 0; i < w.block.size; i++)
        if (w.threads[i].state == IN_BARRIER && w.barrier_of[i] == id) w.met.push_back(i);
    check::joined(w.met.data(), static_cast<int>(w.met.size()));
    if (!barrier.passed_by.empty())
        for (int i : w.met) check::acquire(barrier.gathered, i);
    for (int i : w.met) make_ready(&w.threads[i]);
    barrier = {};
    if (id == 0) {
        w.decided = w.votes;
        w.votes = {0, 1, 0};
    }
}

static void count_arrival(const char *what, void *site, int id, int threads) {
    Barrier &barrier = worker->barriers[id];
    if (threads % 32 || (barrier.arrived && barrier.expected != threads))
        fail("%s: barrier %d called for %d threads, others expect %d", what, id, threads, barrier.expected);
    if (id == 0 && barrier.arrived && strcmp(barrier.what, what))
        fail("divergent block: this thread is in %s at %s, others meet it in %s", what, where(site).c_str(),
             barrier.what);
    barrier.what = what;
    barrier.expected = threads;
    barrier.arrived++;
}

static bool is_complete(const Barrier &barrier) {
    return barrier.arrived >= (barrier.expected ? barrier.expected : worker->block.live);
}

static void arrive(const char *what, void *site, int id, int threads) {
    Thread *thread = current;
    count_arrival(what, site, id, threads);
    thread->waits_in = what;
    thread->waits_at = site;
    thread->state = IN_BARRIER;
    worker->barrier_of[thread->linear] = id;
    if (is_complete(worker->barriers[id])) release_barrier(id);
    wait_until_ready(thread);
}

// Nobody waits for an exited thread any more: the remaining threads may be complete now.
void leave_barriers() {
    const Barrier &all = worker->barriers[0];
    if (all.arrived && is_complete(all)) release_barrier(0);
}

std::string describe_barrier(const Thread &thread) {
    const int id = worker->barrier_of[thread.linear];
    const Barrier &barrier = worker->barriers[id];
    if (id == 0) return "";
    return " for barrier " + std::to_string(id) + " (" + std::to_string(barrier.arrived) + " of " +
           std::to_string(barrier.expected) + " threads have reached it)";
}

void barrier(const char *what, int id, int threads) { arrive(what, __builtin_return_address(0), id, threads); }

Votes barrier_vote(const char *what, bool vote) {
    Votes &votes = worker->votes;
    votes.any |= vote;
    votes.all &= vote;
    votes.count += vote;
    arrive(what, __builtin_return_address(0), 0, 0);
    // No thread votes again before every thread has passed this barrier and reached the next one, which starts a new
    // vote.
    return worker->decided;
}

static void check_named(const char *what, int id, int threads) {
    if (id < 1 || id >= BARRIERS) fail("%s: there is no barrier %d, they are 1 to %d", what, id, BARRIERS - 1);
    if (threads < 32 || threads > worker->block.size)
        fail("%s: barrier %d called for %d threads of a block of %d", what, id, threads, worker->block.size);
    const auto &passed_by = worker->barriers[id].passed_by;
    if (!passed_by.empty() && passed_by[current->linear])
        fail("%s: this thread has arrived at barrier %d already, which %d of %d threads have reached", what, id,
             worker->barriers[id].arrived, worker->barriers[id].expected);
}

void named_sync(int id, int threads) {
    check_named("bar.sync", id, threads);
    arrive("bar.sync", __builtin_return_address(0), id, threads);
}

void named_arrive(int id, int threads) {
    check_named("bar.arrive", id, threads);
    count_arrival("bar.arrive", __builtin_return_address(0), id, threads);
    Barrier &barrier = worker->barriers[id];
    barrier.passed_by.resize(worker->block.size);
    barrier.passed_by[current->linear] = true;
    check::release(barrier.gathered, current->linear);
    if (is_complete(barrier)) release_barrier(id);
}
}  // namespace cuemu
