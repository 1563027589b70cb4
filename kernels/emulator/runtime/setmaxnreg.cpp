// setmaxnreg: registers that warpgroups hand to each other. A block has what its threads have at the start, which is
// what a kernel with __launch_bounds__(threads, 1) can get.
#include "hopper.h"
#include <algorithm>
#include <cstdio>

namespace cuemu {
constexpr int OF_MULTIPROCESSOR = 65536, MOST = 256, LANES = 32;

static RegisterPool &pool() {
    RegisterPool &p = hopper().registers;
    if (p.of_warp.empty()) {
        const size_t warps = worker->warps.size();
        const int threads = static_cast<int>(warps) * LANES;
        p.of_warp.assign(warps, std::min(MOST, OF_MULTIPROCESSOR / threads / 8 * 8));
        p.changes.assign(warps, 0);
    }
    return p;
}

struct Change {
    int count;
    bool up;
};

static void change(Warp &warp, unsigned) {
    const Change &wanted = *static_cast<Change *>(warp.io[0]);
    RegisterPool &p = pool();
    const int number = warp.lanes[0]->linear / LANES, has = p.of_warp[number];
    p.changes[number]++;
    if (wanted.up ? wanted.count < has : wanted.count > has)
        fail("setmaxnreg.%s to %d: the warp has %d registers a thread", wanted.up ? "inc" : "dec", wanted.count, has);
    if (wanted.up) return;
    p.of_nobody += has - wanted.count;
    p.of_warp[number] = wanted.count;
    for (Thread *thread : p.waiting) make_ready(thread);
    p.waiting.clear();
    hopper().events++;
}

void set_registers(int count, bool up) {
    Change wanted{count, up};
    const char *what = up ? "setmaxnreg.inc" : "setmaxnreg.dec";
    meet(what, __builtin_return_address(0), 0xffffffffu, &wanted, change, false);
    if (!up) return;
    Thread *thread = current;
    RegisterPool &p = pool();
    int &has = p.of_warp[thread->linear / LANES];
    // The first lane of the warp that finds enough takes them for all.
    while (has < count && p.of_nobody < count - has) {
        p.waiting.push_back(thread);
        thread->waits_in = what;
        thread->waits_at = __builtin_return_address(0);
        thread->mask = static_cast<unsigned>(count);
        thread->state = IN_REGISTERS;
        wait_until_ready(thread);
    }
    if (has == count) return;
    p.of_nobody -= count - has;
    has = count;
}

std::string describe_registers(const Thread &thread) {
    const RegisterPool &p = pool();
    char text[200];
    snprintf(text, sizeof text, " for %u registers a thread where its warp has %d, and %d are free for a warp",
             thread.mask, p.of_warp[thread.linear / LANES], p.of_nobody);
    return text;
}

void registers_end() {
    const RegisterPool &p = hopper().registers;
    for (size_t warp = 0; warp + 1 < p.changes.size(); warp++)
        if (warp % 4 != 3 && (p.changes[warp] != p.changes[warp + 1] || p.of_warp[warp] != p.of_warp[warp + 1]))
            fail("setmaxnreg: warps %zu and %zu executed it %d and %d times and have %d and %d registers a thread: all "
                 "warps of a warpgroup must execute the same",
                 warp, warp + 1, p.changes[warp], p.changes[warp + 1], p.of_warp[warp], p.of_warp[warp + 1]);
}
}  // namespace cuemu
