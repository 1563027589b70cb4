// Vector clocks of the threads of a block: they find races whatever the order in which the threads ran.
//
// Agents have a place beside the threads: a copy that an mbarrier counts, a store of a thread, the tensor core of a
// warp. They count what they have done (an mbarrier its phases), and a thread that waits for it learns the number.
// A second clock says which writes of threads each thread knows to be shown to the agents (fence.proxy.async), apart
// for shared and for global memory.
#include "shadow.h"
#include <algorithm>

namespace cuemu {
namespace check {
constexpr uint32_t CLOCK = 0xfffff;
// Threads of the block; threads and agents; the room of a row.
static int size, width, stride;
static uint64_t block_number = 0, first_of_launch = 1;
// Row t: the clock of every thread and agent, as far as thread t knows it.
static std::vector<uint32_t> clocks;
// The same of what is shown to the agents; empty until a thread executes the fence.
static std::vector<uint32_t> shown[2];
static std::vector<Agent> agents;

static uint32_t *row_of(std::vector<uint32_t> &table, int thread) {
    return table.empty() ? nullptr : &table[static_cast<size_t>(thread) * stride];
}
static uint32_t *row(int thread) { return row_of(clocks, thread); }

void clocks_begin_launch() { first_of_launch = block_number + 1; }

void clocks_begin_block(int threads) {
    block_number++;
    size = width = stride = threads;
    clocks.assign(static_cast<size_t>(size) * size, 0);
    for (int t = 0; t < size; t++) row(t)[t] = 1;
    for (auto &table : shown) table.clear();
    agents.clear();
}

static void widen(std::vector<uint32_t> &table, int from, int to) {
    if (table.empty()) return;
    std::vector<uint32_t> wider(static_cast<size_t>(size) * to, 0);
    for (int t = 0; t < size; t++)
        std::copy_n(&table[static_cast<size_t>(t) * from], width, &wider[static_cast<size_t>(t) * to]);
    table.swap(wider);
}

int new_agent(const std::string &name, bool counts_phases) {
    if (width == stride) {
        const int wider = stride + 64;
        widen(clocks, stride, wider);
        for (auto &table : shown) widen(table, stride, wider);
        stride = wider;
    }
    if (width >= MAX_PARTIES) fail("the checker knows %d threads, mbarriers and queues of copies at most", MAX_PARTIES);
    agents.push_back({name, counts_phases});
    return width++;
}

const Agent *agent_of(Epoch of) {
    const int agent = of.party() - size;
    return of.block() == block_number && agent >= 0 && agent < width - size ? &agents[agent] : nullptr;
}

static Epoch epoch(int party, uint32_t clock) {
    return {block_number << 31 | static_cast<uint64_t>(party) << 20 | (clock & CLOCK)};
}
Epoch now(int thread) { return epoch(thread, row(thread)[thread]); }
Epoch done(int agent, uint32_t count) { return epoch(agent, count); }
uint32_t seen_of(int agent, int thread) { return row(thread)[agent]; }

static bool covers(const uint32_t *known, size_t entries, Epoch then) {
    return then.block() == block_number && static_cast<size_t>(then.party()) < entries &&
           then.clock() <= known[then.party()];
}
static bool before_launch(Epoch then) {
    return !then || then.bits == HOST.bits || then.block() < first_of_launch;
}

// Nothing orders two blocks of a launch.
bool ordered(Epoch then, int thread) { return before_launch(then) || covers(row(thread), width, then); }
bool ordered(Epoch then, const Clock &known) {
    return before_launch(then) || covers(known.seen.data(), known.seen.size(), then);
}

bool is_shown(Epoch then, const Clock &known, bool global) {
    if (before_launch(then) || then.party() >= size) return true;
    return covers(known.shown[global].data(), known.shown[global].size(), then);
}

static void raise(uint32_t *to, const uint32_t *from, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] = std::max(to[i], from[i]);
}
static void raise(std::vector<uint32_t> &to, const uint32_t *from, size_t count) {
    if (to.size() < count) to.resize(count, 0);
    raise(to.data(), from, count);
}

static void join_rows(std::vector<uint32_t> &table, const int *threads, int count) {
    static std::vector<uint32_t> latest;
    latest.assign(width, 0);
    for (int i = 0; i < count; i++) raise(latest.data(), row_of(table, threads[i]), width);
    for (int i = 0; i < count; i++) std::copy(latest.begin(), latest.end(), row_of(table, threads[i]));
}

void joined(const int *threads, int count) {
    join_rows(clocks, threads, count);
    for (auto &table : shown)
        if (!table.empty()) join_rows(table, threads, count);
    for (int i = 0; i < count; i++) row(threads[i])[threads[i]]++;
}

void release(Clock &to, int thread) {
    raise(to.seen, row(thread), width);
    for (int m = 0; m < 2; m++)
        if (!shown[m].empty()) raise(to.shown[m], row_of(shown[m], thread), width);
    row(thread)[thread]++;
}

void acquire(const Clock &from, int thread) {
    raise(row(thread), from.seen.data(), from.seen.size());
    for (int m = 0; m < 2; m++)
        if (!shown[m].empty()) raise(row_of(shown[m], thread), from.shown[m].data(), from.shown[m].size());
}

void merge(Clock &to, const Clock &from) {
    raise(to.seen, from.seen.data(), from.seen.size());
    for (int m = 0; m < 2; m++) raise(to.shown[m], from.shown[m].data(), from.shown[m].size());
}

void add(Clock &to, int agent, uint32_t count) {
    if (to.seen.size() <= static_cast<size_t>(agent)) to.seen.resize(agent + 1, 0);
    to.seen[agent] = std::max(to.seen[agent], count);
}

void learn(int thread, int agent, uint32_t count) { row(thread)[agent] = std::max(row(thread)[agent], count); }

void show_to_agents(int thread, bool global_too) {
    for (int m = 0; m < (global_too ? 2 : 1); m++) {
        if (shown[m].empty()) shown[m].assign(static_cast<size_t>(size) * stride, 0);
        raise(row_of(shown[m], thread), row(thread), width);
    }
    row(thread)[thread]++;
}

Clock moment(Thread *const *threads, int count) {
    Clock all;
    for (int i = 0; i < count; i++) release(all, threads[i]->linear);
    return all;
}

Stamp stamp() { return {now(current->linear).bits}; }
bool happened(Stamp then, int thread) { return ordered({then.bits}, thread); }
bool known(Stamp then, const Clock &known) { return ordered({then.bits}, known); }
}  // namespace check
}  // namespace cuemu
