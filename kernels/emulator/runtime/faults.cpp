// Turns faults inside a kernel into launch errors: guard pages, traps, integer division by zero.
#include "runtime.h"

#if defined(__x86_64__) && defined(__linux__) && !defined(CUEMU_ASAN)
#include <cstdlib>
#include <mutex>
#include <signal.h>
#include <ucontext.h>

namespace cuemu {
static thread_local struct {
    int signal, code;
    void *address, *instruction;
} fault;
static struct sigaction previous[65];

// Runs on the fibre that faulted, after the handler has returned.
static void report_fault() {
    const std::string place = where(static_cast<char *>(fault.instruction) + 1);
    if (fault.signal == SIGFPE) fail("integer division by zero at %s", place.c_str());
    // The compiler's checks for alignment, and null pointers that it sees, end in a trap.
    if (fault.signal == SIGILL) fail("trap at %s: a misaligned access or other undefined behaviour", place.c_str());
    if (on_stack(current->fibre, static_cast<char *>(fault.address) + PAGE))
        fail("the stack of %zu KiB overflowed at %s", STACK >> 10, place.c_str());
    // For a misaligned or impossible address the processor does not report the address.
    if (fault.code == SI_KERNEL) fail("misaligned vector access, or a wild address, at %s", place.c_str());
    fail("invalid memory access at %s, address %p%s", place.c_str(), fault.address, near_buffer(fault.address).c_str());
}

static void on_fault(int signal, siginfo_t *info, void *context) {
    if (!current) {
        // The fault is not in a kernel: the previous handler gets it.
        sigaction(signal, &previous[signal], nullptr);
        return;
    }
    greg_t *registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
    fault = {signal, info->si_code, info->si_addr, reinterpret_cast<void *>(registers[REG_RIP])};
    auto stack = static_cast<uintptr_t>(registers[REG_RSP]);
    const auto bottom = reinterpret_cast<uintptr_t>(current->fibre->stack);
    // There may be too little room for the report, for instance after an overflow: start at the top, since nothing
    // returns.
    if (stack < bottom + STACK / 2 || stack > bottom + STACK) stack = bottom + STACK;
    registers[REG_RSP] = static_cast<greg_t>(((stack - 512) & ~uintptr_t{15}) - 8);
    registers[REG_RIP] = reinterpret_cast<greg_t>(report_fault);
}

void catch_faults() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action{};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigemptyset(&action.sa_mask);
        for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE}) sigaction(signal, &action, &previous[signal]);
    });
    // A handler needs a stack of its own when a fibre's has overflowed.
    static thread_local bool done = false;
    if (done) return;
    done = true;
    stack_t installed;
    if (sigaltstack(nullptr, &installed) || !(installed.ss_flags & SS_DISABLE)) return;
    constexpr size_t SIZE = 64 << 10;
    static thread_local struct Memory {
        void *at = malloc(SIZE);
        ~Memory() {
            stack_t off{};
            off.ss_flags = SS_DISABLE;
            sigaltstack(&off, nullptr);
            free(at);
        }
    } memory;
    stack_t stack{};
    stack.ss_sp = memory.at;
    stack.ss_size = SIZE;
    sigaltstack(&stack, nullptr);
}
}  // namespace cuemu
#else
namespace cuemu {
void catch_faults() {}
}  // namespace cuemu
#endif
