#include "predictor/additive.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "ops/linear.h"

namespace ladarts {

namespace {

constexpr int kFolds = 5;

// Normal equations of the unknowns (coefficients..., intercept), each row weighted by 1 / cost.
struct NormalEquations {
  explicit NormalEquations(int64_t features) : n(features + 1), a(size_t(n * n)), b(static_cast<size_t>(n)) {}

  void add(std::span<const float> row, double cost) {
    nonzero.clear();
    for (size_t j = 0; j < row.size(); ++j)
      if (row[j] != 0) nonzero.emplace_back(int64_t(j), row[j] / cost);
    nonzero.emplace_back(n - 1, 1 / cost);
    for (const auto& [i, x] : nonzero) {
      for (const auto& [j, y] : nonzero) a[size_t(i * n + j)] += x * y;
      b[size_t(i)] += x;  // times cost / cost
    }
  }

  // (coefficients..., intercept)
  std::vector<double> solve(double ridge) const {
    std::vector<double> m = a;
    double trace = 0;
    for (int64_t i = 0; i < n; ++i) trace += a[size_t(i * n + i)];
    const double r = ridge * trace / double(n);
    // The intercept is nearly free: it only has to stay determined beside one-hot features.
    for (int64_t i = 0; i < n; ++i) m[size_t(i * n + i)] += i + 1 < n ? r : 1e-3 * r;
    return solve_cholesky(std::move(m), b);
  }

  int64_t n;
  std::vector<double> a;  // (n, n)
  std::vector<double> b;  // (n)
  std::vector<std::pair<int64_t, double>> nonzero;
};

double predict_row(const std::vector<double>& solution, std::span<const float> row) {
  double y = solution.back();
  for (size_t j = 0; j < row.size(); ++j) y += solution[j] * double(row[j]);
  return y;
}

NormalEquations equations_of(const Dataset& data, const std::vector<int64_t>& rows) {
  NormalEquations equations(data.features.columns);
  for (const int64_t i : rows) equations.add(data.features.row(i), data.costs[size_t(i)]);
  return equations;
}

// The ridge with the least cross-validated mean relative error.
double choose_ridge(const Dataset& data, const AdditiveOptions& options) {
  if (options.ridges.size() == 1) return options.ridges[0];
  std::vector<double> error(options.ridges.size());
  for (const Split& fold : fold_rows(data, kFolds, options.seed)) {
    const NormalEquations equations = equations_of(data, fold.train);
    for (size_t k = 0; k < error.size(); ++k) {
      const std::vector<double> solution = equations.solve(options.ridges[k]);
      for (const int64_t i : fold.test)
        error[k] += std::abs(predict_row(solution, data.features.row(i)) / data.costs[size_t(i)] - 1);
    }
  }
  return options.ridges[size_t(std::min_element(error.begin(), error.end()) - error.begin())];
}

}  // namespace

std::vector<double> solve_cholesky(std::vector<double> a, std::vector<double> b) {
  const size_t n = b.size();
  require(a.size() == n * n, "[additive] {} right-hand sides for a matrix of {} values", n, a.size());
  for (size_t i = 0; i < n; ++i) {  // the lower triangle becomes L with A = L L^T
    for (size_t j = 0; j <= i; ++j) {
      double sum = a[i * n + j];
      for (size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      if (j < i) {
        a[i * n + j] = sum / a[j * n + j];
      } else {
        require(sum > 0,
                "[additive] the equations have no unique solution (pivot {} is {}); use a larger ridge", i,
                sum);
        a[i * n + i] = std::sqrt(sum);
      }
    }
  }
  for (size_t i = 0; i < n; ++i) {  // L y = b
    for (size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {  // L^T x = y
    for (size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return b;
}

AdditiveRegressor::AdditiveRegressor(const std::vector<double>& coefficients, double intercept, Device device)
    : weight_(Storage::create(Shape{1, int64_t(coefficients.size())}, DType::f32, device)),
      intercept_(Storage::create(Shape{1}, DType::f32, device)) {
  require(!coefficients.empty(), "[additive] no features");
  weight_.upload(std::span<const float>(std::vector<float>(coefficients.begin(), coefficients.end())));
  intercept_.set(float(intercept));
}

Tensor AdditiveRegressor::record(Tensor x) const {
  Graph& graph = x.graph();
  const Graph::Scope scope(graph, "additive");
  return linear(x, graph.leaf(weight_, "additive.weight"), graph.leaf(intercept_, "additive.intercept"));
}

nlohmann::json AdditiveRegressor::configuration() const {
  return {{"features", features()}};
}

NamedStorages AdditiveRegressor::weights() const {
  return {{"weight", weight_}, {"intercept", intercept_}};
}

std::unique_ptr<AdditiveRegressor> fit_additive(const Dataset& data, const AdditiveOptions& options,
                                                Device device) {
  data.check();
  require(!options.ridges.empty(), "[additive] no ridge to use");
  require(data.size() >= kFolds, "[additive] {} rows are too few to fit; measure at least {}", data.size(),
          kFolds);
  const double ridge = choose_ridge(data, options);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < data.size(); ++i) rows.push_back(i);
  std::vector<double> solution = equations_of(data, rows).solve(ridge);
  const double intercept = solution.back();
  solution.pop_back();
  return std::make_unique<AdditiveRegressor>(solution, intercept, device);
}

}  // namespace ladarts
