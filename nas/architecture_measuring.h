// Latency of derived networks: each runs as the inference Program that a user would run, with folded
// normalisation. Weights and images are random; latency does not depend on them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/program.h"
#include "nas/genotype.h"
#include "nas/network_shape.h"
#include "predictor/dataset.h"
#include "predictor/measure.h"
#include "predictor/measurement_store.h"

namespace ladarts {

// All that a latency depends on besides the genotype.
struct LatencySetup {
  SearchSpace space;
  NetworkShape shape{};
  int batch = 1;
  Device device{};
  ThreadPool* pool = nullptr;  // null: ThreadPool::global()
  MeasureOptions measure{};
};

// What such a latency is the latency of, on this machine.
CostContext latency_context(const LatencySetup& setup);
// "channels=36 layers=20 classes=10 stem=cifar", defaults filled in.
std::string network_text(const NetworkShape& shape, const SearchSpace& space);

// A network ready to run.
class InferenceNetwork {
 public:
  InferenceNetwork(const LatencySetup& setup, const Genotype& genotype);
  void run() { program_.run(); }
  void wait() { program_.wait(); }                   // for a run on a device that is not the CPU
  const Storage& images() const { return images_; }  // (batch, 3, image, image)
  const Storage& logits() const { return logits_; }  // (batch, classes)
  const ProgramStats& stats() const { return program_.stats(); }
  Program& program() { return program_; }  // for profiles

 private:
  Storage images_, logits_;
  Program program_;
};

// Times the networks in turn, `rounds` times, so that a machine that slows down or speeds up meets all alike.
// Each result summarises the medians of its rounds. Empty where interrupted().
std::optional<std::vector<Timing>> measure_in_turn(
    const LatencySetup& setup, std::span<const Genotype> genotypes, int rounds,
    const std::function<void(int64_t done, double latest_ms)>& progress = {});

Timing measure_latency(const LatencySetup& setup, const Genotype& genotype);

struct MeasuringOptions {
  uint64_t seed = 0;  // of the sampler
  int64_t begin = 0;  // the first sample index
  int64_t count = 1000;
  // After so many new measurements the first architecture is measured once more: how much its replicas differ
  // is the noise floor, below which no predictor can get. 0: never.
  int reference_every = 40;
  // Called after each sample, present ones included.
  std::function<void(int64_t done, int64_t total, const Measurement& latest)> progress = {};
};

struct MeasuringSummary {
  int64_t requested = 0;
  int64_t present = 0;   // found in the store
  int64_t measured = 0;  // new
  int64_t failed = 0;    // new, stored with the error as their status
  int64_t noisy = 0;     // new, on a machine that was slowed: Timing::noisy
  bool interrupted = false;
  double seconds = 0;
  double setup_seconds = 0;  // of these, for recording and compiling
  double median_spread = 0;  // median over the new ones of the relative spread of single runs
  // 1.4826 * median absolute deviation / median over all replicas of the first architecture; 0 for fewer
  // than 3.
  double noise_floor = 0;
  int64_t replicas = 0;
};

// Measures architectures begin .. begin + count - 1 of the sampler and stores each as it is done. Those in
// the store are skipped, so that interrupted work continues. Stops early once interrupted().
MeasuringSummary measure_architectures(MeasurementStore& store, const LatencySetup& setup,
                                       const MeasuringOptions& options);

// The form in which the store names architectures; parse_genotype() reads it.
std::string architecture_text(const Genotype& genotype, const SearchSpace& space);

// Encodings and costs of the rows that have one. Of an architecture with replicas the first counts. Throws
// Error for a row of another space, or rows of different contexts.
Dataset measured_dataset(const std::vector<Measurement>& rows, const SearchSpace& space);

}  // namespace ladarts
