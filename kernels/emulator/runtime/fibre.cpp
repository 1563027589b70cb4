// Stackful fibres: creating them and switching between them.
#include "runtime.h"
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>

namespace cuemu {
#ifndef CUEMU_USES_UCONTEXT
// Saves what a call preserves, then continues on the other stack. The control words of SSE and x87 are the same
// everywhere.
extern "C" void cuemu_switch(void **save, void *to);
__asm__(R"(
.text
.type cuemu_switch,@function
.globl cuemu_switch
cuemu_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size cuemu_switch,.-cuemu_switch
)");
constexpr int SAVED_REGISTERS = 6;
#endif

void prepare_fibre(Fibre *fibre) {
    ASAN_UNPOISON_MEMORY_REGION(fibre->stack, STACK);
    fibre->fresh = true;
    fibre->generation = worker->generation;
    fibre->fake_stack = nullptr;
    fibre->bottom = fibre->stack;
    fibre->size = STACK;
#ifdef CUEMU_USES_UCONTEXT
    getcontext(&fibre->context);
    fibre->context.uc_stack.ss_sp = fibre->stack;
    fibre->context.uc_stack.ss_size = STACK;
    fibre->context.uc_link = nullptr;
    makecontext(&fibre->context, fibre_main, 0);
#else
    // A function starts with rsp % 16 == 8: as if its caller, here none, had just pushed the return address.
    void **top = reinterpret_cast<void **>(fibre->stack + STACK - fibre->offset);
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(fibre_main);
    for (int i = 0; i < SAVED_REGISTERS; i++) *--top = nullptr;
    fibre->stack_pointer = top;
#endif
}

static Fibre *new_fibre() {
    // The page below the stack is unreadable, so that an overflow faults.
    constexpr int FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *mapping = mmap(nullptr, STACK + PAGE, PROT_READ | PROT_WRITE, FLAGS, -1, 0);
    if (mapping == MAP_FAILED || mprotect(mapping, PAGE, PROT_NONE)) {
        perror("emulator: no memory for the stack of a thread");
        abort();
    }
    auto *fibre = new Fibre{};
    fibre->stack = static_cast<char *>(mapping) + PAGE;
    fibre->offset = worker->fibres.size() % 61 * 320;
    worker->fibres.push_back(fibre);
    return fibre;
}

Fibre *take_fibre() {
    Fibre *fibre;
    if (worker->idle.empty()) {
        fibre = new_fibre();
    } else {
        fibre = worker->idle.back();
        worker->idle.pop_back();
    }
    if (fibre->generation != worker->generation) prepare_fibre(fibre);
    return fibre;
}

// Runs first on the new stack after any switch.
void arrived_on_fibre() {
#ifdef CUEMU_ASAN
    Fibre *here = current ? current->fibre : &worker->main;
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(here->fake_stack, &bottom, &size);
    if (!worker->main.bottom) {
        worker->main.bottom = bottom;
        worker->main.size = size;
    }
#endif
}

// Not inlined: every fibre then waits at the same place, and the processor predicts the return.
__attribute__((noinline)) void switch_fibre(Fibre *from, Fibre *to, Thread *next) {
    current = next;
#ifdef CUEMU_ASAN
    __sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->size);
#endif
#ifdef CUEMU_USES_UCONTEXT
    swapcontext(&from->context, &to->context);
#else
    cuemu_switch(&from->stack_pointer, to->stack_pointer);
#endif
    arrived_on_fibre();
}
}  // namespace cuemu
