#include "nas/architecture_measuring.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/interrupt.h"
#include "nas/encoding.h"
#include "predictor/agreement.h"
#include "predictor/conditions.h"
#include "predictor/machine.h"
#include "predictor/row_noise.h"

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

// `details` with what `remarks` say in place of what they said.
std::string merged(const std::string& details, const std::string& remarks) {
  if (remarks == "{}") return details;
  auto j = nlohmann::json::parse(details);
  j.update(nlohmann::json::parse(remarks));
  return j.dump();
}

}  // namespace

ArchitectureCampaign::ArchitectureCampaign(MeasurementStore& store, const SearchSpace& space,
                                           ArchitectureMeter& meter, const MeasuringOptions& options)
    : store_(store),
      space_(space),
      meter_(meter),
      options_(options),
      sampler_(space, options.seed),
      context_(meter.context()),
      setup_before_(meter.setup_seconds()) {
  present_ = store.architectures({.context = context_, .status = "ok", .replica = 0});
}

void ArchitectureCampaign::measure(std::span<const int64_t> indices, const std::string& remarks) {
  summary_.requested += int64_t(indices.size());
  for (const int64_t index : indices) {
    if (summary_.interrupted || (summary_.interrupted = ladarts::interrupted())) return;
    try {
      sample(index, remarks);
    } catch (const MeasuringStopped&) {
      summary_.interrupted = true;
    }
  }
}

MeasuringSummary ArchitectureCampaign::summary() const {
  MeasuringSummary s = summary_;
  s.seconds = watch_.seconds();
  s.setup_seconds = meter_.setup_seconds() - setup_before_;
  s.median_spread = median_of(spreads_);
  find_noise_floor(s);
  s.drift = drift_of(references_);
  return s;
}

void ArchitectureCampaign::sample(int64_t index, const std::string& remarks) {
  const Genotype genotype = sampler_.at(uint64_t(index));
  const std::string text = architecture_text(genotype, space_);
  const bool first = reference_.empty();
  if (first) {
    reference_ = text;
    reference_index_ = index;
  }
  Measurement row;
  if (present_.count(text)) {
    ++summary_.present;
    row.architecture = text;
  } else {
    row = measure_row(genotype, index, remarks);
    store_.insert(row);
    present_.insert(text);
    if (first) note_reference(row);
    const int64_t done = ++(row.status == "ok" ? summary_.measured : summary_.failed);
    if (row.status == "ok") spreads_.push_back(row.relative_spread);
    summary_.noisy += row.noisy;
    summary_.slowed += conditions_of(row.details).slowdown > kSlowed;
    if (takes_replicas() && done % options_.reference_every == 0) measure_reference();
  }
  const int64_t number = summary_.present + summary_.measured + summary_.failed;
  if (options_.progress) options_.progress(number, summary_.requested, row);
}

void ArchitectureCampaign::measure_slowed(std::span<const int64_t> indices) {
  const double best = store_.best_probe_ms(context_);
  std::map<int64_t, std::vector<Measurement>> samples;
  for (const int64_t index : indices) samples[index];
  for (const Measurement& row : store_.rows({.context = context_, .status = "ok", .seed = options_.seed}))
    if (const auto at = samples.find(row.sample_index); at != samples.end()) at->second.push_back(row);
  std::vector<int64_t> slowed;
  for (const auto& [index, rows] : samples) {
    const auto good = [&](const Measurement& m) { return !m.noisy && slowdown_against(m, best) <= kSlowed; };
    if (std::any_of(rows.begin(), rows.end(), good)) {
      mark_slowed(rows, best);
    } else if (std::any_of(rows.begin(), rows.end(),
                           [&](const Measurement& m) { return slowdown_against(m, best) > kSlowed; })) {
      slowed.push_back(index);
    }
  }
  summary_.slowed = int64_t(slowed.size());
  if (slowed.empty()) return;
  if (options_.again) options_.again(0, int64_t(slowed.size()));
  if (!meter_.at_full_speed()) return;
  constexpr int kMostInVain = 3;  // one after the other: the machine is slow again
  int in_vain = 0;
  for (size_t i = 0; i < slowed.size() && in_vain < kMostInVain; ++i) {
    if (summary_.interrupted || (summary_.interrupted = ladarts::interrupted())) return;
    try {
      in_vain = measure_again(slowed[i], best) ? 0 : in_vain + 1;
    } catch (const MeasuringStopped&) {
      summary_.interrupted = true;
    }
    if (options_.again) options_.again(int64_t(i) + 1, int64_t(slowed.size()));
  }
}

// Whether the machine was at full speed for it.
bool ArchitectureCampaign::measure_again(int64_t index, double best_probe_ms) {
  Measurement row = measure_row(sampler_.at(uint64_t(index)), index, "{}");
  if (row.status != "ok" || row.noisy || slowdown_against(row, best_probe_ms) > kSlowed) return false;
  const auto before = store_.rows({.context = context_, .architecture = row.architecture, .status = "ok"});
  row.details = merged(before.front().details, row.details);  // who chose it, for example
  store_.insert_replica(row);
  mark_slowed(before, best_probe_ms);
  --summary_.slowed;
  ++summary_.again;
  return true;
}

void ArchitectureCampaign::mark_slowed(std::span<const Measurement> rows, double best_probe_ms) {
  for (const Measurement& m : rows) {
    const double slowdown = slowdown_against(m, best_probe_ms);
    if (m.noisy || slowdown <= kSlowed) continue;
    store_.mark_noisy(m.id, with_conditions(m.details, {.probe_ms = best_probe_ms, .slowdown = slowdown}));
  }
}

// Architectures that cannot run, for want of memory for example, are stored with the reason.
Measurement ArchitectureCampaign::measure_row(const Genotype& genotype, int64_t index,
                                              const std::string& remarks) {
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
  row.details = merged(row.details, remarks);
  return row;
}

// Where not even one has run, something is wrong with all of them.
void ArchitectureCampaign::fail_row(Measurement& row, const std::string& reason) {
  require(summary_.measured + summary_.present > 0, "[measure] sample {}: {}", row.sample_index, reason);
  row.status = reason;
}

void ArchitectureCampaign::measure_reference() {
  if (store_.count({.context = context_, .architecture = reference_}) == 0) return;
  const Measurement row = measure_row(parse_genotype(reference_, space_), reference_index_, "{}");
  store_.insert_replica(row);
  note_reference(row);
}

void ArchitectureCampaign::note_reference(const Measurement& row) {
  if (row.status == "ok") references_.emplace_back(watch_.seconds(), row.median);
}

void ArchitectureCampaign::find_noise_floor(MeasuringSummary& summary) const {
  std::vector<double> medians, quiet;
  for (const Measurement& m :
       store_.rows({.context = context_, .architecture = reference_, .status = "ok"})) {
    medians.push_back(m.median);
    if (!m.noisy) quiet.push_back(m.median);
  }
  summary.replicas = int64_t(medians.size());
  if (quiet.size() >= 3) medians = quiet;
  if (medians.size() >= 3) summary.noise_floor = summarise_times(medians).relative_spread;
}

MeasuringSummary measure_architectures(MeasurementStore& store, const SearchSpace& space,
                                       ArchitectureMeter& meter, const MeasuringOptions& options) {
  require(options.begin >= 0 && options.count >= 1, "[measure] samples from {} on, {} of them: nothing to do",
          options.begin, options.count);
  ArchitectureCampaign campaign(store, space, meter, options);
  const uint64_t size = campaign.sampler().size();
  require(uint64_t(options.begin + options.count) <= size,
          "[measure] samples {} to {} of space '{}', which has {} different architectures", options.begin,
          options.begin + options.count - 1, space.name, size);
  require(options.shards >= 1 && options.shard >= 0 && options.shard < options.shards,
          "[measure] shard {} of {}", options.shard + 1, options.shards);
  std::vector<int64_t> indices;
  for (int64_t index = options.begin; index < options.begin + options.count; ++index)
    if (index % options.shards == options.shard) indices.push_back(index);
  require(!indices.empty(), "[measure] shard {} of {} holds none of {} samples", options.shard + 1,
          options.shards, options.count);
  campaign.measure(indices);
  if (!campaign.interrupted()) campaign.measure_slowed(indices);
  return campaign.summary();
}

MeasuringSummary measure_architectures(MeasurementStore& store, const LatencySetup& setup,
                                       const MeasuringOptions& options) {
  LatencyMeter meter(setup, store.best_probe_ms(latency_context(setup)));
  return measure_architectures(store, setup.space, meter, options);
}

std::function<void(int64_t done, int64_t total)> show_measuring_again(Progress& before,
                                                                      std::optional<Progress>& again) {
  return [&](int64_t done, int64_t total) {
    before.finish();
    if (done == 0)
      return Progress::say(
          fmt::format("{} architectures were measured while the machine was slow, as is known only now: "
                      "they are measured again once it is at full speed",
                      total));
    if (!again) again.emplace("again", total, ProgressOptions{.unit = "architecture", .start = done});
    again->update(done);
  };
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
  std::map<std::string_view, std::vector<Measurement>> replicas;  // the one that stands for them first
  const std::vector<Measurement> first = representative_rows(rows);
  for (const Measurement& row : first) replicas[row.architecture].push_back(row);
  for (const Measurement& row : rows)
    if (auto& of = replicas[row.architecture]; row.status == "ok" && row.replica != of.front().replica)
      of.push_back(row);
  for (const Measurement& row : first) {
    const NoisyCost cost = combined_cost(replicas[row.architecture]);
    data.features.append(encode(parse_genotype(row.architecture, space), space));
    data.costs.push_back(cost.cost);
    data.relative_noise.push_back(cost.relative_noise);
  }
  const auto& noise = data.relative_noise;
  if (std::all_of(noise.begin(), noise.end(), [](double v) { return v == 0; })) data.relative_noise.clear();
  return data;
}

}  // namespace ladarts
