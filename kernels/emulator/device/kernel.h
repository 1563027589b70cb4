// The entry of a kernel: its name, its signature, and a function that calls it as cuLaunchKernel would.
#pragma once
#include "hopper.h"

namespace cuemu {
struct KernelDesc {
    const char *name;
    void (*invoke)(void **arguments);
    int arguments;
    const uint8_t *sizes;
    const char *kinds;
};

// The letter of an argument's kind: capitals for pointers, by the type that they point to; m for a tensor map.
// kernels/build/table derives the same letters from the source text.
template <class T>
constexpr char kind_of() {
    using U = std::remove_cv_t<T>;
    if constexpr (std::is_pointer_v<U>) {
        using V = std::remove_cv_t<std::remove_pointer_t<U>>;
        if (std::is_same_v<V, float>) return 'F';
        if (std::is_same_v<V, double>) return 'D';
        if (std::is_same_v<V, int>) return 'I';
        if (std::is_same_v<V, unsigned>) return 'U';
        if (std::is_same_v<V, long> || std::is_same_v<V, long long>) return 'L';
        if (std::is_same_v<V, unsigned long> || std::is_same_v<V, unsigned long long>) return 'W';
        if (std::is_same_v<V, unsigned char>) return 'C';
        return !std::is_integral_v<V> && sizeof(V) == 2 ? 'B' : 'P';
    } else {
        if (std::is_same_v<U, float>) return 'f';
        if (std::is_same_v<U, double>) return 'd';
        if (std::is_same_v<U, int>) return 'i';
        if (std::is_same_v<U, unsigned>) return 'u';
        if (std::is_same_v<U, long> || std::is_same_v<U, long long>) return 'l';
        if (std::is_same_v<U, unsigned long> || std::is_same_v<U, unsigned long long>) return 'w';
        return std::is_same_v<U, CUtensorMap> ? 'm' : 'p';
    }
}

template <auto KERNEL>
struct Desc;
template <class... A, void (*KERNEL)(A...)>
struct Desc<KERNEL> {
    // One more element than there are arguments, so that a kernel without arguments has no empty array.
    static constexpr uint8_t sizes[sizeof...(A) + 1] = {sizeof(A)..., 0};
    static constexpr char kinds[sizeof...(A) + 1] = {kind_of<A>()..., 0};

    // The list may point to packed bytes.
    template <class T>
    CUEMU_UNCHECKED static T load(const void *argument) {
        std::remove_const_t<T> value;
        memcpy(&value, argument, sizeof value);
        return value;
    }
    template <size_t... I>
    CUEMU_UNCHECKED static void call(void **arguments, std::index_sequence<I...>) {
        KERNEL(load<A>(arguments[I])...);
    }
    CUEMU_UNCHECKED static void invoke(void **arguments) { call(arguments, std::make_index_sequence<sizeof...(A)>()); }
    static constexpr KernelDesc make(const char *name) {
        return {name, invoke, static_cast<int>(sizeof...(A)), sizes, kinds};
    }
};
}  // namespace cuemu
