// Runs numbered tasks on several threads: those of the OpenMP runtime that the process has loaded already, which is
// torch's own pool, so that no second pool competes with it for the cores. Where there is none, threads of this call.
#pragma once

#include <cstdint>

namespace tapehead {

// task(context, index) for every index below `count`, on at most `threads` threads; returns when all are done.
void run_tasks(std::int64_t threads, std::int64_t count, void (*task)(void* context, std::int64_t index), void* context);

// Asks the system for large pages behind memory that is about to be written for the first time: there are fewer to get.
void prefer_large_pages(std::int64_t address, std::int64_t bytes);

}  // namespace tapehead
