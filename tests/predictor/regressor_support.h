// Data and checks that the tests of regressors share.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/gradients.h"
#include "core/philox.h"
#include "core/program.h"
#include "ops/arithmetic.h"
#include "predictor/predictor_file.h"
#include "tests/support/catch.h"

namespace ladarts::testing {

constexpr int kEdges = 6, kOps = 4;

inline std::vector<std::string> feature_names() {
  std::vector<std::string> names;
  for (int i = 0; i < kEdges * kOps; ++i) names.push_back(fmt::format("edge{}.op{}", i / kOps, i % kOps));
  return names;
}

// One-hot rows and costs 3 + sum of a table's entries; `interaction` is added where edges 0 and 1 agree.
inline Dataset table_costs(int rows, uint64_t seed, double interaction = 0) {
  Random table_values(123), random(seed, 1);
  std::vector<double> table;
  for (int i = 0; i < kEdges * kOps; ++i) table.push_back(table_values.uniform(0.2f, 2.f));
  Dataset data;
  for (int r = 0; r < rows; ++r) {
    std::vector<float> row(kEdges * kOps);
    double cost = 3;
    uint32_t first[2] = {0, 0};
    for (uint32_t e = 0; e < kEdges; ++e) {
      const uint32_t op = random.below(kOps);
      if (e < 2) first[e] = op;
      row[e * kOps + op] = 1;
      cost += table[e * kOps + op];
    }
    data.features.append(row);
    data.costs.push_back(cost + (first[0] == first[1] ? interaction : 0));
  }
  return data;
}

inline MlpOptions quick() {
  MlpOptions o;
  o.hidden = {16, 16};
  o.members = 3;
  o.epochs = 60;
  return o;
}

inline std::vector<float> flat(const Regressor& r) {
  std::vector<float> all;
  for (const auto& [name, s] : r.weights()) {
    const std::vector<float> v = s.to_vector();
    all.insert(all.end(), v.begin(), v.end());
  }
  return all;
}

inline PredictorInfo example_info() {
  PredictorInfo info;
  info.context = {.space = "darts",
                  .network = "channels=36",
                  .device = "a cpu",
                  .device_kind = "cpu",
                  .threads = 2,
                  .isa = "avx2",
                  .library_version = "0.1.0"};
  info.feature_names = feature_names();
  info.probe_ms = 0.125;
  info.report.n_test = 17;
  info.report.mlp.spearman = 0.987;
  return info;
}

// d (sum of predictions) / d features against central differences of the double-valued secant.
inline void check_feature_gradient(const Regressor& model, uint64_t seed) {
  const int64_t n = 3, f = model.features();
  const Storage x = Storage::create(Shape{n, f});
  Random random(seed);
  std::vector<float> values;
  for (int64_t i = 0; i < n * f; ++i) values.push_back(random.uniform());
  x.upload(std::span<const float>(values));
  Graph graph;
  const Tensor features = graph.leaf(x);
  const Tensor total = sum_all(model.record(features));
  const Storage sum = graph.bind_output(total), gradient = Storage::create(Shape{n, f});
  gradients(total, std::vector{features}, {.into = {gradient}});
  Program program = compile(graph, {.debug = true});
  program.run();
  const std::vector<float> got = gradient.to_vector();
  const float step = 5e-3f;
  int checked = 0;
  for (int64_t i = 0; i < n * f; i += 3) {
    double side[5], slopes[4];
    for (int k = 0; k < 5; ++k) {
      std::vector<float> moved = values;
      moved[size_t(i)] += float(k - 2) * step;
      x.upload(std::span<const float>(moved));
      program.run();
      side[k] = double(sum.item());
    }
    for (int k = 0; k < 4; ++k) slopes[k] = (side[k + 1] - side[k]) / double(step);
    const auto [least, most] = std::minmax_element(slopes, slopes + 4);
    if (*most - *least > 1e-2)
      continue;  // a kink of ReLU lies between; two of them may cancel over the whole
    INFO("feature " << i);
    CHECK(double(got[size_t(i)]) == Approx((side[4] - side[0]) / double(4 * step)).margin(5e-3));
    ++checked;
  }
  CHECK(checked > n * f / 10);
}

}  // namespace ladarts::testing
