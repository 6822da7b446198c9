#include "threads.h"

#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <dlfcn.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace tapehead {
namespace {

struct Job {
    std::int64_t count;
    void (*task)(void*, std::int64_t);
    void* context;
    std::atomic<std::int64_t> next{0};
};

// What every thread does: takes tasks until there are none.
void work(void* argument) {
    Job& job = *static_cast<Job*>(argument);
    for (;;) {
        const std::int64_t index = job.next.fetch_add(1, std::memory_order_relaxed);
        if (index >= job.count) return;
        job.task(job.context, index);
    }
}

// GNU's entry for a parallel region, which LLVM's and Intel's runtimes have as well.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

Parallel find_parallel() {
#if defined(_WIN32)
    return nullptr;
#else
    return reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
#endif
}

}  // namespace

void run_tasks(std::int64_t threads, std::int64_t count, void (*task)(void*, std::int64_t), void* context) {
    Job job{count, task, context};
    if (threads > count) threads = count;
    if (threads <= 1) return work(&job);
    static const Parallel parallel = find_parallel();
    if (parallel != nullptr) return parallel(work, &job, static_cast<unsigned>(threads), 0);
    std::vector<std::thread> others;
    try {
        for (std::int64_t i = 1; i < threads; ++i) others.emplace_back(work, &job);
    } catch (const std::system_error&) {
        // Fewer threads than asked for: those that run do all the work.
    }
    work(&job);
    for (std::thread& other : others) other.join();
}

void prefer_large_pages(std::int64_t address, std::int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr std::int64_t page = 2 << 20;
    const std::int64_t first = (address + page - 1) / page * page, end = (address + bytes) / page * page;
    if (end - first >= 2 * page) madvise(reinterpret_cast<void*>(first), static_cast<std::size_t>(end - first), MADV_HUGEPAGE);
#else
    (void)address, (void)bytes;
#endif
}

}  // namespace tapehead
