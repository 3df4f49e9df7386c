// Cold caches: what a network costs when its weights have to come from memory, as after other work on the
// same cores.
#pragma once

#include <filesystem>

#include "core/storage.h"
#include "core/thread_pool.h"

namespace ladarts {

class CacheFlush {
 public:
  // Allocates kTimes largest_cache_bytes(). Keeps the pool.
  explicit CacheFlush(ThreadPool& pool);

  // Reads and writes all of that memory, each thread an equal part of it, so that the caches of the pool's
  // cores hold hardly anything else afterwards.
  void operator()();

  int64_t bytes() const { return int64_t(memory_.shape().elements()) * 4; }
  static constexpr int64_t kTimes = 2;

 private:
  ThreadPool& pool_;
  Storage memory_;  // (elements)
};

// Bytes of the first core's largest cache, or 32 MiB where the system does not tell. `system` holds
// devices/system/cpu, for tests. (sysconf(3) adds up the caches of all sockets on some machines.)
int64_t largest_cache_bytes(const std::filesystem::path& system = "/sys");

}  // namespace ladarts
