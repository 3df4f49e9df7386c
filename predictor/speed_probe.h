// How fast the machine is now. Neighbours on a shared core, other programs, a lowered clock, or a virtual
// machine whose cores are moved apart slow down whatever runs, for seconds at a time and often without a
// trace in the system's counters. So a small fixed program, of the kernels that networks are made of, is
// timed on the threads that measure, between the runs that are measured.
#pragma once

#include <chrono>
#include <deque>
#include <utility>

#include "core/program.h"

namespace ladarts {

class SpeedProbe {
 public:
  // Keeps the pool. `known_best_ms` is the program's best time on this machine as found before; 0: unknown.
  explicit SpeedProbe(ThreadPool& pool, double known_best_ms = 0);

  // Times the program (a few tenths of a millisecond) against the fastest of the last kWindowSeconds: 1 is
  // full speed, 2 is half. A machine that stays slower for that long, as one whose clock has left its boost,
  // is then at full speed.
  double slowdown();
  // The same against the best known, without a window.
  double slowdown_of_best();
  double best_ms() const { return best_s_ * 1e3; }  // known before, or seen since
  // The fastest of the last kWindowSeconds against the best known: how much slower the machine is for good.
  double window_slowdown() const { return fastest_.front().second / best_s_; }

  static constexpr double kWindowSeconds = 120;

 private:
  double time();  // seconds

  Program program_;
  std::chrono::steady_clock::time_point start_;
  double best_s_;
  std::deque<std::pair<double, double>>
      fastest_;  // (when, seconds), both rising: the window's minimum is first
};

}  // namespace ladarts
