// Private to the runtime: what runs beside the threads of a block. The copy engine and the tensor cores do their work
// at a moment that the seed chooses, between the instruction that asks for it and the one that waits for it.
#pragma once
#include "../check/checker.h"
#include "../device/hopper.h"
#include "runtime.h"
#include <deque>
#include <memory>

namespace cuemu {
constexpr uint64_t NEVER = UINT64_MAX;

// One copy, or one product of a warp, which is done in steps.
struct Work {
    // Who asked for it, and the instruction.
    Thread *thread = current;
    const void *pc = nullptr;

    virtual ~Work() = default;
    virtual bool is_done() const = 0;
    virtual void step() = 0;
    void finish() {
        while (!is_done()) step();
    }
};

struct Waiter {
    Thread *thread;
    unsigned parity;
    bool *satisfied;
};
struct Observer {
    int thread;
    check::Stamp when;
};
struct Mbarrier {
    uint64_t *at;
    Thread *initialised_by;
    int count, pending;
    // Ended phases.
    uint64_t phase = 0;
    // Of the phase under way: bytes announced less bytes that came; announced; asked of the copy engine; not yet there.
    long missing = 0, announced = 0, asked = 0, under_way = 0;
    std::vector<Waiter> waiters;
    // Threads that have seen the end of the last phase.
    std::vector<Observer> observers;
    bool shown_to_copies = false;
    check::Stamp initialised, shown;
    check::Clock gathered, ended;
    int agent = 0;
};

// Stores of one thread by the copy engine.
struct Transfer;
struct StoreQueue {
    std::vector<std::shared_ptr<Transfer>> transfers;
    int group = 0;
    uint32_t issued = 0;
    int reader = 0, writer = 0;
};

// Products of a warpgroup, in order, from number `first` on; numbers begin with 1.
struct Product;
struct Warpgroup {
    static constexpr int WARPS = 4;
    std::deque<std::shared_ptr<Product>> products;
    uint32_t first = 1;
    int agent = 0;
    // Of each warp: how many products it has issued and waited for, and the last product of each group that it has
    // committed and not waited for.
    uint32_t issued[WARPS] = {}, waited_for[WARPS] = {};
    std::deque<uint32_t> committed[WARPS];
    // Threads that wait for products which other warps have not issued yet.
    std::vector<Thread *> waiting;
};

// Registers of a thread, warp by warp, and those that nobody has.
struct RegisterPool {
    int of_nobody = 0;
    std::vector<int> of_warp, changes;
    std::vector<Thread *> waiting;
};

// What the copies and products of a block need. It exists from the first such instruction of a block to its end.
struct Hopper {
    std::deque<Mbarrier> mbarriers;
    std::vector<StoreQueue> stores;
    std::vector<Warpgroup> groups;
    RegisterPool registers;

    struct Job {
        uint64_t due;
        std::shared_ptr<Work> work;
    };
    std::vector<Job> jobs;
    uint64_t tick = 0, earliest = NEVER;
    // What has happened that a thread could wait for, and how much of it when waiting threads last looked again.
    uint64_t events = 1, events_seen = 0;
};
// Creates it if there is none.
Hopper &hopper();

// async.cpp
// Does the work at a moment that the seed chooses, or before that by `finish`.
void do_later(std::shared_ptr<Work> work);

// mbarrier.cpp
Mbarrier &mbarrier_for_copy(uint64_t *at, const char *what);
void bytes_under_way(Mbarrier &bar, long bytes);
void bytes_came(Mbarrier &bar, long bytes);
// Lets threads that wait look again; false if nothing has happened since they did.
bool let_waiters_look();
void mbarriers_end();

// bulk.cpp, wgmma.cpp, setmaxnreg.cpp
void stores_leave(Thread *thread);
void products_leave(Thread *thread);
void registers_end();
}  // namespace cuemu
