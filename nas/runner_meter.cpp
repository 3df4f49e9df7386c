#include "nas/runner_meter.h"

#include "core/atomic_file.h"
#include "core/clock.h"
#include "core/error.h"
#include "nas/inference_network.h"
#include "nas/latency_meter.h"
#include "nas/onnx/network_export.h"

namespace ladarts {

namespace {

struct CostWords {
  const char *metric, *unit, *fields;
};

CostWords words_of(RunnerCost cost) {
  switch (cost) {
    case RunnerCost::latency:
      return {"latency", "ms", "latency_ms or times_ms"};
    case RunnerCost::energy:
      return {"energy", "mJ", "energy_mj"};
    case RunnerCost::peak_memory:
      break;
  }
  return {"peak_memory", "MiB", "peak_memory_mib"};
}

// The wanted cost as a timing is kept: its spread and repeats are those of the latency for the latency alone.
Timing cost_of(const RunnerReply& reply, RunnerCost cost) {
  if (cost == RunnerCost::latency && reply.latency) return *reply.latency;
  const std::optional<double> value = cost == RunnerCost::energy        ? reply.energy_mj
                                      : cost == RunnerCost::peak_memory ? reply.peak_memory_mib
                                                                        : std::nullopt;
  require(value.has_value(), "[runner] its last line has no {}", words_of(cost).fields);
  return {.median_ms = *value, .min_ms = *value, .mean_ms = *value, .repeats = 1};
}

}  // namespace

RunnerMeter::RunnerMeter(RunnerSetup setup, Runner runner, const Genotype& trial)
    : setup_(std::move(setup)), runner_(std::move(runner)) {
  const RunnerReply reply = run(trial);
  cost_of(reply, setup_.cost);
  context_ = context_of(reply);
}

void RunnerMeter::measure(const Genotype& genotype, Measurement& row) {
  const RunnerReply reply = run(genotype);
  const CostContext now = context_of(reply);
  require(now == context_, "[runner] it measured under other conditions than at first: {}; at first {}",
          now.str(), context_.str());
  set_timing(row, cost_of(reply, setup_.cost));
  // Governor and clock are of the machine that ladarts runs on, which is not the one that was measured.
  row.governor.clear();
  row.clock_mhz = 0;
}

RunnerReply RunnerMeter::run(const Genotype& genotype) {
  const Stopwatch watch;
  const onnx::ExportableNetwork network({.space = setup_.space, .genotype = genotype, .shape = setup_.shape},
                                        {.batch = setup_.batch});
  const auto file = folder_ / "model.onnx";
  write_file_atomically(file, onnx::serialise(network.model()));
  setup_seconds_ += watch.seconds();
  try {
    return runner_.run(file, setup_.batch, setup_.threads);
  } catch (const RunnerInterrupted&) {
    throw MeasuringStopped{};
  }
}

CostContext RunnerMeter::context_of(const RunnerReply& reply) const {
  CostContext c;
  c.metric = words_of(setup_.cost).metric;
  c.unit = words_of(setup_.cost).unit;
  c.space = setup_.space.id();
  c.network = network_text(setup_.shape, setup_.space);
  c.batch = setup_.batch;
  c.image_size = resolve(setup_.shape, setup_.space).image;
  c.device = setup_.device_name.empty() ? reply.device : setup_.device_name;
  require(!c.device.empty(),
          "[runner] it does not say what it measures on, by \"device\": name that by --device-name");
  c.device_kind = "runner";
  c.threads = reply.threads > 0 ? reply.threads : setup_.threads;
  c.precision = reply.precision.empty() ? "f32" : reply.precision;
  c.isa = "";
  c.library_version = reply.library.empty() ? "unknown" : reply.library;
  return c;
}

}  // namespace ladarts
