// Running a grid: one block on a worker's fibres, and the blocks over the calling thread and a pool of helpers.
#include "../check/checker.h"
#include "runtime.h"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace cuemu {
// The layout is shared with the caller's language.
struct Request {
    const KernelDesc *kernel;
    unsigned grid[3], block[3];
    size_t dynamic_shared;
    // As for cuLaunchKernel.
    void **arguments;
    // The signature that the caller expects, to be compared with the kernel's; null skips the comparison.
    const uint8_t *sizes;
    const char *kinds;
    int count;
    // The order of threads and blocks: 0 forwards, 1 backwards, others shuffled.
    unsigned seed;
    // The most OS threads; 0: one per core.
    int workers;
};

// ---- workers: one per OS thread that runs blocks ----
static std::mutex spare_lock;
static std::vector<Worker *> &spare_workers() {
    static auto *workers = new std::vector<Worker *>;  // never destroyed: threads may outlive static objects
    return *workers;
}

static Worker *take_worker() {
    std::lock_guard<std::mutex> guard(spare_lock);
    auto &spare = spare_workers();
    if (spare.empty()) {
        auto *fresh = new Worker;
        fresh->arena = static_cast<unsigned char *>(aligned_alloc(1024, SHARED_ARENA));
        return fresh;
    }
    Worker *found = spare.back();
    spare.pop_back();
    found->generation++;
    return found;
}

static Worker *worker_of_this_thread() {
    static thread_local struct Holder {
        Worker *held = take_worker();
        ~Holder() {
            std::lock_guard<std::mutex> guard(spare_lock);
            spare_workers().push_back(held);
        }
    } holder;
    return holder.held;
}

// ---- one block ----
static dim3 dimensions(const unsigned (&n)[3]) { return dim3(n[0], n[1], n[2]); }

// Threads, warps and the starting order of a block shape: the same for all blocks of a launch.
static void lay_out(Worker &w, const Request &request) {
    const auto [x, y, z] = request.block;
    const int size = static_cast<int>(x * y * z);
    w.threads.assign(size, Thread{});
    w.warps.assign((size + 31) / 32, Warp{});
    w.order.resize(size);
    w.barrier_of.assign(size, 0);
    if (w.copies.size() < w.threads.size()) w.copies.resize(size);
    for (int i = 0; i < size; i++) {
        const auto n = static_cast<unsigned>(i);
        Thread &thread = w.threads[i];
        thread.index = {n % x, n / x % y, n / (x * y)};
        thread.linear = i;
        thread.lane = i % 32;
        thread.warp = &w.warps[i / 32];
        thread.block = &w.block;
        thread.warp->lanes[thread.lane] = &thread;
        w.order[i] = request.seed == 1 ? size - 1 - i : i;
    }
    w.block = Block{
        {}, dimensions(request.block), dimensions(request.grid), w.threads.data(), w.warps.data(), size, size, nullptr};
}

static void reset_block(Worker &w, uint3 index) {
    const int size = w.block.size;
    w.block.index = index;
    w.block.live = w.unstarted = size;
    w.ready.head = w.ready.tail = 0;
    w.votes = {0, 1, 0};
    std::fill(std::begin(w.barriers), std::end(w.barriers), Barrier{});
    drop_hopper();
    for (Thread &thread : w.threads) {
        thread.state = UNSTARTED;
        thread.copies = nullptr;
        thread.registers = nullptr;
    }
    for (int i = 0; i * 32 < size; i++) {
        const int lanes = std::min(32, size - i * 32);
        w.warps[i].live = lanes == 32 ? ~0u : (1u << lanes) - 1;
        w.warps[i].waiting = 0;
    }
    if (w.seed < 2) return;
    for (int i = size - 1; i > 0; i--) std::swap(w.order[i], w.order[w.random(static_cast<unsigned>(i) + 1)]);
}

// After a failure threads are left on fibres that will never resume.
static void abandon_fibres(Worker &w) {
    w.generation++;
    w.idle = w.fibres;
    for (CopyQueue &queue : w.copies) queue = CopyQueue{};
}

static void run_block(Worker &w, uint3 index, size_t dynamic_shared) {
    reset_block(w, index);
    check::block_begin(w.block, w.arena, SHARED_ARENA);
    open_shared(dynamic_shared);
    resume(&w.main, pick());
    const SharedVariable *overrun = w.failed ? nullptr : overrun_shared();
    if (overrun) {
        char text[300];
        snprintf(text, sizeof text, "kernel %s, block (%u,%u,%u): shared memory behind %s (%zu bytes) was written",
                 w.kernel->name, index.x, index.y, index.z, overrun->name, overrun->bytes);
        w.message = text;
        w.failed = true;
    }
    if (w.failed) abandon_fibres(w);
}

// ---- one launch ----
struct Launch {
    const Request &request;
    const size_t blocks;
    std::atomic<size_t> claimed{0};
    std::atomic<bool> stopped{false};
    // Under the pool's lock.
    int helpers = 0, helpers_wanted = 0;
    size_t failed_at = SIZE_MAX;
    std::string message;

    Launch(const Request &request)
        : request(request), blocks(static_cast<size_t>(request.grid[0]) * request.grid[1] * request.grid[2]) {}
    bool open() const { return claimed < blocks && !stopped; }
};

// The block at this position in the order of the seed.
static size_t nth_block(const Launch &launch, size_t position) {
    if (launch.request.seed == 0) return position;
    if (launch.request.seed == 1) return launch.blocks - 1 - position;
    return (position + launch.request.seed * size_t{7919}) % launch.blocks;
}

struct Pool {
    std::mutex lock;
    std::condition_variable work, finished;
    std::vector<Launch *> launches;
    int threads = 0;
};
static Pool &pool() {
    static auto *shared = new Pool;  // never destroyed: helpers wait on it until the process ends
    return *shared;
}

// Runs blocks until none is left, or `most` of them.
static void take_part(Launch &launch, size_t most = SIZE_MAX) {
    const Request &request = launch.request;
    catch_faults();
    Worker &w = *worker_of_this_thread();
    worker = &w;
    w.kernel = request.kernel;
    w.arguments = request.arguments;
    w.seed = request.seed;
    w.failed = false;
    w.main.bottom = nullptr;
    lay_out(w, request);
    const auto [x, y, z] = request.grid;
    for (; most && !launch.stopped; most--) {
        const size_t position = launch.claimed++;
        if (position >= launch.blocks) break;
        const size_t n = nth_block(launch, position);
        // A block's schedule follows from the seed and its number, whichever worker runs it.
        w.random_state = (request.seed + 1) * 0x9e3779b97f4a7c15ull ^ (n + 1) * 0xd1b54a32d192ed03ull;
        run_block(w, {unsigned(n % x), unsigned(n / x % y), unsigned(n / (size_t{x} * y))}, request.dynamic_shared);
        if (!w.failed) continue;
        launch.stopped = true;
        std::lock_guard<std::mutex> guard(pool().lock);
        if (position < launch.failed_at) {
            launch.failed_at = position;
            launch.message = w.message;
        }
    }
    worker = nullptr;
}

static void help_forever() {
    Pool &p = pool();
    std::unique_lock<std::mutex> guard(p.lock);
    for (;;) {
        const auto needs_help = [](Launch *launch) {
            return launch->open() && launch->helpers < launch->helpers_wanted;
        };
        const auto found = std::find_if(p.launches.begin(), p.launches.end(), needs_help);
        if (found == p.launches.end()) {
            p.work.wait(guard);
            continue;
        }
        Launch &launch = **found;
        launch.helpers++;
        guard.unlock();
        take_part(launch);
        guard.lock();
        launch.helpers--;
        p.finished.notify_all();
    }
}

// The caller works too, and waits only for helpers that have started. The time of the first block decides whether to
// wake any: waking a thread takes as long as a small launch.
static void run(Launch &launch) {
    using Clock = std::chrono::steady_clock;
    constexpr auto WORTH_WAKING = std::chrono::microseconds(50);
    const Request &request = launch.request;
    // Read once: the system opens files to answer.
    static const int cores = std::max(1, std::min(16, static_cast<int>(std::thread::hardware_concurrency())));
    const int workers = check::ON ? 1 : request.workers ? request.workers : cores;
    launch.helpers_wanted = static_cast<int>(std::min<size_t>(workers, launch.blocks)) - 1;
    if (launch.helpers_wanted == 0) return take_part(launch);
    const auto start = Clock::now();
    take_part(launch, 1);
    if ((Clock::now() - start) * (launch.blocks - 1) < WORTH_WAKING) return take_part(launch);
    Pool &p = pool();
    {
        std::lock_guard<std::mutex> guard(p.lock);
        for (; p.threads < launch.helpers_wanted; p.threads++) std::thread(help_forever).detach();
        p.launches.push_back(&launch);
    }
    for (int i = 0; i < launch.helpers_wanted; i++) p.work.notify_one();
    take_part(launch);
    std::unique_lock<std::mutex> guard(p.lock);
    p.launches.erase(std::find(p.launches.begin(), p.launches.end(), &launch));
    p.finished.wait(guard, [&] { return launch.helpers == 0; });
}

// The error in a request, or "".
static std::string objection(const Request &r) {
    const auto found = [](const char *what, size_t value, size_t limit) {
        return std::string(what) + ": " + std::to_string(value) + ", at most " + std::to_string(limit);
    };
    const size_t threads = static_cast<size_t>(r.block[0]) * r.block[1] * r.block[2];
    if (!threads || !r.grid[0] || !r.grid[1] || !r.grid[2]) return "a grid or block dimension is 0";
    if (threads > MAX_THREADS) return found("threads of a block", threads, MAX_THREADS);
    if (r.grid[0] > 0x7fffffff) return found("grid dimension x", r.grid[0], 0x7fffffff);
    for (int i = 1; i < 3; i++)
        if (r.grid[i] > 65535) return found("grid dimension y or z", r.grid[i], 65535);
    if (r.dynamic_shared > MAX_DYNAMIC_SHARED)
        return found("dynamic shared bytes", r.dynamic_shared, MAX_DYNAMIC_SHARED);
    if (!r.sizes) return "";
    const KernelDesc &kernel = *r.kernel;
    if (r.count != kernel.arguments)
        return "the kernel takes " + std::to_string(kernel.arguments) + " arguments, " + std::to_string(r.count) +
               " were passed";
    for (int i = 0; i < r.count; i++) {
        if (r.sizes[i] != kernel.sizes[i])
            return "argument " + std::to_string(i) + " has " + std::to_string(kernel.sizes[i]) + " bytes, " +
                   std::to_string(r.sizes[i]) + " were passed";
        if (r.kinds && r.kinds[i] != kernel.kinds[i])
            return "argument " + std::to_string(i) + " is of kind '" + kernel.kinds[i] + "', '" + r.kinds[i] +
                   "' was passed";
    }
    return "";
}

static std::string launch_grid(const Request &request) {
    const std::string wrong = objection(request);
    if (!wrong.empty()) return std::string("kernel ") + request.kernel->name + ": " + wrong;
    Launch launch(request);
    if (!check::ON) {
        run(launch);
        return launch.message;
    }
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> guard(one_at_a_time);
    check::begin(request.kernel->name);
    run(launch);
    const std::string findings = check::finish();
    // What ended the launch may follow from what was found before.
    if (launch.message.empty() || findings.empty()) return launch.message + findings;
    return launch.message + "\n    before that, " + findings;
}
}  // namespace cuemu

// Returns 0, or 1 and a message. It may be called from several threads at once.
extern "C" int cuemu_launch(const cuemu::Request *request, char *message, size_t room) {
    const std::string text = cuemu::launch_grid(*request);
    if (text.empty()) return 0;
    snprintf(message, room, "%s", text.c_str());
    return 1;
}
