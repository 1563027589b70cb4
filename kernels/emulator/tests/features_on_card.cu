// The checks of Hopper's instructions (features_hopper.cu) on a card: `nvcc -arch=sm_90a -I kernels` makes a program of
// this file, which scripts/gpu-bundle packs and gpu-check runs first. It prints a line for each check, and exits with 1 if
// one fails. What the emulator takes for granted of layouts, boxes and barriers is confirmed here, or it is not.
#include "features_hopper.cu"
#include <cstdio>
#include <cstdlib>
#include <cuda_runtime.h>
#include <vector>

// Ends the program where a call of CUDA fails: a broken context makes no further check possible.
static void must(cudaError_t code, const char *doing) {
    if (code == cudaSuccess) return;
    printf("FAIL %s: %s\n", doing, cudaGetErrorString(code));
    exit(1);
}

template <class T>
static T *on_card(const std::vector<T> &values) {
    T *to;
    must(cudaMalloc(&to, values.size() * sizeof(T)), "cudaMalloc");
    must(cudaMemcpy(to, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
    return to;
}
template <class T>
static std::vector<T> from_card(const T *from, size_t count) {
    std::vector<T> values(count);
    must(cudaMemcpy(values.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
}

// A map of a tensor of bf16 without gaps in the 128-byte swizzle, as src/cuda/gpu/tensor_maps.rs makes them.
static CUtensorMap map_of(bf16 *data, std::vector<cuuint64_t> sizes, std::vector<cuuint32_t> box) {
    typedef decltype(&cuTensorMapEncodeTiled) Encode;
    void *encode;
    cudaDriverEntryPointQueryResult found;
    must(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &encode, 12000, cudaEnableDefault, &found), "asking");
    std::vector<cuuint64_t> strides;
    cuuint64_t stride = sizeof(bf16);
    for (size_t d = 0; d + 1 < sizes.size(); d++) strides.push_back(stride *= sizes[d]);
    const std::vector<cuuint32_t> steps(sizes.size(), 1);
    CUtensorMap map;
    const CUresult code = reinterpret_cast<Encode>(encode)(
        &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, sizes.size(), data, sizes.data(), strides.data(), box.data(), steps.data(),
        CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
        CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    must(code == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue, "cuTensorMapEncodeTiled");
    return map;
}
static std::vector<bf16> rows_of(int rows, int columns) {
    std::vector<bf16> values;
    for (int i = 0; i < rows * columns; i++)
        values.push_back(__float2bfloat16(((i / columns * 7 + i % columns * 5 + i / columns * (i % columns)) % 9) - 4.f));
    return values;
}

static int failed = 0;
static void report(const char *name, int bad) {
    printf("%s %s\n", bad ? "FAIL" : "ok  ", name);
    failed += bad != 0;
}
// One block of a kernel that counts what is wrong in its first argument; 16 times, since not all orders come at once.
template <class... Parameters, class... Arguments>
static void check(const char *name, void (*kernel)(int *, Parameters...), int threads, int shared, Arguments... arguments) {
    int *bad = on_card(std::vector<int>{0});
    must(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared), name);
    for (int turn = 0; turn < 16; turn++) kernel<<<1, threads, shared>>>(bad, arguments...);
    must(cudaGetLastError(), name);
    must(cudaDeviceSynchronize(), name);
    report(name, from_card(bad, 1)[0]);
}

int main() {
    cudaDeviceProp card;
    must(cudaGetDeviceProperties(&card, 0), "looking for a GPU");
    if (card.major != 9 || card.minor != 0) {
        printf("not checked: %s has compute capability %d.%d, not 9.0\n", card.name, card.major, card.minor);
        return 0;
    }
    check("products, K-major and MN-major operands, N 64 to 256", feature_products, 128, 96 << 10);
    check("products with a left side in registers", feature_left_side_in_registers, 128, 8 << 10);

    bf16 *tensor = on_card(rows_of(2 * 5 * 3, 64)), *stored = on_card(std::vector<bf16>(2 * 5 * 192, __float2bfloat16(-1.f)));
    const std::vector<cuuint64_t> sizes = {64, 3, 5, 2};
    const std::vector<cuuint32_t> box = {64, 1, 8, 1};
    std::vector<bf16> values = rows_of(10, 192);
    must(cudaMemcpy(tensor, values.data(), values.size() * sizeof(bf16), cudaMemcpyHostToDevice), "cudaMemcpy");
    check("boxes, their swizzle and the zeros beyond the edge", feature_boxes, 32, 8 << 10, map_of(tensor, sizes, box));
    check("stores that are cut at the edge", feature_clipped_stores, 32, 8 << 10, map_of(stored, sizes, box),
          static_cast<const bf16 *>(stored));

    std::vector<float> line;
    for (int i = 0; i < 256; i++) line.push_back(i);
    float *copied = on_card(std::vector<float>(256, NAN));
    check("lines, to shared memory and back", feature_lines, 64, 0, copied, static_cast<const float *>(on_card(line)));
    int wrong = 0;
    const std::vector<float> back = from_card(copied, 256);
    for (int i = 0; i < 256; i++) wrong += back[i] != line[i] + 1;
    report("lines as they come back", wrong);

    check("named barriers, registers that change hands", feature_turns, 384, 0);
    check("stages and their phases", feature_stages, 64, 0,
          static_cast<const float *>(on_card(std::vector<float>(256, 1.5f))));
    bf16 *rows = on_card(rows_of(8, 64));
    check("a stage that one thread releases", feature_release_by_one_thread, 160, 4096, map_of(rows, {64, 8}, {64, 8}));
    printf(failed ? "%d of the checks failed\n" : "all building blocks work as the emulator has them\n", failed);
    return failed != 0;
}
