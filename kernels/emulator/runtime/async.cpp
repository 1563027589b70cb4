// When the copy engine and the tensor cores do their work: at a moment that the seed chooses.
#include "hopper.h"
#include <algorithm>

namespace cuemu {
Hopper &hopper() {
    Worker &w = *worker;
    if (!w.hopper) {
        w.hopper = new Hopper;
        w.hopper->stores.resize(w.threads.size());
        w.hopper->groups.resize((w.warps.size() + 3) / 4);
    }
    return *w.hopper;
}

void drop_hopper() {
    delete worker->hopper;
    worker->hopper = nullptr;
}

// Seed 0: as late as possible; 1: as soon as possible; others: soon, later, or as late as possible.
static uint64_t moment(uint64_t tick) {
    Worker &w = *worker;
    if (w.seed < 2) return w.seed == 0 ? NEVER : tick;
    constexpr unsigned SOON = 32, LATER = 2048;
    switch (w.random(4)) {
        case 0: return tick;
        case 1: return tick + w.random(SOON);
        case 2: return tick + w.random(LATER);
        default: return NEVER;
    }
}

void do_later(std::shared_ptr<Work> work) {
    Hopper &h = hopper();
    const uint64_t due = moment(h.tick);
    h.jobs.push_back({due, std::move(work)});
    h.earliest = std::min(h.earliest, due);
}

static void step(Hopper::Job &job) {
    if (job.work->is_done()) return;
    job.work->step();
    job.due = moment(worker->hopper->tick);
}

static void drop_done(Hopper &h) {
    const auto done = [](const Hopper::Job &job) { return job.work->is_done(); };
    h.jobs.erase(std::remove_if(h.jobs.begin(), h.jobs.end(), done), h.jobs.end());
    h.earliest = NEVER;
    for (const Hopper::Job &job : h.jobs) h.earliest = std::min(h.earliest, job.due);
}

void do_due_work() {
    Hopper &h = *worker->hopper;
    if (h.tick++ < h.earliest) return;
    for (Hopper::Job &job : h.jobs)
        if (job.due < h.tick) step(job);
    drop_done(h);
}

bool do_some_work() {
    Hopper &h = *worker->hopper;
    drop_done(h);
    if (h.jobs.empty()) return let_waiters_look();
    step(h.jobs[worker->seed < 2 ? 0 : worker->random(static_cast<unsigned>(h.jobs.size()))]);
    return true;
}

void thread_leaves_hopper(Thread *thread) {
    worker->hopper->events++;
    stores_leave(thread);
    products_leave(thread);
}

void block_leaves_hopper() {
    Hopper &h = *worker->hopper;
    registers_end();
    mbarriers_end();
    for (Hopper::Job &job : h.jobs) job.work->finish();
}
}  // namespace cuemu
