#include "nas/active_measuring.h"

#include <csignal>

#include <fmt/format.h>

#include "core/interrupt.h"
#include "core/philox.h"
#include "nas/encoding.h"
#include "nas/sampler.h"
#include "predictor/conditions.h"
#include "predictor/gp.h"
#include "predictor/metrics.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;

namespace {

// A table's costs with noise of 1% of each; counts what it measured.
class TableMeter : public ArchitectureMeter {
 public:
  explicit TableMeter(SearchSpace space = SearchSpace::load("darts")) : space_(std::move(space)) {
    Random random(77);
    for (int i = 0; i < encoding_size(space_); ++i) table_.push_back(double(random.uniform(0.1f, 1.f)));
  }
  CostContext context() const override {
    CostContext c;
    c.space = space_.id();
    c.device = "table";
    return c;
  }
  void measure(const Genotype& genotype, Measurement& row) override {
    ++measured;
    if (raise_after == measured) raise(SIGINT);
    if (fail_after > 0 && measured > fail_after) fail("too large for this device");
    Random noise(5, uint64_t(measured));
    row.median = cost(genotype) * (1 + 0.01 * double(noise.normal()));
    if (slow_first == 0) return;
    const double slow = measured <= slow_first ? 2 : 1;
    row.median *= slow;
    row.repeats = 11;
    row.relative_spread = 0.01;
    row.details = with_conditions(row.details, {.probe_ms = 0.1 * slow, .slowdown = 1});
  }
  bool at_full_speed() override { return measured > slow_first; }
  double cost(const Genotype& genotype) const {
    const std::vector<float> x = encode(genotype, space_);
    double sum = 2;
    for (size_t i = 0; i < x.size(); ++i) sum += double(x[i]) * table_[i];
    return sum;
  }
  const SearchSpace& space() const { return space_; }

  int measured = 0, raise_after = 0, fail_after = 0;
  int slow_first = 0;  // so many on a machine half as fast, and rows tell of it

 private:
  SearchSpace space_;
  std::vector<double> table_;
};

ActiveOptions options(const SearchSpace& space, int64_t budget, double goal = 0) {
  ActiveOptions o{.budget = budget, .goal = goal, .candidates = 150, .fit = {}, .reference_every = 0};
  o.fit = [expansion = structured_features(space)](const Dataset& data) -> std::unique_ptr<Regressor> {
    return fit_gp(data,
                  {.expansion = expansion, .iterations = 20, .robust_rounds = 0, .calibration_folds = 0});
  };
  return o;
}

double real_error(const Regressor& model, const TableMeter& meter) {
  const ArchitectureSampler sampler(meter.space(), 999);
  Dataset test;
  for (uint64_t i = 0; i < 300; ++i) {
    test.features.append(encode(sampler.at(i), meter.space()));
    test.costs.push_back(meter.cost(sampler.at(i)));
  }
  return error_report(model.predict(test.features), test.costs).mean_relative_error;
}

}  // namespace

TEST_CASE("active: measuring stops where the goal is reached, and it is", "[nas][active]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  TableMeter meter;
  std::vector<int64_t> rounds;
  ActiveOptions o = options(meter.space(), 300, 0.05);
  o.round = [&](const ActiveRound& r) { rounds.push_back(r.measured); };
  const ActiveResult r = measure_actively(store, meter.space(), meter, o);
  CHECK(r.reached);
  CHECK_FALSE(r.interrupted);
  CHECK(r.curve.back().estimate.upper <= 0.05);
  CHECK(r.curve.back().estimate.rows >= kMinRowsToStop);
  CHECK(r.curve.back().measured < 300);
  CHECK(r.had == 0);
  CHECK(r.summary.measured == r.curve.back().measured);
  CHECK(meter.measured == r.curve.back().measured);
  CHECK(rounds.front() == kFirstRound);
  CHECK(int64_t(r.left_out.measured.size()) == r.curve.back().estimate.rows);
  CHECK(r.chosen + r.curve.back().estimate.rows == r.curve.back().measured);
  REQUIRE(r.model);
  CHECK(real_error(*r.model, meter) < 0.05);
}

TEST_CASE("active: the budget is spent to the last where there is no goal, or one that is out of reach",
          "[nas][active]") {
  for (const double goal : {0.0, 0.002}) {
    const TempFolder folder;
    MeasurementStore store(folder / "m.db");
    TableMeter meter;
    const ActiveResult r = measure_actively(store, meter.space(), meter, options(meter.space(), 37, goal));
    CHECK_FALSE(r.reached);
    CHECK(meter.measured == 37);
    CHECK(store.count() == 37);
    CHECK(r.curve.back().measured == 37);
    // About half is as it would have been by ladarts measure: the sampler's first ones.
    const MeasuredRows known = measured_rows(store, meter.context(), meter.space());
    int64_t drawn = 0;
    const auto size = int64_t(ArchitectureSampler(meter.space(), 0).size());
    for (size_t i = 0; i < known.rows.size(); ++i)
      if (known.drawn[i])
        CHECK(known.rows[i].sample_index == drawn++);
      else  // its last ones are left for ladarts verify
        CHECK(std::abs(known.rows[i].sample_index - size / 2) <= size / 4 + 1000);
    CHECK(drawn >= 15);
    CHECK(drawn <= 19);
  }
}

TEST_CASE("active: what a store holds is used, rows of a random campaign as such", "[nas][active]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  TableMeter meter;
  measure_architectures(store, meter.space(), meter, {.count = 40, .reference_every = 0});
  const ActiveResult r = measure_actively(store, meter.space(), meter, options(meter.space(), 50));
  CHECK(r.had == 40);
  CHECK(r.summary.measured == 10);
  CHECK(r.chosen == 10);  // of random ones there are enough
  CHECK(r.curve.front().estimate.rows == 40);
  // Once more: nothing is left to do but to fit.
  const ActiveResult again = measure_actively(store, meter.space(), meter, options(meter.space(), 50));
  CHECK(again.had == 50);
  CHECK(again.summary.measured == 0);
  CHECK(again.curve.size() == 1);
  CHECK(again.model);
  CHECK(meter.measured == 50);
}

TEST_CASE("active: an interrupted campaign goes on, and the same seed chooses the same", "[nas][active]") {
  const TempFolder folder;
  MeasurementStore whole(folder / "whole.db"), twice(folder / "twice.db"), parts(folder / "parts.db");
  TableMeter meter, same, stopped;
  measure_actively(whole, meter.space(), meter, options(meter.space(), 30));
  measure_actively(twice, same.space(), same, options(same.space(), 30));
  CHECK(whole.architectures() == twice.architectures());
  catch_interrupts();
  stopped.raise_after = 17;
  const ActiveResult r = measure_actively(parts, stopped.space(), stopped, options(stopped.space(), 30));
  clear_interrupt();
  CHECK(r.interrupted);
  CHECK_FALSE(r.model);
  CHECK(parts.count() == 17);
  const ActiveResult rest = measure_actively(parts, stopped.space(), stopped, options(stopped.space(), 30));
  CHECK(rest.had == 17);
  CHECK(rest.summary.measured == 13);
  CHECK(parts.count() == 30);
  CHECK(rest.model);
}

TEST_CASE("active: what a slow machine measured is measured again before the last model", "[nas][active]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db"), quiet_store(folder / "quiet.db");
  TableMeter meter, quiet;
  const ActiveResult q = measure_actively(quiet_store, quiet.space(), quiet, options(quiet.space(), 80));
  meter.slow_first = 40;
  const ActiveResult r = measure_actively(store, meter.space(), meter, options(meter.space(), 80));
  CHECK(r.summary.measured == 80);
  CHECK(r.summary.again == 40);
  CHECK(r.summary.slowed == 0);
  CHECK(meter.measured == 120);
  REQUIRE(r.model);
  CHECK(real_error(*r.model, meter) < 1.2 * real_error(*q.model, quiet));
  const MeasuredRows known = measured_rows(store, meter.context(), meter.space());
  CHECK(known.rows.size() == 80);
  int64_t chosen = 0;
  for (size_t i = 0; i < known.rows.size(); ++i) {
    CHECK_FALSE(known.rows[i].noisy);
    chosen += !known.drawn[i];
  }
  CHECK(chosen == r.chosen);  // rows measured again tell still who chose them
  CHECK(chosen > 20);
}

TEST_CASE("active: an interrupt while a model is fitted stops it, too", "[nas][active]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  TableMeter meter;
  ActiveOptions o = options(meter.space(), 30);
  o.fit = [](const Dataset&) -> std::unique_ptr<Regressor> { throw MeasuringStopped{}; };
  const ActiveResult r = measure_actively(store, meter.space(), meter, o);
  CHECK(r.interrupted);
  CHECK(store.count() == kFirstRound);
}

TEST_CASE("active: architectures that cannot be measured cost budget and are not tried twice",
          "[nas][active]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  TableMeter meter;
  meter.fail_after = 20;
  const ActiveResult r = measure_actively(store, meter.space(), meter, options(meter.space(), 30));
  CHECK(r.summary.measured == 20);
  CHECK(r.summary.failed == 10);
  CHECK(r.curve.back().measured == 20);
  measure_actively(store, meter.space(), meter, options(meter.space(), 30));
  CHECK(meter.measured == 30);
  // Where nothing works at all, the first says so.
  MeasurementStore empty(folder / "empty.db");
  meter.fail_after = 1;
  meter.measured = 1;
  CHECK_THROWS_WITH(measure_actively(empty, meter.space(), meter, options(meter.space(), 30)),
                    ContainsSubstring("too large"));
  CHECK(empty.count() == 0);
}

TEST_CASE("active: a small space is measured to its end", "[nas][active]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  SearchSpace small = SearchSpace::load("nasbench201");
  small.nodes = 2;
  TableMeter meter(small);
  const ActiveResult r = measure_actively(store, small, meter, options(small, 125));
  CHECK(r.curve.back().measured == 125);
  CHECK(store.architectures().size() == 125);
}

TEST_CASE("active: budgets that cannot be are refused before anything is measured", "[nas][active]") {
  const TempFolder folder;
  MeasurementStore store(folder / "m.db");
  TableMeter meter(SearchSpace::load("nasbench201"));
  const SearchSpace& space = meter.space();
  CHECK_THROWS_WITH(measure_actively(store, space, meter, options(space, 9)),
                    ContainsSubstring("takes 10 or more"));
  CHECK_THROWS_WITH(measure_actively(store, space, meter, options(space, 20'000)),
                    ContainsSubstring("15625 architectures"));
  // Of unknown origin: an error cannot be known from them.
  const ArchitectureSampler sampler(space, 3);
  for (uint64_t i = 0; i < 20; ++i) {
    Measurement row = new_row(meter.context(), architecture_text(sampler.at(i), space));
    row.median = meter.cost(sampler.at(i));
    store.insert(row);
  }
  CHECK_THROWS_WITH(measure_actively(store, space, meter, options(space, 22)),
                    ContainsSubstring("0 of them drawn at random"));
  CHECK(meter.measured == 0);
  CHECK(measure_actively(store, space, meter, options(space, 25)).left_out.measured.size() == 5);
}
