// A Gaussian process over expanded features (predictor/feature_expansion.h): ladarts' own regressor.
//
//   z(x) ~ constant + sum over groups g of a linear function of x_g + a smooth function of all of x
//
// with covariance k(x, y) = 1 + sum_g a_g x_g . y_g + r exp(-1/2 sum_g |x_g - y_g|^2 / l_g^2). The linear
// parts are the additive table and its coarser forms (counts of operations, what is live); the last is what
// is not additive. How much each counts (a_g, r, l_g, and the noise) is what makes the measurements most
// probable. The cost is z itself or exp(z), whichever predicts left-out rows better.
#pragma once

#include <functional>
#include <memory>

#include "predictor/feature_expansion.h"
#include "predictor/gp_kernel.h"
#include "predictor/regressor.h"

namespace ladarts {

enum class CostLink : uint8_t { linear, log };  // cost = z, cost = exp(z)

class GpRegressor : public Regressor {
 public:
  // With weights to be filled in.
  GpRegressor(FeatureExpansion expansion, int64_t rows, CostLink link, Device device = {});
  ~GpRegressor() override;

  std::string_view kind() const override { return "gp"; }
  int64_t features() const override { return expansion_.expansion().inputs; }
  Tensor record(Tensor features) const override;
  bool gives_deviation() const override { return true; }
  // In double; the first call factors a matrix of rows x rows.
  std::vector<CostDistribution> distribution(const FeatureMatrix& features) const override;
  RecordedDistribution record_distribution(Tensor features) const override;  // predictor/gp_deviation.cpp
  RelativeCovariance covariance(const FeatureMatrix& features) const override;
  nlohmann::json configuration() const override;
  NamedStorages weights() const override;

  CostLink link() const { return link_; }
  const FeatureExpansion& expansion() const { return expansion_.expansion(); }

 private:
  friend class GpFit;
  // Weights in double, and the factor of the covariance.
  struct Host {
    std::vector<double> shift, scale, centres, noise, mean_linear, mean_rbf, constants;
    GpKernel kernel;
    std::vector<double> factor;  // (M, M); empty until a deviation is asked for
  };
  const Host& host() const;
  Tensor record_constant(Graph& graph, Shape shape, const std::vector<double>& values) const;
  Tensor record_smooth(Tensor expanded) const;               // exp(-1/2 |u - centre|^2) of each row: (N, M)
  Tensor record_mean(Tensor expanded, Tensor smooth) const;  // (N, 1), in the cost's unit
  const std::vector<double>& factor() const;                 // (M, M) of the fitted rows
  std::vector<double> standardised(const FeatureMatrix& inputs) const;  // (N, F)

  RecordedExpansion expansion_;
  int64_t rows_;
  CostLink link_;
  Device device_;
  // F expanded features, M rows that it was fitted on. Standardised: (x - shift) * scale.
  Storage shift_, scale_;            // (F)
  Storage linear_, inverse_length_;  // (F): sqrt(a_g) and 1 / l_g of each feature's group
  Storage centres_;                  // (M, F), standardised
  Storage noise_;                    // (M): variance of each row beside k
  Storage mean_linear_,
      mean_rbf_;       // (F), (M): z = mean_linear . standardised + mean_rbf . exp(...) + mean_bias
  Storage constants_;  // (kConstants)
  enum Constant : uint8_t { mean_bias, rbf, deviation, new_noise, constant_count };
  mutable std::unique_ptr<Host> host_;
};

// Takes time with the cube of the rows, and memory for two matrices of 8 bytes a value.
inline constexpr int64_t kMinGpRows = 5, kMostGpRows = 6000;

struct GpOptions {
  FeatureExpansion expansion;  // without inputs: the features as they are
  // Of more rows so many are taken, chosen by the seed. Files, memory and a search's steps grow with them.
  int64_t most_rows = 2000;
  // Rows that the covariance's constants are fitted on; all taken are used for the predictions.
  int64_t tuning_rows = 300;
  int iterations = 60;
  // Rows far from what the others predict of them count less, as if noise were Student's t of so many degrees
  // of freedom; weights are set so many times.
  double noise_freedom = 4;
  int robust_rounds = 2;
  // Up to so many rows deviations are checked on so many held-out folds (predictor/gp_calibration.h); 0
  // folds: never. Takes as many more fits.
  int64_t calibration_rows = 100;
  int calibration_folds = 5;
  uint64_t seed = 0;  // of the choices of rows
  std::function<void(int step, int steps)> progress = {};
};

// Of a configuration(), its weights to be filled in.
std::unique_ptr<GpRegressor> make_gp(const nlohmann::json& configuration, Device device = {});

struct FittedGp {
  std::unique_ptr<GpRegressor> model;
  // Mean relative error of its rows, each predicted from the others; of each row at most 1.
  double left_out_error = 0;
};

// The same data and options give the same bits for any number of threads. Throws Error for fewer than
// kMinGpRows rows.
FittedGp fit_gp_leaving_out(const Dataset& data, const GpOptions& options = {}, Device device = {});
std::unique_ptr<GpRegressor> fit_gp(const Dataset& data, const GpOptions& options = {}, Device device = {});

}  // namespace ladarts
