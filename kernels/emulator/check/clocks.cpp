// Vector clocks of the threads of a block: they find races whatever the order in which the threads ran.
#include "shadow.h"
#include <algorithm>

namespace cuemu {
namespace check {
static int size;
static uint64_t block_number = 0, first_of_launch = 1;
// Row t: the clock of every thread, as far as thread t knows it.
static std::vector<uint32_t> clocks;

static uint32_t *row(int thread) { return &clocks[static_cast<size_t>(thread) * size]; }

void clocks_begin_launch() { first_of_launch = block_number + 1; }

void clocks_begin_block(int threads) {
    block_number++;
    size = threads;
    clocks.assign(static_cast<size_t>(size) * size, 0);
    for (int t = 0; t < size; t++) row(t)[t] = 1;
}

Epoch now(int thread) {
    return {block_number << 30 | static_cast<uint64_t>(thread) << 20 | (row(thread)[thread] & 0xfffff)};
}

bool ordered(Epoch then, int thread) {
    if (!then || then.bits == HOST.bits || then.block() < first_of_launch) return true;
    // Nothing orders two blocks of a launch.
    return then.block() == block_number && then.clock() <= row(thread)[then.thread()];
}

void joined(const int *threads, int count) {
    static std::vector<uint32_t> latest;
    latest.assign(size, 0);
    for (int i = 0; i < count; i++) {
        const uint32_t *known = row(threads[i]);
        for (int t = 0; t < size; t++) latest[t] = std::max(latest[t], known[t]);
    }
    for (int i = 0; i < count; i++) {
        std::copy(latest.begin(), latest.end(), row(threads[i]));
        row(threads[i])[threads[i]]++;
    }
}
}  // namespace check
}  // namespace cuemu
