// `ladarts profile --search`: what each edge of a searched cell costs.
#pragma once

#include <string>

#include "apps/options.h"
#include "core/json_file.h"

namespace ladarts {

struct SearchProfileOptions {
  std::string folder, predictor;
  bool any_device = false;
};

// The network, batch and threads are those of the predictor. Throws Error for a folder without a checkpoint
// and where there is no predictor; Interrupted.
Json profile_search(const SearchProfileOptions& options, int repeats, const CommonOptions& common);
// `top`: of the ops that search could have chosen, so many of the costliest; kept ones are always listed.
std::string search_text(const Json& result, size_t top);

}  // namespace ladarts
