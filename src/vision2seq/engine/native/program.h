// What Python hands over: a decoder's step as a list of operations, and where one generation keeps its state.
// `engine/program.py` spells the same structures for ctypes; `v2s_layout` lets it check that both agree.
#pragma once

#include <cstdint>

#define VISION2SEQ_PUBLIC __attribute__((visibility("default")))

extern "C" {

enum { V2S_LINEAR, V2S_NORM, V2S_SELF, V2S_CROSS };
enum { V2S_IDENTITY, V2S_RELU, V2S_GELU, V2S_GELU_TANH, V2S_SILU, V2S_QUICK_GELU, V2S_TANH, V2S_SIGMOID };

// Rows of one weight matrix with their bias; several side by side make one product.
struct v2s_part {
    const float *weight;
    const float *bias;  // or null
    int64_t outputs;
};

// Buffers are given by where they start in the scratch memory of one row, in floats; -1 as target is the result.
struct v2s_op {
    int32_t kind;
    int32_t activation;  // LINEAR
    int64_t source, target;
    int64_t added;             // LINEAR: buffer added to the product, or -1
    int64_t inputs, outputs;   // LINEAR: widths; NORM: width twice; SELF, CROSS: heads, channels of a head
    int64_t layer;             // SELF, CROSS
    float number;              // NORM: epsilon; SELF, CROSS: scale of the products
    int32_t transposed;        // LINEAR: weights lie (inputs, outputs)
    int32_t parts_count;       // LINEAR; NORM uses parts[0] as weight and bias
    v2s_part parts[3];
};

struct v2s_state {
    float *scratch;        // rows × width floats
    int64_t width;         // of one row's scratch memory
    float *result;         // rows × result_width
    int64_t result_width;
    int64_t rows;
    float *keys, *values;  // (layers, rows, heads, capacity, channels)
    int64_t capacity;
    int64_t length;        // tokens stored before this one
    const float *const *cross_keys;    // a layer: (images, heads, sights, channels)
    const float *const *cross_values;
    int64_t group;         // rows an image
    int64_t sights;        // image tokens
};

// Runs the operations for one new token a row on up to `threads` threads; 0, or 1 where memory did not suffice.
VISION2SEQ_PUBLIC int v2s_run(const v2s_op *ops, int64_t count, const v2s_state *state, int32_t threads);

// Hands over `GOMP_parallel`, `omp_get_thread_num` and `omp_get_num_threads`; without them one thread does all.
VISION2SEQ_PUBLIC void v2s_use_openmp(void *parallel, void *thread_number, void *threads_count);

// Name of the instruction set in use: "avx512", "avx2" or "portable". VISION2SEQ_ISA names a lower one.
VISION2SEQ_PUBLIC const char *v2s_isa(void);

// sizeof of the three structures, for the check on the other side.
VISION2SEQ_PUBLIC void v2s_layout(int64_t sizes[3]);
}
