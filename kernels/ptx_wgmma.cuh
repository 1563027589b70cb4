// The products of a warpgroup (wgmma, sm_90a), one function per instruction: asm under nvcc, a call into the emulator
// on the host. They run beside the threads: between issue and wait nobody may touch the registers that take part, nor
// write the tiles.
#pragma once
#include "ptx_hopper.cuh"

// Registers that were touched before it may take part in products issued behind it.
__device__ __forceinline__ void wgmma_fence() {
#ifdef __CUDACC__
    asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
#else
    cuemu::wgmma_fence();
#endif
}
__device__ __forceinline__ void wgmma_commit() {
#ifdef __CUDACC__
    asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
#else
    cuemu::wgmma_commit();
#endif
}
// Waits until at most PENDING of the warp's groups are under way.
template <int PENDING>
__device__ __forceinline__ void wgmma_wait() {
#ifdef __CUDACC__
    asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(PENDING) : "memory");
#else
    cuemu::wgmma_wait(PENDING);
#endif
}

// The same values: no instruction. The compiler moves no use of them past this place.
template <int N>
__device__ __forceinline__ void pin(float (&d)[N]) {
#ifdef __CUDACC__
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
#endif
}
template <int N>
__device__ __forceinline__ void pin(uint32_t (&d)[N]) {
#ifdef __CUDACC__
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+r"(d[i])::"memory");
#endif
}
// Nothing (a nap, were x above 10^38), but not before x is there: the compiler would put the arithmetic that leads to x
// off until after the wait that follows.
__device__ __forceinline__ void compute_here(float x) {
#ifdef __CUDACC__
    asm volatile("{\n.reg .pred never;\nsetp.gt.f32 never, %0, 0f7e967699;\n@never nanosleep.u32 1;\n}\n" ::"f"(x)
                 : "memory");
#endif
}

// Names an operand in shared memory: rows of 128 bytes in the 128-byte swizzle (PTX ISA, "Matrix descriptor"), which
// begin at a multiple of 1024 bytes.
//   next    bytes from 64 columns to the next 64, of an operand in which these run fastest (MN-major)
//   rows8   bytes from eight rows to the next eight
// 16 further along k, counted in 16 bytes: + 2 in an operand in which k runs fastest (K-major), + 128 in the other.
__device__ __forceinline__ uint64_t descriptor(const void *tile, uint32_t next = 16, uint32_t rows8 = 1024) {
#ifndef __CUDACC__
    using cuemu::shared_address;
#endif
    const uint32_t low = (shared_address(tile) & 0x3ffff) >> 4 | (next >> 4) << 16;
    const uint32_t high = rows8 >> 4 | 1u << 30;
    return (uint64_t)high << 32 | low;
}

#define F4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define F16(d, i) F4(d, i), F4(d, i + 4), F4(d, i + 8), F4(d, i + 12)
#define F32(d, i) F16(d, i), F16(d, i + 16)
#define OPERANDS_32                                                                                                   \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,"              \
    "%27,%28,%29,%30,%31"
#define OPERANDS_64                                                                                                   \
    OPERANDS_32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,"\
    "%57,%58,%59,%60,%61,%62,%63"
#define OPERANDS_96                                                                                                   \
    OPERANDS_64 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,"\
    "%89,%90,%91,%92,%93,%94,%95"
#define OPERANDS_128                                                                                                  \
    OPERANDS_96 ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,"   \
    "%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"

// d (64 x N f32) = a (64 x 16) * b (16 x N) [+ d], bf16, both from shared memory. N is twice the length of d: its
// element 4 * n + 2 * r + e is row warp * 16 + r * 8 + lane / 4, column n * 8 + lane % 4 * 2 + e. All threads of the
// warpgroup take part. A_MN, B_MN: 0 where k runs fastest in the operand's tile, 1 where rows of a or columns of b do.
template <int A_MN, int B_MN>
__device__ __forceinline__ void wgmma_ss(float (&d)[32], uint64_t a, uint64_t b, int add) {
#ifdef __CUDACC__
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %34, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" OPERANDS_32 "}, %32, %33, add, 1, 1, %35, %36;\n}\n"
        : F32(d, 0)
        : "l"(a), "l"(b), "r"(add), "n"(A_MN), "n"(B_MN));
#else
    cuemu::wgmma_ss(d, 64, a, b, add != 0, A_MN, B_MN);
#endif
}
template <int A_MN, int B_MN>
__device__ __forceinline__ void wgmma_ss(float (&d)[64], uint64_t a, uint64_t b, int add) {
#ifdef __CUDACC__
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" OPERANDS_64 "}, %64, %65, add, 1, 1, %67, %68;\n}\n"
        : F32(d, 0), F32(d, 32)
        : "l"(a), "l"(b), "r"(add), "n"(A_MN), "n"(B_MN));
#else
    cuemu::wgmma_ss(d, 128, a, b, add != 0, A_MN, B_MN);
#endif
}
template <int A_MN, int B_MN>
__device__ __forceinline__ void wgmma_ss(float (&d)[96], uint64_t a, uint64_t b, int add) {
#ifdef __CUDACC__
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %98, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {" OPERANDS_96 "}, %96, %97, add, 1, 1, %99, %100;\n}\n"
        : F32(d, 0), F32(d, 32), F32(d, 64)
        : "l"(a), "l"(b), "r"(add), "n"(A_MN), "n"(B_MN));
#else
    cuemu::wgmma_ss(d, 192, a, b, add != 0, A_MN, B_MN);
#endif
}
template <int A_MN, int B_MN>
__device__ __forceinline__ void wgmma_ss(float (&d)[128], uint64_t a, uint64_t b, int add) {
#ifdef __CUDACC__
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %130, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" OPERANDS_128
        "}, %128, %129, add, 1, 1, %131, %132;\n}\n"
        : F32(d, 0), F32(d, 32), F32(d, 64), F32(d, 96)
        : "l"(a), "l"(b), "r"(add), "n"(A_MN), "n"(B_MN));
#else
    cuemu::wgmma_ss(d, 256, a, b, add != 0, A_MN, B_MN);
#endif
}

// The same with a from registers: as mma.m16n8k16 has it, 16 rows to a warp.
template <int B_MN>
__device__ __forceinline__ void wgmma_rs(float (&d)[32], const uint32_t (&a)[4], uint64_t b, int add) {
#ifdef __CUDACC__
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %37, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" OPERANDS_32
        "}, {%32,%33,%34,%35}, %36, add, 1, 1, %38;\n}\n"
        : F32(d, 0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(B_MN));
#else
    cuemu::wgmma_rs(d, 64, a, b, add != 0, B_MN);
#endif
}
template <int B_MN>
__device__ __forceinline__ void wgmma_rs(float (&d)[64], const uint32_t (&a)[4], uint64_t b, int add) {
#ifdef __CUDACC__
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %69, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" OPERANDS_64
        "}, {%64,%65,%66,%67}, %68, add, 1, 1, %70;\n}\n"
        : F32(d, 0), F32(d, 32)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(B_MN));
#else
    cuemu::wgmma_rs(d, 128, a, b, add != 0, B_MN);
#endif
}
template <int B_MN>
__device__ __forceinline__ void wgmma_rs(float (&d)[96], const uint32_t (&a)[4], uint64_t b, int add) {
#ifdef __CUDACC__
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %101, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {" OPERANDS_96
        "}, {%96,%97,%98,%99}, %100, add, 1, 1, %102;\n}\n"
        : F32(d, 0), F32(d, 32), F32(d, 64)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(B_MN));
#else
    cuemu::wgmma_rs(d, 192, a, b, add != 0, B_MN);
#endif
}
template <int B_MN>
__device__ __forceinline__ void wgmma_rs(float (&d)[128], const uint32_t (&a)[4], uint64_t b, int add) {
#ifdef __CUDACC__
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %133, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" OPERANDS_128
        "}, {%128,%129,%130,%131}, %132, add, 1, 1, %134;\n}\n"
        : F32(d, 0), F32(d, 32), F32(d, 64), F32(d, 96)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(B_MN));
#else
    cuemu::wgmma_rs(d, 256, a, b, add != 0, B_MN);
#endif
}
#undef F4
#undef F16
#undef F32
#undef OPERANDS_32
#undef OPERANDS_64
#undef OPERANDS_96
#undef OPERANDS_128
