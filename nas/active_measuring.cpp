#include "nas/active_measuring.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "core/interrupt.h"
#include "nas/encoding.h"
#include "predictor/agreement.h"

namespace ladarts {

namespace {

bool drawn_at_random(const Measurement& row) {
  return row.sample_index >= 0 && !nlohmann::json::parse(row.details).contains("choice");
}

class ActiveMeasuring {
 public:
  ActiveMeasuring(MeasurementStore& store, const SearchSpace& space, ArchitectureMeter& meter,
                  const ActiveOptions& options)
      : store_(store),
        space_(space),
        context_(meter.context()),
        options_(options),
        expansion_(structured_features(space)),
        campaign_(store, space, meter, campaign_options()) {}

  ActiveResult run() {
    check();
    try {
      note_failed();
      while (!result_.interrupted) {
        const MeasuredRows known = measured_rows(store_, context_, space_);
        if (known.data.size() >= kFirstRound && drawn(known) >= kMinDrawnRows) learn(known);
        const int64_t left = options_.budget - known.data.size() - int64_t(failed_.size());
        if (result_.reached || left <= 0) {
          if (std::exchange(looked_back_, true) || !measure_slowed(known)) break;
        } else {
          measure(known, left);
        }
        if ((result_.interrupted = campaign_.interrupted())) break;
      }
    } catch (const MeasuringStopped&) {
      result_.interrupted = true;
    }
    require(
        result_.interrupted || result_.model,
        "[measure] {} of {} architectures failed, too few are left for a model; `ladarts db list` says why",
        failed_.size(), options_.budget);
    if (result_.interrupted) result_.model = nullptr;
    result_.summary = campaign_.summary();
    return std::move(result_);
  }

 private:
  MeasuringOptions campaign_options() {
    return {.seed = options_.seed,
            .reference_every = options_.reference_every,
            .progress =
                [this](int64_t, int64_t, const Measurement& latest) {
                  if (latest.status != "ok") failed_.insert(latest.architecture);
                  ++done_;
                  if (options_.progress) options_.progress(done_, options_.budget, latest);
                },
            .again = options_.again};
  }

  void check() {
    require(options_.budget >= kFirstRound,
            "[measure] a budget of {} architectures; a model takes {} or more", options_.budget, kFirstRound);
    const uint64_t size = campaign_.sampler().size();
    require(uint64_t(options_.budget) <= size,
            "[measure] a budget of {} of the {} architectures of space '{}'", options_.budget, size,
            space_.name);
    const MeasuredRows known = measured_rows(store_, context_, space_);
    result_.had = done_ = known.data.size();
    const int64_t random = drawn(known);
    require(
        random >= kMinDrawnRows || options_.budget >= result_.had + kMinDrawnRows - random,
        "[measure] a budget of {}: '{}' holds {} architectures, {} of them drawn at random, and the error "
        "is known from {} or more such; use {} or more, or fit without a budget",
        options_.budget, store_.path().string(), result_.had, random, kMinDrawnRows,
        result_.had + kMinDrawnRows - random);
    // The first sample of before stays the one whose replicas give the noise floor.
    for (const Measurement& row : known.rows)
      if (row.seed == options_.seed && row.sample_index >= 0) {
        const int64_t index[] = {row.sample_index};
        campaign_.measure(index);
        done_ = result_.had;
        break;
      }
  }

  static int64_t drawn(const MeasuredRows& known) {
    return std::count(known.drawn.begin(), known.drawn.end(), 1);
  }

  // They cost their share of the budget and are not tried again.
  void note_failed() {
    failed_ = store_.architectures({.context = context_, .replica = 0});
    for (const std::string& ok : store_.architectures({.context = context_, .status = "ok"}))
      failed_.erase(ok);
  }

  void learn(const MeasuredRows& known) {
    const Stopwatch watch;
    result_.model = options_.fit(known.data);
    result_.left_out = predict_left_out(known.data, known.drawn, options_.fit, options_.seed);
    fit_seconds_ += watch.seconds();
    const ErrorEstimate e = estimate_error(result_.left_out);
    result_.chosen = std::count_if(known.rows.begin(), known.rows.end(), [](const Measurement& m) {
      return nlohmann::json::parse(m.details).contains("choice");
    });
    result_.reached = options_.goal > 0 && e.rows >= kMinRowsToStop && e.upper <= options_.goal;
    result_.curve.push_back({known.data.size(), e, watch_.seconds(), fit_seconds_});
    if (options_.round) options_.round(result_.curve.back());
  }

  void measure(const MeasuredRows& known, int64_t left) {
    const Round round = next_round(known.data.size(), drawn(known), left);
    const Stopwatch watch;
    std::vector<int64_t> random = next_samples(round.drawn);
    const std::vector<int64_t> chosen = choose_samples(known, random, round.chosen);
    // Of a small space few candidates are left.
    for (const int64_t i : next_samples(round.chosen - int64_t(chosen.size())))
      if (std::find(chosen.begin(), chosen.end(), i) == chosen.end()) random.push_back(i);
    fit_seconds_ += watch.seconds();
    campaign_.measure(random);
    campaign_.measure(chosen, nlohmann::json{{"choice", choice_names()[size_t(options_.choice)]}}.dump());
  }

  // Whether anything is known better now, or an interrupt came.
  bool measure_slowed(const MeasuredRows& known) {
    std::vector<int64_t> indices;
    for (const Measurement& row : known.rows)
      if (row.seed == options_.seed && row.sample_index >= 0) indices.push_back(row.sample_index);
    campaign_.measure_slowed(indices);
    return campaign_.interrupted() || campaign_.summary().again > 0;
  }

  bool tried(int64_t index) const {
    const std::string text = architecture_text(campaign_.sampler().at(uint64_t(index)), space_);
    return campaign_.has(text) || failed_.count(text) > 0;
  }

  std::vector<int64_t> next_samples(int64_t count) {
    const auto size = int64_t(campaign_.sampler().size());
    std::vector<int64_t> indices;
    for (; int64_t(indices.size()) < count && next_ < size; ++next_)
      if (!tried(next_)) indices.push_back(next_);
    return indices;
  }

  // From the sampler's middle, other ones each time: its first samples are those drawn at random, its last
  // those that ladarts verify asks about.
  std::vector<int64_t> choose_samples(const MeasuredRows& known, const std::vector<int64_t>& random,
                                      int64_t count) {
    if (count == 0) return {};
    const auto size = int64_t(campaign_.sampler().size());
    const int64_t blocks = std::max(size / 4 / options_.candidates, int64_t(1));
    const int64_t begin = size / 2 + (known.data.size() % blocks) * options_.candidates;
    std::vector<int64_t> indices;
    FeatureMatrix candidates;
    for (int64_t i = begin; i < size && int64_t(indices.size()) < options_.candidates; ++i) {
      if (interrupted()) throw MeasuringStopped{};
      if (tried(i) || std::find(random.begin(), random.end(), i) != random.end()) continue;
      candidates.append(encode(campaign_.sampler().at(uint64_t(i)), space_));
      indices.push_back(i);
    }
    Known before{known.data.features, {}, result_.model.get()};
    for (const int64_t i : random) before.pending.append(encode(campaign_.sampler().at(uint64_t(i)), space_));
    std::vector<int64_t> chosen;
    for (const int64_t c : choose(options_.choice, candidates, before, expansion_, count))
      chosen.push_back(indices[size_t(c)]);
    return chosen;
  }

  MeasurementStore& store_;
  const SearchSpace& space_;
  CostContext context_;
  const ActiveOptions& options_;
  FeatureExpansion expansion_;
  ArchitectureCampaign campaign_;
  std::set<std::string> failed_;
  bool looked_back_ = false;  // at rows of a machine that turned out to be slow
  int64_t next_ = 0, done_ = 0;
  double fit_seconds_ = 0;
  Stopwatch watch_;
  ActiveResult result_;
};

}  // namespace

MeasuredRows measured_rows(const MeasurementStore& store, const CostContext& context,
                           const SearchSpace& space) {
  MeasuredRows known;
  const std::vector<Measurement> all = store.rows({.context = context, .status = "ok"});
  known.rows = representative_rows(all);
  if (!all.empty()) known.data = measured_dataset(all, space);
  for (const Measurement& row : known.rows) known.drawn.push_back(drawn_at_random(row));
  return known;
}

ActiveResult measure_actively(MeasurementStore& store, const SearchSpace& space, ArchitectureMeter& meter,
                              const ActiveOptions& options) {
  return ActiveMeasuring(store, space, meter, options).run();
}

}  // namespace ladarts
