// Two regressors in one, for hundreds of measurements and more: a Gaussian process (predictor/gp.h) that has
// the logarithm of an MLP's prediction as one feature beside the architecture's. What the MLP learns of
// interactions is used as far as the measurements say so, and the prediction keeps its deviation.
//
// The process is fitted to what the MLP says of rows that it did not see (each member's left-out fold), so
// that it learns to trust it as far as it can be trusted on new ones.
#pragma once

#include "predictor/mlp.h"
#include "predictor/transfer.h"

namespace ladarts {

// Its one source is an MlpRegressor.
class StackRegressor : public TransferRegressor {
 public:
  using TransferRegressor::TransferRegressor;
  std::string_view kind() const override { return "stack"; }
};

inline constexpr int64_t kMinStackRows = 300;  // below, an MLP has little to say

struct FittedStack {
  std::unique_ptr<StackRegressor> model;
  double left_out_error = 0;  // as FittedGp's
};

// `mlp` is fitted to the same rows. Throws Error for an MLP of one member, which leaves out no row.
FittedStack fit_stack(const Dataset& data, const FittedMlp& mlp, const GpOptions& options = {},
                      Device device = {});

// Whether left-out rows say that the stack is enough better to carry an MLP along.
bool is_better(const FittedStack& stack, const FittedGp& gp);

// The default: the Gaussian process, or the stack where there are kMinStackRows rows and it is better.
// Nothing but `data` decides.
std::unique_ptr<Regressor> fit_default(const Dataset& data, const GpOptions& gp_options = {},
                                       const MlpOptions& mlp_options = {}, Device device = {});

}  // namespace ladarts
