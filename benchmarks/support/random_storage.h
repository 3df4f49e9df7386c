// Operands of benchmarks.
#pragma once

#include <vector>

#include "core/philox.h"
#include "core/storage.h"

namespace ladarts::benchmark {

// Uniform in [low, 1); `stream` tells the operands of one benchmark apart.
inline Storage random_storage(Shape shape, uint64_t stream, float low = -1) {
  Storage s = Storage::create(shape);
  std::vector<float> values(size_t(shape.elements()));
  Random random(1, stream);
  for (float& v : values) v = random.uniform(low, 1);
  s.upload(std::span<const float>(values));
  return s;
}

}  // namespace ladarts::benchmark
