// Features in, cost out, differentiable with respect to the features.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/graph.h"
#include "core/safetensors.h"
#include "predictor/dataset.h"

namespace ladarts {

// What is known of a cost that was not measured: its mean and the standard deviation of a measurement around
// it.
struct CostDistribution {
  double mean = 0, deviation = 0;
};

// Of measurements that were made: wider where a row is known to be noisier (Dataset::relative_noise) than
// `usual`, the noise that the predictions are with.
std::vector<CostDistribution> of_rows(std::vector<CostDistribution> predicted, const Dataset& rows,
                                      double usual);

// The same on a graph: (N, 1) each.
struct RecordedDistribution {
  Tensor mean, deviation;
};

// How the errors of several predictions go together, in shares of the costs (0.0004 is 2% squared).
struct RelativeCovariance {
  std::vector<double> covariance;  // (N, N), of the costs without a measurement's noise
  std::vector<double> noise;       // (N): a measurement's variance beside that
};

class Regressor {
 public:
  virtual ~Regressor() = default;
  virtual std::string_view kind() const = 0;  // "gp", "stack", "transfer", "mlp", "additive"
  virtual int64_t features() const = 0;

  // Appends the prediction to features' graph: (N, features()) -> (N, 1), in the unit of the costs that it
  // was fitted on. Gradients reach the features. The weights are constants there; they live on the device
  // given at construction.
  virtual Tensor record(Tensor features) const = 0;

  // Predictions for host features, by a Program over record().
  std::vector<double> predict(const FeatureMatrix& features) const;

  // Whether distribution() and covariance() are there; they throw Error otherwise.
  virtual bool gives_deviation() const { return false; }
  virtual std::vector<CostDistribution> distribution(const FeatureMatrix& features) const;
  // As record(), with the deviation; gradients of both reach the features. Throws Error without a deviation.
  virtual RecordedDistribution record_distribution(Tensor features) const;
  virtual RelativeCovariance covariance(const FeatureMatrix& features) const;

  // For files: what makes an equal regressor again, see make_regressor().
  virtual nlohmann::json configuration() const = 0;
  virtual NamedStorages weights() const = 0;
};

// A regressor of this kind and configuration whose weights() are to be filled in. Throws Error for what it
// does not know.
std::unique_ptr<Regressor> make_regressor(std::string_view kind, const nlohmann::json& configuration,
                                          Device device = {});

}  // namespace ladarts
