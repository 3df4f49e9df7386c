// The lookup-table baseline: a cost for every feature and a constant, by least squares.
#pragma once

#include <memory>

#include "predictor/regressor.h"

namespace ladarts {

struct AdditiveOptions {
  // Added to the diagonal of the normal equations, relative to its mean: one-hot features are linearly
  // dependent, and this picks a solution of small norm. Of several, five-fold cross-validation takes the
  // best.
  std::vector<double> ridges = {1e-5, 1e-4, 1e-3, 1e-2, 1e-1};
  uint64_t seed = 0;  // of the folds
};

class AdditiveRegressor : public Regressor {
 public:
  // cost = intercept + coefficients . features
  AdditiveRegressor(const std::vector<double>& coefficients, double intercept, Device device = {});

  std::string_view kind() const override { return "additive"; }
  int64_t features() const override { return weight_.shape()[1]; }
  Tensor record(Tensor features) const override;
  nlohmann::json configuration() const override;
  NamedStorages weights() const override;

 private:
  Storage weight_;     // (1, features)
  Storage intercept_;  // (1)
};

// Minimises sum_i w_i ((prediction_i - cost_i) / cost_i)^2 + ridge |coefficients|^2: relative errors count. A
// feature that is zero in every row gets the coefficient 0. w: noise_weights(), or 1 where no noise is known.
std::unique_ptr<AdditiveRegressor> fit_additive(const Dataset& data, const AdditiveOptions& options = {},
                                                Device device = {});

// How much each row counts beside the others in a sum of squares, for what is known of its noise: the share
// of s^2 in s^2 + noise^2, with s what the additive model leaves unexplained beside it. Empty where no row's
// noise is known.
std::vector<double> noise_weights(const Dataset& data, const AdditiveOptions& options = {});

// Solves A x = b for a symmetric positive definite A (n, n), row-major, by Cholesky factorisation in place.
// Throws Error where A is not positive definite.
std::vector<double> solve_cholesky(std::vector<double> a, std::vector<double> b);

}  // namespace ladarts
