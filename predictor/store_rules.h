// What becomes of several measurements of one architecture in one context when stores are merged or cleaned.
#pragma once

#include <string>
#include <vector>

#include "predictor/measurement_store.h"

namespace ladarts {

enum class Keep {
  first,           // the oldest row
  newest,          // the newest row
  least_spread,    // the quiet row of the least relative spread; noisy ones only where there are no others
  all_as_replicas  // every row, numbered by age from replica 0
};

// "first", "newest", "least-spread", "all-as-replicas". Throws Error for another text.
Keep parse_keep(const std::string& text);
const std::vector<std::string>& keep_names();

// Applies the rule to each architecture of each context. Rows equal in everything but id and replica are one
// row. A failed row (status not "ok") is kept only where the architecture has no other: the newest, as
// replica 0. Where the rule picks one row, it becomes replica 0. Ages are utc_time, then the order given.
std::vector<Measurement> apply_rule(std::vector<Measurement> rows, Keep keep);

}  // namespace ladarts
