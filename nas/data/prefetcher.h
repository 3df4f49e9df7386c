// Work done ahead of its use on one background thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace ladarts {

// Calls fill(position, slot) for position = 0, 1, 2, ... on its own thread, as far ahead as there are slots,
// and hands the slots out in that order. `Slot` needs a default constructor; slots are reused, so what fill()
// allocates in one stays. next() and seek() belong to one thread.
template <class Slot>
class Prefetcher {
 public:
  using Fill = std::function<void(int64_t position, Slot& slot)>;

  // slots >= 2: one is in the caller's hands, the others are being filled.
  Prefetcher(int slots, Fill fill)
      : ring_(size_t(slots)), fill_(std::move(fill)), thread_([this] { work(); }) {}

  ~Prefetcher() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    room_.notify_one();
    thread_.join();
  }
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // The next slot, valid until the next call of next() or seek(). Rethrows what fill() threw for it, now and
  // at every further call until seek().
  Slot& next() {
    std::unique_lock lock(mutex_);
    if (lent_) release(lock);
    ready_.wait(lock, [&] { return filled_ > taken_ || error_; });
    if (filled_ == taken_) std::rethrow_exception(error_);
    lent_ = true;
    return slot(taken_);
  }

  // next() continues with this position. Waits for a fill() that is under way.
  void seek(int64_t position) {
    std::unique_lock lock(mutex_);
    seeking_ = true;
    ready_.wait(lock, [&] { return !filling_; });
    seeking_ = lent_ = false;
    error_ = nullptr;
    taken_ = filled_ = position;
    lock.unlock();
    room_.notify_one();
  }

 private:
  Slot& slot(int64_t position) { return ring_[size_t(position) % ring_.size()]; }

  void release(std::unique_lock<std::mutex>& lock) {
    lent_ = false;
    ++taken_;
    lock.unlock();
    room_.notify_one();
    lock.lock();
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      room_.wait(lock,
                 [&] { return stop_ || (!seeking_ && !error_ && filled_ - taken_ < int64_t(ring_.size())); });
      if (stop_) return;
      const int64_t position = filled_;
      filling_ = true;
      lock.unlock();
      std::exception_ptr error;
      try {
        fill_(position, slot(position));
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      filling_ = false;
      if (error)
        error_ = error;
      else
        ++filled_;
      ready_.notify_one();
    }
  }

  std::vector<Slot> ring_;
  Fill fill_;
  std::mutex mutex_;  // guards all below
  std::condition_variable room_, ready_;
  int64_t taken_ = 0;   // position of the slot lent, or of the next one to lend
  int64_t filled_ = 0;  // positions taken_ .. filled_-1 are ready; the thread fills this one
  bool lent_ = false, filling_ = false, seeking_ = false, stop_ = false;
  std::exception_ptr error_;  // of position filled_
  std::thread thread_;        // last, so that it starts when all else is there
};

}  // namespace ladarts
