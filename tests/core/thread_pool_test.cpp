#include "core/thread_pool.h"

#include <atomic>
#include <stdexcept>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace ladarts;

TEST_CASE("thread pool: every task runs once, on a thread of the pool", "[core][thread_pool]") {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    REQUIRE(pool.threads() == threads);
    for (int64_t tasks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
      std::atomic<bool> thread_out_of_range{false};
      pool.parallel_for(tasks, [&](int64_t task, int thread) {
        ++runs[size_t(task)];
        if (thread < 0 || thread >= threads) thread_out_of_range = true;
      });
      CHECK(!thread_out_of_range);
      for (const auto& r : runs) REQUIRE(r == 1);
    }
  }
}

TEST_CASE("thread pool: thousands of short calls in a row", "[core][thread_pool]") {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  for (int call = 0; call < 5000; ++call) pool.parallel_for(4, [&](int64_t task, int) { sum += task; });
  CHECK(sum == 5000 * 6);
}

TEST_CASE("thread pool: what tasks wrote is visible after the call", "[core][thread_pool]") {
  ThreadPool pool(4);
  std::vector<int64_t> plain(512, -1);
  for (int round = 0; round < 50; ++round) {
    pool.parallel_for(512, [&](int64_t task, int) { plain[size_t(task)] = task * round; });
    int64_t wrong = 0;
    for (int64_t i = 0; i < 512; ++i) wrong += plain[size_t(i)] != i * round;
    REQUIRE(wrong == 0);
  }
}

TEST_CASE("thread pool: an exception reaches the caller and the pool lives on", "[core][thread_pool]") {
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    for (int64_t bad : {0, 57, 99}) {
      auto call = [&] {
        pool.parallel_for(100, [&](int64_t task, int) {
          if (task == bad) throw std::runtime_error("task failed");
        });
      };
      CHECK_THROWS_WITH(call(), "task failed");
      std::atomic<int> runs{0};
      pool.parallel_for(100, [&](int64_t, int) { ++runs; });
      CHECK(runs == 100);
    }
    auto all_fail = [&] {
      pool.parallel_for(64, [](int64_t, int) { throw std::runtime_error("every task"); });
    };
    CHECK_THROWS_WITH(all_fail(), "every task");
  }
}

TEST_CASE("thread pool: a call from inside a task runs there, under that thread's number",
          "[core][thread_pool]") {
  for (int threads : {1, 3}) {
    ThreadPool pool(threads);
    std::atomic<int> inner_runs{0};
    std::atomic<bool> moved{false};
    pool.parallel_for(20, [&](int64_t, int outer) {
      pool.parallel_for(10, [&](int64_t, int inner) {
        ++inner_runs;
        if (inner != outer) moved = true;
      });
    });
    CHECK(inner_runs == 200);
    CHECK(!moved);
  }
}

TEST_CASE("thread pool: an impossible number of threads is refused", "[core][thread_pool]") {
  CHECK_THROWS_WITH(ThreadPool(5000), ContainsSubstring("5000 threads asked for"));
}
