// Compiles CUDA kernel sources as plain C++17 and runs them on the CPU: for tests, not for speed. See README.md.
//
// A CUDA thread is a stackful fibre; the fibres of a block share one OS thread and switch only at barriers and warp
// collectives; blocks are spread over OS threads. This header is all that a kernel file includes.
#pragma once
#ifdef __CUDACC__
#error "cuda_emu.h is for host compilers"
#endif

#include "device/vectors.h"
#include "device/state.h"
#include "device/kernel.h"
#include "device/collectives.h"
#include "device/atomics.h"
#include "device/intrinsics.h"
#include "device/bf16.h"
#include "device/tensor.h"
#include "device/hopper.h"
