// Predictors that commands read.
#pragma once

#include <string>

#include "nas/search_space.h"
#include "predictor/predictor_file.h"

namespace ladarts {

// Throws Error where the predictor is of another space, or, unless `any_device`, of another device than this
// machine's. How many threads it predicts for is the predictor's own matter.
Predictor load_predictor_for(const std::string& path, const SearchSpace& space, bool any_device,
                             Device device);

}  // namespace ladarts
