#include "core/denormals.h"

#include <vector>

#include "core/thread_pool.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

// A denormal number, unless denormal numbers are zeros.
float tiny() {
  volatile float smallest = 1.2e-38f;
  return smallest * 0.25f;
}

}  // namespace

#if defined(__x86_64__) || defined(__aarch64__)
TEST_CASE("denormal numbers are zeros while asked for, and as before afterwards", "[core]") {
  CHECK(tiny() > 0);
  {
    const FlushDenormals flush;
    CHECK(tiny() == 0);
    {
      const FlushDenormals again;
      CHECK(tiny() == 0);
    }
    CHECK(tiny() == 0);
  }
  CHECK(tiny() > 0);
}

TEST_CASE("denormal numbers are zeros in every task, on every number of threads", "[core]") {
  for (const int threads : {1, 2, 3}) {
    for (const int tasks : {1, 7}) {
      ThreadPool pool(threads);
      std::vector<float> seen(size_t(tasks), 1.f);
      pool.parallel_for(tasks, [&](int64_t i, int) { seen[size_t(i)] = tiny(); });
      CHECK(seen == std::vector<float>(size_t(tasks), 0.f));
      CHECK(tiny() > 0);
    }
  }
}
#endif
