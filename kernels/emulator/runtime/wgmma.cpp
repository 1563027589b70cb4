// The products of a warpgroup. One is an operation of four warps: it begins when all of them have issued it, is
// computed at a moment that the seed chooses, and is over for all of them at once. Until then the accumulators hold NaN
// in place of what they held. Layouts: PTX ISA, "Asynchronous warpgroup level matrix multiply-accumulate".
#include "hopper.h"
#include "operands.h"
#include <algorithm>

namespace cuemu {
constexpr unsigned ALL = 0xffffffffu, ALL_WARPS = 0xf;
constexpr int LANES = 32, WARPS = Warpgroup::WARPS;

// What the warps of a warpgroup issue must be the same.
struct Signature {
    uint64_t a, b;
    int columns;
    bool add, a_mn, b_mn, a_in_registers;

    bool operator==(const Signature &other) const {
        return a == other.a && b == other.b && columns == other.columns && add == other.add && a_mn == other.a_mn &&
               b_mn == other.b_mn && a_in_registers == other.a_in_registers;
    }
};

struct Issue {
    float *d;
    const uint32_t *a_registers;
    Signature what;
    const void *pc;
};

// The 16 rows of a warp.
struct Part {
    float *d[LANES];
    const uint32_t *a_registers[LANES];
    Operand a;
    // What the accumulators held; empty where an earlier product under way uses them.
    std::vector<float> held;
};

struct Product : Work {
    Signature what;
    Part parts[WARPS];
    Operand b;
    Warpgroup *group = nullptr;
    uint32_t number = 0;
    unsigned issued_by = 0;
    // What the four warps knew when they issued it.
    check::Clock known;
    bool done = false, reads_checked = false;

    bool is_done() const override { return done; }
    void step() override;
    size_t registers() const { return static_cast<size_t>(what.columns) / 2; }
    void hold(Part &part);
    void compute(Part &part, const Rows &right);
    void check_reads();
};

// Products are done in order.
void Product::step() {
    // Too large for the stack of a fibre.
    static thread_local Rows right;
    for (const auto &product : group->products) {
        if (!product->done) {
            product->done = true;
            right.from_columns(product->b, product->what.columns);
            for (Part &part : product->parts) product->compute(part, right);
        }
        if (product.get() == this) return;
    }
}

void Product::hold(Part &part) {
    constexpr uint32_t BITS = 0xffffffffu;
    float unknown;
    memcpy(&unknown, &BITS, sizeof unknown);
    for (float *own : part.d) {
        part.held.insert(part.held.end(), own, own + registers());
        std::fill_n(own, registers(), unknown);
    }
}

void Product::compute(Part &part, const Rows &right) {
    static thread_local Rows left, sums;
    for (size_t lane = 0; lane < LANES && !part.held.empty(); lane++)
        std::copy_n(&part.held[lane * registers()], registers(), part.d[lane]);
    if (what.a_in_registers) {
        left.from_fragments(part.a_registers);
    } else {
        left.from_rows(part.a);
    }
    sums.from_accumulators(part.d, what.columns, what.add);
    multiply(sums, left, right, what.columns);
    sums.to_accumulators(part.d, what.columns);
}

// The operands may change from here on.
void Product::check_reads() {
    if (reads_checked) return;
    reads_checked = true;
    const auto check = [this](const Operand &operand) {
        for (const unsigned char *piece : operand.pieces)
            check::agent_read(piece, Operand::PIECE, known, group->agent, number, Access::PRODUCT, pc);
    };
    for (const Part &part : parts) check(part.a);
    check(b);
}

static int number_of(const Thread *thread) { return thread->linear / LANES; }
static Warpgroup &group_of(const Thread *thread) { return hopper().groups[number_of(thread) / WARPS]; }

static void require_all(const char *what, unsigned mask) {
    if (mask != ALL) fail("%s needs all 32 lanes, mask %08x", what, mask);
}

static Part part_of(Warp &warp, const Signature &what) {
    Part part{};
    for (int lane = 0; lane < LANES; lane++) {
        const Issue &own = *static_cast<Issue *>(warp.io[lane]);
        if (!(own.what == what)) fail("wgmma: lanes 0 and %d of a warp issue different products", lane);
        part.d[lane] = own.d;
        part.a_registers[lane] = own.a_registers;
    }
    if (!what.a_in_registers) part.a = left_operand(what.a, number_of(warp.lanes[0]) % WARPS * 16, what.a_mn);
    return part;
}

// The product that this warp issues next: the first warp makes it, the others must issue the same.
static Product &next_product(int warp, const Issue &issue) {
    Warpgroup &group = hopper().groups[warp / WARPS];
    if (static_cast<size_t>(warp / WARPS * WARPS + WARPS) > worker->warps.size())
        fail("wgmma: warp %d is not one of four that form a warpgroup", warp);
    if (!group.agent) group.agent = check::new_agent("a wgmma of warpgroup " + std::to_string(warp / WARPS), false);
    const uint32_t number = ++group.issued[warp % WARPS];
    if (number - group.first == group.products.size()) {
        auto product = std::make_shared<Product>();
        product->what = issue.what;
        product->pc = issue.pc;
        product->b = right_operand(issue.what.b, issue.what.columns, issue.what.b_mn);
        product->group = &group;
        product->number = number;
        group.products.push_back(product);
    }
    Product &product = *group.products[number - group.first];
    if (!(product.what == issue.what))
        fail("wgmma: warp %d issues another product than the other warps of its warpgroup, which issue the one at %s",
             warp, where(product.pc).c_str());
    return product;
}

static void use_registers(const Warp &warp, const Product &product, const Part &part) {
    for (int lane = 0; lane < LANES; lane++) {
        const auto use = [&](const void *at, size_t bytes, bool accumulators) {
            check::registers_in_use(warp.lanes[lane], at, bytes, accumulators, product.number, product.pc);
        };
        use(part.d[lane], product.registers() * sizeof(float), true);
        if (product.what.a_in_registers) use(part.a_registers[lane], 4 * sizeof(uint32_t), false);
    }
}

static void issue(Warp &warp, unsigned mask) {
    require_all("wgmma", mask);
    const Issue &first = *static_cast<Issue *>(warp.io[0]);
    const int number = number_of(warp.lanes[0]), at = number % WARPS;
    Product &product = next_product(number, first);
    Warpgroup &group = *product.group;
    Part &part = product.parts[at];
    part = part_of(warp, first.what);
    use_registers(warp, product, part);
    check::merge(product.known, check::moment(warp.lanes, LANES));
    const auto holds = [&](const auto &other) {
        return other.get() != &product && !other->done && other->parts[at].d[0] == part.d[0];
    };
    if (std::none_of(group.products.begin(), group.products.end(), holds)) product.hold(part);
    product.issued_by |= 1u << at;
    if (product.issued_by != ALL_WARPS) return;
    do_later(group.products[product.number - group.first]);
    for (Thread *thread : group.waiting) make_ready(thread);
    group.waiting.clear();
}

static void start(float *d, const uint32_t *a_registers, const Signature &what, const void *pc) {
    Issue own{d, a_registers, what, pc};
    meet("wgmma.mma_async", const_cast<void *>(pc), ALL, &own, issue, false);
}

void wgmma_ss(float *d, int columns, uint64_t a, uint64_t b, bool add, bool a_mn, bool b_mn) {
    start(d, nullptr, {a, b, columns, add, a_mn, b_mn, false}, __builtin_return_address(0));
}

void wgmma_rs(float *d, int columns, const uint32_t *a, uint64_t b, bool add, bool b_mn) {
    start(d, a, {0, b, columns, add, false, b_mn, true}, __builtin_return_address(0));
}

static void fence_registers(Warp &warp, unsigned mask) {
    require_all("wgmma.fence", mask);
    for (Thread *thread : warp.lanes) check::registers_fenced(thread);
}

void wgmma_fence() { meet("wgmma.fence", __builtin_return_address(0), ALL, nullptr, fence_registers, false); }

static void commit(Warp &warp, unsigned mask) {
    require_all("wgmma.commit_group", mask);
    Warpgroup &group = group_of(warp.lanes[0]);
    const int at = number_of(warp.lanes[0]) % WARPS;
    group.committed[at].push_back(group.issued[at]);
}

void wgmma_commit() { meet("wgmma.commit_group", __builtin_return_address(0), ALL, nullptr, commit, false); }

// The last product that a wait for all but so many groups of a warp covers; 0: none.
static uint32_t last_covered(const Warpgroup &group, int warp, int groups_under_way) {
    const auto &committed = group.committed[warp % WARPS];
    const auto left = static_cast<size_t>(groups_under_way);
    return committed.size() > left ? committed[committed.size() - left - 1] : 0;
}

static const Product *not_issued_by_all(const Warpgroup &group, uint32_t up_to) {
    for (const auto &product : group.products)
        if (product->number <= up_to && product->issued_by != ALL_WARPS) return product.get();
    return nullptr;
}

static void wait(Warp &warp, unsigned mask) {
    require_all("wgmma.wait_group", mask);
    const int number = number_of(warp.lanes[0]), at = number % WARPS;
    Warpgroup &group = group_of(warp.lanes[0]);
    const uint32_t last = last_covered(group, number, *static_cast<int *>(warp.io[0]));
    while (!group.committed[at].empty() && group.committed[at].front() <= last) group.committed[at].pop_front();
    if (last <= group.waited_for[at]) return;
    const Product &product = *group.products[last - group.first];
    group.products[last - group.first]->finish();
    for (const auto &other : group.products)
        if (other->number <= last) other->check_reads();
    group.waited_for[at] = last;
    for (Thread *thread : warp.lanes) {
        check::registers_free(thread, last);
        check::learn(thread->linear, group.agent, last);
        check::acquire(product.known, thread->linear);
    }
    const uint32_t all = *std::min_element(std::begin(group.waited_for), std::end(group.waited_for));
    for (; group.first < all; group.first++) group.products.pop_front();
}

void wgmma_wait(int groups_under_way) {
    constexpr const char *WHAT = "wgmma.wait_group";
    void *site = __builtin_return_address(0);
    Thread *thread = current;
    meet(WHAT, site, ALL, nullptr, exchange_nothing, false);
    Warpgroup &group = group_of(thread);
    const uint32_t last = last_covered(group, number_of(thread), groups_under_way);
    while (not_issued_by_all(group, last)) {
        group.waiting.push_back(thread);
        thread->state = IN_PRODUCT;
        wait_until_ready(thread);
    }
    meet(WHAT, site, ALL, &groups_under_way, wait, false);
}

std::string describe_product(const Thread &thread) {
    for (const auto &product : group_of(&thread).products)
        for (int warp = 0; warp < WARPS; warp++)
            if (!(product->issued_by >> warp & 1))
                return " for a wgmma that warp " + std::to_string(warp) +
                       " of its warpgroup does not issue, the one at " + where(product->pc);
    return "";
}

void products_leave(Thread *thread) {
    const Warpgroup &group = group_of(thread);
    const int at = number_of(thread) % WARPS;
    if (group.waited_for[at] == group.issued[at]) return;
    fail("the thread exits while the wgmma at %s is under way: wgmma.wait_group is missing behind it, or "
         "wgmma.commit_group before that",
         where(group.products[group.waited_for[at] + 1 - group.first]->pc).c_str());
}
}  // namespace cuemu
