// What the machine can do at most, measured: multiply-adds per second and copied bytes per second. Results
// are stated as a share of these.
#pragma once

#include "core/thread_pool.h"

namespace ladarts {

struct MachinePeak {
  double gflops = 0;    // multiply-adds of float vectors from registers, counted as two, all threads
  double copy_gbs = 0;  // bytes read plus bytes written by copies far larger than the caches, all threads
};

// Takes about half a second.
MachinePeak measure_machine_peak(ThreadPool& pool);

}  // namespace ladarts
