// Running on the threads that torch has anyway. They are OpenMP's, and after each of torch's own operations they spin for
// some milliseconds, in case there is more: threads of our own would have to share the cores with them.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace vision2seq {

// Functions of the OpenMP runtime that torch has loaded, as Python finds them; null where it has none that we know.
struct OpenMP {
    void (*parallel)(void (*work)(void *), void *closure, unsigned threads, unsigned flags);
    int (*thread_number)();
    int (*threads_count)();
};

static OpenMP openmp = {nullptr, nullptr, nullptr};

// All of the threads come by before any goes on. It spins first and then lets others run, since there may be more threads
// than cores.
class Barrier {
   public:
    void wait(int threads) {
        if (threads == 1) return;
        const int round = round_.load(std::memory_order_relaxed);
        if (waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
            waiting_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        for (int tries = 0; round_.load(std::memory_order_acquire) == round; tries++) {
            if (tries < 2000)
                relax();
            else
                std::this_thread::yield();
        }
    }

   private:
    static void relax() {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    std::atomic<int> waiting_{0}, round_{0};
};

// Calls work(number, threads) on up to so many threads and returns when all are through.
template <class Work>
static void run_on(int threads, const Work &work) {
    if (threads <= 1 || !openmp.parallel) {
        work(0, 1);
        return;
    }
    const auto call = [](void *closure) {
        (*static_cast<const Work *>(closure))(openmp.thread_number(), openmp.threads_count());
    };
    openmp.parallel(call, const_cast<Work *>(&work), static_cast<unsigned>(threads), 0);
}

}  // namespace vision2seq
