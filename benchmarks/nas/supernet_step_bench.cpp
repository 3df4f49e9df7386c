// One search step of DARTS or PC-DARTS: a weight step and an architecture step over a batch in memory. The
// peer is benchmarks/peers/pytorch_supernet.py; scripts/bench_supernet.sh runs both.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/gradients.h"
#include "core/philox.h"
#include "core/program.h"
#include "nas/supernet.h"
#include "ops/losses.h"
#include "ops/optimizer.h"

using namespace ladarts;

namespace {

struct Options {
  int batch = 64, channels = 16, layers = 8, partial_k = 4, threads = 2, repeats = 5;
  bool unfused = false, json = false;
  Device device;
};

Options parse(int argc, char** argv) {
  Options o;
  CLI::App app{"Times one search step of a DARTS or PC-DARTS supernet on CIFAR shapes."};
  app.add_option("--batch", o.batch, "images")->check(CLI::PositiveNumber);
  app.add_option("--channels", o.channels, "C of the first cells")->check(CLI::PositiveNumber);
  app.add_option("--layers", o.layers, "cells")->check(CLI::PositiveNumber);
  app.add_option("--partial-k", o.partial_k, "1: DARTS; 4: PC-DARTS on CIFAR")->check(CLI::PositiveNumber);
  app.add_option("--threads", o.threads)->check(CLI::PositiveNumber);
  app.add_option("--repeats", o.repeats)->check(CLI::PositiveNumber);
  std::string device = "cpu";
  app.add_option("--device", device, "cpu, cuda or cuda:INDEX");
  app.add_flag("--unfused", o.unfused, "one op for each layer");
  app.add_flag("--json", o.json, "one JSON object");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    std::exit(app.exit(e));
  }
  o.device = Device::parse(device);
  return o;
}

// Weights, architecture, optimiser state, one batch, and the programs of the two steps.
struct Search {
  ArchitectureParameters architecture;
  ParameterSet weights;
  std::vector<Program> programs;  // weight step, architecture step
  Storage weight_loss, architecture_loss;

  explicit Search(const Options& o)
      : architecture(SearchSpace::load("darts"), o.partial_k > 1, 0, o.device), weights(0, o.device) {
    const Storage images = Storage::create({o.batch, 3, 32, 32}, DType::f32, o.device),
                  labels = Storage::create({o.batch}, DType::i32, o.device);
    fill(images, labels);
    const SupernetConfig config{.space = architecture.space(),
                                .shape = {.channels = o.channels, .layers = o.layers},
                                .partial_k = o.partial_k,
                                .edge_normalisation = o.partial_k > 1,
                                .fused = !o.unfused};
    Graph weight_graph(o.device), architecture_graph(o.device);
    auto loss = [&](Graph& g) {
      const ArchitectureWeights mixture = record_architecture_weights(g, architecture);
      return cross_entropy(record_supernet(g, config, weights, mixture, g.leaf(images)), g.leaf(labels));
    };
    const Tensor a = loss(weight_graph), b = loss(architecture_graph);
    record_weight_step(weight_graph, a);
    record_architecture_step(architecture_graph, b);
    const Graph* graphs[] = {&weight_graph, &architecture_graph};
    programs = compile_together(graphs);
  }

 private:
  static void fill(const Storage& images, const Storage& labels) {
    Random random(7);
    std::vector<float> pixels(size_t(images.shape().elements()));
    for (float& v : pixels) v = random.uniform(-1.7f, 1.7f);
    images.upload(std::span<const float>(pixels));
    std::vector<int32_t> classes(size_t(labels.shape().elements()));
    for (int32_t& v : classes) v = int32_t(random.below(10));
    labels.upload(std::span<const int32_t>(classes));
  }

  static Tensor state(Graph& g, const Shape& shape, float value = 0) {
    const Storage s = Storage::create(shape, DType::f32, g.device());
    if (value != 0) s.set(value);
    return g.leaf(s);
  }

  void record_weight_step(Graph& g, Tensor loss) {
    weight_loss = g.bind_output(loss);
    gradients(loss, weights.leaves(g), {.into = weights.gradient_storages()});
    const Tensor values = g.leaf(weights.values()), gradient = g.leaf(weights.gradients());
    clip_norm(gradient, 5.f);
    sgd_update(values, gradient, state(g, values.shape()), state(g, {1}, .1f),
               {.momentum = .9f, .weight_decay = 3e-4f});
  }

  void record_architecture_step(Graph& g, Tensor loss) {
    architecture_loss = g.bind_output(loss);
    ParameterSet& set = architecture.set();
    gradients(loss, set.leaves(g), {.into = set.gradient_storages()});
    const Tensor values = g.leaf(set.values());
    adam_update(values, g.leaf(set.gradients()), state(g, values.shape()), state(g, values.shape()),
                state(g, {1}), state(g, {1}, 6e-4f), {.beta1 = .5f, .beta2 = .999f, .weight_decay = 1e-3f});
  }
};

struct OpGroup {
  double ms = 0, gflop = 0, gbytes = 0;
  int nodes = 0;
};

struct StepReport {
  double min_ms = 0, median_ms = 0;
  ProgramStats stats;
  std::map<std::string, OpGroup> groups;
};

StepReport measure(Program& program, int repeats) {
  using clock = std::chrono::steady_clock;
  program.run();
  program.wait();
  std::vector<double> ms;
  for (int r = 0; r < repeats; ++r) {
    const auto before = clock::now();
    program.run();
    program.wait();
    ms.push_back(std::chrono::duration<double, std::milli>(clock::now() - before).count());
  }
  std::sort(ms.begin(), ms.end());
  StepReport report{ms.front(), (ms[(ms.size() - 1) / 2] + ms[ms.size() / 2]) / 2, program.stats(), {}};
  for (const NodeProfile& p : program.profile(repeats)) {
    OpGroup& group = report.groups[p.op];
    group.ms += p.microseconds / 1e3;
    group.gflop += p.cost.flops / 1e9;
    group.gbytes += p.cost.bytes_moved / 1e9;
    ++group.nodes;
  }
  return report;
}

nlohmann::json to_json(const StepReport& r) {
  nlohmann::json groups;
  for (const auto& [op, g] : r.groups)
    groups[op] = {{"ms", g.ms}, {"nodes", g.nodes}, {"gflop", g.gflop}, {"gbytes", g.gbytes}};
  return {{"min_ms", r.min_ms},           {"median_ms", r.median_ms},
          {"ops", r.stats.nodes},         {"arena_mib", double(r.stats.arena_bytes) / (1 << 20)},
          {"gflop", r.stats.flops / 1e9}, {"by_op", groups}};
}

void print(const char* name, const StepReport& r) {
  fmt::print("{}: min {:.1f} ms, median {:.1f} ms, {} ops, arena {:.0f} MiB, {:.1f} GFLOP, {:.0f} GFLOP/s\n",
             name, r.min_ms, r.median_ms, r.stats.nodes, double(r.stats.arena_bytes) / (1 << 20),
             r.stats.flops / 1e9, r.stats.flops / r.min_ms / 1e6);
  std::vector<std::pair<std::string, OpGroup>> groups(r.groups.begin(), r.groups.end());
  std::sort(groups.begin(), groups.end(),
            [](const auto& a, const auto& b) { return a.second.ms > b.second.ms; });
  for (const auto& [op, g] : groups)
    fmt::print("  {:<24} {:>8.2f} ms {:>5} nodes {:>7.1f} GFLOP/s {:>6.1f} GB/s\n", op, g.ms, g.nodes,
               g.gflop / g.ms * 1e3, g.gbytes / g.ms * 1e3);
}

double peak_rss_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) / 1024;
}

}  // namespace

int main(int argc, char** argv) try {
  const Options o = parse(argc, argv);
  ThreadPool::set_global_threads(o.threads);
  Search search(o);
  const StepReport weight = measure(search.programs[0], o.repeats);
  const StepReport architecture = measure(search.programs[1], o.repeats);
  if (o.json) {
    const nlohmann::json report = {{"program", "ladarts"},
                                   {"device", o.device.str()},
                                   {"batch", o.batch},
                                   {"channels", o.channels},
                                   {"layers", o.layers},
                                   {"partial_k", o.partial_k},
                                   {"threads", o.threads},
                                   {"repeats", o.repeats},
                                   {"fused", !o.unfused},
                                   {"isa", to_string(current_cpu_isa())},
                                   {"parameters", search.weights.count()},
                                   {"weight_step", to_json(weight)},
                                   {"architecture_step", to_json(architecture)},
                                   {"peak_rss_mib", peak_rss_mib()}};
    fmt::print("{}\n", report.dump());
    return 0;
  }
  fmt::print("{} parameters, loss {:.4f}, peak resident {:.0f} MiB\n", search.weights.count(),
             search.weight_loss.item(), peak_rss_mib());
  print("weight step", weight);
  print("architecture step", architecture);
  return 0;
} catch (const std::exception& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
