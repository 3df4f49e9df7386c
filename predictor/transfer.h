// A new device from others: a Gaussian process (predictor/gp.h) whose features are, beside the
// architecture's, the logarithms of what predictors of other devices say of it. Few measurements tell how
// those weigh and what differs.
#pragma once

#include <memory>
#include <vector>

#include "predictor/gp.h"

namespace ladarts {

class TransferRegressor : public Regressor {
 public:
  // `sources` predict from the same features; `floors` are the least values of theirs, positive, that are
  // told apart. `model` has one feature more for each of them, after the architecture's. Throws Error where
  // they do not fit together.
  TransferRegressor(std::vector<std::shared_ptr<const Regressor>> sources, std::vector<double> floors,
                    std::unique_ptr<GpRegressor> model);

  std::string_view kind() const override { return "transfer"; }
  int64_t features() const override { return sources_[0]->features(); }
  Tensor record(Tensor features) const override;
  bool gives_deviation() const override { return true; }
  std::vector<CostDistribution> distribution(const FeatureMatrix& features) const override;
  RecordedDistribution record_distribution(Tensor features) const override;
  RelativeCovariance covariance(const FeatureMatrix& features) const override;
  nlohmann::json configuration() const override;
  NamedStorages weights() const override;

 private:
  Tensor record_with_sources(Tensor features) const;  // what the model takes
  std::vector<std::shared_ptr<const Regressor>> sources_;
  std::vector<double> floors_;
  std::unique_ptr<GpRegressor> model_;
};

// The rows with one feature more for each source: the logarithm of what it predicts of them, or of its floor
// where that is higher. predicted: [source][row].
FeatureMatrix with_predictions(const FeatureMatrix& x, const std::vector<std::vector<double>>& predicted,
                               const std::vector<double>& floors);

// Of a configuration() of kind "transfer" or "stack", its weights to be filled in.
std::unique_ptr<TransferRegressor> make_transfer(std::string_view kind, const nlohmann::json& configuration,
                                                 Device device = {});

// Fits to the new device's measurements; `options.expansion` is that of the architecture's features. Throws
// Error for no sources, sources of other features, and what fit_gp() refuses.
std::unique_ptr<TransferRegressor> fit_transfer(const Dataset& data,
                                                std::vector<std::shared_ptr<const Regressor>> sources,
                                                const GpOptions& options = {}, Device device = {});

}  // namespace ladarts
