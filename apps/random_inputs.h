// Inputs of programs that are timed, not used: pixels of deviation 1, as normalised images have, and labels.
#pragma once

#include <cstdint>

#include "nas/data/step_batch.h"

namespace ladarts {

void fill_images(const Storage& images, uint64_t seed);
void fill_batch(const StepBatch& batch, int classes, uint64_t seed);

}  // namespace ladarts
