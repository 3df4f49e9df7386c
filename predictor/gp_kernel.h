// The covariance of predictor/gp.h between rows of standardised features.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/thread_pool.h"

namespace ladarts {

struct GpKernel {
  std::vector<double> linear;          // (F): a_g of each feature's group
  std::vector<double> inverse_square;  // (F): 1 / l_g^2
  double rbf = 0;                      // r

  double at_itself(std::span<const double> x) const;  // k(x, x)
  // x (n, F), y (m, F) -> (n, m)
  std::vector<double> covariance(const std::vector<double>& x, int64_t n, const std::vector<double>& y,
                                 int64_t m, ThreadPool& pool) const;
};

// x (n, F), y (m, F), weights (F) -> (n, m): sum_f weights_f x_f y_f
std::vector<double> weighted_products(const std::vector<double>& x, int64_t n, const std::vector<double>& y,
                                      int64_t m, std::span<const double> weights, ThreadPool& pool);

}  // namespace ladarts
