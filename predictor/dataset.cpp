#include "predictor/dataset.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"
#include "core/philox.h"

namespace ladarts {

void FeatureMatrix::append(std::span<const float> row) {
  if (rows == 0) columns = int64_t(row.size());
  require(int64_t(row.size()) == columns, "[dataset] row {} has {} features, those before it {}", rows,
          row.size(), columns);
  values.insert(values.end(), row.begin(), row.end());
  ++rows;
}

Dataset Dataset::subset(std::span<const int64_t> rows) const {
  Dataset part;
  part.features.columns = features.columns;
  for (const int64_t i : rows) {
    part.features.append(features.row(i));
    part.costs.push_back(costs[size_t(i)]);
    if (!groups.empty()) part.groups.push_back(groups[size_t(i)]);
    if (!relative_noise.empty()) part.relative_noise.push_back(relative_noise[size_t(i)]);
  }
  return part;
}

double Dataset::usual_noise() const {
  if (relative_noise.empty()) return 0;
  std::vector<double> v = relative_noise;
  const auto middle = v.begin() + std::ptrdiff_t(v.size() / 2);
  std::nth_element(v.begin(), middle, v.end());
  return *middle;
}

void Dataset::check() const {
  require(int64_t(costs.size()) == features.rows &&
              int64_t(features.values.size()) == features.rows * features.columns,
          "[dataset] {} rows of {} features, but {} values and {} costs", features.rows, features.columns,
          features.values.size(), costs.size());
  require(groups.empty() || int64_t(groups.size()) == features.rows, "[dataset] {} rows, but {} groups",
          features.rows, groups.size());
  require(relative_noise.empty() || int64_t(relative_noise.size()) == features.rows,
          "[dataset] {} rows, but the noise of {}", features.rows, relative_noise.size());
  for (int64_t i = 0; i < features.rows; ++i) {
    const std::span<const float> row = features.row(i);
    require(std::all_of(row.begin(), row.end(), [](float v) { return std::isfinite(v); }),
            "[dataset] row {} has a feature that is not finite", i);
    require(std::isfinite(costs[size_t(i)]) && costs[size_t(i)] > 0,
            "[dataset] row {} has cost {}; costs must be positive", i, costs[size_t(i)]);
    if (relative_noise.empty()) continue;
    const double noise = relative_noise[size_t(i)];
    require(std::isfinite(noise) && noise >= 0,
            "[dataset] row {} has the relative noise {}; it must not be negative", i, noise);
  }
}

namespace {

int64_t group_of(const Dataset& data, int64_t row) {
  return data.groups.empty() ? row : data.groups[size_t(row)];
}

std::vector<int64_t> shuffled_groups(const Dataset& data, uint64_t seed) {
  std::set<int64_t> distinct;
  for (int64_t i = 0; i < data.size(); ++i) distinct.insert(group_of(data, i));
  std::vector<int64_t> order(distinct.begin(), distinct.end());
  Random random(seed, 0x73706c6974);  // a stream of its own: "split"
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(uint32_t(i))]);
  return order;
}

Split split_by_group(const Dataset& data, const std::set<int64_t>& test_groups) {
  Split split;
  for (int64_t i = 0; i < data.size(); ++i)
    (test_groups.count(group_of(data, i)) ? split.test : split.train).push_back(i);
  return split;
}

}  // namespace

Split split_rows(const Dataset& data, double test_fraction, uint64_t seed) {
  require(test_fraction > 0 && test_fraction < 1, "[dataset] test fraction {} is not between 0 and 1",
          test_fraction);
  const std::vector<int64_t> order = shuffled_groups(data, seed);
  require(order.size() >= 2, "[dataset] a split needs at least 2 different architectures, there are {}",
          order.size());
  const auto held_out =
      std::clamp<int64_t>(std::llround(test_fraction * double(order.size())), 1, int64_t(order.size()) - 1);
  return split_by_group(data, {order.begin(), order.begin() + held_out});
}

std::vector<Split> fold_rows(const Dataset& data, int folds, uint64_t seed) {
  const std::vector<int64_t> order = shuffled_groups(data, seed);
  require(folds >= 2 && int64_t(order.size()) >= folds,
          "[dataset] {} folds need at least as many different architectures and at least 2, there are {}",
          folds, order.size());
  std::vector<std::set<int64_t>> groups(static_cast<size_t>(folds));
  for (size_t i = 0; i < order.size(); ++i) groups[i % size_t(folds)].insert(order[i]);
  std::vector<Split> splits;
  for (const auto& test : groups) splits.push_back(split_by_group(data, test));
  return splits;
}

}  // namespace ladarts
