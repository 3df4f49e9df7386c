#include "core/thread_pool.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace ladarts {

thread_local bool ThreadPool::inside_ = false;
thread_local int ThreadPool::thread_index_ = 0;

namespace {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Steps of a program follow each other within microseconds: wait that long awake, then sleep.
constexpr int kSpins = 2000;

constexpr uint64_t kEndMask = 0xffffffffu;
constexpr uint64_t kOneTask = uint64_t(1) << 32;

inline uint64_t begin_of(uint64_t left) {
  return left / kOneTask;
}
inline uint64_t end_of(uint64_t left) {
  return left & kEndMask;
}

std::unique_ptr<ThreadPool>& global_pool() {
  static std::unique_ptr<ThreadPool> pool;
  return pool;
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) threads = std::max(1, int(std::thread::hardware_concurrency()));
  require(threads <= 1024, "[threads] {} threads asked for; give a number from 1 to 1024", threads);
  parts_ = std::make_unique<Part[]>(size_t(threads));
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  job_.fetch_add(1);
  job_.notify_all();
  for (std::thread& t : workers_) t.join();
}

ThreadPool& ThreadPool::global() {
  if (!global_pool()) global_pool() = std::make_unique<ThreadPool>();
  return *global_pool();
}

void ThreadPool::set_global_threads(int threads) {
  if (global_pool() && global_pool()->threads() == threads) return;
  global_pool() = std::make_unique<ThreadPool>(threads);
}

void ThreadPool::run(int64_t tasks, Task task, void* context) {
  LADARTS_CHECK(tasks <= int64_t(kEndMask));
  task_ = task;
  context_ = context;
  done_.store(0, std::memory_order_relaxed);
  const auto count = uint64_t(tasks), all = uint64_t(threads());
  for (uint64_t i = 0; i < all; ++i)
    parts_[i].left.store(count * i / all * kOneTask | count * (i + 1) / all, std::memory_order_release);
  job_.fetch_add(1, std::memory_order_release);
  job_.notify_all();
  take_tasks(0);
  for (int spin = 0; done_.load(std::memory_order_acquire) != tasks; ++spin) {
    if (spin < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
  if (failed_.load(std::memory_order_relaxed)) {
    failed_ = false;
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
}

void ThreadPool::take_tasks(int thread) {
  inside_ = true;
  thread_index_ = thread;
  const int all = threads();
  for (int k = 0; k < all; ++k) {
    std::atomic<uint64_t>& left = parts_[size_t((thread + k) % all)].left;
    uint64_t seen = left.load(std::memory_order_acquire);
    while (begin_of(seen) != end_of(seen)) {
      if (!left.compare_exchange_weak(seen, k == 0 ? seen + kOneTask : seen - 1, std::memory_order_acq_rel,
                                      std::memory_order_acquire))
        continue;
      run_task(int64_t(k == 0 ? begin_of(seen) : end_of(seen) - 1), thread);
      seen = left.load(std::memory_order_acquire);
    }
  }
  inside_ = false;
}

void ThreadPool::run_task(int64_t task, int thread) {
  try {
    task_(context_, task, thread);
  } catch (...) {
    if (!failed_.exchange(true)) error_ = std::current_exception();
  }
  done_.fetch_add(1, std::memory_order_acq_rel);
}

void ThreadPool::work(int thread) {
  const FlushDenormals flush;
  for (uint64_t last = 0;;) {
    uint64_t job = job_.load(std::memory_order_acquire);
    for (int spin = 0; job == last && !stop_; ++spin) {
      if (spin < kSpins) {
        pause();
      } else {
        job_.wait(last, std::memory_order_acquire);
      }
      job = job_.load(std::memory_order_acquire);
    }
    if (stop_) return;
    last = job;
    take_tasks(thread);
  }
}

}  // namespace ladarts
