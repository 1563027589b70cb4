// Atomics. They are real ones, since blocks run in parallel.
#pragma once
#include "state.h"

namespace cuemu {
template <class T, class UPDATE>
CUEMU_UNCHECKED T read_modify_write(T *at, UPDATE update) {
    using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "an atomic has 4 or 8 bytes");
    require_alignment(at, sizeof(T), "atomic");
    note(at, sizeof(T), Access::ATOMIC, __builtin_return_address(0));
    auto *word = reinterpret_cast<Bits *>(at);
    Bits found = __atomic_load_n(word, __ATOMIC_RELAXED), wanted;
    T before, after;
    do {
        memcpy(&before, &found, sizeof found);
        after = update(before);
        memcpy(&wanted, &after, sizeof after);
    } while (!__atomic_compare_exchange_n(word, &found, wanted, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return before;
}
// Keeps T from being deduced from the operand: atomicAdd(&unsigned_word, 1) is allowed.
template <class T>
using Same = std::common_type_t<T>;
}  // namespace cuemu

#define CUEMU_ATOMIC(NAME, RESULT)                                                   \
    template <class T>                                                               \
    __forceinline__ T NAME(T *at, cuemu::Same<T> value) {                            \
        return cuemu::read_modify_write(at, [value](T old) -> T { return RESULT; }); \
    }
CUEMU_ATOMIC(atomicAdd, old + value)
CUEMU_ATOMIC(atomicSub, old - value)
CUEMU_ATOMIC(atomicExch, ((void)old, value))
CUEMU_ATOMIC(atomicMax, old > value ? old : value)
CUEMU_ATOMIC(atomicMin, old < value ? old : value)
CUEMU_ATOMIC(atomicOr, old | value)
CUEMU_ATOMIC(atomicAnd, old &value)
CUEMU_ATOMIC(atomicXor, old ^ value)
CUEMU_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
CUEMU_ATOMIC(atomicDec, old == 0 || old > value ? value : old - 1)
#undef CUEMU_ATOMIC

template <class T>
__forceinline__ T atomicCAS(T *at, cuemu::Same<T> expected, cuemu::Same<T> value) {
    return cuemu::read_modify_write(at, [=](T old) -> T { return old == expected ? value : old; });
}
