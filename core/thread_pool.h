// Fork-join parallelism for CPU kernels. Which thread takes which task is free; results never depend on it,
// because kernels cut their work by shape, not by the number of threads.
//
// Each thread has an equal part of the tasks, the same one at every call, and takes from the others' when its
// own are done: what a task wrote is mostly in the cache of the core that reads it in the next call.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <thread>
#include <vector>

#include "core/denormals.h"

namespace ladarts {

class ThreadPool {
 public:
  // `threads` counts the calling thread; 0 means one per available core.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return int(workers_.size()) + 1; }

  // Calls f(task, thread) for task = 0 .. tasks-1, thread in [0, threads()); returns when all are done. A
  // call from inside a task runs on the calling thread. Denormal numbers are zeros meanwhile. One caller at a
  // time, but for a pool of one thread.
  template <class F>
  void parallel_for(int64_t tasks, F&& f) {
    if (tasks <= 0) return;
    const FlushDenormals flush;
    if (tasks == 1 || workers_.empty() || inside_) {
      const int thread = inside_ && !workers_.empty() ? thread_index_ : 0;
      for (int64_t i = 0; i < tasks; ++i) f(i, thread);
      return;
    }
    run(
        tasks, [](void* context, int64_t task, int thread) { (*static_cast<F*>(context))(task, thread); },
        &f);
  }

  // The pool that programs use unless told otherwise.
  static ThreadPool& global();
  // Replaces it; call before any Program is compiled.
  static void set_global_threads(int threads);

 private:
  using Task = void (*)(void* context, int64_t task, int thread);
  void run(int64_t tasks, Task task, void* context);
  void work(int thread);
  void take_tasks(int thread);
  void run_task(int64_t task, int thread);

  // Tasks not yet taken of one thread's part: the first of them in the upper half, the end in the lower. Its
  // thread takes the first, others take the last, each by a single exchange; a worker that wakes late finds
  // nothing left or helps with the next job. run() waits for tasks, not for workers.
  struct alignas(64) Part {
    std::atomic<uint64_t> left{0};
  };

  std::vector<std::thread> workers_;
  std::unique_ptr<Part[]> parts_;             // one for each thread
  alignas(64) std::atomic<uint64_t> job_{0};  // counts calls
  alignas(64) std::atomic<int64_t> done_{0};
  alignas(64) std::atomic<bool> stop_{false};
  // Written before parts_ offer tasks; read by those who took one.
  Task task_ = nullptr;
  void* context_ = nullptr;
  std::exception_ptr error_;
  std::atomic<bool> failed_{false};

  static thread_local bool inside_;
  static thread_local int thread_index_;
};

}  // namespace ladarts
