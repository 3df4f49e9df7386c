#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/philox.h"
#include "predictor/dense.h"
#include "predictor/gp.h"
#include "predictor/gp_calibration.h"
#include "predictor/gp_tuning.h"

namespace ladarts {

namespace {

constexpr double kLowestPilot = 0.05;  // of the median cost: a prediction below is no base of a weight
// A row predicted to be many times what it costs says nothing of a factor, nor of which model is better: a
// few architectures that cost a thousandth of the others would decide both alone.
constexpr double kMostWeight = 2, kMostError = 1;
constexpr double kMedianChiSquare = 0.455;  // of one degree of freedom

double quantile(std::vector<double> v, double share) {
  const auto k = std::min(v.size() - 1, size_t(share * double(v.size())));
  std::nth_element(v.begin(), v.begin() + long(k), v.end());
  return v[k];
}

// The factor on `predicted` with the least mean |factor * predicted / cost - 1|: a median of the ratios that
// weighs each by predicted / cost, at most kMostWeight, and by how far it is trusted.
double best_factor(const std::vector<double>& predicted, const std::vector<double>& costs,
                   const std::vector<double>& trust) {
  std::vector<std::pair<double, double>> ratios;
  double total = 0, below = 0;
  for (size_t i = 0; i < costs.size(); ++i) {
    if (predicted[i] <= 0) continue;
    ratios.emplace_back(costs[i] / predicted[i], trust[i] * std::min(predicted[i] / costs[i], kMostWeight));
    total += ratios.back().second;
  }
  std::sort(ratios.begin(), ratios.end());
  for (const auto& [ratio, weight] : ratios)
    if ((below += weight) >= total / 2) return ratio;
  return 1;
}

struct Standard {
  std::vector<double> shift, scale;  // (F)
};

// Centres every feature; the typical size of each group's part of a row becomes 1.
Standard standardisation(const FeatureMatrix& x, std::span<const int64_t> groups) {
  Standard s{std::vector<double>(size_t(x.columns)), {}};
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t k = 0; k < x.columns; ++k)
      s.shift[size_t(k)] += double(x.row(i)[size_t(k)]) / double(x.rows);
  int64_t begin = 0;
  for (const int64_t size : groups) {
    double square = 0;
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t k = begin; k < begin + size; ++k) {
        const double off = double(x.row(i)[size_t(k)]) - s.shift[size_t(k)];
        square += off * off / double(x.rows);
      }
    s.scale.insert(s.scale.end(), size_t(size), square > 1e-12 ? 1 / std::sqrt(square) : 1.0);
    begin += size;
  }
  return s;
}

}  // namespace

// Rows of one fit: standardised features and what is known of their costs.
struct GpRows {
  std::vector<double> x;      // (n, F)
  std::vector<double> costs;  // relative to the median
  std::vector<double> noise;  // standard deviation of each cost, relative to it; empty: not known
  int64_t n = 0;
};

// One link's model of some rows.
class GpFit {
 public:
  GpFit(const GpRows& rows, std::span<const int64_t> groups, CostLink link, ThreadPool& pool)
      : rows_(rows),
        groups_(groups.begin(), groups.end()),
        link_(link),
        pool_(pool),
        constants_(GpConstants::typical(groups.size())),
        weights_(size_t(rows.n), 1.0),
        own_z_(rows.noise.size()) {}

  void set_constants(const GpConstants& c) { constants_ = c; }
  const GpConstants& constants() const { return constants_; }

  // The noise of a measurement is in proportion to its cost: with a linear link a row's depends on the cost,
  // of which `pilot` is an idea. Rows far from `left_out`, what the others say of them, are trusted less.
  // What is known of a row's own noise comes on top of that which all rows share.
  void set_weights(const std::vector<double>& pilot, double freedom = 0) {
    std::vector<double> robust(weights_.size(), 1.0);
    if (freedom > 0) {
      std::vector<double> squares;
      for (size_t i = 0; i < weights_.size(); ++i) {
        const double off = z_of(rows_.costs[i]) - left_out_z_[i];
        squares.push_back(off * off / left_out_variance_[i]);
      }
      const double unit = std::max(quantile(squares, 0.5) / kMedianChiSquare, 1e-12);
      for (size_t i = 0; i < squares.size(); ++i)
        robust[i] = std::max(1.0, (freedom + squares[i] / unit) / (freedom + 1));
    }
    for (size_t i = 0; i < weights_.size(); ++i) {
      const double p = link_ == CostLink::linear ? std::max(pilot[i], kLowestPilot) : 1.0;
      weights_[i] = p * p * robust[i];
      if (!own_z_.empty()) own_z_[i] = p * p * robust[i] * rows_.noise[i] * rows_.noise[i];
    }
    mean_weight_ = std::accumulate(weights_.begin(), weights_.end(), 0.0) / double(weights_.size());
    for (double& w : weights_) w /= mean_weight_;
    standardise(weights_);
    if (!own_z_.empty()) {  // again, with what the own noise is beside the common
      std::vector<double> all = weights_;
      for (size_t i = 0; i < all.size(); ++i) all[i] += own_z_[i] / (constants_.noise() * size_ * size_);
      standardise(all);
    }
    targets_.clear();
    for (const double cost : rows_.costs) targets_.push_back((z_of(cost) - mean_) / size_);
    own_.clear();
    for (const double variance : own_z_) own_.push_back(variance / (size_ * size_));
  }

  void tune(const GpTuning& tuning, int iterations) {
    constants_ = tuning.tune(constants_, targets_, {.relative = weights_, .own = own_}, iterations);
  }

  // Conditions on all rows; what each would be predicted to be without it follows from the inverse.
  void condition() {
    std::vector<double> k = kernel().covariance(rows_.x, rows_.n, rows_.x, rows_.n, pool_);
    const auto n = size_t(rows_.n);
    for (size_t i = 0; i < n; ++i) k[i * n + i] += noise_of(i);
    require(dense::cholesky(k, rows_.n, pool_), "[gp] the covariance of the rows is not positive definite");
    alpha_ = targets_;
    dense::solve(k, rows_.n, alpha_);
    const std::vector<double> inverse = dense::lower_inverse(k, rows_.n, pool_);
    std::vector<double> diagonal(n);
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j <= i; ++j) diagonal[j] += inverse[i * n + j] * inverse[i * n + j];
    left_out_z_.clear();
    left_out_variance_.clear();
    for (size_t i = 0; i < n; ++i) {
      left_out_z_.push_back((targets_[i] - alpha_[i] / diagonal[i]) * size_ + mean_);
      left_out_variance_.push_back(size_ * size_ / diagonal[i]);
    }
  }

  std::vector<double> left_out() const {
    std::vector<double> costs;
    for (const double z : left_out_z_)
      costs.push_back(link_ == CostLink::log ? std::exp(z) : std::max(z, 1e-3));
    return costs;
  }

  // A factor for the metric that counts, drawn to 1 where there are few rows.
  double factor() const {
    const double n = double(rows_.n);
    return std::exp(std::log(best_factor(left_out(), rows_.costs, trust())) * n / (n + 20));
  }

  double left_out_error() const {
    const double f = factor();
    const std::vector<double> predicted = left_out(), trusted = trust();
    double sum = 0, total = 0;
    for (size_t i = 0; i < predicted.size(); ++i) {
      sum += trusted[i] * std::min(std::abs(f * predicted[i] / rows_.costs[i] - 1), kMostError);
      total += trusted[i];
    }
    return sum / total;
  }

  // `unit`: the cost that counts as 1 in the rows. `stretch`: of deviations, beside their own calibration.
  std::unique_ptr<GpRegressor> regressor(const FeatureExpansion& expansion, const Standard& standard,
                                         double unit, double stretch, Device device) const {
    auto model = std::make_unique<GpRegressor>(expansion, rows_.n, link_, device);
    const GpKernel k = kernel();
    const size_t f = standard.shift.size(), n = size_t(rows_.n);
    const double cost_unit = unit * factor();
    const double out =
        size_ * (link_ == CostLink::linear ? cost_unit : 1.0);  // of a target, in the model's z
    std::vector<double> linear(f), roots(f), lengths(f), smooth(n), noise(n);
    double bias = link_ == CostLink::linear ? mean_ * cost_unit : mean_ + std::log(cost_unit);
    for (size_t i = 0; i < n; ++i) {
      bias += out * alpha_[i];
      smooth[i] = out * alpha_[i] * k.rbf;
      noise[i] = noise_of(i);
      for (size_t j = 0; j < f; ++j) linear[j] += out * alpha_[i] * k.linear[j] * rows_.x[i * f + j];
    }
    for (size_t j = 0; j < f; ++j) {
      roots[j] = std::sqrt(k.linear[j]);
      lengths[j] = std::sqrt(k.inverse_square[j]);
    }
    auto fill = [](const Storage& s, const std::vector<double>& v) {
      s.upload(std::span<const float>(std::vector<float>(v.begin(), v.end())));
    };
    fill(model->shift_, standard.shift);
    fill(model->scale_, standard.scale);
    fill(model->linear_, roots);
    fill(model->inverse_length_, lengths);
    fill(model->centres_, rows_.x);
    fill(model->noise_, noise);
    fill(model->mean_linear_, linear);
    fill(model->mean_rbf_, smooth);
    std::vector<double> c(GpRegressor::constant_count);
    c[GpRegressor::mean_bias] = bias;
    c[GpRegressor::rbf] = k.rbf;
    c[GpRegressor::deviation] = out * stretch * calibration();
    c[GpRegressor::new_noise] = new_noise() / (link_ == CostLink::linear ? cost_unit * cost_unit : 1.0);
    fill(model->constants_, c);
    return model;
  }

 private:
  double z_of(double cost) const { return link_ == CostLink::log ? std::log(cost) : cost; }

  // Mean and size of z over the rows, each weighted by 1 / its relative variance.
  void standardise(const std::vector<double>& relative) {
    double total = 0;
    mean_ = 0;
    for (size_t i = 0; i < relative.size(); ++i) {
      mean_ += z_of(rows_.costs[i]) / relative[i];
      total += 1 / relative[i];
    }
    mean_ /= total;
    double square = 0;
    for (size_t i = 0; i < relative.size(); ++i) {
      const double off = z_of(rows_.costs[i]) - mean_;
      square += off * off / relative[i];
    }
    size_ = std::sqrt(square / total) + 1e-9;
  }

  double noise_of(size_t i) const {  // variance of target i beside the covariance
    const double common = constants_.noise() * weights_[i] + kGpJitter;
    return own_.empty() ? common : common + own_[i];
  }

  // Of a new measurement, at the cost 1: as noisy as most of the rows.
  double new_noise() const {
    const double common = constants_.noise() / mean_weight_;
    if (rows_.noise.empty()) return common;
    const double own = quantile(rows_.noise, 0.5) / size_;  // Dataset::usual_noise
    return common + own * own;
  }

  // How much of what a row is off its left-out prediction may be the model's: 1 without own noise.
  std::vector<double> trust() const {
    std::vector<double> shares(size_t(rows_.n), 1.0);
    for (size_t i = 0; i < own_z_.size(); ++i)
      shares[i] = std::max(1 - own_z_[i] / left_out_variance_[i], 1e-6);
    return shares;
  }

  GpKernel kernel() const {
    GpKernel k;
    k.rbf = constants_.rbf();
    for (size_t g = 0; g < groups_.size(); ++g) {
      k.linear.insert(k.linear.end(), size_t(groups_[g]), constants_.linear(g));
      k.inverse_square.insert(k.inverse_square.end(), size_t(groups_[g]),
                              1 / (constants_.length(g) * constants_.length(g)));
    }
    return k;
  }

  // Deviations times this hold 68% of the left-out rows.
  double calibration() const {
    std::vector<double> off;
    for (size_t i = 0; i < left_out_z_.size(); ++i) {
      // As a new measurement's: a row that is trusted less has not more noise for the reader.
      const double scale =
          link_ == CostLink::linear ? std::pow(std::max(left_out_z_[i], kLowestPilot), 2) : 1.0;
      double usual = constants_.noise() * size_ * size_ * scale / mean_weight_;
      double own = constants_.noise() * size_ * size_ * weights_[i];
      if (!own_z_.empty()) {
        usual += rows_.noise[i] * rows_.noise[i] * scale;
        own += own_z_[i];
      }
      const double variance = std::max(left_out_variance_[i] - own, 0.0) + usual;
      off.push_back(std::abs(z_of(rows_.costs[i]) - left_out_z_[i]) / std::sqrt(std::max(variance, 1e-30)));
    }
    return std::clamp(quantile(off, 0.683), 0.2, 5.0);
  }

  const GpRows& rows_;
  std::vector<int64_t> groups_;
  CostLink link_;
  ThreadPool& pool_;
  GpConstants constants_;
  std::vector<double> weights_;      // relative size of each row's share of the common noise, mean 1
  std::vector<double> own_z_, own_;  // variance of each row's own noise, of z and of a target; or empty
  double mean_weight_ = 1, mean_ = 0, size_ = 1;
  std::vector<double> targets_, alpha_, left_out_z_, left_out_variance_;
};

namespace {

GpRows rows_of(const Dataset& data, const Standard& s, double unit) {
  const FeatureMatrix& x = data.features;
  GpRows rows;
  rows.n = x.rows;
  rows.noise = data.relative_noise;
  for (int64_t i = 0; i < x.rows; ++i) {
    for (size_t k = 0; k < size_t(x.columns); ++k)
      // Rounded as the model keeps it.
      rows.x.push_back(
          double(float((double(x.row(i)[k]) - double(float(s.shift[k]))) * double(float(s.scale[k])))));
    rows.costs.push_back(data.costs[size_t(i)] / unit);
  }
  return rows;
}

Dataset some_rows(const Dataset& data, int64_t count, uint64_t seed, uint64_t stream) {
  if (data.size() <= count) return data;
  std::vector<int64_t> order(static_cast<size_t>(data.size()));
  std::iota(order.begin(), order.end(), int64_t(0));
  Random random(seed, stream);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(uint32_t(i))]);
  order.resize(size_t(count));
  std::sort(order.begin(), order.end());
  return data.subset(order);
}

}  // namespace

FittedGp fit_gp_leaving_out(const Dataset& all, const GpOptions& options, Device device) {
  all.check();
  require(all.size() >= kMinGpRows, "[gp] {} rows; a Gaussian process takes {} or more: measure more",
          all.size(), kMinGpRows);
  require(options.most_rows >= kMinGpRows && options.most_rows <= kMostGpRows,
          "[gp] at most {} rows; choose {} to {}", options.most_rows, kMinGpRows, kMostGpRows);
  const Dataset data = some_rows(all, options.most_rows, options.seed, 72);
  const FeatureExpansion expansion =
      options.expansion.inputs > 0 ? options.expansion : FeatureExpansion::identity(data.features.columns);
  const Dataset expanded{expansion.apply(data.features), data.costs, {}, data.relative_noise};
  const Standard standard = standardisation(expanded.features, expansion.groups);
  const double unit = quantile(data.costs, 0.5);
  const GpRows rows = rows_of(expanded, standard, unit);
  const GpRows part = rows_of(some_rows(expanded, options.tuning_rows, options.seed, 71), standard, unit);
  ThreadPool& pool = ThreadPool::global();
  const GpTuning tuning(part.x, part.n, expansion.groups, pool);
  const int steps = 2 * (options.robust_rounds + 1) + options.robust_rounds + 1;
  int step = 0;
  auto progress = [&] {
    if (options.progress) options.progress(++step, steps);
  };

  std::vector<GpFit> fits;
  fits.reserve(2);
  std::vector<double> pilot(part.costs);
  for (const CostLink link : {CostLink::log, CostLink::linear}) {
    GpFit& fit = fits.emplace_back(part, expansion.groups, link, pool);
    fit.set_weights(pilot);
    fit.tune(tuning, options.iterations);
    fit.condition();
    progress();
    for (int round = 0; round < options.robust_rounds; ++round) {
      fit.set_weights(fit.left_out(), options.noise_freedom);
      fit.tune(tuning, std::max(options.iterations / 3, 1));
      fit.condition();
      progress();
    }
    pilot = fit.left_out();
  }
  const GpFit& best = fits[fits[1].left_out_error() <= fits[0].left_out_error()];
  auto result = [&](const GpFit& fit) {
    const double stretch = held_out_stretch(data, options);
    return FittedGp{fit.regressor(expansion, standard, unit, stretch, device), fit.left_out_error()};
  };
  if (part.n == rows.n) return result(best);
  GpFit whole(rows, expansion.groups, &best == &fits[1] ? CostLink::linear : CostLink::log, pool);
  whole.set_constants(best.constants());
  whole.set_weights(rows.costs);
  whole.condition();
  progress();
  if (options.robust_rounds > 0) {
    whole.set_weights(whole.left_out(), options.noise_freedom);
    whole.condition();
  }
  return result(whole);
}

std::unique_ptr<GpRegressor> fit_gp(const Dataset& data, const GpOptions& options, Device device) {
  return fit_gp_leaving_out(data, options, device).model;
}

}  // namespace ladarts
