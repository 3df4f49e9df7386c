// A campaign: architectures of a seed are sampled, measured by any meter, and stored one by one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nas/architecture_meter.h"
#include "nas/latency_meter.h"
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
};

inline constexpr double kSlowed = 1.12;

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
  // 1.4826 * median absolute deviation / median over all replicas of the first architecture; 0 for fewer
  // than 3.
  double noise_floor = 0;
  int64_t replicas = 0;
  // How much the first architecture's cost changed from this run's beginning to its end, relative: the median
  // slope (Theil-Sen) of its measurements over time. 0 for fewer than 3.
  double drift = 0;
  int64_t slowed = 0;  // new, on a machine kSlowed times slower than the best that is known of it
};

// Measures architectures begin .. begin + count - 1 of the sampler, or the shard of these, and stores each as
// it is done. Those in the store are skipped, so that interrupted work continues. Stops early once
// interrupted().
MeasuringSummary measure_architectures(MeasurementStore& store, const SearchSpace& space,
                                       ArchitectureMeter& meter, const MeasuringOptions& options);
// By a LatencyMeter.
MeasuringSummary measure_architectures(MeasurementStore& store, const LatencySetup& setup,
                                       const MeasuringOptions& options);
// A row of this architecture with the machine and the build that it is measured on, but no cost yet.
Measurement new_row(const CostContext& context, const std::string& architecture);

// The form in which the store names architectures; parse_genotype() reads it.
std::string architecture_text(const Genotype& genotype, const SearchSpace& space);

// Encodings and costs of the rows that have one. Of an architecture with replicas one counts, see
// representative_rows(). Throws Error for a row of another space, or rows of different contexts.
Dataset measured_dataset(const std::vector<Measurement>& rows, const SearchSpace& space);

}  // namespace ladarts
