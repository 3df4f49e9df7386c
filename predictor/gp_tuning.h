// The constants of a Gaussian process's covariance, by the probability of the measurements (marginal
// likelihood) and a wide prior that keeps few rows from deciding much.
#pragma once

#include <span>

#include "predictor/gp_kernel.h"

namespace ladarts {

// Logarithms of: a_g of each group, r, l_g of each group, noise.
struct GpConstants {
  std::vector<double> values;
  size_t groups() const { return (values.size() - 2) / 2; }
  double linear(size_t g) const;
  double rbf() const;
  double length(size_t g) const;
  double noise() const;

  static GpConstants typical(size_t groups);  // the prior's middle, for standardised features and targets
};

class GpTuning {
 public:
  // Standardised features x (n, F) in consecutive groups.
  GpTuning(const std::vector<double>& x, int64_t n, std::span<const int64_t> groups, ThreadPool& pool);

  // What varies beside the covariance: row i's variance is noise() * relative[i] + own[i].
  struct Noise {
    std::span<const double> relative;
    std::span<const double> own = {};  // of the targets; empty: none
  };
  // -log p(targets | constants) - log prior, and its gradient.
  double objective(const std::vector<double>& constants, std::span<const double> targets, const Noise& noise,
                   std::vector<double>& gradient) const;
  GpConstants tune(const GpConstants& start, std::span<const double> targets, const Noise& noise,
                   int iterations) const;

 private:
  int64_t n_;
  std::vector<std::vector<double>> products_, distances_;  // of each group, (n, n)
  ThreadPool& pool_;
};

inline constexpr double kGpJitter = 1e-8;  // on the diagonal, in units of the targets' variance

}  // namespace ladarts
