#include "predictor/gp_kernel.h"

#include <algorithm>
#include <cmath>

#include "predictor/dense.h"

namespace ladarts {

namespace {

constexpr int64_t kRowsOfTask = 64, kColumnsOfTask = 256;

std::vector<double> weighted_squares(const std::vector<double>& x, int64_t n,
                                     std::span<const double> weights) {
  const auto f = int64_t(weights.size());
  std::vector<double> sums(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < f; ++k)
      sums[size_t(i)] += weights[size_t(k)] * x[size_t(i * f + k)] * x[size_t(i * f + k)];
  return sums;
}

}  // namespace

std::vector<double> weighted_products(const std::vector<double>& x, int64_t n, const std::vector<double>& y,
                                      int64_t m, std::span<const double> weights, ThreadPool& pool) {
  const auto f = int64_t(weights.size());
  std::vector<double> transposed(size_t(f * m)), result(size_t(n * m));
  for (int64_t j = 0; j < m; ++j)
    for (int64_t k = 0; k < f; ++k)
      transposed[size_t(k * m + j)] = -weights[size_t(k)] * y[size_t(j * f + k)];
  pool.parallel_for((n + kRowsOfTask - 1) / kRowsOfTask, [&](int64_t task, int) {
    const int64_t i = task * kRowsOfTask, rows = std::min(kRowsOfTask, n - i);
    for (int64_t j = 0; j < m; j += kColumnsOfTask)
      dense::subtract_product({result.data() + i * m + j, m, x.data() + i * f, f, transposed.data() + j, m,
                               rows, std::min(kColumnsOfTask, m - j), f});
  });
  return result;
}

double GpKernel::at_itself(std::span<const double> x) const {
  double k = 1 + rbf;
  for (size_t f = 0; f < x.size(); ++f) k += linear[f] * x[f] * x[f];
  return k;
}

std::vector<double> GpKernel::covariance(const std::vector<double>& x, int64_t n,
                                         const std::vector<double>& y, int64_t m, ThreadPool& pool) const {
  std::vector<double> k = weighted_products(x, n, y, m, linear, pool);
  const std::vector<double> cross = weighted_products(x, n, y, m, inverse_square, pool);
  const std::vector<double> x_squares = weighted_squares(x, n, inverse_square),
                            y_squares = weighted_squares(y, m, inverse_square);
  pool.parallel_for(n, [&](int64_t i, int) {
    for (int64_t j = 0; j < m; ++j) {
      const size_t at = size_t(i * m + j);
      const double distance = x_squares[size_t(i)] + y_squares[size_t(j)] - 2 * cross[at];
      k[at] += 1 + rbf * std::exp(-0.5 * std::max(distance, 0.0));
    }
  });
  return k;
}

}  // namespace ladarts
