// One seed serves several uses of random numbers; each draws from streams of its own.
#pragma once

#include <cstdint>

namespace ladarts {

enum class RandomUse : uint64_t { split = 1, order, augment, synthetic_train, synthetic_test };

// `item`: epoch or image, below 2^56.
constexpr uint64_t random_stream(RandomUse use, uint64_t item = 0) {
  return uint64_t(use) << 56 | item;
}

}  // namespace ladarts
