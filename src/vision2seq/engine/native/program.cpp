// Runs a decoder's step as `program.h` describes it.

#include "program.h"

#include <cstring>
#include <memory>
#include <new>

#include "kernels.h"
#include "threads.h"

namespace vision2seq {

// Memory of one thread, for what no other sees.
struct Room {
    float *weights;  // of an attention
    Quantized quantized;
};

// One call of `v2s_run`: what every thread that takes part works on.
class Run {
   public:
    Run(const v2s_op *ops, int64_t count, const v2s_state &state, const v2s_greedy *greedy, const Kernels &kernels,
        std::atomic<int64_t> *next)
        : ops_(ops), count_(count), state_(state), greedy_(greedy), kernels_(kernels), next_(next) {}

    // Returns the number of steps, the same in every thread.
    int64_t work(int threads, Barrier &barrier, const Room &room) const {
        const int64_t steps = greedy_ ? greedy_->steps : 1;
        const int64_t *tokens = state_.tokens;
        for (int64_t step = 0; step < steps; step++) {
            std::atomic<int64_t> *next = next_ + step * (count_ + 1);
            for (int64_t index = 0; index < count_; index++, next++) {
                const v2s_op &op = ops_[index];
                switch (op.kind) {
                    case V2S_LINEAR: linear(op, *next, threads, room); break;
                    case V2S_NORM: norm(op, *next); break;
                    case V2S_SELF: self(op, *next, step, room.weights); break;
                    case V2S_CROSS: cross(op, *next, room.weights); break;
                    case V2S_EMBED: embed(op, *next, tokens, step); break;
                }
                barrier.wait(threads);
            }
            if (!greedy_) continue;
            pick(*next, step);
            barrier.wait(threads);
            tokens = greedy_->tokens + step * state_.rows;
            if (all_done()) return step + 1;
            barrier.wait(threads);  // all have looked, before anybody writes again
        }
        return steps;
    }

   private:
    static int64_t take(std::atomic<int64_t> &next) { return next.fetch_add(1, std::memory_order_relaxed); }

    float *buffer(int64_t offset) const { return offset < 0 ? state_.result : state_.scratch + offset; }
    int64_t stride(int64_t offset) const { return offset < 0 ? state_.result_width : state_.width; }

    void embed(const v2s_op &op, std::atomic<int64_t> &next, const int64_t *tokens, int64_t step) const {
        for (int64_t row = take(next); row < state_.rows; row = take(next)) {
            float *y = buffer(op.target) + row * state_.width;
            kernels_.embed(op.parts[0], tokens[row], op.inputs, op.number, y);
            const int64_t position = tokens[row] == op.added ? op.added : op.layer + state_.lengths[row] + step;
            const auto *extra = static_cast<const float *>(op.parts[2].weight);
            const auto *places = static_cast<const float *>(op.parts[1].weight);
            if (extra)
                for (int64_t i = 0; i < op.inputs; i++) y[i] += extra[i];
            if (places)
                for (int64_t i = 0; i < op.inputs; i++) y[i] += places[position * op.inputs + i];
        }
    }

    void linear(const v2s_op &op, std::atomic<int64_t> &next, int threads, const Room &room) const {
        // Some pieces a thread, so that one that is held up does not hold up all.
        int64_t size = op.outputs / (threads * 8) / 16 * 16;
        size = threads == 1 ? op.outputs : size < 32 ? 32 : size > 256 ? 256 : size;
        const float *x = buffer(op.source);
        bool quantized = false;
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
            const bool plain = op.activation == V2S_IDENTITY;
            const Finish finish = {part->bias ? part->bias + first : nullptr, plain ? added : nullptr, state_.width, 1};
            float *y = buffer(op.target) + place;
            const int64_t y_stride = stride(op.target);
            if (part->format == V2S_INT8) {
                // Each thread does this for itself: that takes less time than waiting for another.
                for (int64_t row = 0; row < state_.rows && !quantized; row++)
                    room.quantized.scales[row] = kernels_.quantize(x + row * state_.width, op.inputs,
                                                                   room.quantized.upper + row * room.quantized.stride,
                                                                   room.quantized.lower + row * room.quantized.stride);
                quantized = true;
                const int64_t skipped = first * ((op.inputs + 3) / 4 * 4);
                kernels_.times_packed(static_cast<const int8_t *>(part->weight) + skipped, outputs, op.inputs, x,
                                      state_.width, room.quantized, state_.rows, part->scales + first,
                                      part->sums + first, y, y_stride, finish);
            } else if (part->format == V2S_BFLOAT16) {
                kernels_.times_rows_of_halves(static_cast<const uint16_t *>(part->weight) + first * op.inputs, outputs,
                                              op.inputs, x, state_.width, state_.rows, y, y_stride, finish);
            } else if (op.transposed) {
                kernels_.times_columns(static_cast<const float *>(part->weight) + first, part->outputs, outputs,
                                       op.inputs, x, state_.width, state_.rows, y, y_stride, finish);
            } else {
                kernels_.times_rows(static_cast<const float *>(part->weight) + first * op.inputs, outputs, op.inputs,
                                    x, state_.width, state_.rows, y, y_stride, finish);
            }
            for (int64_t row = 0; row < state_.rows && !plain; row++) {
                kernels_.activate(y + row * y_stride, outputs, op.activation);
                for (int64_t i = 0; i < outputs && added; i++)
                    y[row * y_stride + i] += added[row * state_.width + i];
            }
        }
    }

    void norm(const v2s_op &op, std::atomic<int64_t> &next) const {
        const auto *weight = static_cast<const float *>(op.parts[0].weight);
        for (int64_t row = take(next); row < state_.rows; row = take(next))
            kernels_.normalize(buffer(op.source) + row * state_.width, weight, op.parts[0].bias, op.inputs, op.number,
                               buffer(op.target) + row * state_.width);
    }

    // Query, key and value of the new token lie side by side in the source.
    void self(const v2s_op &op, std::atomic<int64_t> &next, int64_t step, float *weights) const {
        const int64_t heads = op.inputs, channels = op.outputs;
        for (int64_t task = take(next); task < state_.rows * heads; task = take(next)) {
            const int64_t row = task / heads, head = task % heads, past = state_.lengths[row] + step;
            const float *query = buffer(op.source) + row * state_.width + head * channels;
            const int64_t slot = op.layer * state_.slots_count + state_.slots[row];
            const int64_t place = (slot * heads + head) * state_.capacity * channels;
            float *keys = state_.keys + place, *values = state_.values + place;
            std::memcpy(keys + past * channels, query + heads * channels, channels * sizeof(float));
            std::memcpy(values + past * channels, query + 2 * heads * channels, channels * sizeof(float));
            kernels_.attend(query, state_.width, 1, keys, values, past + 1, channels, op.number, weights,
                            buffer(op.target) + row * state_.width + head * channels, state_.width);
        }
    }

    void cross(const v2s_op &op, std::atomic<int64_t> &next, float *weights) const {
        const int64_t heads = op.inputs, channels = op.outputs, images = state_.rows / state_.group;
        for (int64_t task = take(next); task < images * heads; task = take(next)) {
            const int64_t first = task / heads * state_.group, head = task % heads;
            const int64_t offset = first * state_.width + head * channels;
            const int64_t image = state_.slots[first] / state_.group;
            const int64_t place = (image * heads + head) * state_.sights * channels;
            const float *query = buffer(op.source) + offset;
            float *mixed = buffer(op.target) + offset;
            const void *keys = state_.cross_keys[op.layer], *values = state_.cross_values[op.layer];
            if (state_.cross_format == V2S_BFLOAT16)
                kernels_.attend_to_halves(query, state_.width, state_.group, static_cast<const uint16_t *>(keys) + place,
                                          static_cast<const uint16_t *>(values) + place, state_.sights, channels,
                                          op.number, weights, mixed, state_.width);
            else
                kernels_.attend(query, state_.width, state_.group, static_cast<const float *>(keys) + place,
                                static_cast<const float *>(values) + place, state_.sights, channels, op.number,
                                weights, mixed, state_.width);
        }
    }

    // The likeliest token of each row.
    void pick(std::atomic<int64_t> &next, int64_t step) const {
        for (int64_t row = take(next); row < state_.rows; row = take(next)) {
            const int64_t place = step * state_.rows + row;
            const float *logits = state_.result + row * state_.result_width;
            const int64_t token = kernels_.likeliest(logits, state_.result_width, greedy_->logprobs + place);
            greedy_->tokens[place] = token;
            for (int64_t end = 0; end < greedy_->ends_count; end++)
                if (greedy_->ends[end] == token) greedy_->done[row] = 1;
        }
    }

    bool all_done() const {
        for (int64_t row = 0; row < state_.rows; row++)
            if (!greedy_->done[row]) return false;
        return true;
    }

    const v2s_op *ops_;
    const int64_t count_;
    const v2s_state &state_;
    const v2s_greedy *greedy_;
    const Kernels &kernels_;
    std::atomic<int64_t> *next_;
};

}  // namespace vision2seq

extern "C" {

int64_t v2s_run(const v2s_op *ops, int64_t count, const v2s_state *state, const v2s_greedy *greedy, int32_t threads) {
    using namespace vision2seq;
    if (threads < 1) threads = 1;
    const int64_t steps = greedy ? greedy->steps : 1;
    const int64_t seen = state->group * state->sights;
    int64_t told = 0;
    for (int64_t row = 0; row < state->rows && state->lengths; row++)
        if (state->lengths[row] + steps > told) told = state->lengths[row] + steps;
    const int64_t weights_room = ((seen > told ? seen : told) + 31) / 16 * 16;
    int64_t widest = 0;
    for (int64_t index = 0; index < count; index++)
        if (ops[index].kind == V2S_LINEAR && ops[index].inputs > widest)
            for (int32_t part = 0; part < ops[index].parts_count; part++)
                if (ops[index].parts[part].format == V2S_INT8) widest = ops[index].inputs;
    const int64_t stride = (widest + 63) / 64 * 64, scales_room = (state->rows + 15) / 16 * 16;
    std::unique_ptr<std::atomic<int64_t>[]> next(new (std::nothrow) std::atomic<int64_t>[(count + 1) * steps]());
    std::unique_ptr<float[]> floats(new (std::nothrow) float[(weights_room + scales_room) * threads]);
    std::unique_ptr<uint8_t[]> bytes(new (std::nothrow) uint8_t[2 * stride * state->rows * threads + 1]);
    if (!next || !floats || !bytes) return -1;
    const Run run(ops, count, *state, greedy, *chosen().kernels, next.get());
    Barrier barrier;
    int64_t done = 0;
    run_on(threads, [&](int number, int present) {
        float *own = floats.get() + number * (weights_room + scales_room);
        uint8_t *upper = bytes.get() + 2 * stride * state->rows * number;
        const Room room = {own, {upper, upper + stride * state->rows, stride, own + weights_room}};
        const int64_t ran = run.work(present, barrier, room);
        if (number == 0) done = ran;
    });
    return done;
}

void v2s_use_openmp(void *parallel, void *thread_number, void *threads_count) {
    using namespace vision2seq;
    openmp.thread_number = reinterpret_cast<int (*)()>(thread_number);
    openmp.threads_count = reinterpret_cast<int (*)()>(threads_count);
    openmp.parallel = reinterpret_cast<void (*)(void (*)(void *), void *, unsigned, unsigned)>(parallel);
}

const char *v2s_isa(void) { return vision2seq::chosen().name; }

void v2s_layout(int64_t sizes[4]) {
    sizes[0] = sizeof(v2s_part);
    sizes[1] = sizeof(v2s_op);
    sizes[2] = sizeof(v2s_state);
    sizes[3] = sizeof(v2s_greedy);
}
}
