// Stands in for libcublasLt.so.13 in tests: bf16 products on the host, column-major as the library's documentation has
// them, with the epilogues and attributes that the program uses. STUB_WITHOUT=N: no algorithm for epilogue N.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum { TRANSA = 3, TRANSB = 4, EPILOGUE = 7, BIAS_POINTER = 8, AUX_POINTER = 11, AUX_LD = 12 };
enum { BIAS = 4, GELU = 32, AUX = 128, DGELU = 192 };
enum { BF16 = 14, F32 = 0 };

typedef struct { int transposed[2]; unsigned epilogue; uint16_t *bias, *aux; int64_t aux_ld; } Operation;
typedef struct { int type; uint64_t rows, columns; int64_t ld; } Layout;
typedef struct { uint64_t algorithm[8]; size_t workspace; int state; float waves; int reserved[4]; } Proposal;

static float wide(uint16_t x) {
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static uint16_t narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
// x (1 + tanh(u)) / 2 is x times the logistic function of 2u, which keeps the tails.
static double gate(double x) { return 1 / (1 + exp(-2 * 0.7978845608028654 * (x + 0.044715 * x * x * x))); }
static float gelu(double x) { return x * gate(x); }
static float gelu_slope(double x) {
    return gate(x) + x * gate(x) * (1 - gate(x)) * 2 * 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
}

size_t cublasLtGetVersion(void) { return 130000; }
const char *cublasLtGetStatusString(int status) { return status == NOT_SUPPORTED ? "not supported" : "some failure"; }
int cublasLtCreate(void **handle) {
    *handle = handle;
    return getenv("STUB_TOO_NEW") ? NOT_INITIALIZED : 0;
}
int cublasLtDestroy(void *handle) { return handle ? 0 : INVALID_VALUE; }
int cublasLtMatmulDescCreate(Operation **operation, int compute, int scale) {
    *operation = calloc(1, sizeof(Operation));
    return compute == 68 && scale == F32 ? 0 : NOT_SUPPORTED;
}
int cublasLtMatmulDescDestroy(Operation *operation) { return free(operation), 0; }
int cublasLtMatmulDescSetAttribute(Operation *operation, int attribute, const void *value, size_t bytes) {
    void *to = attribute == TRANSA         ? (void *)&operation->transposed[0]
               : attribute == TRANSB       ? (void *)&operation->transposed[1]
               : attribute == EPILOGUE     ? (void *)&operation->epilogue
               : attribute == BIAS_POINTER ? (void *)&operation->bias
               : attribute == AUX_POINTER  ? (void *)&operation->aux
               : attribute == AUX_LD       ? (void *)&operation->aux_ld
                                           : NULL;
    const size_t expected = attribute == TRANSA || attribute == TRANSB || attribute == EPILOGUE ? 4 : 8;
    if (!to || bytes != expected) return INVALID_VALUE;
    memcpy(to, value, bytes);
    return 0;
}
int cublasLtMatrixLayoutCreate(Layout **layout, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    *layout = malloc(sizeof(Layout));
    **layout = (Layout){type, rows, columns, ld};
    return 0;
}
int cublasLtMatrixLayoutDestroy(Layout *layout) { return free(layout), 0; }
int cublasLtMatmulPreferenceCreate(void **preference) { return *preference = malloc(1), 0; }
int cublasLtMatmulPreferenceDestroy(void *preference) { return free(preference), 0; }
int cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, const void *value, size_t bytes) {
    (void)preference, (void)value;
    return bytes == (attribute == 1 ? 8 : 4) ? 0 : INVALID_VALUE;
}
int cublasLtMatmulAlgoGetHeuristic(void *handle, Operation *operation, Layout *a, Layout *b, Layout *c, Layout *d,
                                   void *preference, int wanted, Proposal *proposals, int *count) {
    (void)handle, (void)a, (void)b, (void)c, (void)d, (void)preference;
    const char *without = getenv("STUB_WITHOUT");
    if (without && (unsigned)atoi(without) == operation->epilogue) return NOT_SUPPORTED;
    *count = wanted < 2 ? wanted : 2;
    memset(proposals, 0, *count * sizeof(Proposal));
    return 0;
}

// Element (row, column) of op(matrix).
static float element(const uint16_t *matrix, const Layout *layout, int transposed, uint64_t row, uint64_t column) {
    return wide(transposed ? matrix[row * layout->ld + column] : matrix[column * layout->ld + row]);
}
int cublasLtMatmul(void *handle, Operation *operation, const float *alpha, const uint16_t *a, Layout *la,
                   const uint16_t *b, Layout *lb, const float *beta, const void *c, Layout *lc, void *d, Layout *ld) {
    (void)handle, (void)lc;
    const int *transposed = operation->transposed;
    const uint64_t k = transposed[0] ? la->rows : la->columns, other = transposed[1] ? lb->columns : lb->rows;
    if (k != other || (transposed[0] ? la->columns : la->rows) != ld->rows) return INVALID_VALUE;
    if ((transposed[1] ? lb->rows : lb->columns) != ld->columns) return INVALID_VALUE;
    const unsigned epilogue = operation->epilogue;
    for (uint64_t column = 0; column < ld->columns; column++) {
        for (uint64_t row = 0; row < ld->rows; row++) {
            float sum = 0;
            for (uint64_t i = 0; i < k; i++)
                sum += element(a, la, transposed[0], row, i) * element(b, lb, transposed[1], i, column);
            sum *= *alpha;
            const uint64_t at = column * ld->ld + row, aux_at = column * operation->aux_ld + row;
            if (ld->type == F32) {
                ((float *)d)[at] = sum + *beta * ((const float *)c)[at];
                continue;
            }
            if (epilogue & BIAS) sum += wide(operation->bias[row]);
            if (epilogue == DGELU) sum *= gelu_slope(wide(operation->aux[aux_at]));
            else if (epilogue & GELU) operation->aux[aux_at] = narrow(sum), sum = gelu(sum);
            ((uint16_t *)d)[at] = narrow(sum);
        }
    }
    return 0;
}
