// Stands in for libcuda.so.1 in tests: device memory is host memory, work runs at once, kernels and graphs do nothing.
// STUB_CUDA="cuInit=100,cuMemAlloc_v2=2" makes the named functions fail with these codes. STUB_VERSION, STUB_COUNT and
// STUB_CAPABILITY (major and minor in one number) answer the questions of these names.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int answer(const char *name) {
    const char *at = getenv("STUB_CUDA");
    for (const size_t length = strlen(name); at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (!strncmp(at, name, length) && at[length] == '=') return atoi(at + length + 1);
    return 0;
}
static int number(const char *variable, int otherwise) {
    const char *text = getenv(variable);
    return text ? atoi(text) : otherwise;
}

// The body may hold commas.
// The body may have commas.
#define STUB(name, parameters, ...)        \
    int name parameters {                  \
        const int code = answer(#name);    \
        if (code) return code;             \
        __VA_ARGS__;                       \
        return 0;                          \
    }
static int something;
#define HANDLE(pointer) *(pointer) = &something

STUB(cuInit, (unsigned flags), (void)flags)
STUB(cuDriverGetVersion, (int *version), *version = number("STUB_VERSION", 13000))
STUB(cuGetErrorName, (int error, const char **text), (void)error; *text = "CUDA_ERROR_OF_THE_STUB")
STUB(cuGetErrorString, (int error, const char **text), (void)error; *text = "the stub was told to fail")
STUB(cuDeviceGetCount, (int *count), *count = number("STUB_COUNT", 1))
STUB(cuDeviceGet, (int *device, int ordinal), *device = ordinal)
STUB(cuDeviceGetName, (char *name, int length, int device), (void)device; snprintf(name, length, "Stub 100"))
STUB(cuDeviceTotalMem_v2, (size_t *bytes, int device), (void)device; *bytes = (size_t)16 << 30)
STUB(cuDeviceGetAttribute, (int *value, int attribute, int device), {
    (void)device;
    const int capability = number("STUB_CAPABILITY", 80);
    *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : 108;
})
STUB(cuDevicePrimaryCtxRetain, (void **context, int device), (void)device; HANDLE(context))
STUB(cuDevicePrimaryCtxRelease_v2, (int device), (void)device)
STUB(cuCtxSetCurrent, (void *context), (void)context)
STUB(cuMemGetInfo_v2, (size_t *left, size_t *total), *left = (size_t)3 << 20; *total = (size_t)16 << 30)
STUB(cuMemAlloc_v2, (uint64_t *address, size_t bytes),
     *address = (uint64_t)aligned_alloc(256, (bytes + 255) / 256 * 256))
STUB(cuMemFree_v2, (uint64_t address), free((void *)address))
STUB(cuMemHostAlloc, (void **memory, size_t bytes, unsigned flags), (void)flags; *memory = malloc(bytes))
STUB(cuMemFreeHost, (void *memory), free(memory))
STUB(cuMemcpyHtoDAsync_v2, (uint64_t to, const void *from, size_t bytes, void *stream),
     (void)stream; memcpy((void *)to, from, bytes))
STUB(cuMemcpyDtoHAsync_v2, (void *to, uint64_t from, size_t bytes, void *stream),
     (void)stream; memcpy(to, (void *)from, bytes))
STUB(cuMemcpyDtoDAsync_v2, (uint64_t to, uint64_t from, size_t bytes, void *stream),
     (void)stream; memcpy((void *)to, (void *)from, bytes))
STUB(cuMemsetD8Async, (uint64_t at, unsigned char value, size_t bytes, void *stream),
     (void)stream; memset((void *)at, value, bytes))
STUB(cuStreamCreate, (void **stream, unsigned flags), (void)flags; HANDLE(stream))
STUB(cuStreamDestroy_v2, (void *stream), (void)stream)
STUB(cuStreamSynchronize, (void *stream), (void)stream)
STUB(cuStreamBeginCapture_v2, (void *stream, int mode), (void)stream; (void)mode)
STUB(cuStreamEndCapture, (void *stream, void **graph), (void)stream; HANDLE(graph))
STUB(cuGraphInstantiateWithFlags, (void **executable, void *graph, unsigned long long flags),
     (void)graph; (void)flags; HANDLE(executable))
STUB(cuGraphDestroy, (void *graph), (void)graph)
STUB(cuGraphLaunch, (void *executable, void *stream), (void)executable; (void)stream)
STUB(cuGraphExecDestroy, (void *executable), (void)executable)
STUB(cuEventCreate, (void **event, unsigned flags), (void)flags; HANDLE(event))
STUB(cuEventRecord, (void *event, void *stream), (void)event; (void)stream)
STUB(cuEventSynchronize, (void *event), (void)event)
STUB(cuEventDestroy_v2, (void *event), (void)event)
STUB(cuModuleLoadData, (void **module, const void *image), (void)image; HANDLE(module))
STUB(cuModuleUnload, (void *module), (void)module)
STUB(cuModuleGetFunction, (void **function, void *module, const char *name), (void)module; (void)name; HANDLE(function))
STUB(cuFuncGetAttribute, (int *value, int attribute, void *function), (void)attribute; (void)function; *value = 32)
STUB(cuFuncSetAttribute, (void *function, int attribute, int value), (void)function; (void)attribute; (void)value)
STUB(cuLaunchKernel, (void *function), (void)function)
// The map as a list of what it was asked for, so that tests see it.
STUB(cuTensorMapEncodeTiled,
     (uint64_t *map, int type, unsigned rank, void *address, const uint64_t *sizes, const uint64_t *strides,
      const unsigned *box, const unsigned *steps, int interleave, int swizzle, int promotion, int fill),
     {
         static int encoded;
         const uint64_t words[16] = {++encoded, type, rank, (uint64_t)address, sizes[0], sizes[1], sizes[2], sizes[3],
                                     strides[0], strides[1], strides[2], box[0] | (uint64_t)box[1] << 32,
                                     box[2] | (uint64_t)box[3] << 32, steps[0] * steps[1] * steps[2] * steps[3],
                                     interleave << 8 | swizzle, promotion << 8 | fill};
         memcpy(map, words, sizeof words);
     })
STUB(cuProfilerStart, (void), )
STUB(cuProfilerStop, (void), )
