// All inline PTX of the project: one function per instruction, which is asm under nvcc and a call into the emulator on
// the host.
#pragma once

// d (16x8 f32) += a (16x16 bf16, row-major) * b (16x8 bf16, column-major), spread over the lanes as the PTX ISA says
// ("Matrix fragments for mma.m16n8k16"). All 32 lanes take part.
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#ifdef __CUDACC__
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    cuemu::mma_m16n8k16(d, a, b0, b1);
#endif
}

// Loads four 8x8 tiles of bf16. Lane l gives the address of row l % 8 of tile l / 8, in shared memory and aligned to 16
// bytes. All 32 lanes take part.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void *row) {
#ifdef __CUDACC__
    const uint32_t address = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
#else
    cuemu::ldmatrix_x4<false>(r, row);
#endif
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void *row) {
#ifdef __CUDACC__
    const uint32_t address = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
#else
    cuemu::ldmatrix_x4<true>(r, row);
#endif
}

// Starts a copy of 16 bytes from global to shared memory. Unless `valid`, it writes zeros and does not read `from`.
__device__ __forceinline__ void cp_async16(void *to, const void *from, bool valid = true) {
#ifdef __CUDACC__
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
                 "l"(__cvta_generic_to_global(from)), "r"(valid ? 16 : 0)
                 : "memory");
#else
    cuemu::cp_async(to, from, 16, valid ? 16 : 0);
#endif
}
__device__ __forceinline__ void cp_async_commit() {
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;\n" ::: "memory");
#else
    cuemu::cp_async_commit();
#endif
}
// Waits until at most PENDING of this thread's groups are in flight.
template <int PENDING>
__device__ __forceinline__ void cp_async_wait() {
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group %0;\n" ::"n"(PENDING) : "memory");
#else
    cuemu::cp_async_wait(PENDING);
#endif
}

// 2^x, with an error of about 2 ulp; denormal results are flushed to zero.
__device__ __forceinline__ float exp2_approximate(float x) {
#ifdef __CUDACC__
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return exp2f(x);
#endif
}

// Returns the same value, which the compiler does not know: it computes nothing from the value before this place, and
// so spends no register on it.
__device__ __forceinline__ int not_before(int value) {
#ifdef __CUDACC__
    asm volatile("" : "+r"(value));
#endif
    return value;
}
