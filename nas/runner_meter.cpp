#include "nas/runner_meter.h"

#include "core/atomic_file.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/json_file.h"
#include "nas/inference_network.h"
#include "nas/latency_meter.h"
#include "nas/onnx/network_export.h"
#include "predictor/units.h"

namespace ladarts {

namespace {

// The wanted cost as a timing is kept: its spread and repeats are those of the latency for the latency alone.
Timing cost_of(const RunnerReply& reply, const std::string& metric) {
  const bool latency = metric == "latency";
  if (latency && reply.latency) return *reply.latency;
  const std::optional<double> value = latency              ? std::nullopt
                                      : metric == "energy" ? reply.energy_mj
                                                           : reply.peak_memory_mib;
  require(value.has_value(), "[runner] its last line has no {}",
          latency              ? "latency_ms or times_ms"
          : metric == "energy" ? "energy_mj"
                               : "peak_memory_mib");
  return {.median_ms = *value, .min_ms = *value, .mean_ms = *value, .repeats = 1};
}

// All that it told, whichever cost is kept.
std::string details_of(const RunnerReply& reply, const std::string& command) {
  Json details{{"runner", command}};
  if (reply.latency) details["latency_ms"] = reply.latency->median_ms;
  if (reply.energy_mj) details["energy_mj"] = *reply.energy_mj;
  if (reply.peak_memory_mib) details["peak_memory_mib"] = *reply.peak_memory_mib;
  if (!reply.device.empty()) details["device"] = reply.device;
  return to_json_line(details);
}

}  // namespace

RunnerMeter::RunnerMeter(RunnerSetup setup, Runner runner, const Genotype& trial)
    : setup_(std::move(setup)), runner_(std::move(runner)) {
  require(setup_.metric == "latency" || setup_.metric == "energy" || setup_.metric == "peak_memory",
          "[runner] it does not measure '{}'; latency, energy and peak_memory it may", setup_.metric);
  const RunnerReply reply = run(trial);
  cost_of(reply, setup_.metric);
  context_ = context_of(reply);
}

void RunnerMeter::measure(const Genotype& genotype, Measurement& row) {
  const RunnerReply reply = run(genotype);
  const CostContext now = context_of(reply);
  require(now == context_, "[runner] it measured under other conditions than at first: {}; at first {}",
          now.str(), context_.str());
  set_timing(row, cost_of(reply, setup_.metric));
  row.details = details_of(reply, runner_.command());
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
  c.metric = setup_.metric;
  c.unit = metric_info(setup_.metric).unit;
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
