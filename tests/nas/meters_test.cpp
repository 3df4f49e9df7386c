#include "nas/meters.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "nas/architecture_measuring.h"
#include "nas/network.h"
#include "nas/sampler.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;

namespace {

LatencySetup small() {
  return {.space = SearchSpace::load("darts"), .shape = {.channels = 4, .layers = 3, .image = 16}};
}

Measurement measured(ArchitectureMeter& meter, const LatencySetup& setup, uint64_t sample) {
  const Genotype g = ArchitectureSampler(setup.space, 1).at(sample);
  Measurement row = new_row(meter.context(), architecture_text(g, setup.space));
  meter.measure(g, row);
  return row;
}

// Counts time, at a given power.
struct FakeCounter : EnergyCounter {
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  double millijoules() override {
    return 10e3 * std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  std::string name() const override { return "fake"; }
  double update_period_s() const override { return 1e-4; }
};

}  // namespace

TEST_CASE("meters: peak memory is the arena and every storage of the program", "[nas][meters]") {
  LatencySetup setup = small();
  PeakMemoryMeter meter(setup);
  const Measurement row = measured(meter, setup, 0);
  const Genotype g = ArchitectureSampler(setup.space, 1).at(0);
  const InferenceNetwork network(setup, g);
  Graph graph;
  ParameterSet folded, unused;
  record_network(graph, {.space = setup.space, .genotype = g, .shape = setup.shape}, NetworkMode::inference,
                 folded, unused, graph.leaf(network.images(), "images"));
  folded.values();
  const size_t bound = folded.entries()[0].value.buffer()->bytes() + network.images().buffer()->bytes() +
                       network.logits().buffer()->bytes();
  CHECK(network.stats().bound_bytes == bound);
  CHECK(row.median == double(network.stats().arena_bytes + bound) / (1 << 20));
  CHECK(row.repeats == 1);
  CHECK(meter.context().unit == "MiB");
  CHECK(nlohmann::json::parse(row.details).at("bound_bytes") == bound);
  setup.batch = 3;
  PeakMemoryMeter larger(setup);
  CHECK(measured(larger, setup, 0).median > row.median);
}

TEST_CASE("meters: counts are those of the network and of no device", "[nas][meters]") {
  const LatencySetup setup = small();
  const NetworkCounts counts = count_network(
      {.space = setup.space, .genotype = ArchitectureSampler(setup.space, 1).at(2), .shape = setup.shape});
  CountMeter parameters(setup, "parameters"), macs(setup, "macs");
  CHECK(measured(parameters, setup, 2).median == double(counts.parameters) / 1e6);
  CHECK(measured(macs, setup, 2).median == double(counts.multiply_accumulates) / 1e6);
  CHECK(macs.context().device == kAnyDevice);
  CHECK(macs.context().batch == 1);
  CHECK_THAT(macs.context().str(), ContainsSubstring("on any device"));
  CHECK_THROWS_AS(CountMeter(setup, "latency"), Error);
  CHECK_THROWS_WITH(make_meter("heat", setup), ContainsSubstring("peak_memory"));
}

TEST_CASE("meters: energy is the counter's, for each run", "[nas][meters]") {
  const LatencySetup setup = small();
  EnergyMeter meter(setup, std::make_unique<FakeCounter>(), {.warmup_s = 0.01, .window_s = 0.02});
  const Measurement row = measured(meter, setup, 0);
  CHECK(row.median > 0);
  CHECK(row.repeats == 5);
  const auto details = nlohmann::json::parse(row.details);
  CHECK(details.at("counter") == "fake");
  CHECK(details.at("watts").get<double>() == Approx(10).epsilon(0.05));
  CHECK(meter.context().metric == "energy");
  CHECK(meter.context().unit == "mJ");
}

TEST_CASE("meters: exact costs are measured once, by campaigns and in turn", "[nas][meters]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  const LatencySetup setup = small();
  const auto meter = make_meter("peak_memory", setup);
  const MeasuringSummary s =
      measure_architectures(store, setup.space, *meter, {.count = 6, .reference_every = 1});
  CHECK(s.measured == 6);
  CHECK(store.count() == 6);
  CHECK(store.contexts()[0].first == meter->context());
  int64_t calls = 0;
  const Genotype g = ArchitectureSampler(setup.space, 1).at(0);
  const auto rows =
      measure_metric_in_turn("macs", setup, std::vector{g, g}, 5, [&](int64_t, double) { ++calls; });
  REQUIRE(rows);
  CHECK(calls == 2);
  CHECK((*rows)[0].median == (*rows)[1].median);
}

TEST_CASE("measuring: shards hold every sample once, whatever their number", "[nas][measuring]") {
  const TempFolder folder;
  const LatencySetup setup = small();
  const auto meter = make_meter("parameters", setup);
  std::set<std::string> whole;
  for (const int shards : {1, 2, 5}) {
    MeasurementStore store(folder / fmt::format("{}.db", shards));
    int64_t requested = 0;
    for (int shard = 0; shard < shards; ++shard) {
      const MeasuringSummary s = measure_architectures(
          store, setup.space, *meter,
          {.seed = 3, .begin = 3, .count = 11, .shard = shard, .shards = shards, .reference_every = 0});
      CHECK(s.present == 0);
      CHECK(s.requested == s.measured);
      requested += s.requested;
    }
    CHECK(requested == 11);
    CHECK(store.sample_indices() == std::set<int64_t>{3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13});
    if (shards == 1) whole = store.architectures();
    CHECK(store.architectures() == whole);
  }
}
