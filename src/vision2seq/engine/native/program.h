// What Python hands over: a decoder's step as a list of operations, and where one generation keeps its state.
// `engine/program.py` spells the same structures for ctypes; `v2s_layout` lets it check that both agree.
#pragma once

#include <cstdint>

#define VISION2SEQ_PUBLIC __attribute__((visibility("default")))

extern "C" {

enum { V2S_LINEAR, V2S_NORM, V2S_SELF, V2S_CROSS, V2S_EMBED };
enum { V2S_IDENTITY, V2S_RELU, V2S_GELU, V2S_GELU_TANH, V2S_SILU, V2S_QUICK_GELU, V2S_TANH, V2S_SIGMOID };

// How numbers lie in memory. INT8 is packed: 16 outputs make a block, and in it every four inputs stand together, so that
// (outputs / 16, inputs / 4, 16, 4) is the shape; both widths are filled up with zeros.
enum { V2S_FLOAT32, V2S_BFLOAT16, V2S_INT8 };

// Rows of one weight matrix with their bias; several side by side make one product.
struct v2s_part {
    const void *weight;
    const float *bias;      // or null
    const float *scales;    // INT8: what an output's weights are multiples of
    const int32_t *sums;    // INT8: the sum of an output's weights
    int64_t outputs;
    int64_t format;
};

// Buffers are given by where they start in the scratch memory of one row, in floats; -1 as target is the result.
struct v2s_op {
    int32_t kind;
    int32_t activation;  // LINEAR
    int64_t source, target;
    int64_t added;             // LINEAR: buffer added to the product, or -1; EMBED: the padding token, or -1
    int64_t inputs, outputs;   // LINEAR: widths; NORM: width twice; SELF, CROSS: heads, channels of a head; EMBED: width
    int64_t layer;             // SELF, CROSS; EMBED: the position of the first token
    float number;              // NORM: epsilon; SELF, CROSS: scale of the products; EMBED: scale of the tokens
    int32_t transposed;        // LINEAR: weights lie (inputs, outputs)
    int32_t parts_count;       // LINEAR; NORM uses parts[0] as weight and bias
    v2s_part parts[3];         // EMBED: tokens, positions, what is added to all; the last two FLOAT32, or null
};

struct v2s_state {
    const int64_t *tokens;  // rows
    float *scratch;        // rows × width floats
    int64_t width;         // of one row's scratch memory
    float *result;         // rows × result_width
    int64_t result_width;
    int64_t rows;
    float *keys, *values;  // (layers, slots, heads, capacity, channels)
    int64_t slots_count;
    int64_t capacity;
    const int64_t *slots;    // rows: where each row's keys and values are kept
    const int64_t *lengths;  // rows: tokens stored before this one
    const void *const *cross_keys;    // a layer: (images, heads, sights, channels)
    const void *const *cross_values;
    int64_t cross_format;  // FLOAT32 or BFLOAT16
    int64_t group;         // slots an image; their rows stand side by side
    int64_t sights;        // image tokens
};

// Going on from the likeliest token, several steps in one call.
struct v2s_greedy {
    int64_t steps;        // at most
    int64_t *tokens;      // (steps, rows), what each step found
    float *logprobs;      // (steps, rows)
    const int64_t *ends;  // tokens that end a row
    int64_t ends_count;
    uint8_t *done;        // rows: those that have ended; when all have, no step follows
};

// Runs the operations for one new token a row on up to `threads` threads, and again with what was found where `greedy` is
// given. Returns the number of steps, or -1 where memory did not suffice.
VISION2SEQ_PUBLIC int64_t v2s_run(const v2s_op *ops, int64_t count, const v2s_state *state, const v2s_greedy *greedy,
                                  int32_t threads);

// Hands over `GOMP_parallel`, `omp_get_thread_num` and `omp_get_num_threads`; without them one thread does all.
VISION2SEQ_PUBLIC void v2s_use_openmp(void *parallel, void *thread_number, void *threads_count);

// Name of the instruction set in use: "avx512vnni", "avx512", "avx2" or "portable". VISION2SEQ_ISA names a lower one.
VISION2SEQ_PUBLIC const char *v2s_isa(void);

// sizeof of the four structures, for the check on the other side.
VISION2SEQ_PUBLIC void v2s_layout(int64_t sizes[4]);
}
