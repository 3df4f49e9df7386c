// The standard deviation of a Gaussian process' prediction on a graph.
//
// Of k = its linear part phi(x) . phi(y), phi = (1, sqrt(a_f) x_f), and a smooth part r exp(...), the
// posterior variance k(x, x) - k_x^T (K + noise)^-1 k_x is a small difference of large numbers, which single
// precision does not bear. With L L^T = smooth covariance of the rows + noise, w = L^-1 (smooth part of k_x)
// and A = L^-1 phi(rows), the same is
//   r - |w|^2 + |S^-1 (phi(x) - A^T w)|^2,  S S^T = 1 + A^T A
// (Rasmussen and Williams, 2006, section 2.7): the first difference is of the smooth part alone.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "ops/activations.h"
#include "ops/arithmetic.h"
#include "ops/linear.h"
#include "predictor/dense.h"
#include "predictor/gp.h"

namespace ladarts {

namespace {

constexpr double kLeastVariance = 1e-12;  // below single precision's reach; keeps the root's slope finite

}  // namespace

RecordedDistribution GpRegressor::record_distribution(Tensor x) const {
  Graph& graph = x.graph();
  const Graph::Scope scope(graph, "gp");
  ThreadPool& pool = ThreadPool::global();
  const Host& h = host();
  const int64_t f = expansion().outputs(), parts = f + 1;
  std::vector<double> phi_rows(size_t(rows_ * parts)), weight(size_t(parts * f)),
      bias(static_cast<size_t>(parts));
  bias[0] = 1;
  for (int64_t k = 0; k < f; ++k) {
    const double root = std::sqrt(h.kernel.linear[size_t(k)]);
    weight[size_t((k + 1) * f + k)] = root * h.scale[size_t(k)];
    bias[size_t(k + 1)] = -root * h.scale[size_t(k)] * h.shift[size_t(k)];
    for (int64_t i = 0; i < rows_; ++i)
      phi_rows[size_t(i * parts + k + 1)] = root * h.centres[size_t(i * f + k)];
  }
  GpKernel smooth_kernel = h.kernel;
  smooth_kernel.linear.assign(size_t(f), 0.0);
  std::vector<double> l = smooth_kernel.covariance(h.centres, rows_, h.centres, rows_, pool);
  for (int64_t i = 0; i < rows_; ++i) {
    for (int64_t j = 0; j < rows_; ++j) l[size_t(i * rows_ + j)] -= 1;  // the constant is among phi
    l[size_t(i * rows_ + i)] += h.noise[size_t(i)];
    phi_rows[size_t(i * parts)] = 1;
  }
  require(dense::cholesky(l, rows_, pool), "[gp] the covariance of the fitted rows is not positive definite");
  dense::solve_lower(l, rows_, phi_rows, parts, pool);  // now A
  std::vector<double> a_transposed(size_t(parts * rows_)), s(size_t(parts * parts));
  for (int64_t i = 0; i < rows_; ++i)
    for (int64_t p = 0; p < parts; ++p)
      a_transposed[size_t(p * rows_ + i)] = -phi_rows[size_t(i * parts + p)];
  dense::subtract_product(
      {s.data(), parts, a_transposed.data(), rows_, phi_rows.data(), parts, parts, parts, rows_});
  for (int64_t p = 0; p < parts; ++p) s[size_t(p * parts + p)] += 1;
  require(dense::cholesky(s, parts, pool), "[gp] the covariance of the weights is not positive definite");
  std::vector<double> whiten = dense::lower_inverse(l, rows_, pool);
  for (double& v : whiten) v *= h.kernel.rbf;

  const auto constant = [&](Shape shape, const std::vector<double>& values) {
    return record_constant(graph, shape, values);
  };
  const auto sum = [&](Tensor t, double sign, double start) {
    return linear(t, constant({1, t.dim(1)}, std::vector<double>(size_t(t.dim(1)), sign)),
                  constant({1}, {start}));
  };
  const Tensor expanded = expansion_.record(x), smooth = record_smooth(expanded);
  const Tensor w = linear(smooth, constant({rows_, rows_}, whiten));
  const Tensor phi = linear(expanded, constant({parts, f}, weight), constant({parts}, bias));
  const Tensor rest = linear(add(phi, linear(w, constant({parts, rows_}, a_transposed))),
                             constant({parts, parts}, dense::lower_inverse(s, parts, pool)));
  const Tensor variance = add(sum(mul(rest, rest), 1, 0), relu(sum(mul(w, w), -1, h.kernel.rbf)));
  RecordedDistribution result;
  result.mean = record_mean(expanded, smooth);
  const bool log_link = link_ == CostLink::log;
  const double noise = h.constants[new_noise];
  const Tensor total = log_link
                           ? linear(variance, constant({1, 1}, {1}), constant({1}, {noise + kLeastVariance}))
                           : add(linear(variance, constant({1, 1}, {1}), constant({1}, {kLeastVariance})),
                                 scale(mul(result.mean, result.mean), float(noise)));
  const Tensor root = scale(exp(scale(log(total), 0.5f)), float(h.constants[deviation]));
  result.deviation = log_link ? mul(root, result.mean) : root;
  return result;
}

}  // namespace ladarts
