// A fitted predictor in a .safetensors file: weights as tensors, everything else as JSON in the file's
// metadata.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "predictor/cost_context.h"
#include "predictor/fit.h"

namespace ladarts {

struct PredictorInfo {
  CostContext context;
  std::vector<std::string> feature_names;  // in order; the file keeps their number and a hash
  FitReport report;
  double probe_ms = 0;  // SpeedProbe's best time beside the measurements; 0: unknown
};

struct Predictor {
  std::unique_ptr<Regressor> regressor;
  CostContext context;
  FitReport report;
  double probe_ms = 0;
};

// Differs where the weights do.
std::string fingerprint(const Predictor& predictor);

struct PredictorExpectation {
  CostContext context;
  std::vector<std::string> feature_names;
  // Accept a predictor fitted on another device, number of threads or instruction set.
  bool allow_other_device = false;
};

// Written beside `path` and renamed, so that a failure leaves what was there before.
void save_predictor(const std::filesystem::path& path, const Regressor& regressor, const PredictorInfo& info);

// Throws Error for a file that is no predictor or damaged and, where something is expected, for a predictor
// of another space, network, metric, feature list or device, naming both sides.
Predictor load_predictor(const std::filesystem::path& path,
                         const std::optional<PredictorExpectation>& expected = {}, Device device = {});

}  // namespace ladarts
