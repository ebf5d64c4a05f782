// The kernels for each instruction set, and which of them this processor runs.
#pragma once

#include "program.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cmath>
#include <cstdlib>
#include <cstring>

namespace vision2seq {

// What becomes of a product before it is stored.
struct Finish {
    const float *bias;   // or null; of the first output
    const float *added;  // or null; of the first row and output
    int64_t added_stride;
    float scale;
};

// Rows of inputs as whole numbers of 16 bits, see `quantize`.
struct Quantized {
    uint8_t *upper, *lower;
    int64_t stride;
    float *scales;
};

struct Kernels {
    void (*times_rows)(const float *w, int64_t outputs, int64_t n, const float *x, int64_t x_stride, int64_t rows,
                       float *y, int64_t y_stride, const Finish &finish);
    void (*times_rows_of_halves)(const uint16_t *w, int64_t outputs, int64_t n, const float *x, int64_t x_stride,
                                 int64_t rows, float *y, int64_t y_stride, const Finish &finish);
    void (*times_columns)(const float *w, int64_t w_stride, int64_t outputs, int64_t n, const float *x,
                          int64_t x_stride, int64_t rows, float *y, int64_t y_stride, const Finish &finish);
    void (*times_packed)(const int8_t *w, int64_t outputs, int64_t n, const float *x, int64_t x_stride,
                         const Quantized &quantized, int64_t rows, const float *scales, const int32_t *sums, float *y,
                         int64_t y_stride, const Finish &finish);
    float (*quantize)(const float *x, int64_t n, uint8_t *upper, uint8_t *lower);
    void (*activate)(float *x, int64_t n, int32_t kind);
    void (*normalize)(const float *x, const float *weight, const float *bias, int64_t n, float epsilon, float *y);
    void (*attend)(const float *query, int64_t q_stride, int64_t rows, const float *keys, const float *values,
                   int64_t n, int64_t channels, float scale, float *weights, float *mixed, int64_t mixed_stride);
    void (*attend_to_halves)(const float *query, int64_t q_stride, int64_t rows, const uint16_t *keys,
                             const uint16_t *values, int64_t n, int64_t channels, float scale, float *weights,
                             float *mixed, int64_t mixed_stride);
    int64_t (*likeliest)(const float *x, int64_t n, float *logprob);
    void (*embed)(const v2s_part &table, int64_t token, int64_t n, float scale, float *y);
};

#ifdef __clang__
#define MIX(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
typedef int32_t Places __attribute__((vector_size(16)));
#define MIX(a, b, i, j, k, l) __builtin_shuffle(a, b, (Places){i, j, k, l})
#endif

namespace portable {
#define FLOATS 4
#define ROWS 2
#define COLUMNS 4
#include "kernels.inc"
#undef FLOATS
#undef ROWS
#undef COLUMNS
}  // namespace portable

#if defined(__x86_64__)
#define VISION2SEQ_X86

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
namespace avx2 {
#define FLOATS 8
#define ROWS 2
#define COLUMNS 4
#include "kernels.inc"
#undef FLOATS
#undef ROWS
#undef COLUMNS
}  // namespace avx2
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")
#endif
namespace avx512 {
#define FLOATS 16
#define ROWS 4
#define COLUMNS 4
#include "kernels.inc"
}  // namespace avx512
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx512vnni,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,avx512vnni,fma,prefer-vector-width=512")
#endif
namespace avx512vnni {
#define VNNI
#include "kernels.inc"
#undef VNNI
#undef FLOATS
#undef ROWS
#undef COLUMNS
}  // namespace avx512vnni
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

struct Choice {
    const char *name;
    const Kernels *kernels;
};

static Choice choose() {
#ifdef VISION2SEQ_X86
    const char *wanted = std::getenv("VISION2SEQ_ISA");
    const bool portable_only = wanted && !std::strcmp(wanted, "portable");
    const bool no_avx512 = wanted && !std::strcmp(wanted, "avx2");
    const bool no_vnni = wanted && !std::strcmp(wanted, "avx512");
    __builtin_cpu_init();
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
    if (has_avx2 && has_avx512 && !portable_only && !no_avx512) {
        if (__builtin_cpu_supports("avx512vnni") && !no_vnni) return {"avx512vnni", &avx512vnni::KERNELS};
        return {"avx512", &avx512::KERNELS};
    }
    if (has_avx2 && !portable_only) return {"avx2", &avx2::KERNELS};
#endif
    return {"portable", &portable::KERNELS};
}

static const Choice &chosen() {
    static const Choice choice = choose();
    return choice;
}

}  // namespace vision2seq
