// A campaign: architectures of a seed are sampled, measured by any meter, and stored one by one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/progress.h"
#include "nas/architecture_meter.h"
#include "nas/latency_meter.h"
#include "nas/sampler.h"
#include "predictor/dataset.h"
#include "predictor/measurement_store.h"

namespace ladarts {

struct MeasuringOptions {
  uint64_t seed = 0;  // of the sampler
  int64_t begin = 0;  // the first sample index
  int64_t count = 1000;
  // Only the samples whose index is `shard` modulo `shards`: every sample is in exactly one shard.
  int shard = 0, shards = 1;
  // After so many new measurements the first architecture (of the shard) is measured once more: how much its
  // replicas differ is the noise floor, below which no predictor can get. 0, or a deterministic meter: never.
  int reference_every = 40;
  // Called after each sample, present ones included.
  std::function<void(int64_t done, int64_t total, const Measurement& latest)> progress = {};
  // Called with 0 before rows of a slowed machine are measured again, and after each of them.
  std::function<void(int64_t done, int64_t total)> again = {};
};

struct MeasuringSummary {
  int64_t requested = 0;  // in this shard
  int64_t present = 0;    // found in the store
  int64_t measured = 0;   // new
  int64_t failed = 0;     // new, stored with the error as their status
  int64_t noisy = 0;      // new, on a machine that was slowed: Timing::noisy
  bool interrupted = false;
  double seconds = 0;
  double setup_seconds = 0;  // of these, before measuring proper
  double median_spread = 0;  // median over the new ones of the relative spread of single runs
  // 1.4826 * median absolute deviation / median over the replicas of the first architecture, without noisy
  // ones where 3 others are there; 0 for fewer than 3.
  double noise_floor = 0;
  int64_t replicas = 0;
  // How much the first architecture's cost changed from this run's beginning to its end, relative: the median
  // slope (Theil-Sen) of its measurements over time. 0 for fewer than 3.
  double drift = 0;
  // New, on a machine kSlowed times slower than the best that was known of it; after measure_slowed() all
  // that have only rows of a machine slower than is known now, and those of them that were measured again.
  int64_t slowed = 0, again = 0;
};

// One run of a campaign, in as many parts as the caller likes. What it refers to must outlive it.
class ArchitectureCampaign {
 public:
  // Of `options` only seed, reference_every and progress are used here.
  ArchitectureCampaign(MeasurementStore& store, const SearchSpace& space, ArchitectureMeter& meter,
                       const MeasuringOptions& options);
  // Measures these samples of the sampler and stores each as it is done, with `remarks` (a JSON object) among
  // its details; those in the store are skipped. Stops early once interrupted().
  void measure(std::span<const int64_t> indices, const std::string& remarks = "{}");
  // Of these samples, measures those again that were measured on a machine which turned out to be slowed, if
  // it is at full speed now: a machine that is slow for minutes is known as such only afterwards. Where an
  // architecture has another row, its slowed ones are marked noisy.
  void measure_slowed(std::span<const int64_t> indices);
  const ArchitectureSampler& sampler() const { return sampler_; }
  bool has(const std::string& architecture) const { return present_.count(architecture) > 0; }
  bool interrupted() const { return summary_.interrupted; }
  MeasuringSummary summary() const;

 private:
  void sample(int64_t index, const std::string& remarks);
  bool measure_again(int64_t index, double best_probe_ms);
  void mark_slowed(std::span<const Measurement> rows, double best_probe_ms);
  Measurement measure_row(const Genotype& genotype, int64_t index, const std::string& remarks);
  void fail_row(Measurement& row, const std::string& reason);
  bool takes_replicas() const { return options_.reference_every > 0 && !meter_.deterministic(); }
  void measure_reference();
  void note_reference(const Measurement& row);
  void find_noise_floor(MeasuringSummary& summary) const;

  MeasurementStore& store_;
  const SearchSpace& space_;
  ArchitectureMeter& meter_;
  MeasuringOptions options_;
  ArchitectureSampler sampler_;
  CostContext context_;
  std::set<std::string> present_;
  int64_t reference_index_ = 0;
  std::string reference_;  // the first architecture; empty before
  std::vector<double> spreads_;
  Stopwatch watch_;
  double setup_before_;
  std::vector<std::pair<double, double>> references_;  // (seconds, cost) of the first architecture
  MeasuringSummary summary_;
};

// Measures architectures begin .. begin + count - 1 of the sampler, or the shard of these, and stores each as
// it is done. Those in the store are skipped, so that interrupted work continues. Stops early once
// interrupted().
MeasuringSummary measure_architectures(MeasurementStore& store, const SearchSpace& space,
                                       ArchitectureMeter& meter, const MeasuringOptions& options);
// By a LatencyMeter.
MeasuringSummary measure_architectures(MeasurementStore& store, const LatencySetup& setup,
                                       const MeasuringOptions& options);

// For MeasuringOptions::again: ends `before`, says what is done now, and shows in `again` how far it is.
std::function<void(int64_t done, int64_t total)> show_measuring_again(Progress& before,
                                                                      std::optional<Progress>& again);

// A row of this architecture with the machine and the build that it is measured on, but no cost yet.
Measurement new_row(const CostContext& context, const std::string& architecture);

// The form in which the store names architectures; parse_genotype() reads it.
std::string architecture_text(const Genotype& genotype, const SearchSpace& space);

// Encodings, costs and their noise of the rows that have a cost, in the order of representative_rows(): one
// for each architecture, its replicas as combined_cost() makes one of them. Throws Error for a row of another
// space, or rows of different contexts.
Dataset measured_dataset(const std::vector<Measurement>& rows, const SearchSpace& space);

}  // namespace ladarts
