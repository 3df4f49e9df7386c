// Images together with how they are normalised.
#pragma once

#include <memory>

#include "nas/data/dataset.h"
#include "ops/augment.h"

namespace ladarts {

struct ImageSource {
  std::shared_ptr<const ImageSet> dataset;
  Normalisation normalisation;

  AugmentDesc augmentation(int cutout = 0) const {
    return {normalisation.mean, normalisation.deviation, cutout};
  }
};

}  // namespace ladarts
