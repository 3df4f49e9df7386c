// Derived networks as users run them: the inference Program, with folded normalisation. Weights and images
// are random; what the network costs does not depend on them.
#pragma once

#include <string>

#include "core/program.h"
#include "nas/genotype.h"
#include "nas/network_shape.h"
#include "predictor/cost_context.h"
#include "predictor/measure.h"

namespace ladarts {

// All that a latency, or another cost of running the network, depends on besides the genotype.
struct LatencySetup {
  SearchSpace space;
  NetworkShape shape{};
  int batch = 1;
  Device device{};
  ThreadPool* pool = nullptr;  // null: ThreadPool::global()
  MeasureOptions measure{};
  bool pin_threads = false;  // each to a core of its own, while a meter lives; on a CPU
  bool cold_caches = false;  // empties them before each run: metric "cold_latency"; on a CPU

  ThreadPool& threads() const { return pool ? *pool : ThreadPool::global(); }
};

// What a cost of such networks is the cost of, on this machine. Throws Error for a batch below 1.
CostContext cost_context(const LatencySetup& setup, const std::string& metric, const std::string& unit);
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

}  // namespace ladarts
