// Features and costs in host memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ladarts {

// Row-major (rows, columns).
struct FeatureMatrix {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<float> values;

  std::span<const float> row(int64_t i) const { return {values.data() + i * columns, size_t(columns)}; }
  void append(std::span<const float> row);  // the first row sets `columns`; throws Error at another length
};

struct Dataset {
  FeatureMatrix features;
  std::vector<double> costs;  // one per row, positive
  // Rows of one group never fall on both sides of a split: several measurements of one architecture, or
  // architectures that are the same network. Empty: every row is its own group.
  std::vector<int64_t> groups;
  // Standard deviation of each row's cost relative to it, as known from how it was measured
  // (predictor/row_noise.h); 0 where nothing is known. Empty: of no row.
  std::vector<double> relative_noise;

  int64_t size() const { return features.rows; }
  double usual_noise() const;  // median of relative_noise; 0 where that is empty
  Dataset subset(std::span<const int64_t> rows) const;
  // Throws Error naming the row: lengths that differ, a feature that is not finite, a cost that is not
  // positive, a noise that is negative or not finite.
  void check() const;
};

struct Split {
  std::vector<int64_t> train, test;  // row indices, ascending
};

// Holds out about `test_fraction` of the groups, chosen by seed; at least one group on each side.
Split split_rows(const Dataset& data, double test_fraction, uint64_t seed);

// Cross-validation: each group is in `test` of exactly one of the splits and in `train` of the others. Throws
// Error for fewer groups than folds.
std::vector<Split> fold_rows(const Dataset& data, int folds, uint64_t seed);

}  // namespace ladarts
