// The loop over an epoch's steps that a search and a training share.
#pragma once

#include "core/clock.h"
#include "core/interrupt.h"

namespace ladarts {

constexpr double kCheckpointSeconds = 300;  // at most so much work is lost to a kill

// Steps `step`, ..., steps - 1 of an epoch. queue(i) starts step i; take() looks at the results of the oldest
// one under way and adds one to `step`. Up to `ahead` steps are under way, so that a device has its next step
// before the host waits for the last one's results. Every kCheckpointSeconds checkpoint() is called, with
// none under way. False where interrupted() before the last step; what was queued has been taken then.
template <class Queue, class Take, class Checkpoint>
bool run_steps(const int64_t& step, int64_t steps, int64_t ahead, const Stopwatch& since_checkpoint,
               Queue queue, Take take, Checkpoint checkpoint) {
  int64_t queued = step;
  while (step < steps) {
    const bool stop = interrupted();
    if (stop || since_checkpoint.seconds() > kCheckpointSeconds) {
      while (step < queued) take();
      if (step == steps) return true;
      if (stop) return false;
      checkpoint();
    }
    if (queued < steps) queue(queued++);
    if (queued - step == ahead || queued == steps) take();
  }
  return true;
}

}  // namespace ladarts
