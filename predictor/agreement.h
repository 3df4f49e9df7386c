// How well two campaigns over the same architectures agree: whether a measurement here can be trusted.
#pragma once

#include <cstdint>
#include <span>

#include "predictor/measurement_store.h"

namespace ladarts {

struct Agreement {
  int64_t n = 0;  // architectures that both have, in the same context
  double spearman = 0;
  // Relative differences a / b - 1: their median, and the median, mean and 95th percentile of their size.
  double bias = 0;
  double median_difference = 0, mean_difference = 0, p95_difference = 0;
  double within_5_percent = 0;  // share of them
};

// Of the rows of an architecture with a cost, the quiet one of the lowest replica counts, else the one of the
// lowest replica. `corrected`: costs by corrected_cost(). Throws Error where fewer than 3 are in common, or a
// cost is not positive.
Agreement agreement(std::span<const Measurement> a, std::span<const Measurement> b, bool corrected);

// The cost as it would be on the machine at its best: divided by the slowdown that the probe saw while it was
// timed (Conditions::slowdown); where that is unknown, as it is. For latencies only; other costs stay.
double corrected_cost(const Measurement& row);

// The rows that stand for each architecture of each context, in the order given: see agreement().
std::vector<Measurement> representative_rows(std::span<const Measurement> rows);

}  // namespace ladarts
