// ladarts fit --budget: measures what it chooses, and fits to that.
#pragma once

#include "apps/campaign_options.h"
#include "nas/active_measuring.h"
#include "predictor/fit.h"

namespace ladarts {

struct ActiveFitOptions {
  int64_t budget = 0;  // 0: nothing is measured
  double goal = 0;
  std::string choice;
  CampaignOptions campaign;
};

// The budget, the goal, the network around the cells but for `image`, how networks are timed, and a runner.
// All but the budget need it.
void add_active_options(CLI::App& app, ActiveFitOptions& options, NetworkOptions& network);

struct ActiveFit {
  CostContext context;
  std::vector<Measurement> rows;  // that it was fitted on
  std::unique_ptr<Regressor> model;
  FitReport report;  // by cross-validation over the rows drawn at random
  Json choice;       // how it went; for --json and text_of_choice()
};

// `campaign` is prepared. Fits a Gaussian process, or from `sources` where there are any. Throws Error,
// Interrupted.
ActiveFit measure_and_fit(const std::string& db, const ActiveFitOptions& options, FitOptions fit,
                          const std::vector<std::shared_ptr<const Regressor>>& sources, Device device);

std::string text_of_choice(const Json& choice);

}  // namespace ladarts
