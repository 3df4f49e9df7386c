#include "predictor/gp.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.h"
#include "ops/activations.h"
#include "ops/arithmetic.h"
#include "ops/linear.h"
#include "predictor/dense.h"
#include "predictor/gp_kernel.h"

namespace ladarts {

namespace {

std::vector<double> doubles(const Storage& s) {
  const std::vector<float> v = s.to_vector();
  return {v.begin(), v.end()};
}

constexpr double kLeastShare = 0.05;  // of the typical cost: what is predicted below is no base of a share

const char* to_string(CostLink link) {
  return link == CostLink::log ? "log" : "linear";
}

}  // namespace

GpRegressor::GpRegressor(FeatureExpansion expansion, int64_t rows, CostLink link, Device device)
    : expansion_(expansion, device), rows_(rows), link_(link), device_(device) {
  require(rows >= kMinGpRows && rows <= kMostGpRows, "[gp] {} rows; it takes {} to {}", rows, kMinGpRows,
          kMostGpRows);
  const int64_t f = expansion.outputs();
  auto make = [&](Shape shape) { return Storage::create(shape, DType::f32, device); };
  for (Storage* s : {&shift_, &scale_, &linear_, &inverse_length_, &mean_linear_}) *s = make({f});
  centres_ = make({rows, f});
  noise_ = make({rows});
  mean_rbf_ = make({rows});
  constants_ = make({constant_count});
}

GpRegressor::~GpRegressor() = default;

nlohmann::json GpRegressor::configuration() const {
  return {{"features", features()}, {"expansion", expansion()}, {"rows", rows_}, {"link", to_string(link_)}};
}

NamedStorages GpRegressor::weights() const {
  return {{"shift", shift_},
          {"scale", scale_},
          {"linear", linear_},
          {"inverse_length", inverse_length_},
          {"centres", centres_},
          {"noise", noise_},
          {"mean_linear", mean_linear_},
          {"mean_rbf", mean_rbf_},
          {"constants", constants_}};
}

std::unique_ptr<GpRegressor> make_gp(const nlohmann::json& configuration, Device device) {
  const auto link = configuration.at("link").get<std::string>();
  require(link == "linear" || link == "log", "[gp] unknown link '{}'; known are linear and log", link);
  auto expansion = configuration.at("expansion").get<FeatureExpansion>();
  require(expansion.inputs == configuration.at("features").get<int64_t>(),
          "[gp] an expansion of {} features for {}", expansion.inputs,
          configuration.at("features").get<int64_t>());
  return std::make_unique<GpRegressor>(std::move(expansion), configuration.at("rows").get<int64_t>(),
                                       link == "log" ? CostLink::log : CostLink::linear, device);
}

const GpRegressor::Host& GpRegressor::host() const {
  if (host_) return *host_;
  auto h = std::make_unique<Host>();
  h->shift = doubles(shift_);
  h->scale = doubles(scale_);
  h->centres = doubles(centres_);
  h->noise = doubles(noise_);
  h->mean_linear = doubles(mean_linear_);
  h->mean_rbf = doubles(mean_rbf_);
  h->constants = doubles(constants_);
  for (const double v : doubles(linear_)) h->kernel.linear.push_back(v * v);
  for (const double v : doubles(inverse_length_)) h->kernel.inverse_square.push_back(v * v);
  h->kernel.rbf = h->constants[rbf];
  host_ = std::move(h);
  return *host_;
}

Tensor GpRegressor::record_constant(Graph& graph, Shape shape, const std::vector<double>& values) const {
  const Storage s = Storage::create(shape, DType::f32, device_);
  s.upload(std::span<const float>(std::vector<float>(values.begin(), values.end())));
  return graph.leaf(s);
}

// With u = the expanded features over their lengths, |u - c|^2 = |u|^2 - 2 u . c + |c|^2, all by linear ops.
Tensor GpRegressor::record_smooth(Tensor expanded) const {
  Graph& graph = expanded.graph();
  const Host& h = host();
  const int64_t f = expansion().outputs();
  std::vector<double> diagonal(size_t(f * f)), offset(static_cast<size_t>(f));
  for (size_t k = 0; k < size_t(f); ++k) {
    const double length = std::sqrt(h.kernel.inverse_square[k]);
    diagonal[k * size_t(f) + k] = h.scale[k] * length;
    offset[k] = -h.shift[k] * h.scale[k] * length;
  }
  std::vector<double> centres = h.centres, squares(static_cast<size_t>(rows_));
  for (size_t i = 0; i < size_t(rows_); ++i)
    for (size_t k = 0; k < size_t(f); ++k) {
      double& u = centres[i * size_t(f) + k];
      u *= std::sqrt(h.kernel.inverse_square[k]);
      squares[i] -= 0.5 * u * u;
    }
  const auto constant = [&](Shape shape, const std::vector<double>& values) {
    return record_constant(graph, shape, values);
  };
  const Tensor u = linear(expanded, constant({f, f}, diagonal), constant({f}, offset));
  const Tensor square = linear(mul(u, u), constant({1, f}, std::vector<double>(size_t(f), -0.5)));
  return exp(add(linear(u, constant({rows_, f}, centres), constant({rows_}, squares)),
                 linear(square, constant({rows_, 1}, std::vector<double>(size_t(rows_), 1.0)))));
}

Tensor GpRegressor::record_mean(Tensor expanded, Tensor smooth) const {
  Graph& graph = expanded.graph();
  const Host& h = host();
  const int64_t f = expansion().outputs();
  std::vector<double> weight(static_cast<size_t>(f));
  double bias = h.constants[mean_bias];
  for (size_t k = 0; k < size_t(f); ++k) {
    weight[k] = h.mean_linear[k] * h.scale[k];
    bias -= weight[k] * h.shift[k];
  }
  const Tensor z =
      add(linear(expanded, record_constant(graph, {1, f}, weight), record_constant(graph, {1}, {bias})),
          linear(smooth, record_constant(graph, {1, rows_}, h.mean_rbf)));
  return link_ == CostLink::log ? exp(z) : z;
}

Tensor GpRegressor::record(Tensor x) const {
  const Graph::Scope scope(x.graph(), "gp");
  const Tensor expanded = expansion_.record(x);
  return record_mean(expanded, record_smooth(expanded));
}

const std::vector<double>& GpRegressor::factor() const {
  const Host& h = host();
  if (h.factor.empty()) {
    ThreadPool& pool = ThreadPool::global();
    std::vector<double> k = h.kernel.covariance(h.centres, rows_, h.centres, rows_, pool);
    for (int64_t i = 0; i < rows_; ++i) k[size_t(i * rows_ + i)] += h.noise[size_t(i)];
    require(dense::cholesky(k, rows_, pool),
            "[gp] the covariance of the fitted rows is not positive definite");
    host_->factor = std::move(k);
  }
  return h.factor;
}

std::vector<double> GpRegressor::standardised(const FeatureMatrix& x) const {
  const Host& h = host();
  const FeatureMatrix e = expansion().apply(x);
  std::vector<double> s(e.values.size());
  for (size_t i = 0; i < s.size(); ++i) {
    const size_t k = i % size_t(e.columns);
    s[i] = (double(e.values[i]) - h.shift[k]) * h.scale[k];
  }
  return s;
}

std::vector<CostDistribution> GpRegressor::distribution(const FeatureMatrix& x) const {
  constexpr int64_t kBatch = 512;
  const Host& h = host();
  ThreadPool& pool = ThreadPool::global();
  const int64_t f = expansion().outputs();
  GpKernel smooth = h.kernel;
  smooth.linear.assign(size_t(f), 0.0);
  std::vector<CostDistribution> result;
  for (int64_t begin = 0; begin < x.rows; begin += kBatch) {
    const int64_t count = std::min(kBatch, x.rows - begin);
    const auto first = x.values.begin() + begin * x.columns;
    const std::vector<double> s = standardised({count, x.columns, {first, first + count * x.columns}});
    const std::vector<double> rbf_part = smooth.covariance(s, count, h.centres, rows_, pool);
    std::vector<double> v = h.kernel.covariance(h.centres, rows_, s, count, pool);  // (M, count)
    dense::solve_lower(factor(), rows_, v, count, pool);
    for (int64_t i = 0; i < count; ++i) {
      const std::span<const double> row(s.data() + i * f, size_t(f));
      double z =
          h.constants[mean_bias] + std::inner_product(row.begin(), row.end(), h.mean_linear.begin(), 0.0);
      double variance = h.kernel.at_itself(row);
      for (int64_t r = 0; r < rows_; ++r) {
        z += h.mean_rbf[size_t(r)] * (rbf_part[size_t(i * rows_ + r)] - 1) /
             (h.kernel.rbf > 0 ? h.kernel.rbf : 1);
        variance -= v[size_t(r * count + i)] * v[size_t(r * count + i)];
      }
      const double cost = link_ == CostLink::log ? std::exp(z) : z;
      const double noise = h.constants[new_noise] * (link_ == CostLink::log ? 1 : cost * cost);
      const double deviation_z = h.constants[deviation] * std::sqrt(std::max(variance, 0.0) + noise);
      result.push_back({cost, deviation_z * (link_ == CostLink::log ? cost : 1)});
    }
  }
  return result;
}

RelativeCovariance GpRegressor::covariance(const FeatureMatrix& x) const {
  const Host& h = host();
  ThreadPool& pool = ThreadPool::global();
  const std::vector<double> s = standardised(x);
  const auto n = size_t(x.rows), m = size_t(rows_);
  std::vector<double> v = h.kernel.covariance(h.centres, rows_, s, x.rows, pool);  // (M, n)
  dense::solve_lower(factor(), rows_, v, x.rows, pool);
  std::vector<double> transposed(v.size());  // (n, M)
  for (size_t r = 0; r < m; ++r)
    for (size_t i = 0; i < n; ++i) transposed[i * m + r] = v[r * n + i];
  const std::vector<double> known =
      weighted_products(transposed, x.rows, transposed, x.rows, std::vector<double>(m, 1.0), pool);
  // Of z in the kernel's units -> of the cost, relative to it.
  const double unit = h.constants[deviation];
  std::vector<double> relative(n, unit);
  if (link_ == CostLink::linear) {
    const std::vector<CostDistribution> costs = distribution(x);
    double typical = 0;
    for (const CostDistribution& c : costs) typical += std::abs(c.mean) / double(n);
    for (size_t i = 0; i < n; ++i) relative[i] /= std::max(costs[i].mean, kLeastShare * typical);
  }
  RelativeCovariance result{h.kernel.covariance(s, x.rows, s, x.rows, pool),
                            std::vector<double>(n, unit * unit * h.constants[new_noise])};
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j)
      result.covariance[i * n + j] =
          (result.covariance[i * n + j] - known[i * n + j]) * relative[i] * relative[j];
  return result;
}

}  // namespace ladarts
