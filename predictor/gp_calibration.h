// How much wider than its own left-out rows say a Gaussian process's deviations must be where there are few.
#pragma once

#include "predictor/gp.h"

namespace ladarts {

// The factor on deviations by which they hold the rows of held-out folds, each predicted by a process whose
// constants were fitted without them too: with few rows these follow the very rows that they are judged by.
// 1 without options.calibration_folds, with fewer than two architectures for each, and beyond
// options.calibration_rows, where that no longer matters.
double held_out_stretch(const Dataset& data, const GpOptions& options);

}  // namespace ladarts
