#include "nas/architecture_measuring.h"

#include <cmath>
#include <csignal>

#include <fmt/format.h>

#include "core/affinity.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "nas/encoding.h"
#include "nas/latency_meter.h"
#include "nas/meters.h"
#include "nas/noise_floor.h"
#include "nas/sampler.h"
#include "predictor/conditions.h"
#include "predictor/row_noise.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;

namespace {

LatencySetup small(const std::string& space = "darts") {
  return {.space = SearchSpace::load(space),
          .shape = {.channels = 4, .layers = space == "darts" ? 3 : 1, .image = 16},
          .measure = {.min_warmup_runs = 1,
                      .max_warmup_runs = 2,
                      .min_repeats = 3,
                      .max_repeats = 5,
                      .time_budget_s = 0.05,
                      .patience_s = 0.1}};
}

}  // namespace

TEST_CASE("measuring: a network runs and its values stay away from denormal numbers", "[nas][measuring]") {
  for (const char* space : {"darts", "nasbench201"}) {
    const LatencySetup setup = small(space);
    const ArchitectureSampler sampler(setup.space, 3);
    for (uint64_t i = 0; i < 4; ++i) {
      InferenceNetwork network(setup, sampler.at(i));
      network.run();
      for (const float v : network.logits().to_vector()) CHECK((std::isnormal(v) && std::abs(v) > 1e-20f));
    }
  }
}

TEST_CASE("measuring: what is in the store is not measured again", "[nas][measuring]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  const LatencySetup setup = small();
  const MeasuringSummary first =
      measure_architectures(store, setup, {.seed = 7, .count = 4, .reference_every = 0});
  CHECK(first.measured == 4);
  CHECK(first.present == 0);
  CHECK(first.failed == 0);
  CHECK(first.setup_seconds > 0);
  CHECK(first.setup_seconds < first.seconds);
  std::vector<int64_t> done;
  const MeasuringSummary second =
      measure_architectures(store, setup,
                            {.seed = 7,
                             .begin = 2,
                             .count = 5,
                             .reference_every = 0,
                             .progress = [&](int64_t d, int64_t total, const Measurement&) {
                               CHECK(total == 5);
                               done.push_back(d);
                             }});
  CHECK(second.present == 2);
  CHECK(second.measured == 3);
  CHECK(done == std::vector<int64_t>{1, 2, 3, 4, 5});
  CHECK(store.sample_indices({.seed = 7}) == std::set<int64_t>{0, 1, 2, 3, 4, 5, 6});
  for (const Measurement& m : store.rows()) {
    CHECK(m.context == latency_context(setup));
    CHECK(m.status == "ok");
    CHECK(m.min > 0);
    CHECK(m.median >= m.min);
    CHECK(m.repeats >= 3);
    CHECK(parse_genotype(m.architecture, setup.space).canonical() ==
          ArchitectureSampler(setup.space, 7).at(uint64_t(m.sample_index)).canonical());
  }
  // Another network around the cells is another context.
  LatencySetup wider = setup;
  wider.shape.channels = 8;
  CHECK(measure_architectures(store, wider, {.seed = 7, .count = 1}).measured == 1);
}

TEST_CASE("measuring: replicas of the first architecture give the noise floor", "[nas][measuring]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  const LatencySetup setup = small();
  const MeasuringSummary s = measure_architectures(store, setup, {.count = 6, .reference_every = 2});
  CHECK(s.measured == 6);
  CHECK(s.replicas >= 4);  // one more where the machine was slow at first
  CHECK(s.noise_floor >= 0);
  CHECK(store.count() == 9 + s.again);
  CHECK(measured_dataset(store.rows(), setup.space).size() == 6);
}

namespace {

// Costs that rise by 1% with each measurement; every fifth row says that the machine was slowed.
class RisingMeter : public ArchitectureMeter {
 public:
  CostContext context() const override {
    CostContext c;
    c.space = SearchSpace::load("darts").id();
    c.device = "made up";
    return c;
  }
  void measure(const Genotype&, Measurement& row) override {
    row.median = 100 + measured_;
    Conditions conditions;
    conditions.probe_ms = 0.2;
    conditions.slowdown = measured_ % 5 == 4 ? 1.5 : 1.0;
    row.details = with_conditions(row.details, conditions);
    ++measured_;
  }

 private:
  int measured_ = 0;
};

}  // namespace

TEST_CASE("measuring: replicas over time give the machine's drift, slowed rows are counted",
          "[nas][measuring]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  RisingMeter meter;
  const SearchSpace space = SearchSpace::load("darts");
  const MeasuringSummary s = measure_architectures(store, space, meter, {.count = 12, .reference_every = 3});
  CHECK(s.replicas == 5);  // 100, 103, 107, 111, 115 at nearly no time apart
  CHECK(s.drift > 0);
  CHECK(s.slowed == 3);  // 4, 9 and 14; replicas are 3, 7, 11 and 15
  CHECK(store.best_probe_ms(meter.context()) == 0.2);
  CostContext other = meter.context();
  other.threads = 7;
  CHECK(store.best_probe_ms(other) == 0);
}

namespace {

// A machine that is slow for the first measurements, twice as slow as it is afterwards, and cannot know so.
class SlowAtFirstMeter : public RisingMeter {
 public:
  void measure(const Genotype&, Measurement& row) override {
    const bool slow = measured_++ < slow_;
    best_ms_ = slow ? std::min(best_ms_, 0.4) : 0.2;
    row.median = slow ? 200 : 100;
    row.repeats = 11;
    row.relative_spread = 0.01;
    row.details =
        with_conditions(row.details, {.probe_ms = best_ms_, .slowdown = (slow ? 0.4 : 0.2) / best_ms_});
  }
  bool at_full_speed() override { return full_speed_; }

  int measured_ = 0, slow_ = 3;
  double best_ms_ = 1;
  bool full_speed_ = true;
};

}  // namespace

TEST_CASE("measuring: what a slow machine measured is measured again once it is fast", "[nas][measuring]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  SlowAtFirstMeter meter;
  const SearchSpace space = SearchSpace::load("darts");
  std::vector<std::pair<int64_t, int64_t>> again;
  MeasuringOptions options{.seed = 5, .count = 8, .reference_every = 4};
  options.again = [&](int64_t done, int64_t total) { again.emplace_back(done, total); };

  SECTION("at the end of the campaign") {
    const MeasuringSummary s = measure_architectures(store, space, meter, options);
    CHECK(s.measured == 8);
    CHECK(s.again == 2);  // of samples 0, 1 and 2 the first has replicas of the fast machine already
    CHECK(s.slowed == 0);
    CHECK(again == std::vector<std::pair<int64_t, int64_t>>{{0, 2}, {1, 2}, {2, 2}});
    int noisy = 0;
    for (const Measurement& row : store.rows()) {
      CHECK(row.noisy == (row.median == 200));
      CHECK(slowdown_against(row, 0.2) == Approx(row.noisy ? 2 : 1));
      noisy += row.noisy;
    }
    CHECK(noisy == 3);
    CHECK(store.rows({.replica = 0}).size() == 8);
    for (const double cost : measured_dataset(store.rows(), space).costs)
      CHECK(cost == Approx(100).epsilon(0.01));
    const MeasuringSummary more = measure_architectures(store, space, meter, options);
    CHECK(more.present == 8);
    CHECK(more.again == 0);
  }
  SECTION("by the next call, where the machine is not at full speed at the end of this") {
    meter.full_speed_ = false;
    const MeasuringSummary s = measure_architectures(store, space, meter, options);
    CHECK(s.again == 0);
    CHECK(s.slowed == 2);
    meter.full_speed_ = true;
    const MeasuringSummary more = measure_architectures(store, space, meter, options);
    CHECK(more.measured == 0);
    CHECK(more.again == 2);
    CHECK(more.slowed == 0);
  }
  SECTION("not for ever, where it becomes slow again") {
    options.reference_every = 0;
    meter.slow_ = 6;
    options.progress = [&](int64_t done, int64_t, const Measurement&) {
      if (done == 8) meter.slow_ = 100;
    };
    const MeasuringSummary s = measure_architectures(store, space, meter, options);
    CHECK(s.again == 0);
    CHECK(s.slowed == 6);
    CHECK(again.back() == std::pair<int64_t, int64_t>{3, 6});
    CHECK(store.count() == 8);
  }
}

TEST_CASE("measuring: a machine slower than it is known to be is not at full speed", "[nas][measuring]") {
  LatencySetup setup = small();
  setup.measure.patience_s = 0.2;
  CHECK_FALSE(LatencyTimer(setup, 1e-6).at_full_speed());
  setup.measure.patience_s = 30;
  CHECK(LatencyTimer(setup, 1e6).at_full_speed());

  setup.measure.patience_s = 0;
  const std::vector<Genotype> one{ArchitectureSampler(setup.space, 0).at(0)};
  const auto rows = measure_metric_in_turn("latency", setup, one, 2, {}, 1e-6);
  REQUIRE(rows);
  CHECK(conditions_of(rows->front().details).slowdown > 100);
  CHECK(slowed_text(1.1).empty());
  CHECK_THAT(slowed_text(1.5), ContainsSubstring("1.50 times slower"));
}

TEST_CASE("measuring: threads may be pinned and caches emptied, which is a cost of its own",
          "[nas][measuring]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  LatencySetup setup = small();
  ThreadPool one(1);
  setup.pool = &one;
  setup.pin_threads = setup.cold_caches = true;
  CHECK(latency_context(setup).metric == "cold_latency");
  REQUIRE(measure_architectures(store, setup, {.count = 2, .reference_every = 0}).measured == 2);
  for (const Measurement& row : store.rows()) {
    CHECK(row.context.metric == "cold_latency");
    const Conditions c = conditions_of(row.details);
    CHECK(c.cores == fmt::format("{}", cores_by_preference()[0]));
    CHECK(c.probe_ms > 0);
    CHECK(c.slowdown >= 1);
  }
  CHECK(store.best_probe_ms(latency_context(setup)) > 0);
}

TEST_CASE("measuring: the noise floor of a machine comes from one network timed again and again",
          "[nas][measuring]") {
  const LatencySetup setup = small();
  const auto floor = measure_noise_floor(setup, ArchitectureSampler(setup.space, 0).at(0), 3);
  REQUIRE(floor);
  CHECK(floor->timings == 3);
  CHECK(floor->median_ms > 0);
  CHECK(floor->between >= 0);
  CHECK(floor->slowdown >= 1);
  CHECK(floor->disturbed <= 1);
  CHECK_THROWS_AS(measure_noise_floor(setup, ArchitectureSampler(setup.space, 0).at(0), 1), Error);
}

TEST_CASE("measuring: an interrupt ends it after the sample at hand, a later run goes on",
          "[nas][measuring]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  const LatencySetup setup = small();
  catch_interrupts();
  MeasuringOptions options{.count = 6, .reference_every = 0};
  options.progress = [](int64_t done, int64_t, const Measurement&) {
    if (done == 3) raise(SIGINT);
  };
  const MeasuringSummary s = measure_architectures(store, setup, options);
  clear_interrupt();
  CHECK(s.interrupted);
  CHECK(s.measured == 3);
  CHECK(store.count() == 3);
  options.progress = {};
  const MeasuringSummary rest = measure_architectures(store, setup, options);
  CHECK_FALSE(rest.interrupted);
  CHECK(rest.present == 3);
  CHECK(rest.measured == 3);
}

TEST_CASE("measuring: an impossible set-up ends at the first sample and stores nothing", "[nas][measuring]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  LatencySetup setup = small();
  setup.batch = 0;
  CHECK_THROWS_WITH(measure_architectures(store, setup, {.count = 2}), ContainsSubstring("batch of 0"));
  setup = small("nasbench201");
  CHECK_THROWS_WITH(measure_architectures(store, setup, {.begin = 15'620, .count = 10}),
                    ContainsSubstring("15625 different"));
  CHECK_THROWS_AS(measure_architectures(store, setup, {.count = 0}), Error);
  CHECK(store.count() == 0);
}

TEST_CASE("measuring: rows become encodings and costs", "[nas][measuring]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  const LatencySetup setup = small("nasbench201");
  measure_architectures(store, setup, {.seed = 1, .count = 3, .reference_every = 0});
  std::vector<Measurement> rows = store.rows({.replica = 0});
  rows[1].status = "out of memory";
  const Dataset data = measured_dataset(rows, setup.space);
  REQUIRE(data.size() == 2);
  CHECK(data.features.columns == encoding_size(setup.space));
  CHECK(data.costs == std::vector<double>{rows[0].median, rows[2].median});
  const std::vector<float> expected = encode(ArchitectureSampler(setup.space, 1).at(2), setup.space);
  CHECK(std::vector<float>(data.features.row(1).begin(), data.features.row(1).end()) == expected);
  CHECK(data.relative_noise == std::vector<double>{relative_noise(rows[0]), relative_noise(rows[2])});
  Measurement again = rows[2];
  again.replica = 1;
  again.median *= 1.1;
  const Dataset both = measured_dataset({rows[0], again, rows[2]}, setup.space);
  CHECK(both.size() == 2);
  CHECK(both.costs[1] > rows[2].median);
  CHECK(both.costs[1] < again.median);
  for (Measurement& row : rows) {
    row.relative_spread = 0;
    row.noisy = false;
  }
  CHECK(measured_dataset(rows, setup.space).relative_noise.empty());
  CHECK_THROWS_WITH(measured_dataset(rows, SearchSpace::load("darts")), ContainsSubstring("not of 'darts'"));
  rows[2].context.batch = 9;
  CHECK_THROWS_WITH(measured_dataset(rows, setup.space), ContainsSubstring("different kinds"));
}

TEST_CASE("measuring: text that names the network tells its shape", "[nas][measuring]") {
  const SearchSpace darts = SearchSpace::load("darts");
  CHECK(network_text({}, darts) == "channels=36 layers=20 classes=10 stem=cifar");
  const CostContext c = latency_context(small());
  CHECK(c.space == "darts");
  CHECK(c.network == "channels=4 layers=3 classes=10 stem=cifar");
  CHECK(c.image_size == 16);
  CHECK(c.threads == ThreadPool::global().threads());
  CHECK(c.device_kind == "cpu");
}
