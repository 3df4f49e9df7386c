#include "ops/schedule.h"

#include <cmath>
#include <numbers>

#include "core/error.h"

namespace ladarts {

double learning_rate(const CosineSchedule& s, int64_t epoch) {
  require(s.epochs > 0 && s.warmup_epochs >= 0, "[schedule] {} epochs with {} of warm-up", s.epochs,
          s.warmup_epochs);
  require(epoch >= 0 && epoch < s.epochs, "[schedule] epoch {} is not in [0, {})", epoch, s.epochs);
  if (epoch < s.warmup_epochs) return s.start * double(epoch + 1) / double(s.warmup_epochs);
  const double progress = double(epoch) / double(s.epochs);
  return s.end + (s.start - s.end) * (1 + std::cos(std::numbers::pi * progress)) / 2;
}

double linear_ramp(double end, int64_t epoch, int64_t epochs) {
  require(epoch >= 0 && epoch < epochs, "[schedule] epoch {} is not in [0, {})", epoch, epochs);
  return end * double(epoch) / double(epochs);
}

}  // namespace ladarts
