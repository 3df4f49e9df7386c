#include "predictor/gp_tuning.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "predictor/dense.h"
#include "predictor/lbfgs.h"

namespace ladarts {

namespace {

// Middle and width of the prior of each logarithm. Found on no table in particular: standardised features and
// targets are of size 1, so a group's linear part, a smooth part of a third of the deviation, lengths of one
// to two typical distances and noise of a sixth are a start from which a factor of e^2 costs little.
struct Prior {
  double middle, width, low, high;
};
constexpr double kLowestNoise = 1e-7;
Prior prior_of(size_t i, size_t groups) {
  if (i < groups) return {std::log(0.5), 2.25, -13, 7};
  if (i == groups) return {std::log(0.1), 2.25, -15, 5};
  if (i <= 2 * groups) return {std::log(1.5), 1.05, -12, 8};
  return {std::log(0.03), 3, std::log(kLowestNoise), std::log(3.0)};
}

double clamped(double v, size_t i, size_t groups) {
  const Prior p = prior_of(i, groups);
  return std::clamp(v, p.low, p.high);
}

}  // namespace

double GpConstants::linear(size_t g) const {
  return std::exp(clamped(values[g], g, groups()));
}
double GpConstants::rbf() const {
  return std::exp(clamped(values[groups()], groups(), groups()));
}
double GpConstants::length(size_t g) const {
  return std::exp(clamped(values[groups() + 1 + g], groups() + 1 + g, groups()));
}
double GpConstants::noise() const {
  return std::exp(clamped(values.back(), values.size() - 1, groups()));
}

GpConstants GpConstants::typical(size_t groups) {
  GpConstants c;
  for (size_t i = 0; i < 2 * groups + 2; ++i) c.values.push_back(prior_of(i, groups).middle);
  return c;
}

GpTuning::GpTuning(const std::vector<double>& x, int64_t n, std::span<const int64_t> groups, ThreadPool& pool)
    : n_(n), pool_(pool) {
  const auto features = int64_t(x.size()) / n;
  int64_t begin = 0;
  for (const int64_t size : groups) {
    std::vector<double> weights(static_cast<size_t>(features));
    std::fill_n(weights.begin() + begin, size, 1.0);
    begin += size;
    std::vector<double> p = weighted_products(x, n, x, n, weights, pool), d(p.size());
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j)
        d[size_t(i * n + j)] =
            std::max(p[size_t(i * n + i)] + p[size_t(j * n + j)] - 2 * p[size_t(i * n + j)], 0.0);
    products_.push_back(std::move(p));
    distances_.push_back(std::move(d));
  }
}

double GpTuning::objective(const std::vector<double>& constants, std::span<const double> targets,
                           const Noise& noise, std::vector<double>& gradient) const {
  const GpConstants c{constants};
  const size_t groups = products_.size(), n = size_t(n_);
  std::vector<double> k(n * n), smooth(n * n);
  pool_.parallel_for(n_, [&](int64_t row, int) {
    double *k_row = k.data() + row * n_, *s_row = smooth.data() + row * n_;
    std::fill_n(k_row, n, 1.0);
    for (size_t g = 0; g < groups; ++g) {
      const double a = c.linear(g), b = -0.5 / (c.length(g) * c.length(g));
      const double *p = products_[g].data() + row * n_, *d = distances_[g].data() + row * n_;
      for (size_t j = 0; j < n; ++j) {
        k_row[j] += a * p[j];
        s_row[j] += b * d[j];
      }
    }
    const double r = c.rbf();
    for (size_t j = 0; j < n; ++j) k_row[j] += s_row[j] = r * std::exp(s_row[j]);
    k_row[row] += c.noise() * noise.relative[size_t(row)] + kGpJitter;
    if (!noise.own.empty()) k_row[row] += noise.own[size_t(row)];
  });
  if (!dense::cholesky(k, n_, pool_)) return std::numeric_limits<double>::infinity();
  std::vector<double> alpha(targets.begin(), targets.end());
  dense::solve(k, n_, alpha);
  double value = 0;
  for (size_t i = 0; i < n; ++i) value += 0.5 * targets[i] * alpha[i] + std::log(k[i * n + i]);
  const std::vector<double> inverse =
      dense::inverse_from_lower(dense::lower_inverse(k, n_, pool_), n_, pool_);

  // d value / d log c = 1/2 sum (K^-1 - alpha alpha^T) * dK / d log c; sums of rows, added in order.
  std::vector<double> sums(n * (2 * groups + 2));
  pool_.parallel_for(n_, [&](int64_t row, int) {
    std::vector<double> weight(n);
    for (size_t j = 0; j < n; ++j) weight[j] = inverse[size_t(row) * n + j] - alpha[size_t(row)] * alpha[j];
    double* sum = sums.data() + size_t(row) * (2 * groups + 2);
    for (size_t g = 0; g < groups; ++g) {
      const double* p = products_[g].data() + row * n_;
      for (size_t j = 0; j < n; ++j) sum[g] += weight[j] * p[j];
    }
    sum[2 * groups + 1] = weight[size_t(row)] * noise.relative[size_t(row)];
    for (size_t j = 0; j < n; ++j) sum[groups] += weight[j] *= smooth[size_t(row) * n + j];
    for (size_t g = 0; g < groups; ++g) {
      const double* d = distances_[g].data() + row * n_;
      for (size_t j = 0; j < n; ++j) sum[groups + 1 + g] += weight[j] * d[j];
    }
  });
  gradient.assign(constants.size(), 0.0);
  for (size_t i = 0; i < n; ++i)
    for (size_t q = 0; q < gradient.size(); ++q) gradient[q] += 0.5 * sums[i * gradient.size() + q];
  for (size_t g = 0; g < groups; ++g) {
    gradient[g] *= c.linear(g);
    gradient[groups + 1 + g] /= c.length(g) * c.length(g);
  }
  gradient.back() *= c.noise();
  for (size_t q = 0; q < gradient.size(); ++q) {
    const Prior p = prior_of(q, groups);
    if (constants[q] != clamped(constants[q], q, groups)) gradient[q] = 0;  // beyond, only the prior counts
    const double off = (constants[q] - p.middle) / p.width;
    value += 0.5 * off * off;
    gradient[q] += off / p.width;
  }
  return value;
}

GpConstants GpTuning::tune(const GpConstants& start, std::span<const double> targets, const Noise& noise,
                           int iterations) const {
  return {minimise([&](const std::vector<double>& c,
                       std::vector<double>& gradient) { return objective(c, targets, noise, gradient); },
                   start.values, {.iterations = iterations})};
}

}  // namespace ladarts
