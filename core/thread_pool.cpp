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

constexpr uint64_t kTaskMask = 0xffffffffu;
constexpr uint64_t kOneJob = uint64_t(1) << 32;

std::unique_ptr<ThreadPool>& global_pool() {
  static std::unique_ptr<ThreadPool> pool;
  return pool;
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) threads = std::max(1, int(std::thread::hardware_concurrency()));
  require(threads <= 1024, "[threads] {} threads asked for; give a number from 1 to 1024", threads);
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  ticket_.fetch_add(kOneJob);
  ticket_.notify_all();
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
  LADARTS_CHECK(tasks <= int64_t(kTaskMask));
  tasks_ = tasks;
  task_ = task;
  context_ = context;
  done_.store(0, std::memory_order_relaxed);
  const uint64_t job = (ticket_.load(std::memory_order_relaxed) & ~kTaskMask) + kOneJob;
  ticket_.store(job | uint64_t(tasks), std::memory_order_release);
  ticket_.notify_all();
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
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while ((ticket & kTaskMask) != 0) {
    if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel,
                                       std::memory_order_acquire))
      continue;
    try {
      task_(context_, tasks_ - int64_t(ticket & kTaskMask), thread);
    } catch (...) {
      if (!failed_.exchange(true)) error_ = std::current_exception();
    }
    done_.fetch_add(1, std::memory_order_acq_rel);
    ticket = ticket_.load(std::memory_order_acquire);
  }
  inside_ = false;
}

void ThreadPool::work(int thread) {
  for (;;) {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    for (int spin = 0; (ticket & kTaskMask) == 0 && !stop_; ++spin) {
      if (spin < kSpins) {
        pause();
      } else {
        ticket_.wait(ticket, std::memory_order_acquire);
      }
      ticket = ticket_.load(std::memory_order_acquire);
    }
    if (stop_) return;
    take_tasks(thread);
  }
}

}  // namespace ladarts
