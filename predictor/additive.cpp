#include "predictor/additive.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "ops/linear.h"
#include "predictor/row_noise.h"

namespace ladarts {

namespace {

constexpr int kFolds = 5;

// Normal equations of the unknowns (coefficients..., intercept), each row's relative error weighted.
struct NormalEquations {
  explicit NormalEquations(int64_t features) : n(features + 1), a(size_t(n * n)), b(static_cast<size_t>(n)) {}

  void add(std::span<const float> row, double cost, double weight) {
    nonzero.clear();
    for (size_t j = 0; j < row.size(); ++j)
      if (row[j] != 0) nonzero.emplace_back(int64_t(j), row[j] / cost);
    nonzero.emplace_back(n - 1, 1 / cost);
    for (const auto& [i, x] : nonzero) {
      for (const auto& [j, y] : nonzero) a[size_t(i * n + j)] += weight * (x * y);
      b[size_t(i)] += weight * x;  // times cost / cost
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

NormalEquations equations_of(const Dataset& data, const std::vector<int64_t>& rows,
                             const std::vector<double>& weights) {
  NormalEquations equations(data.features.columns);
  for (const int64_t i : rows)
    equations.add(data.features.row(i), data.costs[size_t(i)], weights.empty() ? 1 : weights[size_t(i)]);
  return equations;
}

// The ridge with the least cross-validated mean relative error, and the relative residuals with it.
struct LeftOutFit {
  double ridge = 0;
  std::vector<double> residuals;
};
LeftOutFit choose_ridge(const Dataset& data, const AdditiveOptions& options,
                        const std::vector<double>& weights) {
  std::vector<double> error(options.ridges.size());
  std::vector<std::vector<double>> residuals(error.size(), std::vector<double>(data.costs.size()));
  for (const Split& fold : fold_rows(data, kFolds, options.seed)) {
    const NormalEquations equations = equations_of(data, fold.train, weights);
    for (size_t k = 0; k < error.size(); ++k) {
      const std::vector<double> solution = equations.solve(options.ridges[k]);
      for (const int64_t i : fold.test) {
        const double off = predict_row(solution, data.features.row(i)) / data.costs[size_t(i)] - 1;
        error[k] += std::abs(off) * (weights.empty() ? 1 : std::sqrt(weights[size_t(i)]));
        residuals[k][size_t(i)] = off;
      }
    }
  }
  const auto best = size_t(std::min_element(error.begin(), error.end()) - error.begin());
  return {options.ridges[best], std::move(residuals[best])};
}

void check_rows(const Dataset& data, const AdditiveOptions& options) {
  data.check();
  require(!options.ridges.empty(), "[additive] no ridge to use");
  require(data.size() >= kFolds, "[additive] {} rows are too few to fit; measure at least {}", data.size(),
          kFolds);
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

std::vector<double> noise_weights(const Dataset& data, const AdditiveOptions& options) {
  const std::vector<double>& noise = data.relative_noise;
  if (std::all_of(noise.begin(), noise.end(), [](double v) { return v == 0; })) return {};
  check_rows(data, options);
  const double rest = common_deviation(choose_ridge(data, options, {}).residuals, noise);
  std::vector<double> weights;
  for (const double v : noise) weights.push_back(rest * rest / (rest * rest + v * v));
  return weights;
}

std::unique_ptr<AdditiveRegressor> fit_additive(const Dataset& data, const AdditiveOptions& options,
                                                Device device) {
  check_rows(data, options);
  const std::vector<double> weights = noise_weights(data, options);
  const double ridge =
      options.ridges.size() == 1 ? options.ridges[0] : choose_ridge(data, options, weights).ridge;
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < data.size(); ++i) rows.push_back(i);
  std::vector<double> solution = equations_of(data, rows, weights).solve(ridge);
  const double intercept = solution.back();
  solution.pop_back();
  return std::make_unique<AdditiveRegressor>(solution, intercept, device);
}

}  // namespace ladarts
