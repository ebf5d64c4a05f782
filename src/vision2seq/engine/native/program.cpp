// Runs a decoder's step as `program.h` describes it.

#include "program.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "threads.h"

namespace vision2seq {

// What becomes of a product before it is stored.
struct Finish {
    const float *bias;   // or null; of the first output
    const float *added;  // or null; of the first row and output
    int64_t added_stride;
    float scale;
    int32_t activation;
};

struct Kernels {
    void (*times_rows)(const float *w, int64_t outputs, int64_t n, const float *x, int64_t x_stride, int64_t rows,
                       float *y, int64_t y_stride, const Finish &finish);
    void (*times_columns)(const float *w, int64_t w_stride, int64_t outputs, int64_t n, const float *x,
                          int64_t x_stride, int64_t rows, float *y, int64_t y_stride, const Finish &finish);
    void (*normalize)(const float *x, const float *weight, const float *bias, int64_t n, float epsilon, float *y);
    void (*attend)(const float *query, int64_t q_stride, int64_t rows, const float *keys, const float *values,
                   int64_t n, int64_t channels, float scale, float *weights, float *mixed, int64_t mixed_stride);
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
#undef FLOATS
#undef ROWS
#undef COLUMNS
}  // namespace avx512
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
    __builtin_cpu_init();
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
    if (has_avx2 && has_avx512 && !portable_only && !no_avx512) return {"avx512", &avx512::KERNELS};
    if (has_avx2 && !portable_only) return {"avx2", &avx2::KERNELS};
#endif
    return {"portable", &portable::KERNELS};
}

static const Choice &chosen() {
    static const Choice choice = choose();
    return choice;
}

// One call of `v2s_run`: what every thread that takes part works on.
class Run {
   public:
    Run(const v2s_op *ops, int64_t count, const v2s_state &state, const Kernels &kernels, std::atomic<int64_t> *next)
        : ops_(ops), count_(count), state_(state), kernels_(kernels), next_(next) {}

    // `weights` is this thread's room for attention weights.
    void work(int threads, Barrier &barrier, float *weights) const {
        for (int64_t index = 0; index < count_; index++) {
            const v2s_op &op = ops_[index];
            std::atomic<int64_t> &next = next_[index];
            switch (op.kind) {
                case V2S_LINEAR: linear(op, next, threads); break;
                case V2S_NORM: norm(op, next); break;
                case V2S_SELF: self(op, next, weights); break;
                case V2S_CROSS: cross(op, next, weights); break;
            }
            barrier.wait(threads);
        }
    }

   private:
    static int64_t take(std::atomic<int64_t> &next) { return next.fetch_add(1, std::memory_order_relaxed); }

    float *buffer(int64_t offset) const { return offset < 0 ? state_.result : state_.scratch + offset; }
    int64_t stride(int64_t offset) const { return offset < 0 ? state_.result_width : state_.width; }

    void linear(const v2s_op &op, std::atomic<int64_t> &next, int threads) const {
        // Some pieces a thread, so that one that is held up does not hold up all.
        int64_t size = op.outputs / (threads * 8) / 16 * 16;
        size = threads == 1 ? op.outputs : size < 32 ? 32 : size > 256 ? 256 : size;
        const float *x = buffer(op.source);
        for (int64_t piece = take(next);; piece = take(next)) {
            int64_t before = 0, number = piece;
            const v2s_part *part = op.parts, *end = op.parts + op.parts_count;
            for (; part < end; part++) {
                const int64_t pieces = (part->outputs + size - 1) / size;
                if (number < pieces) break;
                number -= pieces;
                before += part->outputs;
            }
            if (part == end) return;
            const int64_t first = number * size;
            const int64_t outputs = part->outputs - first < size ? part->outputs - first : size;
            const int64_t place = before + first;
            const float *added = op.added < 0 ? nullptr : buffer(op.added) + place;
            const Finish finish = {part->bias ? part->bias + first : nullptr, added, state_.width, 1, op.activation};
            float *y = buffer(op.target) + place;
            if (op.transposed)
                kernels_.times_columns(part->weight + first, part->outputs, outputs, op.inputs, x, state_.width,
                                       state_.rows, y, stride(op.target), finish);
            else
                kernels_.times_rows(part->weight + first * op.inputs, outputs, op.inputs, x, state_.width, state_.rows,
                                    y, stride(op.target), finish);
        }
    }

    void norm(const v2s_op &op, std::atomic<int64_t> &next) const {
        for (int64_t row = take(next); row < state_.rows; row = take(next))
            kernels_.normalize(buffer(op.source) + row * state_.width, op.parts[0].weight, op.parts[0].bias, op.inputs,
                               op.number, buffer(op.target) + row * state_.width);
    }

    // Query, key and value of the new token lie side by side in the source.
    void self(const v2s_op &op, std::atomic<int64_t> &next, float *weights) const {
        const int64_t heads = op.inputs, channels = op.outputs, length = state_.length + 1;
        for (int64_t task = take(next); task < state_.rows * heads; task = take(next)) {
            const int64_t row = task / heads, head = task % heads;
            const float *query = buffer(op.source) + row * state_.width + head * channels;
            const int64_t place = ((op.layer * state_.rows + row) * heads + head) * state_.capacity * channels;
            float *keys = state_.keys + place, *values = state_.values + place;
            std::memcpy(keys + state_.length * channels, query + heads * channels, channels * sizeof(float));
            std::memcpy(values + state_.length * channels, query + 2 * heads * channels, channels * sizeof(float));
            kernels_.attend(query, state_.width, 1, keys, values, length, channels, op.number, weights,
                            buffer(op.target) + row * state_.width + head * channels, state_.width);
        }
    }

    void cross(const v2s_op &op, std::atomic<int64_t> &next, float *weights) const {
        const int64_t heads = op.inputs, channels = op.outputs, images = state_.rows / state_.group;
        for (int64_t task = take(next); task < images * heads; task = take(next)) {
            const int64_t image = task / heads, head = task % heads, first = image * state_.group;
            const int64_t offset = first * state_.width + head * channels;
            const int64_t place = task * state_.sights * channels;
            kernels_.attend(buffer(op.source) + offset, state_.width, state_.group,
                            state_.cross_keys[op.layer] + place, state_.cross_values[op.layer] + place, state_.sights,
                            channels, op.number, weights, buffer(op.target) + offset, state_.width);
        }
    }

    const v2s_op *ops_;
    const int64_t count_;
    const v2s_state &state_;
    const Kernels &kernels_;
    std::atomic<int64_t> *next_;
};

}  // namespace vision2seq

extern "C" {

int v2s_run(const v2s_op *ops, int64_t ops_count, const v2s_state *state, int32_t threads) {
    using namespace vision2seq;
    const int64_t seen = state->group * state->sights, told = state->length + 1;
    const int64_t room = ((seen > told ? seen : told) + 31) / 16 * 16;
    if (threads < 1) threads = 1;
    std::unique_ptr<std::atomic<int64_t>[]> next(new (std::nothrow) std::atomic<int64_t>[ops_count]());
    std::unique_ptr<float[]> weights(new (std::nothrow) float[room * threads]);
    if (!next || !weights) return 1;
    const Run run(ops, ops_count, *state, *chosen().kernels, next.get());
    Barrier barrier;
    run_on(threads, [&](int number, int count) { run.work(count, barrier, weights.get() + number * room); });
    return 0;
}

void v2s_use_openmp(void *parallel, void *thread_number, void *threads_count) {
    using namespace vision2seq;
    openmp.thread_number = reinterpret_cast<int (*)()>(thread_number);
    openmp.threads_count = reinterpret_cast<int (*)()>(threads_count);
    openmp.parallel = reinterpret_cast<void (*)(void (*)(void *), void *, unsigned, unsigned)>(parallel);
}

const char *v2s_isa(void) { return vision2seq::chosen().name; }

void v2s_layout(int64_t sizes[3]) {
    sizes[0] = sizeof(v2s_part);
    sizes[1] = sizeof(v2s_op);
    sizes[2] = sizeof(v2s_state);
}
}
