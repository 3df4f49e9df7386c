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

// Which cost of a row is meant. Only latencies have other forms than the measured one; where the row does not
// hold what a form needs (rows of before ladarts kept it), the measured one stands for it.
enum class CostForm {
  every_run,  // the median over all runs, disturbed ones too
  measured,   // the row's median: disturbed runs left out, unless the row is noisy
  corrected,  // that, divided by how many times slower than at its best the probe saw the machine
};
double cost_in_form(const Measurement& row, CostForm form);

// Of the rows of an architecture with a cost, the quiet one of the lowest replica counts, else the one of the
// lowest replica. Throws Error where fewer than 3 are in common, or a cost is not positive.
Agreement agreement(std::span<const Measurement> a, std::span<const Measurement> b,
                    CostForm form = CostForm::measured);

// The rows that stand for each architecture of each context, in the order given: see agreement().
std::vector<Measurement> representative_rows(std::span<const Measurement> rows);

}  // namespace ladarts
