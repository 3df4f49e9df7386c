// How a campaign measures: what ladarts measure and ladarts fit --budget share.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apps/network_options.h"
#include "apps/runner_measuring.h"
#include "core/json_file.h"
#include "nas/architecture_measuring.h"
#include "nas/inference_network.h"

namespace ladarts {

struct CampaignOptions {
  std::string metric = "latency";
  LatencySetup setup;
  RunnerOptions runner;
  std::vector<const CLI::Option*> timing = {};  // those that a runner knows nothing of

  // After parsing. Throws Error where options contradict each other.
  void prepare(const NetworkOptions& network, const CommonOptions& common);
};

// The timing of one network, and a runner in its stead.
void add_campaign_options(CLI::App& app, CampaignOptions& options);

// Opens the store, after what cannot be measured here was refused, so that no file is left behind then.
MeasurementStore open_campaign_store(const std::string& db, const CampaignOptions& options);
// Of a runner, `trial` is run once. Throws Error, Interrupted.
std::unique_ptr<ArchitectureMeter> make_campaign_meter(const CampaignOptions& options,
                                                       const MeasurementStore& store, const Genotype& trial);

// Times `trial` a few times and says on the terminal what this machine can tell apart now; null for what is
// no latency of this machine. Throws Interrupted.
Json say_noise_floor(const CampaignOptions& options, const MeasurementStore& store, const Genotype& trial);

// A campaign's summary in a command's result, and what was wrong with the machine, as text.
void add_summary(Json& result, const MeasuringSummary& summary);
std::string text_of_trouble(const Json& result);

}  // namespace ladarts
