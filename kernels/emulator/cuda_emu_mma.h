// Host bodies of the matrix instructions of ptx.cuh; fragment layouts follow the PTX ISA.
#pragma once
#include "cuda_emu.h"
namespace cuemu {
struct Mma {
    uint32_t a[4], b[2];
    float *d;
    CUEMU_NOSAN static void run(Warp &w, unsigned mask) {
        if (mask != 0xffffffffu) fail("mma.sync needs all 32 lanes, mask %08x", mask);
        float A[16][16], B[16][8], D[16][8];
        for (int l = 0; l < 32; l++) {
            Mma &o = *(Mma *)w.io[l];
            const int g = l >> 2, t = l & 3;
            for (int i = 0; i < 4; i++) {
                const int r = g + (i & 1) * 8, c = t * 2 + (i >> 1) * 8;
                const uint32_t u[2] = {o.a[i] << 16, o.a[i] & 0xffff0000u};
                memcpy(&A[r][c], u, 8);
            }
            for (int i = 0; i < 2; i++) {
                const uint32_t u[2] = {o.b[i] << 16, o.b[i] & 0xffff0000u};
                memcpy(&B[t * 2 + i * 8][g], u, 4);
                memcpy(&B[t * 2 + 1 + i * 8][g], u + 1, 4);
            }
            for (int i = 0; i < 4; i++) D[g + (i >> 1) * 8][t * 2 + (i & 1)] = o.d[i];
        }
        for (int r = 0; r < 16; r++)
            for (int k = 0; k < 16; k++)
                for (int n = 0; n < 8; n++) D[r][n] += A[r][k] * B[k][n];
        for (int l = 0; l < 32; l++)
            for (int i = 0; i < 4; i++) ((Mma *)w.io[l])->d[i] = D[(l >> 2) + (i >> 1) * 8][(l & 3) * 2 + (i & 1)];
    }
};
inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    Mma io{{a[0], a[1], a[2], a[3]}, {b0, b1}, d};
    collective("mma.m16n8k16", 0xffffffffu, &io, Mma::run, false);
}

template <bool TRANS>
struct LdMatrix {
    uint16_t v[8];
    uint32_t *r;
    CUEMU_NOSAN static void run(Warp &w, unsigned mask) {
        if (mask != 0xffffffffu) fail("ldmatrix needs all 32 lanes, mask %08x", mask);
        for (int l = 0; l < 32; l++)
            for (int i = 0; i < 4; i++) {
                const int a = l >> 2, b = (l & 3) * 2;
                auto tile = (LdMatrix **)w.io + i * 8;
                ((LdMatrix *)w.io[l])->r[i] = TRANS ? tile[b]->v[a] | (uint32_t)tile[b + 1]->v[a] << 16
                                                    : tile[a]->v[b] | (uint32_t)tile[a]->v[b + 1] << 16;
            }
    }
};
template <bool TRANS>
inline void ldmatrix_x4(uint32_t (&r)[4], const void *row) {
    check_align((const char *)row, 16, "ldmatrix");
    const uint4 q = *(const uint4 *)row;  // read by the lane that names the row, so that a race is blamed on it
    LdMatrix<TRANS> io;
    memcpy(io.v, &q, 16);
    io.r = r;
    collective(TRANS ? "ldmatrix.x4.trans" : "ldmatrix.x4", 0xffffffffu, &io, LdMatrix<TRANS>::run, false);
}
}  // namespace cuemu
