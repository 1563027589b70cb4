// Copies by the copy engine. A load is done in one step; a store first reads shared memory, then writes.
#include "hopper.h"
#include "tensor_map.h"
#include <algorithm>

namespace cuemu {
struct Transfer : Work {
    Box box;
    // What the thread knew when it asked.
    check::Clock known;
    // Of a load: its barrier.
    Mbarrier *bar = nullptr;
    uint32_t phase = 0;
    // Of a store: its place in the queue of its thread, whose data lies between.
    int group = 0;
    uint32_t number = 0;
    std::vector<unsigned char> data;
    bool has_read = false, has_written = false, read_was_waited_for = false;

    bool is_done() const override { return has_written; }
    void step() override;
    void load();
    void read_shared();
    void write_global();
};

void Transfer::step() {
    const ActingFor acting(thread);
    if (bar) return load();
    has_read ? write_global() : read_shared();
}

void Transfer::load() {
    for (const BoxPiece &piece : box.pieces) {
        unsigned char bytes[16] = {};
        if (piece.bytes) {
            check::agent_read(piece.global, piece.bytes, known, bar->agent, phase, Access::BULK_LOAD, pc);
            memcpy(bytes + piece.first, piece.global, piece.bytes);
        }
        memcpy(piece.shared, bytes, sizeof bytes);
        check::agent_wrote(piece.shared, sizeof bytes, bar->agent, phase, pc);
    }
    has_read = has_written = true;
    bytes_came(*bar, box.bytes);
}

void Transfer::read_shared() {
    data.resize(box.pieces.size() * 16);
    for (size_t i = 0; i < box.pieces.size(); i++) memcpy(&data[i * 16], box.pieces[i].shared, 16);
    has_read = true;
}

void Transfer::write_global() {
    const StoreQueue &queue = hopper().stores[thread->linear];
    for (size_t i = 0; i < box.pieces.size(); i++) {
        const BoxPiece &piece = box.pieces[i];
        if (!piece.bytes) continue;
        memcpy(piece.global, &data[i * 16 + piece.first], piece.bytes);
        check::agent_wrote(piece.global, piece.bytes, queue.writer, number, pc);
    }
    has_written = true;
    hopper().events++;
}

static void start_load(Box box, uint64_t *at, const char *what, const void *pc) {
    Mbarrier &bar = mbarrier_for_copy(at, what);
    auto transfer = std::make_shared<Transfer>();
    transfer->pc = pc;
    transfer->bar = &bar;
    transfer->phase = static_cast<uint32_t>(bar.phase + 1);
    transfer->known = check::moment(&current, 1);
    for (const BoxPiece &piece : box.pieces)
        check::agent_will_write(piece.shared, 16, transfer->known, bar.agent, Access::BULK_LOAD, pc);
    bytes_under_way(bar, box.bytes);
    transfer->box = std::move(box);
    do_later(transfer);
}

static void start_store(Box box, const void *pc) {
    StoreQueue &queue = hopper().stores[current->linear];
    const std::string thread = "thread " + std::to_string(current->linear);
    if (!queue.issued++) {
        queue.reader = check::new_agent("a bulk store of " + thread, false);
        queue.writer = check::new_agent("a bulk store of " + thread, false);
    }
    auto transfer = std::make_shared<Transfer>();
    transfer->pc = pc;
    transfer->group = queue.group;
    transfer->number = queue.issued;
    transfer->known = check::moment(&current, 1);
    for (const BoxPiece &piece : box.pieces)
        if (piece.bytes)
            check::agent_will_write(piece.global, piece.bytes, transfer->known, queue.writer, Access::BULK_STORE, pc);
    transfer->box = std::move(box);
    queue.transfers.push_back(transfer);
    do_later(transfer);
}

void tensor_load(void *to, const CUtensorMap *map, uint64_t *bar, int rank, const int *first) {
    constexpr const char *WHAT = "cp.async.bulk.tensor";
    start_load(box_of(map, to, rank, first, WHAT), bar, WHAT, __builtin_return_address(0));
}

void tensor_store(const CUtensorMap *map, const void *from, int rank, const int *first) {
    start_store(box_of(map, from, rank, first, "cp.async.bulk.tensor"), __builtin_return_address(0));
}

// Consecutive bytes as a box.
static Box line_of(const void *shared, const void *global, uint32_t bytes, const char *what) {
    if (bytes % 16 || reinterpret_cast<uintptr_t>(global) % 16 || shared_address(shared) % 16)
        fail("%s: %u bytes between %p and %s: all must be multiples of 16", what, bytes, global,
             shared_name(shared).c_str());
    unsigned char *at = shared_at(shared_address(shared), bytes, what);
    char *other = static_cast<char *>(const_cast<void *>(global));
    Box box{{}, static_cast<long>(bytes)};
    for (uint32_t i = 0; i < bytes; i += 16) box.pieces.push_back({at + i, other + i, 0, 16});
    return box;
}

void bulk_load(void *to, const void *from, uint32_t bytes, uint64_t *bar) {
    constexpr const char *WHAT = "cp.async.bulk";
    start_load(line_of(to, from, bytes, WHAT), bar, WHAT, __builtin_return_address(0));
}

void bulk_store(void *to, const void *from, uint32_t bytes) {
    start_store(line_of(from, to, bytes, "cp.async.bulk"), __builtin_return_address(0));
}

void bulk_commit() { hopper().stores[current->linear].group++; }

// From here on the thread may write what the store has read.
static void read_is_over(Transfer &transfer) {
    if (transfer.read_was_waited_for) return;
    transfer.read_was_waited_for = true;
    const int reader = hopper().stores[current->linear].reader;
    for (const BoxPiece &piece : transfer.box.pieces)
        check::agent_read(piece.shared, 16, transfer.known, reader, transfer.number, Access::BULK_STORE, transfer.pc);
    check::learn(current->linear, reader, transfer.number);
}

void bulk_wait(int groups_under_way, bool only_until_read) {
    StoreQueue &queue = hopper().stores[current->linear];
    const int finished = queue.group - groups_under_way;
    for (const auto &transfer : queue.transfers) {
        if (transfer->group >= finished) break;
        if (!transfer->has_read) transfer->step();
        read_is_over(*transfer);
        if (only_until_read) continue;
        transfer->finish();
        check::learn(current->linear, queue.writer, transfer->number);
    }
    const auto over = [](const auto &transfer) { return transfer->is_done() && transfer->read_was_waited_for; };
    auto &list = queue.transfers;
    list.erase(std::remove_if(list.begin(), list.end(), over), list.end());
}

void stores_leave(Thread *thread) {
    for (const auto &transfer : hopper().stores[thread->linear].transfers)
        if (!transfer->read_was_waited_for)
            fail(
                "the thread exits while its bulk store at %s may still read shared memory: cp.async.bulk.wait_group is "
                "missing behind it, or cp.async.bulk.commit_group before that",
                where(transfer->pc).c_str());
}

void fence_proxy_async(bool global_too) {
    check::show_to_agents(current->linear, global_too);
    fence_mbarrier_init();
}
}  // namespace cuemu
