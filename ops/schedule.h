// Values that vary over the epochs of a training, computed on the host and written to one-element leaves.
#pragma once

#include <cstdint>

namespace ladarts {

struct CosineSchedule {
  double start = 0.025;
  double end = 0;
  int64_t epochs = 50;
  int64_t warmup_epochs = 0;  // these run at start * (epoch + 1) / warmup_epochs
};

// end + (start - end) (1 + cos(pi epoch / epochs)) / 2. Throws Error unless 0 <= epoch < epochs.
double learning_rate(const CosineSchedule& schedule, int64_t epoch);

// From 0 in the first epoch, by the same amount each epoch, towards `end` (drop-path): end * epoch / epochs.
double linear_ramp(double end, int64_t epoch, int64_t epochs);

}  // namespace ladarts
