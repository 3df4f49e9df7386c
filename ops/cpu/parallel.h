// Cutting elementwise work into tasks whose borders depend on the size alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/kernel.h"
#include "core/thread_pool.h"

namespace ladarts {
namespace {

// f(begin, end) over [0, n) in chunks of `grain`.
template <class F>
inline void for_chunks(ThreadPool& pool, int64_t n, int64_t grain, F f) {
  const int64_t chunks = (n + grain - 1) / grain;
  pool.parallel_for(chunks, [&](int64_t c, int) { f(c * grain, std::min(n, (c + 1) * grain)); });
}

constexpr int64_t kElementGrain = 32 * 1024;  // 128 KiB of floats a task
constexpr int64_t kEnoughTasks = 8;           // for the threads of a small machine to share work evenly

}  // namespace
}  // namespace ladarts
