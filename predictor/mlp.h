// The multi-layer regressor of Latency-Aware DARTS, trained in this engine, and a form of it for few
// measurements.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "core/parameters.h"
#include "predictor/regressor.h"

namespace ladarts {

struct MlpOptions {
  std::vector<int> hidden = {64, 64};
  // Adds a linear path from the features, started at the additive fit, while the hidden layers' output starts
  // at zero: the layers then learn only what is not additive.
  bool linear_skip = true;
  // Networks whose mean is the prediction. Each leaves out another fold of the rows and keeps the weights of
  // the epoch with the least error there. A single one leaves out `validation_fraction`.
  int members = 5;
  double validation_fraction = 0.15;

  int epochs = 150;
  // Epochs are fewer where rows * epochs would be more, but ten at least; 0: never fewer. 100,000 rows then
  // take fifteen.
  int64_t most_row_visits = 1'500'000;
  int batch = 64;
  float learning_rate = 3e-3f;  // Adam, cosine to zero over the epochs
  float weight_decay = 1e-4f;   // L2 on the hidden layers, added to the gradient
  int patience = 60;            // epochs in which no member gets better, before it stops
  uint64_t seed = 0;

  std::function<void(int epoch, int epochs, double validation_error)> progress = {};

  // The plain network of the paper: features-512-512-1.
  static MlpOptions paper();
};

// prediction = shift + scale * mean over members of (mlp(features) [+ linear(features)])
class MlpRegressor : public Regressor {
 public:
  // Untrained: random weights, and features and costs not yet scaled.
  MlpRegressor(int64_t features, const MlpOptions& options, Device device = {});
  ~MlpRegressor() override;

  std::string_view kind() const override { return "mlp"; }
  int64_t features() const override { return features_; }
  Tensor record(Tensor features) const override;
  nlohmann::json configuration() const override;
  NamedStorages weights() const override;

 private:
  friend class MlpTrainer;
  friend class MlpFitStep;
  Tensor record_member(int member, Tensor features) const;
  Tensor record_units(Tensor normalised) const;
  void declare(Graph& graph, int member);

  int64_t features_;
  std::vector<int> hidden_;
  bool linear_skip_;
  int members_;
  ParameterSet layers_, skips_;
  Storage scale_, shift_;  // (1, 1), (1)
};

inline constexpr int64_t kMinRows = 10;  // for a fit

// Minimises the mean relative error |predicted - cost| / cost. The same data, options and seed give the same
// bits for any number of threads. Throws Error for fewer than kMinRows rows.
std::unique_ptr<MlpRegressor> fit_mlp(const Dataset& data, const MlpOptions& options = {},
                                      Device device = {});

struct FittedMlp {
  std::shared_ptr<MlpRegressor> model;
  // Of each row, by the member that left it out: what the model would say of rows like these, had it fewer
  // members. Empty for a single member, which leaves out only some.
  std::vector<double> left_out;
};
FittedMlp fit_mlp_leaving_out(const Dataset& data, const MlpOptions& options = {}, Device device = {});

}  // namespace ladarts
