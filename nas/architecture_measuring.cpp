#include "nas/architecture_measuring.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/clock.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "nas/encoding.h"
#include "nas/sampler.h"
#include "predictor/agreement.h"
#include "predictor/conditions.h"
#include "predictor/machine.h"

namespace ladarts {

namespace {

double median_of(std::vector<double> v) {
  if (v.empty()) return 0;
  std::sort(v.begin(), v.end());
  return 0.5 * (v[(v.size() - 1) / 2] + v[v.size() / 2]);
}

// Of costs at times, in seconds: MeasuringSummary::drift.
double drift_of(const std::vector<std::pair<double, double>>& costs) {
  if (costs.size() < 3) return 0;
  std::vector<double> slopes, values;
  for (size_t i = 0; i < costs.size(); ++i) {
    values.push_back(costs[i].second);
    for (size_t j = i + 1; j < costs.size(); ++j)
      slopes.push_back((costs[j].second - costs[i].second) / (costs[j].first - costs[i].first));
  }
  return median_of(slopes) * (costs.back().first - costs.front().first) / median_of(values);
}

// One run over a range of samples.
class ArchitectureMeasuring {
 public:
  ArchitectureMeasuring(MeasurementStore& store, const SearchSpace& space, ArchitectureMeter& meter,
                        const MeasuringOptions& options)
      : store_(store),
        space_(space),
        meter_(meter),
        options_(options),
        sampler_(space, options.seed),
        context_(meter.context()) {
    require(options.begin >= 0 && options.count >= 1,
            "[measure] samples from {} on, {} of them: nothing to do", options.begin, options.count);
    require(uint64_t(options.begin + options.count) <= sampler_.size(),
            "[measure] samples {} to {} of space '{}', which has {} different architectures", options.begin,
            options.begin + options.count - 1, space.name, sampler_.size());
    require(options.shards >= 1 && options.shard >= 0 && options.shard < options.shards,
            "[measure] shard {} of {}", options.shard + 1, options.shards);
    present_ = store.architectures({.context = context_, .status = "ok", .replica = 0});
  }

  MeasuringSummary run() {
    const double setup_before = meter_.setup_seconds();
    std::vector<int64_t> indices;
    for (int64_t index = options_.begin; index < options_.begin + options_.count; ++index)
      if (index % options_.shards == options_.shard) indices.push_back(index);
    require(!indices.empty(), "[measure] shard {} of {} holds none of {} samples", options_.shard + 1,
            options_.shards, options_.count);
    summary_.requested = int64_t(indices.size());
    first_index_ = indices[0];
    for (size_t i = 0; i < indices.size() && !summary_.interrupted; ++i) {
      summary_.interrupted = interrupted();
      if (!summary_.interrupted) try {
          sample(indices[i], int64_t(i) + 1);
        } catch (const MeasuringStopped&) {
          summary_.interrupted = true;
        }
    }
    summary_.seconds = watch_.seconds();
    summary_.setup_seconds = meter_.setup_seconds() - setup_before;
    summary_.median_spread = median_of(spreads_);
    find_noise_floor();
    summary_.drift = drift_of(references_);
    return summary_;
  }

 private:
  void sample(int64_t index, int64_t number) {
    const Genotype genotype = sampler_.at(uint64_t(index));
    const std::string text = architecture_text(genotype, space_);
    if (number == 1) reference_ = text;
    Measurement row;
    if (present_.count(text)) {
      ++summary_.present;
      row.architecture = text;
    } else {
      row = measure_row(genotype, index);
      store_.insert(row);
      present_.insert(text);
      if (number == 1) note_reference(row);
      const int64_t done = ++(row.status == "ok" ? summary_.measured : summary_.failed);
      if (row.status == "ok") spreads_.push_back(row.relative_spread);
      summary_.noisy += row.noisy;
      summary_.slowed += conditions_of(row.details).slowdown > kSlowed;
      if (takes_replicas() && done % options_.reference_every == 0) measure_reference();
    }
    if (options_.progress) options_.progress(number, summary_.requested, row);
  }

  // Architectures that cannot run, for want of memory for example, are stored with the reason.
  Measurement measure_row(const Genotype& genotype, int64_t index) {
    Measurement row = new_row(context_, architecture_text(genotype, space_));
    row.seed = options_.seed;
    row.sample_index = index;
    try {
      meter_.measure(genotype, row);
    } catch (const Error& e) {
      fail_row(row, e.what());
    } catch (const std::bad_alloc&) {
      fail_row(row, "out of memory");
    }
    return row;
  }

  // Where not even one has run, something is wrong with all of them.
  void fail_row(Measurement& row, const std::string& reason) {
    require(summary_.measured + summary_.present > 0, "[measure] sample {}: {}", row.sample_index, reason);
    row.status = reason;
  }

  bool takes_replicas() const { return options_.reference_every > 0 && !meter_.deterministic(); }

  void measure_reference() {
    const auto before = store_.rows({.context = context_, .architecture = reference_});
    if (before.empty()) return;
    Measurement row = measure_row(parse_genotype(reference_, space_), first_index_);
    for (const Measurement& m : before) row.replica = std::max(row.replica, m.replica + 1);
    store_.insert(row);
    note_reference(row);
  }

  void note_reference(const Measurement& row) {
    if (row.status == "ok") references_.emplace_back(watch_.seconds(), row.median);
  }

  void find_noise_floor() {
    std::vector<double> medians;
    for (const Measurement& m :
         store_.rows({.context = context_, .architecture = reference_, .status = "ok"}))
      medians.push_back(m.median);
    summary_.replicas = int64_t(medians.size());
    if (medians.size() >= 3) summary_.noise_floor = summarise_times(medians).relative_spread;
  }

  MeasurementStore& store_;
  const SearchSpace& space_;
  ArchitectureMeter& meter_;
  const MeasuringOptions& options_;
  ArchitectureSampler sampler_;
  CostContext context_;
  std::set<std::string> present_;
  int64_t first_index_ = 0;
  std::string reference_;
  std::vector<double> spreads_;
  Stopwatch watch_;
  std::vector<std::pair<double, double>> references_;  // (seconds, cost) of the first architecture
  MeasuringSummary summary_;
};

}  // namespace

MeasuringSummary measure_architectures(MeasurementStore& store, const SearchSpace& space,
                                       ArchitectureMeter& meter, const MeasuringOptions& options) {
  return ArchitectureMeasuring(store, space, meter, options).run();
}

MeasuringSummary measure_architectures(MeasurementStore& store, const LatencySetup& setup,
                                       const MeasuringOptions& options) {
  LatencyMeter meter(setup, store.best_probe_ms(latency_context(setup)));
  return measure_architectures(store, setup.space, meter, options);
}

Measurement new_row(const CostContext& context, const std::string& architecture) {
  const Machine machine = this_machine();
  Measurement row;
  row.context = context;
  row.architecture = architecture;
  row.commit = library_commit();
  row.governor = machine.governor;
  row.clock_mhz = machine.clock_mhz;
  row.hostname = machine.hostname;
  return row;
}

std::string architecture_text(const Genotype& genotype, const SearchSpace& space) {
  return to_text(genotype.canonical(), space);
}

Dataset measured_dataset(const std::vector<Measurement>& rows, const SearchSpace& space) {
  Dataset data;
  for (const Measurement& row : rows) {
    require(row.context == rows[0].context,
            "[measurements] rows of different kinds cannot be fitted together: {}; and {}",
            rows[0].context.str(), row.context.str());
    require(row.context.space == space.id(), "[measurements] are of space '{}', not of '{}'",
            row.context.space, space.id());
  }
  for (const Measurement& row : representative_rows(rows)) {
    data.features.append(encode(parse_genotype(row.architecture, space), space));
    data.costs.push_back(row.median);
  }
  return data;
}

}  // namespace ladarts
